//! `consumable serve`: the gateway in front of a database.

use clap::Args;
use consumable::config::{
    DatabaseSetting, KeyRateSetting, LanesSetting, ListenSetting, TickSetting, TokenSetting, WebhookSecretsSetting,
};
use consumable::database::{Database, Release};
use consumable::{gateway, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// Serve a database that `consumable migrate` has brought to this release.
///
/// Ends with Ctrl-C or SIGTERM: requests under way finish, for ten seconds at most. The second ends it at once, with exit code 1.
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    database: DatabaseSetting,
    #[command(flatten)]
    listen: ListenSetting,
    #[command(flatten)]
    tick: TickSetting,
    #[command(flatten)]
    lanes: LanesSetting,
    #[command(flatten)]
    token: TokenSetting,
    #[command(flatten)]
    webhook_secrets: WebhookSecretsSetting,
    #[command(flatten)]
    key_rate: KeyRateSetting,
}

/// Serves until it is told to stop.
pub async fn run(options: &Serve) -> Result<(), Failure> {
    let url = options.database.url()?;
    let address = options.listen.address()?;
    let settings = serve::Settings {
        tick: options.tick.duration()?,
        lanes: options.lanes.count()?,
        token_secrets: options.token.secrets()?,
        webhook_secrets: options.webhook_secrets.secrets()?,
        key_rate: options.key_rate.rate()?,
    };
    let release = Release::embedded()?;
    if settings.token_secrets.is_empty() {
        tracing::info!("CONSUMABLE_TOKEN_SECRET is not set: there are no workspace tokens");
    }
    for difference in serve::require(url, &release).await? {
        tracing::warn!("{difference}");
    }
    let database = Database::connect(url).await?;
    let listener = gateway::listen(address)
        .map_err(|error| Failure::Work(format!("CONSUMABLE_LISTEN: cannot listen on {address}: {error}")))?;
    raise_file_limit();
    if settings.webhook_secrets.is_empty() {
        tracing::warn!("CONSUMABLE_STRIPE_WEBHOOK_SECRETS is missing: no event of the payment provider is believed");
    }
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, release = release.version(), "serving");
    serve::serve(database.clone(), url, release, listener, settings, told_to_stop()).await?;
    tracing::info!("stopped");
    database.disconnect().await?;
    Ok(())
}

/// Every reader of realtime events is an open file, and many systems begin with 1,024.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Ends with Ctrl-C or SIGTERM. The next one then ends the process at once.
pub(super) async fn told_to_stop() {
    // Both from here on: one that comes while the first is being obeyed counts, too. Without one of them there is still the other.
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    next(&mut signals).await;
    tracing::info!("stopping: requests under way have ten seconds to finish, unless I am told once more");
    tokio::spawn(async move {
        next(&mut signals).await;
        tracing::warn!("stopped at once, as I was told twice");
        std::process::exit(1);
    });
}

async fn next([interrupt, terminate]: &mut [Option<Signal>; 2]) {
    let one = async |signal: &mut Option<Signal>| match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    };
    tokio::select! {
        () = one(interrupt) => (),
        () = one(terminate) => (),
    }
}

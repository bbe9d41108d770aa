//! `consumable serve`: the gateway in front of a database.

use clap::Args;
use consumable::config::{
    DatabaseSetting, KeyRateSetting, LanesSetting, ListenSetting, TickSetting, TokenSetting, WebhookSecretsSetting,
};
use consumable::database::{Database, Release};
use consumable::serve;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// Serve a database that `consumable migrate` has brought to this release.
///
/// Ends with Ctrl-C or SIGTERM: requests under way finish, for ten seconds at most.
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
    let listener = TcpListener::bind(address)
        .await
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

/// Ends with Ctrl-C or SIGTERM.
pub(super) async fn told_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            // Without it, there is still Ctrl-C.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = terminated => (),
    }
    tracing::info!("stopping: requests under way have ten seconds to finish");
}

//! Runs what serves: the gateway, the lanes of its uses, the relay that feeds its readers, and the scheduler that settles what is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Rate;
use crate::database::{self, Database, Difference, Release, Weight};
use crate::error::Error;
use crate::gateway::{self, Gateway, Parts, Secrets, Tokens};
use crate::lanes::Lanes;
use crate::meters::{Looked, Meters};
use crate::relay::Relay;
use crate::scheduler::{self, Look};

/// Refuses a database that lacks what this program was built with. Gives what else differs: it is newer, or was edited.
///
/// # Errors
/// [`Error::Internal`] with a sentence for the operator when it lacks something, and as [`database::check`].
pub async fn require(database_url: &str, release: &Release) -> Result<Vec<Difference>, Error> {
    let found = database::check(database_url, release).await?;
    let mut lacking = found.iter().filter(|difference| difference.weight() == Weight::Lack);
    match lacking.next() {
        None => Ok(found),
        Some(first) => Err(Error::Internal(format!(
            "the database lacks {} of the things that release {} needs, the first being: {first}. Run consumable migrate",
            1 + lacking.count(),
            release.version(),
        ))),
    }
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is due is looked for so often at least.
    pub tick: Duration,
    /// How many calls of uses are under way at once.
    pub lanes: usize,
    /// What workspace tokens are signed by, the first, and valid by, all; none: there are no tokens.
    pub token_secrets: Vec<String>,
    /// What the payment provider signs its events with: any of these; none: no event is believed.
    pub webhook_secrets: Vec<String>,
    /// What each caller may send; none: whatever he likes.
    pub key_rate: Option<Rate>,
}

/// Serves on `listener` until `shutdown` completes, then lets requests under way finish, for ten seconds at most.
///
/// `database` is the pool of the database that `database_url` names, which should have passed [`require`].
///
/// # Errors
/// When the database cannot be asked at the start. Later on it may come and go.
pub async fn serve(
    database: Database,
    database_url: &str,
    release: Release,
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let relay = Relay::start(&database).await?;
    let meters = Arc::new(Meters::start(&gateway::codes()));
    let lanes = Lanes::new(settings.lanes);
    let impatient = database.impatient(settings.lanes);
    let (stop, stopped) = watch::channel(false);
    let gateway = Gateway::new(
        database.clone(),
        database_url.to_owned(),
        release,
        Parts {
            relay: relay.clone(),
            lanes: lanes.clone(),
            lanes_database: impatient.clone(),
            meters: meters.clone(),
        },
        Secrets {
            tokens: Tokens::new(&settings.token_secrets),
            webhooks: settings.webhook_secrets,
        },
        settings.key_rate,
        stopped.clone(),
    );
    // What is settled is told to readers at once, not at the relay's next poll.
    let looked = |look: &Look| {
        relay.written();
        meters.looked(&Looked {
            leased: look.lease.leased,
            settled: look.lease.settled,
            failed: look.lease.failed,
            plans_applied: look.plans_applied,
            plans_failed: look.plans_failed,
            elapsed: look.elapsed,
        });
    };
    let scheduler = scheduler::run(&database, settings.tick, relay.moves(), looked, stopped);
    let asked = async {
        shutdown.await;
        // The gateway holds the other end for as long as it serves.
        stop.send_replace(true);
        std::future::pending().await
    };
    let called = {
        let meters = meters.clone();
        Arc::new(move |requests| meters.called(requests))
    };
    // Relay and lanes go on until the last request is answered, and end with this function.
    tokio::select! {
        ((), ()) = async { tokio::join!(gateway.serve(listener), scheduler) } => (),
        () = relay.run(&database) => (),
        () = lanes.run(&database, &impatient, called) => (),
        () = meters.keep() => (),
        () = asked => (),
    }
    impatient.disconnect().await
}

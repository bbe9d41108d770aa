//! Settles balances when their boundaries pass, so that readers hear of it though nobody asks.
//!
//! Nothing depends on it: every read and every use settles first what is due. It sleeps until the next boundary, and looks
//! again whenever a change was committed, as that may have brought an earlier one. Any number of gateways may do so at
//! once: what one has taken, another does not see.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::database::Database;
use crate::procedures::entitlement::{self, Lease};

/// Balances per lease: some milliseconds each, so that a batch is far from the deadline of a call, and one that is lost
/// with its gateway costs little to do again.
const BATCH: u32 = 100;

/// Shortest time between the beginnings of two looks that found nothing to take: under load there are hundreds of changes
/// a second, and what another gateway is at work on is due until it commits.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Pauses after a failure double from this …
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// … to this, so that a database that comes back is served soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Settles what is due until `shutdown` is true; a batch under way is finished.
///
/// It looks at least every `tick`, at each boundary, and whenever `changes` moves, which it does with every committed
/// change that anybody hears of. `settled` is called with each batch that took something.
pub async fn run(
    database: &Database,
    tick: Duration,
    mut changes: watch::Receiver<u64>,
    settled: impl Fn(&Lease),
    mut shutdown: watch::Receiver<bool>,
) {
    let mut failures = 0;
    let mut batch = BATCH;
    while !*shutdown.borrow() {
        let begun = Instant::now();
        // The look sees whatever was committed before it; only what comes later is a reason for another.
        changes.mark_unchanged();
        let next = match entitlement::lease_due(database, batch).await {
            Ok(lease) => {
                if failures > 0 {
                    tracing::info!(failures, "the scheduler settles again");
                }
                failures = 0;
                batch = BATCH.min(batch * 2);
                if lease.failed > 0 {
                    tracing::error!(
                        failed = lease.failed,
                        settled = lease.settled,
                        "balances could not be settled, and are set aside with their error"
                    );
                }
                if lease.leased > 0 {
                    settled(&lease);
                    continue;
                }
                let wait = lease.wait_milliseconds.map_or(tick, Duration::from_millis);
                Next::At(begun + wait.min(tick).max(BUSY_PAUSE))
            }
            Err(error) => {
                // Once, not at every attempt: readiness says that it goes on.
                if failures == 0 {
                    tracing::warn!(%error, "the scheduler cannot settle what is due, and tries again");
                }
                // A batch that is too much for one call is not tried in the same size for ever.
                batch = (batch / 2).max(1);
                let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(failures.min(8)));
                failures += 1;
                Next::Pause(pause)
            }
        };
        let waited = async {
            match next {
                Next::Pause(pause) => sleep(pause).await,
                Next::At(instant) => {
                    tokio::select! { () = sleep_until(instant) => (), () = moved(&mut changes) => () }
                    sleep_until(begun + BUSY_PAUSE).await;
                }
            }
        };
        tokio::select! {
            () = waited => (),
            // When nobody is left who could ask for it, it is time too.
            _ = shutdown.wait_for(|is_down| *is_down) => return,
        }
    }
}

/// When to look again.
enum Next {
    /// Then, or with the next change.
    At(Instant),
    /// Not before that.
    Pause(Duration),
}

/// Waits for the next change. Without anybody who could tell of one, there is still the clock.
async fn moved(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        pending().await
    }
}

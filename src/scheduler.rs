//! Settles balances when their boundaries pass, so that readers hear of it though nobody asks; and makes scheduled plans
//! current at their instant.
//!
//! No balance depends on it: every read and every use settles first what is due. It sleeps until the next boundary or
//! change of a plan, and looks again whenever the outbox has moved, as what was committed may have brought an earlier one.
//! Any number of gateways may do so at once: what one has taken, another does not see.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::database::Database;
use crate::error::Error;
use crate::procedures::billing;
use crate::procedures::entitlement::{self, Lease};

/// Balances per lease: some milliseconds each, so that a batch is far from the deadline of a call, and one that is lost
/// with its gateway costs little to do again.
const BATCH: u32 = 100;

/// Changes of plans per look. Each is a commit of its own, so that a look that is cut off loses none that it has made.
const PLAN_BATCH: u32 = 25;

/// Shortest time between the beginnings of two looks that found nothing to take: under load there are hundreds of changes
/// a second, and what another gateway is at work on is due until it commits.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Pauses after a failure double from this …
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// … to this, so that a database that comes back is served soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Settles what is due, and makes plans current that are, until `shutdown` is true; a batch under way is finished.
///
/// It looks at least every `tick`, at each boundary, and whenever `changes` moves, which it does with every committed
/// change that anybody hears of. `looked` is called with each look that found something to do.
pub async fn run(
    database: &Database,
    tick: Duration,
    mut changes: watch::Receiver<u64>,
    looked: impl Fn(&Look),
    mut shutdown: watch::Receiver<bool>,
) {
    let mut failures = 0;
    let mut batch = BATCH;
    while !*shutdown.borrow() {
        let begun = Instant::now();
        // The look sees whatever was committed before it; only what comes later is a reason for another.
        changes.mark_unchanged();
        let next = match look(database, batch).await {
            Ok(found) => {
                if failures > 0 {
                    tracing::info!(failures, "the scheduler settles again");
                }
                failures = 0;
                batch = BATCH.min(batch * 2);
                if found.did_something {
                    looked(&found);
                    continue;
                }
                let wait = found.wait_milliseconds.map_or(tick, Duration::from_millis);
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

/// What one look came to.
pub struct Look {
    /// Whether there may be more of it.
    did_something: bool,
    /// What became of the balances.
    pub lease: Lease,
    /// How long they took.
    pub elapsed: Duration,
    /// Plans that became current.
    pub plans_applied: u32,
    /// Plans that could not, and are set aside.
    pub plans_failed: u32,
    /// Until the next boundary or change of a plan. `None`: the clock will bring none.
    wait_milliseconds: Option<u64>,
}

/// Takes what is due of both kinds. What fails by itself is logged, and set aside by the procedures.
async fn look(database: &Database, batch: u32) -> Result<Look, Error> {
    let changes = billing::apply_due_assignments(database, PLAN_BATCH).await?;
    if changes.failed > 0 {
        tracing::error!(
            failed = changes.failed,
            applied = changes.applied,
            "scheduled plans could not be made current, and are set aside with their error"
        );
    }
    let begun = Instant::now();
    let lease = entitlement::lease_due(database, batch).await?;
    if lease.failed > 0 {
        tracing::error!(
            failed = lease.failed,
            settled = lease.settled,
            "balances could not be settled, and are set aside with their error"
        );
    }
    Ok(Look {
        did_something: changes.applied + changes.failed + lease.leased > 0,
        wait_milliseconds: [changes.wait_milliseconds, lease.wait_milliseconds]
            .into_iter()
            .flatten()
            .min(),
        elapsed: begun.elapsed(),
        plans_applied: changes.applied,
        plans_failed: changes.failed,
        lease,
    })
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

//! The reading side: polls the outbox, and prunes it.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Relay;
use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement;

/// Pause of an idle relay. What another writer commits waits for half of it on average; ten small calls a second are
/// nothing to a server.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// Shortest time between the beginnings of two polls. Under load this gateway commits hundreds of times a second, and
/// what is committed within this time shares one poll.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Outbox rows per poll. With [`BUSY_PAUSE`] more than a server can commit, and few enough for a reader's buffer.
pub(super) const POLL_CHANGES: u32 = 256;

/// Pauses after a failed poll double from [`IDLE_PAUSE`] to this, so that a database that comes back is found at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Time between two prunings.
const PRUNE_PAUSE: Duration = Duration::from_secs(60);

/// Age from which changes go: a reader that was away for a day refetches everything anyway.
const KEEP_SECONDS: u32 = 86_400;

/// Rows per pruning, to keep its transaction short: some 160 changes a second can come in for ever before more are left.
const PRUNE_CHANGES: u32 = 10_000;

impl Relay {
    /// Relays changes for as long as it is polled. It never ends by itself: while the database is away it tries again,
    /// and goes on from its position when it is back, so that nothing is lost.
    pub async fn run(&self, database: &Database) {
        tokio::join!(self.tail(database), prune(database));
    }

    async fn tail(&self, database: &Database) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            match self.poll(database).await {
                Ok(is_end) => {
                    if failures > 0 {
                        tracing::info!(failures, "the relay reads the outbox again");
                    }
                    failures = 0;
                    if is_end {
                        // Without readers nobody hurries.
                        let reason = if self.hub.has_readers() {
                            &self.hub.written
                        } else {
                            &self.hub.joined
                        };
                        tokio::select! { () = sleep(IDLE_PAUSE) => (), () = reason.notified() => () }
                    }
                    sleep_until(begun + BUSY_PAUSE).await;
                }
                Err(error) => {
                    // Once, not at every attempt: readiness says that it goes on.
                    if failures == 0 {
                        tracing::warn!(%error, "the relay cannot read the outbox, and tries again");
                    }
                    sleep(LONGEST_PAUSE.min(IDLE_PAUSE * 2_u32.pow(failures.min(8)))).await;
                    failures += 1;
                }
            }
        }
    }

    /// Reads on from the position. Gives whether that was the end of the outbox.
    async fn poll(&self, database: &Database) -> Result<bool, Error> {
        // Only this task moves the position.
        let position = self.hub.lock().position;
        // Without readers nothing is fetched: it is enough to know where the outbox stands.
        let after = self.hub.has_readers().then_some(position);
        let (outbox, changes) = entitlement::changes_since(database, after, None, POLL_CHANGES).await?;
        if !outbox.goes_on_after(position) {
            let now = outbox.last_sequence_no;
            tracing::warn!(
                position,
                now,
                "the outbox does not go on from here, so every reader fetches anew: it was restarted, is another database's, or was not read for as long as it keeps changes"
            );
            self.hub.restart_at(now);
            return Ok(false);
        }
        if after.is_none() {
            return Ok(self.hub.skip_to(outbox.last_sequence_no));
        }
        let read_to = outbox.read_to_sequence_no;
        let is_end = read_to == outbox.last_sequence_no && read_to - position < u64::from(POLL_CHANGES);
        self.hub.publish(changes, read_to, is_end);
        Ok(is_end)
    }
}

/// All gateways prune; what one has deleted, another does not find.
async fn prune(database: &Database) {
    loop {
        sleep(PRUNE_PAUSE).await;
        match entitlement::prune_changes(database, KEEP_SECONDS, PRUNE_CHANGES).await {
            Ok(0) => (),
            Ok(deleted) => tracing::debug!(deleted, "pruned the outbox"),
            Err(error) => tracing::warn!(%error, "cannot prune the outbox"),
        }
    }
}

//! The bootstrap's part of a deployment: where a run stops for data from elsewhere to be loaded, what it says when the
//! bootstrap refuses that data, and the balances that are due afterwards.

use mysql_async::{Conn, prelude::Queryable};
use refinery::Target;

use super::decode;
use super::deploy::{Patience, Progress, Run};
use super::state::Difference;
use crate::error::Error;

/// The migration that makes the bootstrap's input table, the last before it reads.
const INPUT_TABLE: &str = "billing_bootstrap_entitlements";

/// Settles what is due.
const LEASE: &str = "entitlement_lease_due_v1";

/// Balances per call, some milliseconds each.
const BATCH: u64 = 100;

impl Run<'_> {
    /// How far to go so that data can be loaded. Where the bootstrap has run, there is nothing to load for, and that is said.
    pub(super) fn before_bootstrap(&mut self, differences: &[Difference]) -> Result<Target, Error> {
        let mut migrations: Vec<_> = self.release.migrations().iter().collect();
        migrations.sort();
        let input = migrations
            .iter()
            .position(|migration| migration.name() == INPUT_TABLE)
            .ok_or_else(|| Error::Internal("this release has no bootstrap".into()))?;
        let is_pending = |name: &str| {
            differences
                .iter()
                .any(|found| matches!(found, Difference::PendingMigration(pending) if pending == name))
        };
        if migrations[input + 1..]
            .iter()
            .all(|later| !is_pending(&later.to_string()))
        {
            self.report
                .notices
                .push("the bootstrap has run on this database: it reads nothing that is loaded from now on".into());
        }
        Ok(Target::Version(migrations[input].version()))
    }

    /// Settles all balances that are due. The bootstrap leaves its own so, as the rules of balances are the procedures'.
    pub(super) async fn settle_due(&mut self, conn: &mut Conn) -> Result<(), Error> {
        if self.release.routines().iter().all(|routine| routine.name() != LEASE) {
            return Ok(());
        }
        let due: Option<u64> = conn
            .query_first("SELECT COUNT(*) FROM billing_entitlement_balances WHERE due_at <= UTC_TIMESTAMP(3)")
            .await
            .map_err(decode)?;
        let total = due.unwrap_or(0);
        let (mut done, mut failed) = (0, 0);
        let mut patience = Patience::new();
        // Gateways may be at work, too: it ends with the first look that finds nothing to take.
        loop {
            (self.progress)(Progress::Opening {
                done,
                total: total.max(done),
            });
            let lease: (u64, u64, u64) = match lease(conn).await {
                Ok(lease) => lease,
                Err(error) if patience.outlasts(Some(&error), "a balance", self.progress).await => continue,
                Err(error) => return Err(decode(error)),
            };
            let (leased, settled, set_aside) = lease;
            self.report.settled += settled;
            (done, failed) = (done + leased, failed + set_aside);
            if leased == 0 {
                break;
            }
        }
        if failed > 0 {
            self.report.notices.push(format!(
                "{failed} balances could not be settled and are set aside with their error: CALL operator_failing_v1(100)"
            ));
        }
        Ok(())
    }
}

/// One batch: how many were taken, settled, and set aside.
async fn lease(conn: &mut Conn) -> mysql_async::Result<(u64, u64, u64)> {
    let row: Option<mysql_async::Row> = conn.query_first(format!("CALL {LEASE}({BATCH})")).await?;
    let number = |name: &str| row.as_ref().and_then(|row| row.get(name)).unwrap_or(0);
    Ok((number("leased"), number("settled"), number("failed")))
}

/// What the bootstrap said of the data, with what to do next, as one line.
pub(super) fn refused_by_bootstrap(error: Option<&mysql_async::Error>) -> Option<Error> {
    match error {
        Some(mysql_async::Error::Server(error)) if error.message.starts_with("BOOTSTRAP_") => {
            Some(Error::Internal(format!(
                "{}. Nothing of your data was changed: mend this row, then run consumable migrate again",
                error.message
            )))
        }
        _ => None,
    }
}

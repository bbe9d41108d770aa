//! `sql/operator/`: what operators ask.

use mysql_async::prelude::FromRow;

use crate::database::Database;
use crate::error::Error;

/// What the database says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_health_v1")]
pub struct Health {
    pub balances_aside: u32,
    pub highest_failure_count: u32,
    /// 10,000 at most.
    pub balances_due: u32,
    pub oldest_due_milliseconds: u64,
    pub last_sequence_no: u64,
    /// 10,000 at most.
    pub unnumbered_changes: u32,
}

/// Asks what is set aside, what is due, and where the outbox stands.
///
/// # Errors
/// As [`Database::call`].
pub async fn health(database: &Database) -> Result<Health, Error> {
    database.call("operator_health_v1", ()).await?.row()
}

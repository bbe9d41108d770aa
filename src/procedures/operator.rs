//! `sql/operator/`: what operators ask.

use chrono::NaiveDateTime;
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

/// What one call moved to the archive, and where the next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_archive_v1")]
pub struct Archived {
    pub moved: u32,
    /// None: nothing is left to move.
    pub next_subject_id: Option<u64>,
    /// None: there is no billable entity.
    pub last_subject_id: Option<u64>,
}

/// Moves uses of segments that were closed by `before`, `limit` at most, of the billable entities from `first` to `last`, with the rights of the
/// connection's own account.
///
/// # Errors
/// As [`Database::call`]; [`Error::Internal`] when the account may not delete from the ledger.
pub async fn archive(
    database: &Database,
    before: NaiveDateTime,
    limit: u32,
    first: Option<u64>,
    last: Option<u64>,
) -> Result<Archived, Error> {
    database
        .call("operator_archive_v1", (before, limit, first, last))
        .await?
        .row()
}

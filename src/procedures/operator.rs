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
    pub lock_changes: u64,
    pub last_grant_id: u64,
}

/// Asks what is set aside, what is due, where the outbox stands, and how many locks and grants there were.
///
/// # Errors
/// As [`Database::call`].
pub async fn health(database: &Database) -> Result<Health, Error> {
    database.read("operator_health_v1", ()).await?.row()
}

/// A balance that the clock will change, or should have changed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_due_v1")]
pub struct Due {
    pub subject_id: u64,
    pub entity_ref: String,
    pub code: String,
    pub next_change_at: Option<NaiveDateTime>,
    pub due_at: NaiveDateTime,
    pub is_due: bool,
    pub failure_count: u32,
    pub last_failure: Option<String>,
    pub retry_at: Option<NaiveDateTime>,
}

/// A balance that was set aside, because it could not be settled.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_failing_v1")]
pub struct Failing {
    pub subject_id: u64,
    pub entity_ref: String,
    pub code: String,
    pub failure_count: u32,
    pub last_failure: Option<String>,
    pub next_change_at: Option<NaiveDateTime>,
    pub retry_at: Option<NaiveDateTime>,
}

/// A settlement that the clock caused, and how late it was.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_late_v1")]
pub struct Late {
    pub subject_id: u64,
    pub entity_ref: String,
    pub code: String,
    pub cause: String,
    pub settled_at: NaiveDateTime,
    pub recorded_at: NaiveDateTime,
    pub late_milliseconds: i64,
}

/// A balance that is over its limit.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_over_limit_v1")]
pub struct OverLimit {
    pub subject_id: u64,
    pub entity_ref: String,
    pub code: String,
    pub granted_amount: i64,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub effective_amount: i64,
    pub next_change_at: Option<NaiveDateTime>,
}

/// A change of a plan that is to come.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_plan_changes_v1")]
pub struct PlanChange {
    pub assignment_id: u64,
    pub subject_id: u64,
    pub entity_ref: String,
    pub plan_code: String,
    pub quantity: u32,
    pub effective_at: NaiveDateTime,
    pub due_at: NaiveDateTime,
    pub is_due: bool,
    pub failure_count: u32,
    pub last_failure: Option<String>,
    pub retry_at: Option<NaiveDateTime>,
}

/// A grant that is not over, with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_grants_v1")]
pub struct GrantRest {
    pub code: String,
    pub grant_id: u64,
    pub grant_kind: String,
    pub grant_state: String,
    pub priority: u8,
    pub effective_at: NaiveDateTime,
    pub ends_at: Option<NaiveDateTime>,
    pub amount: i64,
    pub given_amount: i64,
    pub remaining_amount: Option<i64>,
}

/// A procedure as the deployment recorded it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of operator_procedures_v1")]
pub struct Installed {
    pub routine: String,
    pub release_version: String,
    pub content_sha256: String,
    pub installed_at: NaiveDateTime,
    pub installed_by: String,
    pub is_edited: bool,
}

/// Up to `limit` (1 to 10,000) balances by when the clock changes them.
///
/// # Errors
/// As [`Database::call`].
pub async fn due(database: &Database, limit: u32) -> Result<Vec<Due>, Error> {
    database.read("operator_due_v1", (limit,)).await?.rows()
}

/// Up to `limit` (1 to 10,000) balances that were set aside, the most often failed first.
///
/// # Errors
/// As [`Database::call`].
pub async fn failing(database: &Database, limit: u32) -> Result<Vec<Failing>, Error> {
    database.read("operator_failing_v1", (limit,)).await?.rows()
}

/// Up to `limit` (1 to 10,000) settlements of the last 24 hours, the latest first.
///
/// # Errors
/// As [`Database::call`].
pub async fn late(database: &Database, limit: u32) -> Result<Vec<Late>, Error> {
    database.read("operator_late_v1", (limit,)).await?.rows()
}

/// Up to `limit` (1 to 10,000) balances that are over their limit, the furthest first.
///
/// # Errors
/// As [`Database::call`].
pub async fn over_limit(database: &Database, limit: u32) -> Result<Vec<OverLimit>, Error> {
    database.read("operator_over_limit_v1", (limit,)).await?.rows()
}

/// Up to `limit` (1 to 10,000) scheduled changes of plans, by when they are due.
///
/// # Errors
/// As [`Database::call`].
pub async fn plan_changes(database: &Database, limit: u32) -> Result<Vec<PlanChange>, Error> {
    database.read("operator_plan_changes_v1", (limit,)).await?.rows()
}

/// A subject's grants that are not over, in burn order.
///
/// # Errors
/// As [`Database::call`].
pub async fn grants(database: &Database, subject_id: u64) -> Result<Vec<GrantRest>, Error> {
    database.read("operator_grants_v1", (subject_id,)).await?.rows()
}

/// The installed procedures, by name.
///
/// # Errors
/// As [`Database::call`].
pub async fn procedures(database: &Database) -> Result<Vec<Installed>, Error> {
    database.read("operator_procedures_v1", ()).await?.rows()
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

//! What nobody asks for by a request: what is due, and the proof that the projections are the ledger.

use std::time::Duration;

use mysql_async::prelude::FromRow;

use crate::database::Database;
use crate::error::Error;

/// How long [`verify`] may take: it reads every use there ever was, some millions a minute.
const VERIFY_DEADLINE: Duration = Duration::from_secs(12 * 3_600);

/// How long [`verify_page`] may take: subjects with many uses are among its thousand at most, and somebody waits.
const VERIFY_PAGE_DEADLINE: Duration = Duration::from_secs(120);

/// What one run over the due balances did, and when the next is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Lease {
    /// Balances that were taken: those settled and those that failed.
    pub leased: u32,
    /// Those whose boundaries are passed.
    pub settled: u32,
    /// Those that were set aside with their error.
    pub failed: u32,
    /// Until the next boundary, by the database's clock. `None`: the clock will bring none.
    pub wait_milliseconds: Option<u64>,
}

/// A projected number that is not what the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_verify_v1")]
pub struct Mismatch {
    pub subject_id: u64,
    pub definition_id: u32,
    pub code: String,
    pub what: String,
    pub number: Option<u64>,
    pub projected: Option<i64>,
    pub ledger: Option<i64>,
}

/// How far a verification by pages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_verify_page_v1")]
pub struct Verified {
    pub checked_subjects: u32,
    pub last_id: Option<u64>,
    pub highest_id: Option<u64>,
}

/// Takes up to `limit` (1 to 1,000) balances whose boundary has passed, and settles them.
///
/// # Errors
/// As [`Database::call`]. A balance that cannot be settled is counted, and is no error.
pub async fn lease_due(database: &Database, limit: u32) -> Result<Lease, Error> {
    database.call("entitlement_lease_due_v1", (limit,)).await?.row()
}

/// Compares every projected number with the ledger, of one subject or of all. No rows is the proof.
///
/// # Errors
/// As [`Database::call`].
pub async fn verify(database: &Database, subject_id: Option<u64>) -> Result<Vec<Mismatch>, Error> {
    database
        .call_within(VERIFY_DEADLINE, "entitlement_verify_v1", (subject_id,))
        .await?
        .rows()
}

/// As [`verify`], of up to `limit` (1 to 1,000) subjects from the one after `after_id`.
///
/// # Errors
/// As [`Database::call`].
pub async fn verify_page(
    database: &Database,
    after_id: Option<u64>,
    limit: u32,
) -> Result<(Verified, Vec<Mismatch>), Error> {
    let mut sets = database
        .call_within(VERIFY_PAGE_DEADLINE, "entitlement_verify_page_v1", (after_id, limit))
        .await?;
    Ok((sets.row()?, sets.rows()?))
}

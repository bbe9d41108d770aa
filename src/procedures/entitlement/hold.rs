//! Amounts that are set aside for a while.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};

use super::{Limitation, Refusal, rule};
use crate::database::Database;
use crate::error::Error;

/// What [`hold`] is given.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parameters of entitlement_hold_v1")]
pub struct HoldFields<'a> {
    pub subject_id: u64,
    pub capability: Option<&'a str>,
    pub limitation_code: Option<&'a str>,
    pub amount: Option<i64>,
    pub ttl_seconds: Option<i32>,
    pub usage_event_key: Option<&'a str>,
    pub reason_code: Option<&'a str>,
    pub metadata: Option<&'a serde_json::Value>,
}

/// An amount that was set aside, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_show_hold_in_tx_v1")]
pub struct Hold {
    pub hold_id: u64,
    pub subject_id: u64,
    pub code: String,
    pub hold_amount: i64,
    pub status: String,
    pub usage_event_key: String,
    pub reason_code: Option<String>,
    pub created_at: NaiveDateTime,
    pub expires_at: NaiveDateTime,
    pub committed_amount: Option<i64>,
    pub resolved_at: Option<NaiveDateTime>,
}

/// A hold with the limitation that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whether an earlier call did the same; this one wrote nothing.
    pub replayed: bool,
    /// The hold.
    pub hold: Hold,
    /// The limitation as the hold, or its resolution, left it.
    pub limitation: Limitation,
}

/// What became of a request for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldOutcome {
    /// It is set aside.
    Accepted(Box<Held>),
    /// The limit leaves no room. Nothing is set aside.
    Refused(Box<Refusal>),
}

/// The columns that say which of the others have values.
#[derive(FromRow)]
struct Verdict {
    replayed: bool,
    problem: Option<String>,
    requested_amount: i64,
    retry_after_seconds: Option<u64>,
    used_amount: i64,
    over_by_amount: i64,
}

impl FromRow for Held {
    fn from_row_opt(row: Row) -> Result<Held, FromRowError> {
        Ok(Held {
            replayed: Verdict::from_row_opt(row.clone())?.replayed,
            hold: Hold::from_row_opt(row.clone())?,
            limitation: Limitation::from_row_opt(row)?,
        })
    }
}

impl FromRow for HoldOutcome {
    fn from_row_opt(row: Row) -> Result<HoldOutcome, FromRowError> {
        let verdict = Verdict::from_row_opt(row.clone())?;
        let Some(problem) = verdict.problem else {
            return Ok(HoldOutcome::Accepted(Box::new(Held::from_row_opt(row)?)));
        };
        Ok(HoldOutcome::Refused(Box::new(Refusal {
            error: rule(&problem),
            amount: verdict.requested_amount,
            used_amount: verdict.used_amount,
            over_by_amount: verdict.over_by_amount,
            retry_after_seconds: verdict.retry_after_seconds,
            limitation: Limitation::from_row_opt(row)?,
        })))
    }
}

/// Sets an amount aside for a while.
///
/// # Errors
/// As the procedure says, and as [`Database::call`]. Want of room is an outcome.
pub async fn hold(database: &Database, fields: HoldFields<'_>) -> Result<HoldOutcome, Error> {
    database
        .call(
            "entitlement_hold_v1",
            (
                fields.subject_id,
                fields.capability,
                fields.limitation_code,
                fields.amount,
                fields.ttl_seconds,
                fields.usage_event_key,
                fields.reason_code,
                fields.metadata.map(serde_json::Value::to_string),
            ),
        )
        .await?
        .row()
}

/// Makes a use of a hold, of all of it or of `amount`. The rest returns.
///
/// # Errors
/// `HOLD_NOT_FOUND`, `HOLD_ALREADY_RESOLVED`, `HOLD_EXPIRED`, `HOLD_AMOUNT_EXCEEDED`, and as [`Database::call`].
pub async fn commit_hold(database: &Database, hold_id: u64, amount: Option<i64>) -> Result<Held, Error> {
    database
        .call("entitlement_commit_hold_v1", (hold_id, amount))
        .await?
        .row()
}

/// Gives back all that a hold set aside.
///
/// # Errors
/// `HOLD_NOT_FOUND`, `HOLD_ALREADY_RESOLVED`, `HOLD_EXPIRED`, and as [`Database::call`].
pub async fn release_hold(database: &Database, hold_id: u64) -> Result<Held, Error> {
    database.call("entitlement_release_hold_v1", (hold_id,)).await?.row()
}

/// One hold as it is now.
///
/// # Errors
/// `HOLD_NOT_FOUND`, and as [`Database::call`].
pub async fn find_hold(database: &Database, hold_id: u64) -> Result<Held, Error> {
    database.read("entitlement_find_hold_v1", (hold_id,)).await?.row()
}

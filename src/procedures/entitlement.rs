//! `sql/entitlement/`: limits, grants, uses, and the outbox of changes.

mod check;
mod definitions;
mod gate;
mod hold;
mod ledger;
mod outbox;
mod upkeep;

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};
use serde::Serialize;

use crate::database::Database;
use crate::error::{Code, Error};

pub use check::{CheckItem, CheckOutcome, CheckVerdict, Pair, check, check_batch};
pub use definitions::{Definition, find_definition, list_definitions, put_definition};
pub use gate::{Gate, gate};
pub use hold::{Held, Hold, HoldFields, HoldOutcome, commit_hold, find_hold, hold, release_hold};
pub use ledger::{Fact, Gift, LedgerEntry, Point, history, ledger};
pub use outbox::{Change, OutboxState, changes_since, prune_changes};
pub use upkeep::{Lease, Mismatch, Verified, lease_due, verify, verify_page};

/// What a subject may use of one definition.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_limitations_v1")]
pub struct Limitation {
    pub subject_id: u64,
    pub generated_at: NaiveDateTime,
    pub code: String,
    pub name: String,
    pub entitlement_type: String,
    pub enforcement_mode: String,
    pub unit: String,
    pub scale: u8,
    pub window_interval: Option<String>,
    pub window_anchor: Option<String>,
    pub granted_amount: i64,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub effective_amount: i64,
    pub available_amount: i64,
    pub hard_limit_amount: Option<i64>,
    pub over_limit: bool,
    pub lock_state: String,
    pub next_change_at: Option<NaiveDateTime>,
    pub window_start_at: Option<NaiveDateTime>,
    pub window_end_at: Option<NaiveDateTime>,
    pub last_recomputed_at: Option<NaiveDateTime>,
}

/// One grant, with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_show_grant_in_tx_v1")]
pub struct Grant {
    pub id: u64,
    pub subject_id: u64,
    pub code: String,
    pub grant_kind: String,
    pub amount: i64,
    pub priority: u8,
    pub effective_at: NaiveDateTime,
    pub expires_at: Option<NaiveDateTime>,
    pub revoked_at: Option<NaiveDateTime>,
    pub grant_state: String,
    pub given_amount: i64,
    pub remaining_amount: Option<i64>,
    pub source: String,
    pub plan_assignment_id: Option<u64>,
    pub purchase_id: Option<u64>,
    pub reason: Option<String>,
    pub created_by: String,
    pub created_at: NaiveDateTime,
    pub replayed: bool,
}

/// What [`grant`] is given.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parameters of entitlement_grant_v1")]
pub struct GrantFields<'a> {
    pub subject_id: u64,
    pub code: &'a str,
    pub amount: i64,
    pub grant_kind: &'a str,
    pub effective_at: Option<NaiveDateTime>,
    pub expires_at: Option<NaiveDateTime>,
    pub priority: Option<i16>,
    pub idempotency_key: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub created_by: &'a str,
}

/// A request to use something: its items are booked all together or not at all.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the parameters of entitlement_consume_v1")]
pub struct ConsumeRequest {
    pub subject_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_event_key: Option<String>,
    pub items: Vec<ConsumeItem>,
}

/// What a [`ConsumeRequest`] wants of one definition.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the parameters of entitlement_consume_v1")]
pub struct ConsumeItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limitation_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_sql")]
    pub occurred_at: Option<NaiveDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

fn as_sql<S: serde::Serializer>(instant: &Option<NaiveDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    instant
        .map(|instant| instant.format("%Y-%m-%d %H:%M:%S%.3f").to_string())
        .serialize(serializer)
}

/// What became of one item of a [`ConsumeRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemOutcome {
    /// Place of its request in the call, from 1.
    pub request_no: u32,
    /// What became of its request.
    pub outcome: Outcome,
}

/// What became of a [`ConsumeRequest`], as one of its items tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is booked.
    Accepted {
        /// Whether it was booked by an earlier request with the same key; this one wrote nothing.
        replayed: bool,
        /// `SOFT_LIMIT_EXCEEDED`, when the item went over a limit that only warns.
        warning: Option<String>,
        /// What was booked for this item.
        consumption: Consumption,
        /// The limitation as this use left it.
        limitation: Limitation,
    },
    /// A limit leaves no room. Nothing is booked.
    Refused {
        /// Whether this item's limit is the one that refused.
        refused_by_this: bool,
        /// Why, and what would help.
        refusal: Refusal,
    },
    /// The request is wrong. Nothing is booked.
    Failed(Error),
}

/// Why a limit leaves no room, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule refused.
    pub error: Error,
    /// What was asked for.
    pub amount: i64,
    /// What is consumed and held.
    pub used_amount: i64,
    /// By how much what was asked for is more than there is: how much must go before it fits.
    pub over_by_amount: i64,
    /// Seconds until time helps; `None` where it does not.
    pub retry_after_seconds: Option<u64>,
    /// The limitation as it is.
    pub limitation: Limitation,
}

/// One use, as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_consume_v1")]
pub struct Consumption {
    pub code: String,
    pub amount: i64,
    pub usage_event_key: String,
    pub reason_code: Option<String>,
    /// Its number among the uses of its limit; a capacity's count has none.
    pub sequence_no: Option<u64>,
    pub occurred_at: NaiveDateTime,
    pub posted_at: NaiveDateTime,
}

/// The columns that say which of the others have values.
#[derive(FromRow)]
struct Verdict {
    request_no: u32,
    outcome: String,
    replayed: bool,
    problem: Option<String>,
    refused_code: Option<String>,
    code: Option<String>,
    amount: Option<i64>,
    warning: Option<String>,
    retry_after_seconds: Option<u64>,
    used_amount: Option<i64>,
    over_by_amount: Option<i64>,
}

impl FromRow for ItemOutcome {
    fn from_row_opt(row: Row) -> Result<ItemOutcome, FromRowError> {
        let verdict = Verdict::from_row_opt(row.clone())?;
        let problem = verdict.problem.as_deref().map(rule);
        let amounts = verdict.amount.zip(verdict.used_amount).zip(verdict.over_by_amount);
        let outcome = match (verdict.outcome.as_str(), problem, amounts) {
            ("accepted", None, _) => Outcome::Accepted {
                replayed: verdict.replayed,
                warning: verdict.warning,
                consumption: Consumption::from_row_opt(row.clone())?,
                limitation: Limitation::from_row_opt(row)?,
            },
            ("refused", Some(error), Some(((amount, used_amount), over_by_amount))) => Outcome::Refused {
                refused_by_this: verdict.refused_code == verdict.code,
                refusal: Refusal {
                    error,
                    amount,
                    used_amount,
                    over_by_amount,
                    retry_after_seconds: verdict.retry_after_seconds,
                    limitation: Limitation::from_row_opt(row)?,
                },
            },
            ("failed", Some(error), _) => Outcome::Failed(error),
            _ => return Err(FromRowError(row)),
        };
        Ok(ItemOutcome {
            request_no: verdict.request_no,
            outcome,
        })
    }
}

/// Reads a problem in a row, which has the text that a SIGNAL would have, but no number.
fn rule(problem: &str) -> Error {
    let name = problem.split(':').next().unwrap_or_default();
    Code::ALL
        .iter()
        .find(|code| code.name() == name)
        .and_then(|code| Error::from_signal(code.number(), problem))
        .unwrap_or_else(|| Error::Internal(format!("a procedure answered {problem:?}")))
}

/// What a subject may use now: of every active definition, or of those that were ever granted to it or used by it.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, and as [`Database::call`].
pub async fn limitations(
    database: &Database,
    subject_id: u64,
    code: Option<&str>,
    held_only: bool,
) -> Result<Vec<Limitation>, Error> {
    database
        .call("entitlement_limitations_v1", (subject_id, code, held_only))
        .await?
        .rows()
}

/// Rebuilds a subject's projections from the ledger.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, and as [`Database::call`].
pub async fn recompute(database: &Database, subject_id: u64) -> Result<Vec<Limitation>, Error> {
    database.call("entitlement_recompute_v1", (subject_id,)).await?.rows()
}

/// Makes one grant by hand, and gives it with the limitation it changed.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn grant(database: &Database, fields: GrantFields<'_>) -> Result<(Grant, Limitation), Error> {
    let mut sets = database
        .call(
            "entitlement_grant_v1",
            (
                fields.subject_id,
                fields.code,
                fields.amount,
                fields.grant_kind,
                fields.effective_at,
                fields.expires_at,
                fields.priority,
                fields.idempotency_key,
                fields.reason,
                fields.created_by,
            ),
        )
        .await?;
    Ok((sets.row()?, sets.row()?))
}

/// Ends one grant early by hand, and gives it with the limitation it changed.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn revoke(
    database: &Database,
    grant_id: u64,
    idempotency_key: Option<&str>,
    reason: Option<&str>,
    created_by: &str,
) -> Result<(Grant, Limitation), Error> {
    let mut sets = database
        .call("entitlement_revoke_v1", (grant_id, idempotency_key, reason, created_by))
        .await?;
    Ok((sets.row()?, sets.row()?))
}

/// Decides 1 to 1,000 requests in one commit, and gives an outcome per item, in the order of requests and items.
///
/// # Errors
/// `VALIDATION_FAILED` for the call as a whole, and as [`Database::call`]. What is wrong with one request is its outcome.
pub async fn consume(database: &Database, requests: &[ConsumeRequest]) -> Result<Vec<ItemOutcome>, Error> {
    let requests = serde_json::to_string(requests)
        .map_err(|error| Error::Internal(format!("consume requests have no JSON: {error}")))?;
    database.call("entitlement_consume_v1", (requests,)).await?.rows()
}

/// Writes how many of a resource a subject has, and gives the limitation that counts it.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn recount(
    database: &Database,
    subject_id: u64,
    resource_code: &str,
    count: Option<i64>,
) -> Result<Limitation, Error> {
    database
        .call("entitlement_recount_v1", (subject_id, resource_code, count))
        .await?
        .row()
}

/// Gives back some of a resource, and gives the limitation that counts it, as it is now.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn give_back(
    database: &Database,
    subject_id: u64,
    resource_code: &str,
    amount: Option<i64>,
    usage_event_key: Option<&str>,
) -> Result<Limitation, Error> {
    database
        .call(
            "entitlement_give_back_v1",
            (subject_id, resource_code, amount, usage_event_key),
        )
        .await?
        .row()
}

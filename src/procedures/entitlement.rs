//! `sql/entitlement/`: limits, grants, uses, and the outbox of changes.

mod check;
mod consume;
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

use crate::database::{Database, ResultSets};
use crate::error::{Code, Error};
use crate::procedures::billing::BillableEntity;

pub use check::{CheckItem, CheckOutcome, CheckVerdict, Pair, check, check_batch};
pub use consume::{ConsumeItem, ConsumeRequest, Consumption, EncodedRequest, ItemOutcome, Outcome, consume};
pub use definitions::{Definition, find_definition, list_definitions, put_definition};
pub use gate::{Gate, gate};
pub use hold::{Held, Hold, HoldFields, HoldOutcome, commit_hold, find_hold, hold, release_hold};
pub use ledger::{Fact, Gift, LedgerEntry, Point, history, ledger};
pub use outbox::{Change, ChangedWorkspace, OutboxState, changes_since, prune_changes};
pub use upkeep::{Lease, Mismatch, Verified, lease_due, verify, verify_page};

/// What a subject may use of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl FromRow for Limitation {
    fn from_row_opt(mut row: Row) -> Result<Self, FromRowError> {
        let limitation = from_columns!(row.take_opt => Limitation {
            subject_id, generated_at, code, name, entitlement_type, enforcement_mode, unit, scale,
            window_interval, window_anchor, granted_amount, consumed_amount, held_amount,
            effective_amount, available_amount, hard_limit_amount, over_limit, lock_state,
            next_change_at, window_start_at, window_end_at, last_recomputed_at,
        });
        limitation.ok_or(FromRowError(row))
    }
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

/// Reads a problem in a row, which has the text that a SIGNAL would have, but no number.
fn rule(problem: &str) -> Error {
    let name = problem.split(':').next().unwrap_or_default();
    Code::ALL
        .iter()
        .find(|code| code.name() == name)
        .and_then(|code| Error::from_signal(code.number(), problem))
        .unwrap_or_else(|| Error::Internal(format!("a procedure answered {problem:?}")))
}

/// What a read gives, and how many balances were due before it, which it settled first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh<T> {
    /// What it gives.
    pub rows: Vec<T>,
    /// Balances that were due.
    pub refreshed: u32,
}

/// Takes the rows of a read, and how many balances it refreshed, which it says only where there were some.
fn fresh<T: FromRow>(mut sets: ResultSets) -> Result<Fresh<T>, Error> {
    let rows = sets.rows()?;
    let refreshed = match sets.remaining() {
        0 => 0,
        _ => sets.row::<(u32,)>()?.0,
    };
    Ok(Fresh { rows, refreshed })
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
) -> Result<Fresh<Limitation>, Error> {
    let sets = database
        .call("entitlement_limitations_v1", (subject_id, code, held_only))
        .await?;
    fresh(sets)
}

/// Whose limitations are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitationsRequest {
    /// The billable entity.
    pub subject_id: u64,
    /// Only definitions that were ever granted to it or used by it.
    pub held_only: bool,
}

/// A subject, with what it may use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectLimitations {
    /// The subject.
    pub entity: BillableEntity,
    /// What it may use.
    pub limitations: Vec<Limitation>,
    /// The clock has changed some of it, which is not settled: not to be told. [`limitations`] settles it first.
    pub is_due: bool,
}

/// What 1 to 100 subjects may use now, in the order of the requests; `None` where there is no such subject.
///
/// # Errors
/// As [`Database::call`].
pub async fn limitations_batch(
    database: &Database,
    requests: &[LimitationsRequest],
) -> Result<Vec<Option<SubjectLimitations>>, Error> {
    let json = serde_json::to_string(requests)
        .map_err(|error| Error::Internal(format!("requests for limitations have no JSON: {error}")))?;
    let mut sets = database.read("entitlement_limitations_batch_v1", (json,)).await?;
    let mut answers = vec![None; requests.len()];
    for Numbered {
        request_no,
        row: entity,
    } in sets.rows::<Numbered<BillableEntity>>()?
    {
        *answer_of(&mut answers, request_no)? = Some(SubjectLimitations {
            entity,
            limitations: Vec::new(),
            is_due: false,
        });
    }
    for Numbered { request_no, row } in sets.rows::<Numbered<Standing>>()? {
        let answer = answer_of(&mut answers, request_no)?.as_mut();
        let answer = answer.ok_or_else(|| Error::Internal("limitations of nobody".into()))?;
        answer.limitations.push(row.limitation);
        answer.is_due |= row.is_due;
    }
    Ok(answers)
}

/// A row of one of several requests, which are numbered from 1.
struct Numbered<T> {
    request_no: usize,
    row: T,
}

impl<T: FromRow> FromRow for Numbered<T> {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        let Some(request_no) = row.get("request_no") else {
            return Err(FromRowError(row));
        };
        Ok(Numbered {
            request_no,
            row: T::from_row_opt(row)?,
        })
    }
}

/// A limitation, and whether the clock has changed it.
struct Standing {
    limitation: Limitation,
    is_due: bool,
}

impl FromRow for Standing {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        let Some(is_due) = row.get("is_due") else {
            return Err(FromRowError(row));
        };
        Ok(Standing {
            limitation: Limitation::from_row_opt(row)?,
            is_due,
        })
    }
}

fn answer_of<T>(answers: &mut [T], request_no: usize) -> Result<&mut T, Error> {
    let answer = request_no.checked_sub(1).and_then(|place| answers.get_mut(place));
    answer.ok_or_else(|| Error::Internal("an answer to a request that was not made".into()))
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

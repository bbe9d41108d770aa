//! What was ever recorded of a limit, and how it stood over time.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{Deserialized, FromRowError, Row};
use serde::Deserialize;

use crate::database::Database;
use crate::error::Error;

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// When it was recorded; of a settlement, the boundary itself.
    pub entry_at: NaiveDateTime,
    /// What it says.
    pub fact: Fact,
}

/// What a row of the ledger says.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the kinds of entitlement_ledger_v1")]
pub enum Fact {
    Grant(GrantFact),
    Revocation(RevocationFact),
    Consumption(ConsumptionFact),
    Hold(HoldFact),
    HoldResolution(HoldResolutionFact),
    CountChange(CountChangeFact),
    Settlement(SettlementFact),
}

/// A grant was made.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct GrantFact {
    pub grant_id: u64,
    pub grant_kind: String,
    pub amount: i64,
    pub priority: u8,
    pub effective_at: NaiveDateTime,
    pub expires_at: Option<NaiveDateTime>,
    pub source: String,
    pub plan_assignment_id: Option<u64>,
    pub purchase_id: Option<u64>,
    pub reason: Option<String>,
    pub created_by: String,
}

/// A grant was revoked.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct RevocationFact {
    pub grant_id: u64,
    pub revoked_at: NaiveDateTime,
    pub reason: Option<String>,
    pub created_by: String,
}

/// Something was used.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct ConsumptionFact {
    pub amount: i64,
    pub usage_event_key: String,
    pub sequence_no: u64,
    pub reason_code: Option<String>,
    pub occurred_at: NaiveDateTime,
    pub metadata: Option<Deserialized<serde_json::Value>>,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub available_amount: i64,
}

/// An amount was set aside.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct HoldFact {
    pub hold_id: u64,
    pub amount: i64,
    pub usage_event_key: String,
    pub reason_code: Option<String>,
    pub expires_at: NaiveDateTime,
    pub metadata: Option<Deserialized<serde_json::Value>>,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub available_amount: i64,
}

/// A hold was committed or released.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct HoldResolutionFact {
    pub hold_id: u64,
    pub resolution: String,
    pub amount: i64,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub available_amount: i64,
}

/// The count of a resource changed.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct CountChangeFact {
    pub change_kind: String,
    pub amount: i64,
    pub usage_event_key: Option<String>,
    pub reason_code: Option<String>,
    pub occurred_at: NaiveDateTime,
    pub metadata: Option<Deserialized<serde_json::Value>>,
    pub consumed_amount: i64,
    pub held_amount: i64,
    pub available_amount: i64,
}

/// A boundary was passed.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "columns of entitlement_ledger_v1")]
pub struct SettlementFact {
    pub segment_no: u32,
    pub cause: String,
    pub recorded_at: NaiveDateTime,
    pub closed_amount: i64,
    pub closed_allotment_gave: i64,
    pub closed_grants_gave: i64,
    pub overage_paid: i64,
    pub window_start_at: NaiveDateTime,
    pub window_end_at: NaiveDateTime,
    pub granted_amount: i64,
    pub consumed_amount: i64,
    /// In no order.
    pub gave: Option<Deserialized<Vec<Gift>>>,
}

/// What one grant gave at a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "parts of the column `gave`")]
pub struct Gift {
    pub grant_id: u64,
    pub amount: i64,
}

impl FromRow for LedgerEntry {
    fn from_row_opt(row: Row) -> Result<LedgerEntry, FromRowError> {
        #[derive(FromRow)]
        struct Head {
            kind: String,
            entry_at: NaiveDateTime,
        }
        let head = Head::from_row_opt(row.clone())?;
        let fact = match head.kind.as_str() {
            "grant" => Fact::Grant(GrantFact::from_row_opt(row)?),
            "revocation" => Fact::Revocation(RevocationFact::from_row_opt(row)?),
            "consumption" => Fact::Consumption(ConsumptionFact::from_row_opt(row)?),
            "hold" => Fact::Hold(HoldFact::from_row_opt(row)?),
            "hold_resolution" => Fact::HoldResolution(HoldResolutionFact::from_row_opt(row)?),
            "count_change" => Fact::CountChange(CountChangeFact::from_row_opt(row)?),
            "settlement" => Fact::Settlement(SettlementFact::from_row_opt(row)?),
            _ => return Err(FromRowError(row)),
        };
        Ok(LedgerEntry {
            entry_at: head.entry_at,
            fact,
        })
    }
}

/// A page of a limit's ledger, and the cursor of the next one; `None`: that was all. `limit` is 1 to 200.
///
/// # Errors
/// `VALIDATION_FAILED`, `SUBJECT_NOT_FOUND`, `DEFINITION_NOT_FOUND`, and as [`Database::call`].
pub async fn ledger(
    database: &Database,
    subject_id: u64,
    code: &str,
    cursor: Option<&str>,
    limit: u32,
) -> Result<(Vec<LedgerEntry>, Option<String>), Error> {
    let mut sets = database
        .read("entitlement_ledger_v1", (subject_id, code, cursor, limit))
        .await?;
    let (next_cursor,) = sets.row()?;
    Ok((sets.rows()?, next_cursor))
}

/// How a limit stood at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_history_v1")]
pub struct Point {
    pub point_at: NaiveDateTime,
    pub granted_amount: i64,
    pub consumed_amount: i64,
    pub available_amount: i64,
}

/// How a limit stood at each hour or midnight (`step` is `hour` or `day`) from `from` on and before `to`, 1,000 of them at most.
///
/// # Errors
/// `VALIDATION_FAILED`, `SUBJECT_NOT_FOUND`, `DEFINITION_NOT_FOUND`, and as [`Database::call`].
pub async fn history(
    database: &Database,
    subject_id: u64,
    code: &str,
    from: Option<NaiveDateTime>,
    to: Option<NaiveDateTime>,
    step: &str,
) -> Result<Vec<Point>, Error> {
    database
        .read("entitlement_history_v1", (subject_id, code, from, to, step))
        .await?
        .rows()
}

//! Plans of subjects over time.

use chrono::NaiveDateTime;
use mysql_async::Deserialized;
use mysql_async::prelude::FromRow;
use serde::Deserialize;

use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::Limitation;

/// A subject on a plan: it was, is or will be.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_assignment_in_tx_v1")]
pub struct Assignment {
    pub id: u64,
    pub subject_id: u64,
    pub plan_code: String,
    pub plan_name: String,
    pub quantity: u32,
    pub status: String,
    pub effective_at: NaiveDateTime,
    pub ended_at: Option<NaiveDateTime>,
    pub period_start_at: Option<NaiveDateTime>,
    pub period_end_at: Option<NaiveDateTime>,
    pub provider_subscription_id: Option<String>,
    pub failure_count: u32,
    pub last_failure: Option<String>,
    pub retry_at: Option<NaiveDateTime>,
    pub created_by: String,
    pub created_at: NaiveDateTime,
    /// Whether this call made it.
    pub made: bool,
}

/// What [`assign_plan`] is given.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parameters of billing_assign_plan_v1")]
pub struct AssignFields<'a> {
    pub subject_id: u64,
    pub plan_code: &'a str,
    pub quantity: Option<u32>,
    pub effective_at: Option<NaiveDateTime>,
    pub period_start_at: Option<NaiveDateTime>,
    pub period_end_at: Option<NaiveDateTime>,
    pub idempotency_key: Option<&'a str>,
    pub created_by: &'a str,
}

/// An assignment as the subject itself sees it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_plan_state_v1")]
pub struct PlanOfSubject {
    pub id: u64,
    pub plan_code: String,
    pub plan_name: String,
    pub quantity: u32,
    pub status: String,
    pub effective_at: NaiveDateTime,
    pub ended_at: Option<NaiveDateTime>,
    pub period_start_at: Option<NaiveDateTime>,
    pub period_end_at: Option<NaiveDateTime>,
    pub created_at: NaiveDateTime,
}

/// A plan that takes new assignments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of billing_plan_state_v1")]
pub struct AvailablePlan {
    pub plan_code: String,
    pub plan_name: String,
    /// Whether the subject is on it.
    pub is_current: bool,
    /// By code, then kind.
    pub entitlements: Vec<PlanEntitlement>,
}

/// What a template of a plan grants of one definition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the columns of billing_plan_state_v1")]
pub struct PlanEntitlement {
    pub code: String,
    pub name: String,
    pub unit: String,
    pub scale: u8,
    pub window_interval: Option<String>,
    pub grant_kind: String,
    /// Smallest units.
    pub amount: i64,
    pub effective_policy: String,
    pub duration_policy: String,
    pub duration_days: Option<u32>,
}

#[derive(FromRow)]
struct AvailablePlanRow {
    plan_code: String,
    plan_name: String,
    is_current: bool,
    entitlements: Deserialized<Vec<PlanEntitlement>>,
}

impl From<AvailablePlanRow> for AvailablePlan {
    fn from(row: AvailablePlanRow) -> AvailablePlan {
        let Deserialized(entitlements) = row.entitlements;
        AvailablePlan {
            plan_code: row.plan_code,
            plan_name: row.plan_name,
            is_current: row.is_current,
            entitlements,
        }
    }
}

/// What one run over the scheduled changes did, and when the next is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct AppliedChanges {
    /// Changes that were made, or were found to be made.
    pub applied: u32,
    /// Those that were set aside with their error.
    pub failed: u32,
    /// Until the next change, by the database's clock. `None`: none is scheduled.
    pub wait_milliseconds: Option<u64>,
}

/// Puts a subject on a plan, now or at an instant. Gives the assignment, and what the subject may use then.
///
/// # Errors
/// As `billing_assign_plan_v1`, and as [`Database::call`].
pub async fn assign_plan(
    database: &Database,
    fields: AssignFields<'_>,
) -> Result<(Assignment, Vec<Limitation>), Error> {
    let mut sets = database
        .call(
            "billing_assign_plan_v1",
            (
                fields.subject_id,
                fields.plan_code,
                fields.quantity,
                fields.effective_at,
                fields.period_start_at,
                fields.period_end_at,
                fields.idempotency_key,
                fields.created_by,
            ),
        )
        .await?;
    Ok((sets.row()?, sets.rows()?))
}

/// Ends a plan, or cancels a change that was scheduled. Gives the assignment, and what the subject may use then.
///
/// # Errors
/// As `billing_cancel_assignment_v1`, and as [`Database::call`].
pub async fn cancel_assignment(
    database: &Database,
    assignment_id: u64,
    idempotency_key: Option<&str>,
    created_by: &str,
) -> Result<(Assignment, Vec<Limitation>), Error> {
    let mut sets = database
        .call(
            "billing_cancel_assignment_v1",
            (assignment_id, idempotency_key, created_by),
        )
        .await?;
    Ok((sets.row()?, sets.rows()?))
}

/// Up to `limit` (1 to 1,000) assignments, newest first: of one subject, or of all.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, and as [`Database::call`].
pub async fn list_assignments(
    database: &Database,
    subject_id: Option<u64>,
    before_id: Option<u64>,
    limit: u32,
) -> Result<Vec<Assignment>, Error> {
    database
        .read("billing_list_assignments_v1", (subject_id, before_id, limit))
        .await?
        .rows()
}

/// The plans that a subject is on, will be on and was on, and those that there are.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, and as [`Database::call`].
pub async fn plan_state(
    database: &Database,
    subject_id: u64,
) -> Result<(Vec<PlanOfSubject>, Vec<AvailablePlan>), Error> {
    let mut sets = database.read("billing_plan_state_v1", (subject_id,)).await?;
    let plans = sets.rows()?;
    let available: Vec<AvailablePlanRow> = sets.rows()?;
    Ok((plans, available.into_iter().map(AvailablePlan::from).collect()))
}

/// Makes up to `limit` (1 to 1,000) scheduled plans current whose instant has come.
///
/// # Errors
/// As [`Database::call`]. A change that cannot be made is counted, and is no error.
pub async fn apply_due_assignments(database: &Database, limit: u32) -> Result<AppliedChanges, Error> {
    database.call("billing_apply_due_assignments_v1", (limit,)).await?.row()
}

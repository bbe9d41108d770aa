//! `GET /api/billing/plan-state`: which plan a subject is on.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::super::caller::Needs;
use super::super::description::{Description, Operation};
use super::super::request::{Answer, Request, json};
use super::super::views::Instant;
use crate::procedures::billing::{self, AvailablePlan, PlanEntitlement, PlanOfSubject};

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let plan_state = Operation::get(
        "planState",
        "/api/billing/plan-state",
        "Which plan a subject is on, was on and will be on",
    );
    description.add(
        plan_state
            .by(Needs::Workspace)
            .subject()
            .answers::<PlanState>(200, "With the plans that there are"),
    );
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlanState {
    current_plan: Option<Plan>,
    next_plan_change: Option<Plan>,
    available_plans: Vec<Available>,
    history: Vec<Plan>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanOfSubject)]
struct Plan {
    assignment_id: u64,
    plan_code: String,
    plan_name: String,
    quantity: u32,
    status: String,
    effective_at: Instant,
    ended_at: Option<Instant>,
    period_start_at: Option<Instant>,
    period_end_at: Option<Instant>,
}

impl From<PlanOfSubject> for Plan {
    fn from(row: PlanOfSubject) -> Plan {
        Plan {
            assignment_id: row.id,
            plan_code: row.plan_code,
            plan_name: row.plan_name,
            quantity: row.quantity,
            status: row.status,
            effective_at: Instant(row.effective_at),
            ended_at: row.ended_at.map(Instant),
            period_start_at: row.period_start_at.map(Instant),
            period_end_at: row.period_end_at.map(Instant),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AvailablePlan)]
struct Available {
    plan_code: String,
    plan_name: String,
    is_current: bool,
    entitlements: Vec<Entitlement>,
}

impl From<AvailablePlan> for Available {
    fn from(row: AvailablePlan) -> Available {
        Available {
            plan_code: row.plan_code,
            plan_name: row.plan_name,
            is_current: row.is_current,
            entitlements: row.entitlements.into_iter().map(Entitlement::from).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PlanEntitlement)]
struct Entitlement {
    code: String,
    name: String,
    unit: String,
    scale: u8,
    window_interval: Option<String>,
    grant_kind: String,
    amount: i64,
    effective_policy: String,
    duration_policy: String,
    duration_days: Option<u32>,
}

impl From<PlanEntitlement> for Entitlement {
    fn from(row: PlanEntitlement) -> Entitlement {
        Entitlement {
            code: row.code,
            name: row.name,
            unit: row.unit,
            scale: row.scale,
            window_interval: row.window_interval,
            grant_kind: row.grant_kind,
            amount: row.amount,
            effective_policy: row.effective_policy,
            duration_policy: row.duration_policy,
            duration_days: row.duration_days,
        }
    }
}

/// Answers with the plan of the request's subject.
pub async fn plan_state(request: Request) -> Answer {
    request.caller(Needs::Workspace).await?;
    let subject_id = request.subject_id(request.subject()?).await?;
    let (plans, available) = billing::plan_state(&request.gateway.database, subject_id).await?;
    let mut state = PlanState {
        current_plan: None,
        next_plan_change: None,
        available_plans: available.into_iter().map(Available::from).collect(),
        history: Vec::new(),
    };
    for plan in plans {
        match plan.status.as_str() {
            "current" => state.current_plan = Some(plan.into()),
            "scheduled" => state.next_plan_change = Some(plan.into()),
            _ => state.history.push(plan.into()),
        }
    }
    Ok(json(StatusCode::OK, &state))
}

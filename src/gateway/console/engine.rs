//! `/api/console/billing/due`, `failing`, `late`, `over-limit`, `plan-changes` and `procedures`: how the engine does.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::{Description, Operation};
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{Instant, List};
use crate::database::Difference;
use crate::procedures::operator;

/// The routes of the engine.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let due = path!("api" / "console" / "billing" / "due")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", due));
    let failing = path!("api" / "console" / "billing" / "failing")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", failing));
    let late = path!("api" / "console" / "billing" / "late")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", late));
    let over_limit = path!("api" / "console" / "billing" / "over-limit")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", over_limit));
    let plan_changes = path!("api" / "console" / "billing" / "plan-changes")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", plan_changes));
    let procedures = path!("api" / "console" / "billing" / "procedures")
        .and(request)
        .then(|request: Request| request.answer("GET", procedures));
    first_of([
        due.boxed(),
        failing.boxed(),
        late.boxed(),
        over_limit.boxed(),
        plan_changes.boxed(),
        procedures.boxed(),
    ])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = |name, path, summary| Operation::get(name, path, summary).by(Needs::Admin).at_most();
    description.add(
        list("listDue", "/api/console/billing/due", "What the clock changes next")
            .naming::<DueBalance>()
            .answers::<List<DueBalance>>(200, "Balances, those that are due first"),
    );
    description.add(
        list(
            "listFailing",
            "/api/console/billing/failing",
            "What could not be settled",
        )
        .naming::<FailingBalance>()
        .answers::<List<FailingBalance>>(200, "Balances that are set aside, the most often failed first"),
    );
    description.add(
        list(
            "listLate",
            "/api/console/billing/late",
            "What was settled late in the last 24 hours",
        )
        .naming::<LateSettlement>()
        .answers::<List<LateSettlement>>(200, "Settlements, the latest first"),
    );
    description.add(
        list(
            "listOverLimit",
            "/api/console/billing/over-limit",
            "Who is over a limit",
        )
        .naming::<BalanceOverLimit>()
        .answers::<List<BalanceOverLimit>>(200, "Balances, the furthest over first"),
    );
    description.add(
        list(
            "listPlanChanges",
            "/api/console/billing/plan-changes",
            "Which plans are to change",
        )
        .naming::<PlanChange>()
        .answers::<List<PlanChange>>(200, "Scheduled assignments, those that are due first"),
    );
    let procedures = Operation::get(
        "listProcedures",
        "/api/console/billing/procedures",
        "Which procedures are installed, and what of the database is not as this program wants it",
    );
    description.add(
        procedures
            .by(Needs::Admin)
            .answers::<Procedures>(200, "All procedures, by name"),
    );
}

/// A balance by when the clock changes it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DueBalance {
    billable_entity_id: u64,
    entity_ref: String,
    code: String,
    next_change_at: Option<Instant>,
    due_at: Instant,
    is_due: bool,
    failure_count: u32,
    last_failure: Option<String>,
    retry_at: Option<Instant>,
}

impl From<operator::Due> for DueBalance {
    fn from(row: operator::Due) -> Self {
        DueBalance {
            billable_entity_id: row.subject_id,
            entity_ref: row.entity_ref,
            code: row.code,
            next_change_at: row.next_change_at.map(Instant),
            due_at: Instant(row.due_at),
            is_due: row.is_due,
            failure_count: row.failure_count,
            last_failure: row.last_failure,
            retry_at: row.retry_at.map(Instant),
        }
    }
}

async fn due(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::due(&request.gateway.database, request.page_limit()?).await?;
    Ok(json(StatusCode::OK, &List::<DueBalance>::with_cursor(rows, None)))
}

/// A balance that is set aside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailingBalance {
    billable_entity_id: u64,
    entity_ref: String,
    code: String,
    failure_count: u32,
    last_failure: Option<String>,
    next_change_at: Option<Instant>,
    retry_at: Option<Instant>,
}

impl From<operator::Failing> for FailingBalance {
    fn from(row: operator::Failing) -> Self {
        FailingBalance {
            billable_entity_id: row.subject_id,
            entity_ref: row.entity_ref,
            code: row.code,
            failure_count: row.failure_count,
            last_failure: row.last_failure,
            next_change_at: row.next_change_at.map(Instant),
            retry_at: row.retry_at.map(Instant),
        }
    }
}

async fn failing(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::failing(&request.gateway.database, request.page_limit()?).await?;
    Ok(json(StatusCode::OK, &List::<FailingBalance>::with_cursor(rows, None)))
}

/// A settlement that the clock caused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LateSettlement {
    billable_entity_id: u64,
    entity_ref: String,
    code: String,
    /// `grant_boundary`, `hold_expiry`, `use_return`, `window_end`.
    cause: String,
    /// The boundary.
    settled_at: Instant,
    recorded_at: Instant,
    late_milliseconds: i64,
}

impl From<operator::Late> for LateSettlement {
    fn from(row: operator::Late) -> Self {
        LateSettlement {
            billable_entity_id: row.subject_id,
            entity_ref: row.entity_ref,
            code: row.code,
            cause: row.cause,
            settled_at: Instant(row.settled_at),
            recorded_at: Instant(row.recorded_at),
            late_milliseconds: row.late_milliseconds,
        }
    }
}

async fn late(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::late(&request.gateway.database, request.page_limit()?).await?;
    Ok(json(StatusCode::OK, &List::<LateSettlement>::with_cursor(rows, None)))
}

/// A balance that is over its limit, as of its last settlement.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BalanceOverLimit {
    billable_entity_id: u64,
    entity_ref: String,
    code: String,
    granted_amount: i64,
    consumed_amount: i64,
    held_amount: i64,
    effective_amount: i64,
    next_change_at: Option<Instant>,
}

impl From<operator::OverLimit> for BalanceOverLimit {
    fn from(row: operator::OverLimit) -> Self {
        BalanceOverLimit {
            billable_entity_id: row.subject_id,
            entity_ref: row.entity_ref,
            code: row.code,
            granted_amount: row.granted_amount,
            consumed_amount: row.consumed_amount,
            held_amount: row.held_amount,
            effective_amount: row.effective_amount,
            next_change_at: row.next_change_at.map(Instant),
        }
    }
}

async fn over_limit(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::over_limit(&request.gateway.database, request.page_limit()?).await?;
    Ok(json(StatusCode::OK, &List::<BalanceOverLimit>::with_cursor(rows, None)))
}

/// A scheduled change of a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlanChange {
    assignment_id: u64,
    billable_entity_id: u64,
    entity_ref: String,
    plan_code: String,
    quantity: u32,
    effective_at: Instant,
    due_at: Instant,
    is_due: bool,
    failure_count: u32,
    last_failure: Option<String>,
    retry_at: Option<Instant>,
}

impl From<operator::PlanChange> for PlanChange {
    fn from(row: operator::PlanChange) -> Self {
        PlanChange {
            assignment_id: row.assignment_id,
            billable_entity_id: row.subject_id,
            entity_ref: row.entity_ref,
            plan_code: row.plan_code,
            quantity: row.quantity,
            effective_at: Instant(row.effective_at),
            due_at: Instant(row.due_at),
            is_due: row.is_due,
            failure_count: row.failure_count,
            last_failure: row.last_failure,
            retry_at: row.retry_at.map(Instant),
        }
    }
}

async fn plan_changes(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::plan_changes(&request.gateway.database, request.page_limit()?).await?;
    Ok(json(StatusCode::OK, &List::<PlanChange>::with_cursor(rows, None)))
}

/// The installed procedures, and whether they are those of this program.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Procedures {
    /// This program's.
    release: &'static str,
    /// What the gateway's account can see of what `consumable migrate --check` finds, a line each, and what was edited by hand.
    differences: Vec<String>,
    entries: Vec<Installed>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Installed {
    procedure: String,
    release_version: String,
    content_sha256: String,
    installed_at: Instant,
    installed_by: String,
}

impl From<operator::Installed> for Installed {
    fn from(row: operator::Installed) -> Self {
        Installed {
            procedure: row.routine,
            release_version: row.release_version,
            content_sha256: row.content_sha256,
            installed_at: Instant(row.installed_at),
            installed_by: row.installed_by,
        }
    }
}

async fn procedures(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let rows = operator::procedures(&request.gateway.database).await?;
    let mut differences = request.gateway.readiness.differences().await?;
    for row in rows.iter().filter(|row| row.is_edited) {
        // An account that may read the procedures has seen it itself.
        let edited = Difference::EditedRoutine(row.routine.clone()).to_string();
        if !differences.contains(&edited) {
            differences.push(edited);
        }
    }
    let answer = Procedures {
        release: env!("CARGO_PKG_VERSION"),
        differences,
        entries: rows.into_iter().map(Installed::from).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

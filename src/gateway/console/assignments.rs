//! `/api/console/billing/plan-assignments`: plans of subjects, by hand.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{self, Id, Quantity};
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{self, Instant as Moment};
use super::super::wire::{Instant, Text, required};
use super::whose;
use crate::error::Code;
use crate::procedures::billing::{self, AssignFields};

/// The routes of plan assignments.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let assignments = path!("api" / "console" / "billing" / "plan-assignments")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", assign).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let cancel = path!("api" / "console" / "billing" / "plan-assignments" / u64 / "cancel")
        .and(request)
        .then(|assignment_id, request: Request| request.answer("POST", move |request| cancel(request, assignment_id)));
    first_of([assignments.boxed(), cancel.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listAssignments",
        "/api/console/billing/plan-assignments",
        "Subjects on plans, newest first",
    );
    description.add(
        list.by(Needs::Admin)
            .parameter("query", "billableEntityId", "Only of this one", shapes::of::<Id>())
            .page_by_id()
            .answers::<views::List<Assignment>>(200, "A page of assignments")
            .refuses(&[Code::SubjectNotFound]),
    );
    let assign = Operation::post(
        "assignPlan",
        "/api/console/billing/plan-assignments",
        "Puts a subject on a plan, now or later, in place of the one that it is on",
    );
    description.add(
        assign
            .by(Needs::Admin)
            .once()
            .body::<AssignPlan>()
            .example(value!({"billableEntityId": 1, "planCode": "pro"}))
            .makes::<AssignmentAnswer>()
            .refuses(&[
                Code::SubjectNotFound,
                Code::PlanNotFound,
                Code::PlanArchived,
                Code::DefinitionInactive,
            ]),
    );
    let cancel = Operation::post(
        "cancelAssignment",
        "/api/console/billing/plan-assignments/{assignmentId}/cancel",
        "Takes a subject off a plan now",
    );
    description.add(
        cancel
            .by(Needs::Admin)
            .id("assignmentId", 64)
            .once()
            .answers::<AssignmentAnswer>(200, "As it is now")
            .refuses(&[Code::AssignmentNotFound]),
    );
}

/// A subject on a plan: it was, is or will be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    id: u64,
    billable_entity_id: u64,
    plan_code: String,
    plan_name: String,
    quantity: u32,
    status: String,
    effective_at: Moment,
    ended_at: Option<Moment>,
    period_start_at: Option<Moment>,
    period_end_at: Option<Moment>,
    provider_subscription_id: Option<String>,
    failure_count: u32,
    last_failure: Option<String>,
    retry_at: Option<Moment>,
    created_by: String,
    created_at: Moment,
}

impl From<billing::Assignment> for Assignment {
    fn from(row: billing::Assignment) -> Self {
        Assignment {
            id: row.id,
            billable_entity_id: row.subject_id,
            plan_code: row.plan_code,
            plan_name: row.plan_name,
            quantity: row.quantity,
            status: row.status,
            effective_at: Moment(row.effective_at),
            ended_at: row.ended_at.map(Moment),
            period_start_at: row.period_start_at.map(Moment),
            period_end_at: row.period_end_at.map(Moment),
            provider_subscription_id: row.provider_subscription_id,
            failure_count: row.failure_count,
            last_failure: row.last_failure,
            retry_at: row.retry_at.map(Moment),
            created_by: row.created_by,
            created_at: Moment(row.created_at),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignPlan {
    #[schema(value_type = Id)]
    billable_entity_id: Option<u64>,
    #[schema(value_type = Text<64>)]
    plan_code: Option<Text<64>>,
    #[schema(value_type = Option<Quantity>)]
    quantity: Option<u32>,
    effective_at: Option<Instant>,
    period_start_at: Option<Instant>,
    period_end_at: Option<Instant>,
}

#[derive(Serialize, ToSchema)]
struct AssignmentAnswer {
    assignment: Assignment,
    limitations: Vec<views::Limitation>,
}

async fn assign(mut request: Request) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let body: AssignPlan = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let fields = AssignFields {
        subject_id: required("billableEntityId", body.billable_entity_id)?,
        plan_code: &required("planCode", body.plan_code)?.0,
        quantity: body.quantity,
        effective_at: body.effective_at.map(|instant| instant.0),
        period_start_at: body.period_start_at.map(|instant| instant.0),
        period_end_at: body.period_end_at.map(|instant| instant.0),
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    let (assignment, limitations) = billing::assign_plan(&request.gateway.database, fields).await?;
    request.gateway.relay.written();
    let status = match assignment.made {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let answer = AssignmentAnswer {
        assignment: assignment.into(),
        limitations: limitations.into_iter().map(Into::into).collect(),
    };
    Ok(json(status, &answer))
}

async fn cancel(request: Request, assignment_id: u64) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let (assignment, limitations) = billing::cancel_assignment(
        &request.gateway.database,
        assignment_id,
        request.idempotency_key()?.as_deref(),
        &caller.signature(),
    )
    .await?;
    request.gateway.relay.written();
    let answer = AssignmentAnswer {
        assignment: assignment.into(),
        limitations: limitations.into_iter().map(Into::into).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let subject_id = whose(&request)?;
    let page = request.page()?;
    let rows = billing::list_assignments(&request.gateway.database, subject_id, page.after, page.limit + 1).await?;
    let list: views::List<Assignment> = views::List::new(rows, page.limit, |row| row.id.to_string());
    Ok(json(StatusCode::OK, &list))
}

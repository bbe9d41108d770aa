//! `/api/console/billing/plans`: plans, and what they grant.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{self, Amount, Days};
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::List;
use super::catalogue::{ItemView, REFUSALS, Written, edited, item_schema, tagged};
use crate::error::Code;
use crate::procedures::billing::catalogue::{self, Item};

/// The routes of plans.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let plans = path!("api" / "console" / "billing" / "plans")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", |request| write(request, None)).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let plan = path!("api" / "console" / "billing" / "plans" / u32)
        .and(request.clone())
        .then(|plan_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, plan_id)).await,
                "PATCH" => request.answer("PATCH", |request| write(request, Some(plan_id))).await,
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    let archive = path!("api" / "console" / "billing" / "plans" / u32 / "archive")
        .and(request)
        .then(|plan_id, request: Request| request.answer("POST", move |request| archive(request, plan_id)));
    first_of([plans.boxed(), plan.boxed(), archive.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get("listPlans", "/api/console/billing/plans", "Plans, by their ids");
    description.add(
        list.by(Needs::Admin)
            .page_by_id()
            .answers::<List<ItemView>>(200, "A page of plans"),
    );
    let make = Operation::post(
        "makePlan",
        "/api/console/billing/plans",
        "Makes a plan, with its prices and what it grants",
    );
    description.add(
        make.by(Needs::Admin)
            .once()
            .content(schema(true))
            .example(value!({"code": "team", "name": "Team", "entitlements": [{"code": "ai.credits", "valueJson": {"amount": 500}}]}))
            .makes::<PlanAnswer>()
            .tagged()
            .refuses(REFUSALS),
    );
    let find = Operation::get("findPlan", "/api/console/billing/plans/{planId}", "A plan");
    description.add(
        find.by(Needs::Admin)
            .id("planId", 32)
            .answers::<PlanAnswer>(200, "With its version")
            .tagged()
            .refuses(&[Code::PlanNotFound]),
    );
    let edit = Operation::patch(
        "editPlan",
        "/api/console/billing/plans/{planId}",
        "Changes what is given of a plan",
    );
    description.add(
        edit.by(Needs::Admin)
            .id("planId", 32)
            .once()
            .of_version()
            .content(schema(false))
            .example(value!({"name": "Team"}))
            .answers::<PlanAnswer>(200, "As it is now")
            .tagged()
            .refuses(REFUSALS)
            .refuses(&[Code::PlanNotFound]),
    );
    let archive = Operation::post(
        "archivePlan",
        "/api/console/billing/plans/{planId}/archive",
        "Keeps new subjects off a plan",
    );
    description.add(
        archive
            .by(Needs::Admin)
            .id("planId", 32)
            .once()
            .answers::<PlanAnswer>(200, "As it is now")
            .tagged()
            .refuses(&[Code::PlanNotFound]),
    );
}

/// The schema of a plan as it is written.
fn schema(is_new: bool) -> Value {
    let values = |duration: Value, days: Value, required: &[&str]| {
        let fields = value!({
            "amount": shapes::of::<Amount>(),
            "limit": shapes::of::<Amount>(),
            "max": shapes::of::<Amount>(),
            "grantKind": {"enum": ["plan_base", "plan_bonus", null]},
            "effectivePolicy": {"enum": ["on_assignment_current", "on_period_paid", null]},
            "durationPolicy": duration,
            "durationDays": days,
        });
        let mut values = shapes::object(fields, required);
        values["anyOf"] = value!([{"required": ["amount"]}, {"required": ["limit"]}, {"required": ["max"]}]);
        values
    };
    let entitlement = value!({
        "code": {"type": "string", "maxLength": 64},
        "schemaVersion": {"enum": [1, null]},
        "valueJson": {"oneOf": [
            values(value!({"enum": ["while_current", "period_window", null]}), value!({"type": "null"}), &[]),
            values(value!({"const": "fixed_duration"}), shapes::of::<Days>(), &["durationPolicy", "durationDays"]),
        ]},
    });
    item_schema(shapes::object(entitlement, &["code", "valueJson"]), is_new)
}

#[derive(Serialize, ToSchema)]
struct PlanAnswer {
    plan: ItemView,
}

fn answer(plan: Item) -> PlanAnswer {
    PlanAnswer { plan: plan.into() }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let page = request.page()?;
    let plans = catalogue::list_plans(&request.gateway.database, page.after, page.limit + 1).await?;
    let plans: List<ItemView> = List::new(plans, page.limit, |plan| plan.id.to_string());
    Ok(json(StatusCode::OK, &plans))
}

async fn find(request: Request, plan_id: u32) -> Answer {
    request.caller(Needs::Admin).await?;
    let plan = catalogue::find_plan(&request.gateway.database, plan_id).await?;
    Ok(tagged(StatusCode::OK, plan, answer))
}

async fn write(mut request: Request, plan_id: Option<u32>) -> Answer {
    let written = Written::of(&mut request, plan_id).await?;
    let outcome = catalogue::put_plan(&request.gateway.database, written.edit()).await?;
    edited(outcome, answer)
}

async fn archive(request: Request, plan_id: u32) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let plan = catalogue::archive_plan(
        &request.gateway.database,
        plan_id,
        request.idempotency_key()?.as_deref(),
        &caller.signature(),
    )
    .await?;
    Ok(tagged(StatusCode::OK, plan, answer))
}

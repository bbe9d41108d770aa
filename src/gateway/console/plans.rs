//! `/api/console/billing/plans`: plans, and what they grant.

use std::sync::Arc;

use serde::Serialize;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::problem::Problem;
use super::super::request::{Answer, Request, json, request};
use super::super::views::List;
use super::super::wire::Fields;
use super::catalogue::{ItemView, edited, expected_version, tagged};
use crate::procedures::billing::catalogue::{self, EditFields, Item};

/// The routes of plans.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let plans = path!("api" / "console" / "billing" / "plans")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", make).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let plan = path!("api" / "console" / "billing" / "plans" / u32)
        .and(request.clone())
        .then(|plan_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, plan_id)).await,
                "PATCH" => request.answer("PATCH", |request| edit(request, plan_id)).await,
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    let archive = path!("api" / "console" / "billing" / "plans" / u32 / "archive")
        .and(request)
        .then(|plan_id, request: Request| request.answer("POST", move |request| archive(request, plan_id)));
    plans.or(plan).unify().or(archive).unify().boxed()
}

#[derive(Serialize)]
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

async fn make(mut request: Request) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let fields: Fields = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let edit = EditFields {
        id: None,
        fields: &fields.0,
        expected_version: None,
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    edited(catalogue::put_plan(&request.gateway.database, edit).await?, answer)
}

async fn edit(mut request: Request, plan_id: u32) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let expected_version = expected_version(&request)?;
    let fields: Fields = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let edit = EditFields {
        id: Some(plan_id),
        fields: &fields.0,
        expected_version,
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    edited(catalogue::put_plan(&request.gateway.database, edit).await?, answer)
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

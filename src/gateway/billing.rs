//! `/api/billing/…`: what applications ask.

mod batch;
mod check;
mod consume;
mod holds;
mod ledger;
mod plan_state;
pub(super) mod refusal;
mod workspace_tokens;

use std::sync::Arc;
use std::time::Instant;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::caller::Needs;
use super::description::shapes::{self, Amount, Count, Slug, Visible};
use super::description::{Description, Operation};
use super::problem::Problem;
use super::request::{Answer, Request, first_of, json, request};
use super::wire::{Text, Whole, bounded, text};
use super::{Gateway, views};
use crate::error::{Code, Error};
use crate::procedures::billing::EntityFields;
use crate::procedures::{billing, entitlement};

/// Items of a request. The procedures say so too, but hash or join all items for each, which must not meet a megabyte of
/// them.
const MAX_ITEMS: usize = 100;

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let put_entity = path!("api" / "billing" / "entities" / String / String)
        .and(request.clone())
        .then(|entity_type, entity_ref, request: Request| {
            request.answer("PUT", |request| put_entity(request, entity_type, entity_ref))
        });
    let limitations = path!("api" / "billing" / "limitations")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", limitations));
    let ledger = path!("api" / "billing" / "limitations" / String / "ledger")
        .and(request.clone())
        .then(|code, request: Request| request.answer("GET", |request| ledger::page(request, code)));
    let history = path!("api" / "billing" / "limitations" / String / "history")
        .and(request.clone())
        .then(|code, request: Request| request.answer("GET", |request| ledger::history(request, code)));
    let consume = path!("api" / "billing" / "consume")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", consume::consume));
    let consume_batch = path!("api" / "billing" / "consume" / "batch")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", batch::batch));
    let check = path!("api" / "billing" / "check")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", check::check));
    let check_batch = path!("api" / "billing" / "check" / "batch")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", check::batch));
    let make_hold = path!("api" / "billing" / "holds")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", holds::make));
    let find_hold = path!("api" / "billing" / "holds" / u64)
        .and(request.clone())
        .then(|hold_id, request: Request| request.answer("GET", move |request| holds::find(request, hold_id)));
    let commit_hold = path!("api" / "billing" / "holds" / u64 / "commit")
        .and(request.clone())
        .then(|hold_id, request: Request| request.answer("POST", move |request| holds::commit(request, hold_id)));
    let release_hold = path!("api" / "billing" / "holds" / u64 / "release")
        .and(request.clone())
        .then(|hold_id, request: Request| request.answer("POST", move |request| holds::release(request, hold_id)));
    let recount = path!("api" / "billing" / "resources" / String)
        .and(request.clone())
        .then(|resource_code, request: Request| request.answer("PUT", |request| recount(request, resource_code)));
    let plan_state = path!("api" / "billing" / "plan-state")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", plan_state::plan_state));
    let give_back = path!("api" / "billing" / "resources" / String / "release")
        .and(request.clone())
        .then(|resource_code, request: Request| request.answer("POST", |request| give_back(request, resource_code)));
    let workspace_tokens = path!("api" / "billing" / "workspace-tokens")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", workspace_tokens::make));
    let refresh = path!("api" / "billing" / "limits" / "refresh")
        .and(request)
        .then(|request: Request| request.answer("POST", refresh));
    first_of([
        consume.boxed(),
        limitations.boxed(),
        ledger.boxed(),
        history.boxed(),
        give_back.boxed(),
        consume_batch.boxed(),
        check.boxed(),
        check_batch.boxed(),
        make_hold.boxed(),
        find_hold.boxed(),
        commit_hold.boxed(),
        release_hold.boxed(),
        recount.boxed(),
        put_entity.boxed(),
        plan_state.boxed(),
        workspace_tokens.boxed(),
        refresh.boxed(),
    ])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    let put_entity = Operation::put(
        "putEntity",
        "/api/billing/entities/{entityType}/{entityRef}",
        "Makes a billable entity once, and updates what is given of it",
    );
    let entity_type = value!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$"});
    description.add(
        put_entity
            .by(Needs::Service)
            .segment("entityType", entity_type)
            .segment("entityRef", shapes::of::<Visible<128>>())
            .body::<PutEntity>()
            .example(value!({"workspaceSlug": "acme", "workspaceName": "Acme"}))
            .makes::<EntityAnswer>()
            .refuses(&[Code::ProviderCustomerTaken]),
    );
    let limitations = Operation::get(
        "limitations",
        "/api/billing/limitations",
        "What a subject may use, and how much is left",
    );
    description.add(
        limitations
            .by(Needs::Workspace)
            .subject()
            .parameter(
                "query",
                "held",
                "Only what was ever granted",
                value!({"enum": ["true", "false"]}),
            )
            .answers::<views::Limitations>(200, "Sorted by code"),
    );
    let refresh = Operation::post(
        "refresh",
        "/api/billing/limits/refresh",
        "Makes a subject's balances anew from its ledger",
    );
    description.add(
        refresh
            .by(Needs::Admin)
            .subject()
            .answers::<views::Limitations>(200, "Sorted by code"),
    );
    let recount = Operation::put(
        "recount",
        "/api/billing/resources/{resourceCode}",
        "Says how many there are of what a capacity limits",
    );
    description.add(
        recount
            .by(Needs::Service)
            .segment("resourceCode", shapes::of::<Text<64>>())
            .subject()
            .body::<Recount>()
            .answers::<LimitationAnswer>(200, "How the limit stands")
            .refuses(&[Code::DefinitionNotFound]),
    );
    let give_back = Operation::post(
        "giveBack",
        "/api/billing/resources/{resourceCode}/release",
        "Gives back what was taken of a capacity",
    );
    description.add(
        give_back
            .by(Needs::Service)
            .segment("resourceCode", shapes::of::<Text<64>>())
            .subject()
            .once_if("where the body has no usageEventKey")
            .body::<GiveBack>()
            .answers::<LimitationAnswer>(200, "How the limit stands")
            .refuses(&[Code::DefinitionNotFound]),
    );
    consume::describe(description);
    batch::describe(description);
    check::describe(description);
    holds::describe(description);
    ledger::describe(description);
    plan_state::describe(description);
    workspace_tokens::describe(description);
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutEntity {
    #[schema(value_type = Option<Slug>)]
    workspace_slug: Option<Text<64>>,
    workspace_name: Option<Text<160>>,
    owner_user_id: Option<Text<128>>,
    #[schema(value_type = Option<Visible<255>>)]
    provider_customer_id: Option<Text<255>>,
}

/// An entity, to those who may see what the payment provider calls it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntityAnswer {
    billable_entity: EntityWithCustomer,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntityWithCustomer {
    #[serde(flatten)]
    entity: views::BillableEntity,
    provider_customer_id: Option<String>,
}

async fn put_entity(mut request: Request, entity_type: String, entity_ref: String) -> Answer {
    request.caller(Needs::Service).await?;
    let entity_type = segment("entityType", &entity_type, 32)?;
    let entity_ref = segment("entityRef", &entity_ref, 128)?;
    let body: PutEntity = request.json().await?;
    let fields = EntityFields {
        workspace_slug: text(&body.workspace_slug),
        workspace_name: text(&body.workspace_name),
        owner_user_id: text(&body.owner_user_id),
        provider_customer_id: text(&body.provider_customer_id),
    };
    let mut entity = billing::put_entity(&request.gateway.database, &entity_type, &entity_ref, fields).await?;
    let status = match entity.made {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let answer = EntityAnswer {
        billable_entity: EntityWithCustomer {
            provider_customer_id: entity.provider_customer_id.take(),
            entity: entity.into(),
        },
    };
    Ok(json(status, &answer))
}

/// Decodes a path segment, which warp gives as it came.
fn segment(field: &str, text: &str, max: usize) -> Result<String, Problem> {
    let text = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Problem::field(field, "must be UTF-8"))?;
    bounded(&text, max).map_err(|sentence| Problem::field(field, &sentence))?;
    Ok(text.into_owned())
}

async fn limitations(request: Request) -> Answer {
    request.caller(Needs::Workspace).await?;
    let held_only = match request.query("held").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(Problem::field("held", "must be true or false")),
    };
    let (entity, rows) = request.limitations(held_only).await?;
    Ok(json(StatusCode::OK, &views::Limitations::new(entity, rows)))
}

async fn refresh(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let entity = request.entity().await?;
    let begun = Instant::now();
    let rows = entitlement::recompute(&request.gateway.database, entity.id).await?;
    request.gateway.meters.recomputed(begun.elapsed());
    request.gateway.relay.written();
    Ok(json(StatusCode::OK, &views::Limitations::new(entity, rows)))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Recount {
    #[schema(value_type = Count)]
    count: Option<Whole>,
}

#[derive(Serialize, ToSchema)]
struct LimitationAnswer {
    limitation: views::Limitation,
}

async fn recount(mut request: Request, resource_code: String) -> Answer {
    request.caller(Needs::Service).await?;
    let resource_code = segment("resourceCode", &resource_code, 64)?;
    let subject = request.subject()?;
    let body: Recount = request.json().await?;
    let count = body.count.map(|count| count.0);
    let subject_id = request.subject_id(subject).await?;
    let row = entitlement::recount(&request.gateway.database, subject_id, &resource_code, count).await?;
    request.gateway.relay.written();
    let limitation = row.into();
    Ok(json(StatusCode::OK, &LimitationAnswer { limitation }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GiveBack {
    #[schema(value_type = Amount)]
    amount: Option<Whole>,
    #[schema(value_type = Option<Visible<128>>)]
    usage_event_key: Option<Text<256>>,
}

async fn give_back(mut request: Request, resource_code: String) -> Answer {
    request.caller(Needs::Service).await?;
    let resource_code = segment("resourceCode", &resource_code, 64)?;
    let subject = request.subject()?;
    let body: GiveBack = request.json().await?;
    let usage_event_key = match body.usage_event_key {
        Some(Text(key)) => Some(key),
        None => request.idempotency_key()?,
    };
    let amount = body.amount.map(|amount| amount.0);
    let subject_id = request.subject_id(subject).await?;
    let row = entitlement::give_back(
        &request.gateway.database,
        subject_id,
        &resource_code,
        amount,
        usage_event_key.as_deref(),
    )
    .await
    .map_err(failed_at_key)?;
    request.gateway.relay.written();
    let limitation = row.into();
    Ok(json(StatusCode::OK, &LimitationAnswer { limitation }))
}

/// Which of the two forms a body with items has; the other one's fields must not be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Items,
}

/// The procedures know items only: the caller of the single form hears of his own fields.
fn failed(error: Error, form: Form) -> Problem {
    match error {
        Error::Rule {
            code: Code::ValidationFailed,
            field: Some(path),
            text,
        } if form == Form::Single => match path.strip_prefix("items[0]") {
            Some("") => Problem::field("limitationCode", &text),
            Some(field) => Problem::field(field.trim_start_matches('.'), &text),
            None => Problem::field(&path, &text),
        },
        error => failed_at_key(error),
    }
}

/// The key of a use is a field of its body first, and a header only if it is not there.
fn failed_at_key(error: Error) -> Problem {
    match error {
        Error::Rule {
            code: code @ Code::IdempotencyKeyRequired,
            text,
            ..
        } => Problem::rule(code, &text).with_field("usageEventKey", &text),
        error => error.into(),
    }
}

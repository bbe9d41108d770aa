//! `/api/billing/…`: what applications ask.

mod consume;

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::caller::Needs;
use super::problem::Problem;
use super::request::{Answer, Request, json, request};
use super::wire::{Text, bounded, text};
use super::{Gateway, views};
use crate::procedures::billing::EntityFields;
use crate::procedures::{billing, entitlement};

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
    let consume = path!("api" / "billing" / "consume")
        .and(request.clone())
        .then(|request: Request| request.answer("POST", consume::consume));
    let refresh = path!("api" / "billing" / "limits" / "refresh")
        .and(request)
        .then(|request: Request| request.answer("POST", refresh));
    consume
        .or(limitations)
        .unify()
        .or(put_entity)
        .unify()
        .or(refresh)
        .unify()
        .boxed()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutEntity {
    workspace_slug: Option<Text<64>>,
    workspace_name: Option<Text<160>>,
    owner_user_id: Option<Text<128>>,
    provider_customer_id: Option<Text<255>>,
}

/// An entity, to those who may see what the payment provider calls it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntityAnswer {
    billable_entity: EntityWithCustomer,
}

#[derive(Serialize)]
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
    request.caller(Needs::Service).await?;
    let held_only = match request.query("held").as_deref() {
        Some("true") => true,
        None | Some("false") => false,
        Some(_) => return Err(Problem::field("held", "must be true or false")),
    };
    let entity = request.entity().await?;
    let rows = entitlement::limitations(&request.gateway.database, entity.id, None, held_only).await?;
    Ok(json(StatusCode::OK, &views::Limitations::new(entity, rows)))
}

async fn refresh(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let entity = request.entity().await?;
    let rows = entitlement::recompute(&request.gateway.database, entity.id).await?;
    request.gateway.relay.written();
    Ok(json(StatusCode::OK, &views::Limitations::new(entity, rows)))
}

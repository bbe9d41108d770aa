//! `/api/console/billing/entitlement-definitions`: limits that can be granted and used.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::problem::Problem;
use super::super::request::{Answer, Request, json, request};
use super::super::views::{Instant, List};
use super::super::wire::Fields;
use super::catalogue::{edited, expected_version, tagged};
use crate::procedures::billing::catalogue::EditFields;
use crate::procedures::entitlement::{self, Definition};

/// The routes of definitions.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let definitions = path!("api" / "console" / "billing" / "entitlement-definitions")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", make).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let definition = path!("api" / "console" / "billing" / "entitlement-definitions" / u32)
        .and(request)
        .then(|definition_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, definition_id)).await,
                "PATCH" => request.answer("PATCH", |request| edit(request, definition_id)).await,
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    definitions.or(definition).unify().boxed()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionView {
    id: u32,
    code: String,
    name: String,
    description: Option<String>,
    entitlement_type: String,
    unit: String,
    scale: u8,
    window_interval: Option<String>,
    window_anchor: Option<String>,
    aggregation_mode: String,
    enforcement_mode: String,
    lock_label: Option<String>,
    resource_code: Option<String>,
    is_active: bool,
    metadata: Option<Value>,
    version: u32,
    created_at: Instant,
    updated_at: Instant,
}

impl From<Definition> for DefinitionView {
    fn from(row: Definition) -> Self {
        DefinitionView {
            id: row.id,
            code: row.code,
            name: row.name,
            description: row.description,
            entitlement_type: row.entitlement_type,
            unit: row.unit,
            scale: row.scale,
            window_interval: row.window_interval,
            window_anchor: row.window_anchor,
            aggregation_mode: row.aggregation_mode,
            enforcement_mode: row.enforcement_mode,
            lock_label: row.lock_label,
            resource_code: row.resource_code,
            is_active: row.is_active,
            metadata: row.metadata,
            version: row.version,
            created_at: Instant(row.created_at),
            updated_at: Instant(row.updated_at),
        }
    }
}

#[derive(Serialize)]
struct DefinitionAnswer {
    definition: DefinitionView,
}

fn answer(definition: Definition) -> DefinitionAnswer {
    DefinitionAnswer {
        definition: definition.into(),
    }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let page = request.page()?;
    let definitions = entitlement::list_definitions(&request.gateway.database, page.after, page.limit + 1).await?;
    let definitions: List<DefinitionView> = List::new(definitions, page.limit, |definition| definition.id.to_string());
    Ok(json(StatusCode::OK, &definitions))
}

async fn find(request: Request, definition_id: u32) -> Answer {
    request.caller(Needs::Admin).await?;
    let definition = entitlement::find_definition(&request.gateway.database, definition_id).await?;
    Ok(tagged(StatusCode::OK, definition, answer))
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
    edited(
        entitlement::put_definition(&request.gateway.database, edit).await?,
        answer,
    )
}

async fn edit(mut request: Request, definition_id: u32) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let expected_version = expected_version(&request)?;
    let fields: Fields = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let edit = EditFields {
        id: Some(definition_id),
        fields: &fields.0,
        expected_version,
        idempotency_key: idempotency_key.as_deref(),
        created_by: &caller.signature(),
    };
    edited(
        entitlement::put_definition(&request.gateway.database, edit).await?,
        answer,
    )
}

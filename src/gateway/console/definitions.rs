//! `/api/console/billing/entitlement-definitions`: limits that can be granted and used.

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
use super::super::description::{Description, Operation, shapes};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{Instant, List};
use super::catalogue::{Written, edited, tagged};
use crate::error::Code;
use crate::procedures::entitlement::{self, Definition};

/// The routes of definitions.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let definitions = path!("api" / "console" / "billing" / "entitlement-definitions")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", |request| write(request, None)).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let definition = path!("api" / "console" / "billing" / "entitlement-definitions" / u32)
        .and(request)
        .then(|definition_id, request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", |request| find(request, definition_id)).await,
                "PATCH" => {
                    request
                        .answer("PATCH", |request| write(request, Some(definition_id)))
                        .await
                }
                _ => Problem::method("GET, PATCH").into_response(),
            }
        });
    first_of([definitions.boxed(), definition.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listDefinitions",
        "/api/console/billing/entitlement-definitions",
        "Limits that can be granted and used, by their ids, those that are not active too",
    );
    description.add(
        list.by(Needs::Admin)
            .page_by_id()
            .answers::<List<DefinitionView>>(200, "A page of definitions"),
    );
    let make = Operation::post(
        "makeDefinition",
        "/api/console/billing/entitlement-definitions",
        "Makes a limit",
    );
    description.add(
        make.by(Needs::Admin)
            .once()
            .content(new_schema())
            .example(value!({"code": "reports.month", "name": "Reports", "entitlementType": "metered_quota", "unit": "report", "windowInterval": "month"}))
            .makes::<DefinitionAnswer>()
            .tagged()
            .refuses(&[Code::CodeTaken]),
    );
    let find = Operation::get(
        "findDefinition",
        "/api/console/billing/entitlement-definitions/{definitionId}",
        "A limit",
    );
    description.add(
        find.by(Needs::Admin)
            .id("definitionId", 32)
            .answers::<DefinitionAnswer>(200, "With its version")
            .tagged()
            .refuses(&[Code::DefinitionNotFound]),
    );
    let edit = Operation::patch(
        "editDefinition",
        "/api/console/billing/entitlement-definitions/{definitionId}",
        "Changes what is given of a limit; what grants and balances stand on stays",
    );
    description.add(
        edit.by(Needs::Admin)
            .id("definitionId", 32)
            .once()
            .of_version()
            .content(shapes::object(fields(), &[]))
            .example(value!({"name": "Reports"}))
            .answers::<DefinitionAnswer>(200, "As it is now")
            .tagged()
            .refuses(&[Code::DefinitionNotFound, Code::CodeTaken]),
    );
}

/// Every field of a definition as it is written. An empty text is null where null may be.
fn fields() -> Value {
    value!({
        "code": {"type": "string", "maxLength": 64, "pattern": "^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$"},
        "name": shapes::name(160),
        "description": {"type": ["string", "null"], "maxLength": 1000},
        "entitlementType": {"enum": ["capacity", "metered_quota", "balance", "state"]},
        "unit": shapes::name(32),
        "scale": {"type": "integer", "minimum": 0, "maximum": 9},
        "windowInterval": {"enum": ["day", "week", "month", "year", "", null]},
        "windowAnchor": {"enum": ["calendar_utc", "billing_period", "rolling", "", null]},
        "aggregationMode": {"enum": ["sum", "max", "boolean_any_true"]},
        "enforcementMode": {"enum": ["hard_deny", "hard_lock_resource", "soft_warn"]},
        "lockLabel": {"type": ["string", "null"], "pattern": "^[!-~]{0,64}$", "not": {"const": "none"}},
        "resourceCode": {"type": ["string", "null"], "pattern": "^([a-z][a-z0-9_.-]{0,63})?$"},
        "isActive": {"type": "boolean"},
        "metadata": {"type": ["object", "null"]},
    })
}

/// The schema of a new definition: one for each type, as each has fields of its own.
fn new_schema() -> Value {
    let nothing = || value!({"enum": ["", null]});
    let variant = |entitlement_type: &str, change: &dyn Fn(&mut Value), required: &[&str]| {
        let mut fields = fields();
        fields["entitlementType"] = value!({"const": entitlement_type});
        if entitlement_type != "metered_quota" {
            fields["windowInterval"] = nothing();
            fields["windowAnchor"] = nothing();
        }
        if entitlement_type != "capacity" {
            fields["resourceCode"] = nothing();
        }
        fields["aggregationMode"] = value!({"enum": match entitlement_type {
            "state" => &["boolean_any_true"][..],
            "balance" => &["sum"],
            _ => &["sum", "max"],
        }});
        change(&mut fields);
        shapes::object(
            fields,
            &[&["code", "name", "entitlementType", "unit"], required].concat(),
        )
    };
    // Who locks says by which word.
    let locks = |fields: &mut Value| {
        fields["lockLabel"] = value!({"type": "string", "pattern": "^[!-~]{1,64}$", "not": {"const": "none"}});
    };
    let locked = |fields: &mut Value| {
        locks(fields);
        fields["enforcementMode"] = value!({"const": "hard_lock_resource"});
    };
    let unlocked = |fields: &mut Value| fields["enforcementMode"] = value!({"enum": ["hard_deny", "soft_warn"]});
    let window = |fields: &mut Value| {
        fields["windowInterval"] = value!({"enum": ["day", "week", "month", "year"]});
        fields["windowAnchor"] = value!({"enum": ["calendar_utc", "billing_period", "rolling"]});
    };
    let mut variants = vec![variant("state", &locks, &["lockLabel"])];
    for entitlement_type in ["capacity", "balance"] {
        variants.push(variant(entitlement_type, &unlocked, &[]));
        variants.push(variant(entitlement_type, &locked, &["lockLabel", "enforcementMode"]));
    }
    let unlocked_window = |fields: &mut Value| {
        window(fields);
        unlocked(fields);
    };
    let locked_window = |fields: &mut Value| {
        window(fields);
        locked(fields);
    };
    variants.push(variant("metered_quota", &unlocked_window, &["windowInterval"]));
    variants.push(variant(
        "metered_quota",
        &locked_window,
        &["windowInterval", "lockLabel", "enforcementMode"],
    ));
    value!({"oneOf": variants})
}

#[derive(Serialize, ToSchema)]
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

#[derive(Serialize, ToSchema)]
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

async fn write(mut request: Request, definition_id: Option<u32>) -> Answer {
    let written = Written::of(&mut request, definition_id).await?;
    let outcome = entitlement::put_definition(&request.gateway.database, written.edit()).await?;
    request.gateway.relay.written();
    edited(outcome, answer)
}

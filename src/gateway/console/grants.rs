//! `/api/console/billing/grants`: grants by hand.

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
use super::super::description::shapes::{self, Amount, Id, Priority, Reason};
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{self, List};
use super::super::wire::{Instant, Text, Whole, required, text};
use super::whose;
use crate::error::Code;
use crate::meters::Repeated;
use crate::procedures::entitlement::{self, GrantFields};
use crate::procedures::operator;

/// The routes of grants.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let grants = path!("api" / "console" / "billing" / "grants")
        .and(request.clone())
        .then(|request: Request| async move {
            match request.method().as_str() {
                "GET" => request.answer("GET", list).await,
                "POST" => request.answer("POST", grant).await,
                _ => Problem::method("GET, POST").into_response(),
            }
        });
    let revoke = path!("api" / "console" / "billing" / "grants" / u64 / "revoke")
        .and(request)
        .then(|grant_id, request: Request| request.answer("POST", move |request| revoke(request, grant_id)));
    first_of([grants.boxed(), revoke.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listGrants",
        "/api/console/billing/grants",
        "Grants of a billable entity that are not over, as they are used up",
    );
    description.add(
        list.by(Needs::Admin)
            .required("query", "billableEntityId", "Whose", shapes::of::<Id>())
            .naming::<GrantRest>()
            .answers::<List<GrantRest>>(200, "All of them, with what is left of each"),
    );
    let grant = Operation::post(
        "grant",
        "/api/console/billing/grants",
        "Grants an amount of a limit by hand",
    );
    let mut schema = shapes::of::<MakeGrant>();
    schema["properties"]["kind"] = value!({"enum": ["promo", "manual_adjustment", "correction"]});
    let example =
        value!({"billableEntityId": 1, "code": "ai.credits", "amount": 500, "kind": "promo", "reason": "A present"});
    description.add(
        grant
            .by(Needs::Admin)
            .once()
            .body_as::<MakeGrant>(schema)
            .example(example)
            .makes::<GrantAnswer>()
            .refuses(&[
                Code::SubjectNotFound,
                Code::DefinitionNotFound,
                Code::DefinitionInactive,
            ]),
    );
    let revoke = Operation::post(
        "revokeGrant",
        "/api/console/billing/grants/{grantId}/revoke",
        "Ends a grant now; what was used of it stays used",
    );
    description.add(
        revoke
            .by(Needs::Admin)
            .id("grantId", 64)
            .once()
            .body::<RevokeGrant>()
            .example(value!({"reason": "Was a mistake"}))
            .answers::<GrantAnswer>(200, "As it is now")
            .refuses(&[Code::GrantNotFound, Code::GrantEnded]),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MakeGrant {
    #[schema(value_type = Id)]
    billable_entity_id: Option<u64>,
    #[schema(value_type = Text<64>)]
    code: Option<Text<64>>,
    #[schema(value_type = Amount)]
    amount: Option<Whole>,
    #[schema(value_type = String)]
    kind: Option<Text<32>>,
    effective_at: Option<Instant>,
    expires_at: Option<Instant>,
    #[schema(value_type = Option<Priority>)]
    priority: Option<i16>,
    #[schema(value_type = Reason)]
    reason: Option<Text<255>>,
}

#[derive(Serialize, ToSchema)]
struct GrantAnswer {
    grant: views::Grant,
    limitation: views::Limitation,
}

/// A grant that is not over.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GrantRest {
    id: u64,
    code: String,
    kind: String,
    /// `pending`, `active`.
    state: String,
    priority: u8,
    effective_at: views::Instant,
    ends_at: Option<views::Instant>,
    amount: i64,
    /// What it gave up to the last settlement of its limit.
    given_amount: i64,
    /// Null for grants that renew, which give as one.
    remaining_amount: Option<i64>,
}

impl From<operator::GrantRest> for GrantRest {
    fn from(row: operator::GrantRest) -> Self {
        GrantRest {
            id: row.grant_id,
            code: row.code,
            kind: row.grant_kind,
            state: row.grant_state,
            priority: row.priority,
            effective_at: views::Instant(row.effective_at),
            ends_at: row.ends_at.map(views::Instant),
            amount: row.amount,
            given_amount: row.given_amount,
            remaining_amount: row.remaining_amount,
        }
    }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let subject_id = required("billableEntityId", whose(&request)?)?;
    let rows = operator::grants(&request.gateway.database, subject_id).await?;
    Ok(json(StatusCode::OK, &List::<GrantRest>::with_cursor(rows, None)))
}

async fn grant(mut request: Request) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let body: MakeGrant = request.json().await?;
    let idempotency_key = request.idempotency_key()?;
    let fields = GrantFields {
        subject_id: required("billableEntityId", body.billable_entity_id)?,
        code: &required("code", body.code)?.0,
        amount: required("amount", body.amount)?.0,
        grant_kind: &required("kind", body.kind)?.0,
        effective_at: body.effective_at.map(|instant| instant.0),
        expires_at: body.expires_at.map(|instant| instant.0),
        priority: body.priority,
        idempotency_key: idempotency_key.as_deref(),
        reason: text(&body.reason),
        created_by: &caller.signature(),
    };
    let (grant, limitation) = entitlement::grant(&request.gateway.database, fields).await?;
    request.gateway.relay.written();
    let status = match grant.replayed {
        true => {
            request.gateway.meters.repeated(Repeated::Grant);
            StatusCode::OK
        }
        false => StatusCode::CREATED,
    };
    let (grant, limitation) = (grant.into(), limitation.into());
    Ok(json(status, &GrantAnswer { grant, limitation }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeGrant {
    #[schema(value_type = Reason)]
    reason: Option<Text<255>>,
}

async fn revoke(mut request: Request, grant_id: u64) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let body: RevokeGrant = request.json().await?;
    let (grant, limitation) = entitlement::revoke(
        &request.gateway.database,
        grant_id,
        request.idempotency_key()?.as_deref(),
        text(&body.reason),
        &caller.signature(),
    )
    .await?;
    request.gateway.relay.written();
    let (grant, limitation) = (grant.into(), limitation.into());
    Ok(json(StatusCode::OK, &GrantAnswer { grant, limitation }))
}

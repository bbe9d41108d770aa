//! `/api/billing/holds/…`: amounts that are set aside for a while.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::failed_at_key;
use super::refusal::refused;
use crate::error::Code;
use crate::gateway::caller::Needs;
use crate::gateway::description::shapes::{self, Amount, HoldSeconds, Visible};
use crate::gateway::description::{Description, Operation};
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{Metadata, Text, Whole, text};
use crate::meters::{Enforced, Repeated};
use crate::procedures::entitlement::{self, Held, HoldFields, HoldOutcome};

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let make = Operation::post("hold", "/api/billing/holds", "Sets an amount aside for a while");
    let alternatives: [(&str, &[&str]); 2] = [("limitationCode", &["capability"]), ("capability", &["limitationCode"])];
    description.add(
        make.by(Needs::Service)
            .subject()
            .once_if("where the body has no usageEventKey")
            .body_as::<MakeHold>(shapes::one_of(&shapes::of::<MakeHold>(), &alternatives))
            .example(value!({"limitationCode": "ai.credits", "amount": 20, "usageEventKey": "draft-7"}))
            .makes::<HoldAnswer>()
            .refuses(&[
                Code::CapabilityNotFound,
                Code::DefinitionNotFound,
                Code::DefinitionInactive,
                Code::NotConsumable,
                Code::BillingLimitExceeded,
                Code::BillingCapacityLocked,
            ]),
    );
    let find = Operation::get(
        "findHold",
        "/api/billing/holds/{holdId}",
        "A hold, and what became of it",
    );
    description.add(
        find.by(Needs::Service)
            .id("holdId", 64)
            .answers::<HoldAnswer>(200, "With the limitation")
            .refuses(&[Code::HoldNotFound]),
    );
    let resolved = [Code::HoldNotFound, Code::HoldAlreadyResolved, Code::HoldExpired];
    let commit = Operation::post(
        "commitHold",
        "/api/billing/holds/{holdId}/commit",
        "Uses what is held, or a part, and frees the rest",
    );
    description.add(
        commit
            .by(Needs::Service)
            .id("holdId", 64)
            .body::<CommitHold>()
            .answers::<HoldAnswer>(200, "With the limitation")
            .refuses(&resolved)
            .refuses(&[Code::HoldAmountExceeded]),
    );
    let release = Operation::post(
        "releaseHold",
        "/api/billing/holds/{holdId}/release",
        "Frees what is held",
    );
    description.add(
        release
            .by(Needs::Service)
            .id("holdId", 64)
            .answers::<HoldAnswer>(200, "With the limitation")
            .refuses(&resolved),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MakeHold {
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    #[schema(value_type = Amount)]
    amount: Option<Whole>,
    #[schema(value_type = Option<HoldSeconds>)]
    ttl_seconds: Option<i32>,
    #[schema(value_type = Option<Visible<128>>)]
    usage_event_key: Option<Text<256>>,
    #[schema(value_type = Option<Visible<64>>)]
    reason_code: Option<Text<128>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommitHold {
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
}

#[derive(Serialize, ToSchema)]
struct HoldAnswer {
    hold: views::Hold,
    limitation: views::Limitation,
}

impl From<Held> for HoldAnswer {
    fn from(held: Held) -> Self {
        HoldAnswer {
            hold: held.hold.into(),
            limitation: held.limitation.into(),
        }
    }
}

pub async fn make(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let subject = request.subject()?;
    let mut body: MakeHold = request.json().await?;
    let usage_event_key = match body.usage_event_key.take() {
        Some(Text(key)) => Some(key),
        None => request.idempotency_key()?,
    };
    let fields = HoldFields {
        subject_id: request.subject_id(subject).await?,
        capability: text(&body.capability),
        limitation_code: text(&body.limitation_code),
        amount: body.amount.map(|amount| amount.0),
        ttl_seconds: body.ttl_seconds,
        usage_event_key: usage_event_key.as_deref(),
        reason_code: text(&body.reason_code),
        metadata: body.metadata.as_ref().map(|metadata| &metadata.0),
    };
    let begun = Instant::now();
    let outcome = entitlement::hold(&request.gateway.database, fields).await;
    request.gateway.meters.enforced(Enforced::Hold, begun.elapsed());
    match outcome.map_err(failed_at_key)? {
        HoldOutcome::Refused(refusal) => Err(refused(*refusal)),
        HoldOutcome::Accepted(held) => {
            let status = match held.replayed {
                true => StatusCode::OK,
                false => StatusCode::CREATED,
            };
            Ok(answer(&request, status, *held))
        }
    }
}

pub async fn find(request: Request, hold_id: u64) -> Answer {
    request.caller(Needs::Service).await?;
    let held = entitlement::find_hold(&request.gateway.database, hold_id).await?;
    Ok(json(StatusCode::OK, &HoldAnswer::from(held)))
}

pub async fn commit(mut request: Request, hold_id: u64) -> Answer {
    request.caller(Needs::Service).await?;
    let body: CommitHold = request.json().await?;
    let amount = body.amount.map(|amount| amount.0);
    let held = entitlement::commit_hold(&request.gateway.database, hold_id, amount).await?;
    request.gateway.meters.consumed(usize::from(!held.replayed));
    Ok(answer(&request, StatusCode::OK, held))
}

pub async fn release(request: Request, hold_id: u64) -> Answer {
    request.caller(Needs::Service).await?;
    let held = entitlement::release_hold(&request.gateway.database, hold_id).await?;
    Ok(answer(&request, StatusCode::OK, held))
}

fn answer(request: &Request, status: StatusCode, held: Held) -> warp::reply::Response {
    match held.replayed {
        true => request.gateway.meters.repeated(Repeated::Hold),
        false => request.gateway.relay.written(),
    }
    json(status, &HoldAnswer::from(held))
}

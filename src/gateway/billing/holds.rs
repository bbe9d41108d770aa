//! `/api/billing/holds/…`: amounts that are set aside for a while.

use serde::{Deserialize, Serialize};
use warp::http::StatusCode;

use super::failed_at_key;
use super::refusal::refused;
use crate::gateway::caller::Needs;
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{Metadata, Text, Whole, text};
use crate::procedures::entitlement::{self, Held, HoldFields, HoldOutcome};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MakeHold {
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    amount: Option<Whole>,
    ttl_seconds: Option<i32>,
    usage_event_key: Option<Text<256>>,
    reason_code: Option<Text<128>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommitHold {
    amount: Option<Whole>,
}

#[derive(Serialize)]
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
    let outcome = entitlement::hold(&request.gateway.database, fields)
        .await
        .map_err(failed_at_key)?;
    match outcome {
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
    if !held.replayed {
        request.gateway.relay.written();
    }
    json(status, &HoldAnswer::from(held))
}

//! `POST /api/billing/consume`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::refusal::refused;
use super::{Form, MAX_ITEMS, failed};
use crate::error::{Code, Error};
use crate::gateway::caller::Needs;
use crate::gateway::description::shapes::{self, Amount, Visible};
use crate::gateway::description::{Description, Operation};
use crate::gateway::problem::Problem;
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{Instant, Metadata, Object, Text, Whole};
use crate::meters::{Enforced, Repeated};
use crate::procedures::entitlement::{ConsumeItem, ConsumeRequest, Outcome};

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let consume = Operation::post(
        "consume",
        "/api/billing/consume",
        "Uses what a limit allows, or nothing of it",
    );
    description.add(
        consume
            .by(Needs::Service)
            .subject()
            .once_if("where the body has no usageEventKey")
            .body_as::<Consume>(schema())
            .with::<Item>()
            .example(value!({"limitationCode": "ai.credits", "amount": 20, "usageEventKey": "order-81"}))
            .answers::<Accepted>(200, "It is booked, or was before")
            .refuses(REFUSALS),
    );
}

/// What a use may be refused with.
pub(super) const REFUSALS: &[Code] = &[
    Code::CapabilityNotFound,
    Code::DefinitionNotFound,
    Code::DefinitionInactive,
    Code::NotConsumable,
    Code::OccurredAtOutsideWindow,
    Code::BillingLimitExceeded,
    Code::BillingCapacityLocked,
];

/// The schema of a body: a limit, by its code or by a capability, or items of which each names one.
pub(super) fn schema() -> Value {
    let item = shapes::of::<Item>();
    let items = shapes::one_of(
        &item,
        &[("limitationCode", &["capability"]), ("capability", &["limitationCode"])],
    );
    let mut schema = shapes::of::<Consume>();
    schema["properties"]["items"] = shapes::array(items, 1, MAX_ITEMS);
    let of_item: Vec<&str> = item["properties"]
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str))
        .collect();
    let alternatives: [(&str, &[&str]); 3] = [
        ("limitationCode", &["capability", "items"]),
        ("capability", &["limitationCode", "items"]),
        ("items", &of_item),
    ];
    shapes::one_of(&schema, &alternatives)
}

/// Either `items`, or the fields of the only one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Consume {
    #[schema(value_type = Option<Vec<Object>>)]
    items: Option<Vec<Object<Item>>>,
    #[schema(value_type = Option<Visible<128>>)]
    pub(super) usage_event_key: Option<Text<256>>,
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
    #[schema(value_type = Option<Visible<64>>)]
    reason_code: Option<Text<128>>,
    occurred_at: Option<Instant>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
    #[schema(value_type = Option<Visible<64>>)]
    reason_code: Option<Text<128>>,
    occurred_at: Option<Instant>,
    metadata: Option<Metadata>,
}

impl From<Item> for ConsumeItem {
    fn from(item: Item) -> Self {
        ConsumeItem {
            capability: item.capability.map(|text| text.0),
            limitation_code: item.limitation_code.map(|text| text.0),
            amount: item.amount.map(|amount| amount.0),
            reason_code: item.reason_code.map(|text| text.0),
            occurred_at: item.occurred_at.map(|instant| instant.0),
            metadata: item.metadata.map(|metadata| metadata.0),
        }
    }
}

impl Consume {
    pub(super) fn into_items(self) -> Result<(Form, Vec<ConsumeItem>), Problem> {
        let single = Item {
            capability: self.capability,
            limitation_code: self.limitation_code,
            amount: self.amount,
            reason_code: self.reason_code,
            occurred_at: self.occurred_at,
            metadata: self.metadata,
        };
        let Some(items) = self.items else {
            return Ok((Form::Single, vec![single.into()]));
        };
        let is_empty = matches!(
            single,
            Item {
                capability: None,
                limitation_code: None,
                amount: None,
                reason_code: None,
                occurred_at: None,
                metadata: None
            }
        );
        if !is_empty {
            let text = "cannot stand beside the fields of a single item";
            return Err(Problem::field("items", text));
        }
        if items.len() > MAX_ITEMS {
            return Err(Problem::field("items", "must be 1 to 100 items"));
        }
        let items = items.into_iter().map(|Object(item)| item.into());
        Ok((Form::Items, items.collect()))
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    outcome: &'static str,
    pub(super) replayed: bool,
    warning: Option<String>,
    pub(super) consumptions: Vec<views::Consumption>,
    limitations: Vec<views::Limitation>,
}

pub(super) async fn consume(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let subject = request.subject()?;
    let mut body: Consume = request.json().await?;
    let usage_event_key = match body.usage_event_key.take() {
        Some(Text(key)) => Some(key),
        None => request.idempotency_key()?,
    };
    let (form, items) = body.into_items()?;
    let consume = ConsumeRequest {
        subject_id: request.subject_id(subject).await?,
        usage_event_key,
        request_id: Some(request.id().to_owned()),
        items,
    };
    let meters = &request.gateway.meters;
    let begun = std::time::Instant::now();
    let outcomes = request.gateway.lanes.consume(consume).await;
    meters.enforced(Enforced::Consume, begun.elapsed());
    let answer = accepted(outcomes?, form)?;
    match answer.replayed {
        true => meters.repeated(Repeated::Consume),
        false => {
            meters.consumed(answer.consumptions.len());
            request.gateway.relay.written();
        }
    }
    Ok(json(StatusCode::OK, &answer))
}

/// Joins the outcomes of one request's items: all are accepted, or none is.
pub(super) fn accepted(items: Vec<Outcome>, form: Form) -> Result<Accepted, Problem> {
    let mut answer = Accepted {
        outcome: "accepted",
        replayed: false,
        warning: None,
        consumptions: Vec::with_capacity(items.len()),
        limitations: Vec::with_capacity(items.len()),
    };
    for item in items {
        match item {
            Outcome::Accepted {
                replayed,
                warning,
                consumption,
                limitation,
            } => {
                answer.replayed = replayed;
                answer.warning = answer.warning.or(warning);
                answer.consumptions.push(consumption.into());
                answer.limitations.push(limitation.into());
            }
            Outcome::Refused {
                refused_by_this: true,
                refusal,
            } => return Err(refused(refusal)),
            // Another item of the request names the limit that refused.
            Outcome::Refused { .. } => (),
            Outcome::Failed(error) => return Err(failed(error, form)),
        }
    }
    match answer.consumptions.is_empty() {
        true => Err(Error::Internal("entitlement_consume_v1 decided nothing".into()).into()),
        false => Ok(answer),
    }
}

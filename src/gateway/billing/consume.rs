//! `POST /api/billing/consume`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use warp::http::StatusCode;

use crate::error::{Code, Error};
use crate::gateway::caller::Needs;
use crate::gateway::problem::Problem;
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{Instant, Metadata, Object, Text, Whole};
use crate::procedures::billing::{self, Subject};
use crate::procedures::entitlement::{self, ConsumeItem, ConsumeRequest, ItemOutcome, Limitation, Outcome};

/// Items of a request. The procedure says so too, but hashes all items for each, which must not meet a megabyte of them.
const MAX_ITEMS: usize = 100;

/// Either `items`, or the fields of the only one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consume {
    items: Option<Vec<Object<Item>>>,
    usage_event_key: Option<Text<256>>,
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    amount: Option<Whole>,
    reason_code: Option<Text<128>>,
    occurred_at: Option<Instant>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    amount: Option<Whole>,
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

/// Which of the two forms a body has; the other one's fields must not be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Items,
}

impl Consume {
    fn into_items(self) -> Result<(Form, Vec<ConsumeItem>), Problem> {
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

#[derive(Serialize)]
struct Accepted {
    outcome: &'static str,
    replayed: bool,
    warning: Option<String>,
    consumptions: Vec<views::Consumption>,
    limitations: Vec<views::Limitation>,
}

/// Why a limit refused. All that a caller needs to tell his user what would help.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    limitation_code: String,
    billable_entity_id: u64,
    reason: &'static str,
    requested_amount: i64,
    limit: i64,
    used: i64,
    remaining: i64,
    interval: Option<String>,
    enforcement: String,
    window_end_at: Option<views::Instant>,
    retry_after_seconds: Option<u64>,
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
    let database = &request.gateway.database;
    let subject_id = match subject {
        // The procedure says itself when there is no such entity.
        Subject::Entity(id) => id,
        workspace @ Subject::Workspace(_) => billing::find_subject(database, &workspace).await?.id,
    };
    let consume = ConsumeRequest {
        subject_id,
        usage_event_key,
        items,
    };
    let outcomes = entitlement::consume(database, &[consume]).await?;
    let answer = answer(outcomes, form)?;
    if !answer.replayed {
        request.gateway.relay.written();
    }
    Ok(json(StatusCode::OK, &answer))
}

/// Joins the outcomes of one request's items: all are accepted, or none is.
fn answer(items: Vec<ItemOutcome>, form: Form) -> Result<Accepted, Problem> {
    let mut answer = Accepted {
        outcome: "accepted",
        replayed: false,
        warning: None,
        consumptions: Vec::with_capacity(items.len()),
        limitations: Vec::with_capacity(items.len()),
    };
    for item in items {
        match item.outcome {
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
                error,
                amount,
                refused_by_this: true,
                limitation,
                retry_after_seconds,
            } => return Err(refused(error, amount, limitation, retry_after_seconds)),
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

fn refused(error: Error, requested_amount: i64, limitation: Limitation, retry_after_seconds: Option<u64>) -> Problem {
    let refusal = Refusal {
        limitation_code: limitation.code,
        billable_entity_id: limitation.subject_id,
        reason: "limit_exceeded",
        requested_amount,
        limit: limitation.granted_amount,
        used: limitation.consumed_amount + limitation.held_amount,
        remaining: limitation.available_amount,
        interval: limitation.window_interval,
        enforcement: limitation.enforcement_mode,
        // Where waiting does not help, neither does the end of the window.
        window_end_at: retry_after_seconds.and(limitation.window_end_at).map(views::Instant),
        retry_after_seconds,
    };
    let details = match serde_json::to_value(&refusal) {
        Ok(Value::Object(details)) => details,
        _ => Map::new(),
    };
    let problem = Problem::from(error).with_details(details);
    match retry_after_seconds {
        Some(seconds) => problem.retry_after(seconds),
        None => problem,
    }
}

/// The procedure knows items only: the caller of the single form hears of his own fields.
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
        Error::Rule {
            code: code @ Code::IdempotencyKeyRequired,
            text,
            ..
        } => Problem::rule(code, &text).with_field("usageEventKey", &text),
        error => error.into(),
    }
}

//! `POST /api/billing/check` and `…/check/batch`: what a use would be answered now. Nothing is written.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Form, MAX_ITEMS, failed};
use crate::error::{Code, Error};
use crate::gateway::caller::Needs;
use crate::gateway::description::shapes::{self, Amount, Count, Id};
use crate::gateway::description::{Description, Operation};
use crate::gateway::problem::Problem;
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{AMOUNT_AT_MOST, Object, Text, Whole, required};
use crate::meters::Enforced;
use crate::procedures::entitlement::{self, CheckItem, CheckOutcome, Pair};

/// Subjects of a batch, and codes of it, as many as the procedure takes.
const MAX_PAIRED: usize = 100;

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let check = Operation::post(
        "check",
        "/api/billing/check",
        "What a use would be answered now; nothing is written",
    );
    description.add(
        check
            .by(Needs::Service)
            .subject()
            .body_as::<Check>(schema())
            .with::<Item>()
            .example(value!({"limitationCode": "ai.credits", "amount": 20}))
            .answers::<CheckAnswer>(200, "Whether it would be booked")
            .refuses(&[
                Code::CapabilityNotFound,
                Code::DefinitionNotFound,
                Code::DefinitionInactive,
                Code::NotConsumable,
            ]),
    );
    let batch = Operation::post(
        "checkBatch",
        "/api/billing/check/batch",
        "Which of many subjects may use which of many limits",
    );
    let mut schema = shapes::of::<CheckBatch>();
    schema["properties"]["billableEntityIds"] = shapes::array(shapes::of::<Id>(), 1, MAX_PAIRED);
    schema["properties"]["codes"] = shapes::array(shapes::of::<Text<64>>(), 1, MAX_PAIRED);
    description.add(
        batch
            .by(Needs::Service)
            .body_as::<CheckBatch>(schema)
            .example(value!({"billableEntityIds": [1], "codes": ["ai.credits"]}))
            .answers::<BatchAnswer>(200, "An answer for each subject and each code that there is"),
    );
}

/// The schema of a body: a limit, by its code or by a capability, or items of which each names one.
fn schema() -> Value {
    let item = shapes::of::<Item>();
    let items = shapes::one_of(
        &item,
        &[("limitationCode", &["capability"]), ("capability", &["limitationCode"])],
    );
    let mut schema = shapes::of::<Check>();
    schema["properties"]["items"] = shapes::array(items, 1, MAX_ITEMS);
    let alternatives: [(&str, &[&str]); 3] = [
        ("limitationCode", &["capability", "items"]),
        ("capability", &["limitationCode", "items"]),
        ("items", &["limitationCode", "capability", "amount", "currentCount"]),
    ];
    shapes::one_of(&schema, &alternatives)
}

/// Either `items`, or the fields of the only one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Check {
    #[schema(value_type = Option<Vec<Object>>)]
    items: Option<Vec<Object<Item>>>,
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
    #[schema(value_type = Option<Count>)]
    current_count: Option<Whole>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item {
    capability: Option<Text<64>>,
    limitation_code: Option<Text<64>>,
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
    #[schema(value_type = Option<Count>)]
    current_count: Option<Whole>,
}

impl From<Item> for CheckItem {
    fn from(item: Item) -> Self {
        CheckItem {
            capability: item.capability.map(|text| text.0),
            limitation_code: item.limitation_code.map(|text| text.0),
            amount: item.amount.map(|amount| amount.0),
            current_count: item.current_count.map(|count| count.0),
        }
    }
}

impl Check {
    fn into_items(self) -> Result<(Form, Vec<CheckItem>), Problem> {
        let single = Item {
            capability: self.capability,
            limitation_code: self.limitation_code,
            amount: self.amount,
            current_count: self.current_count,
        };
        let Some(items) = self.items else {
            counted("currentCount", &single)?;
            return Ok((Form::Single, vec![single.into()]));
        };
        let is_empty = matches!(
            single,
            Item {
                capability: None,
                limitation_code: None,
                amount: None,
                current_count: None
            }
        );
        if !is_empty {
            let text = "cannot stand beside the fields of a single item";
            return Err(Problem::field("items", text));
        }
        if items.len() > MAX_ITEMS {
            return Err(Problem::field("items", "must be 1 to 100 items"));
        }
        for (place, Object(item)) in items.iter().enumerate() {
            counted(&format!("items[{place}].currentCount"), item)?;
        }
        let items = items.into_iter().map(|Object(item)| item.into());
        Ok((Form::Items, items.collect()))
    }
}

/// The procedure trusts the count, which is only the caller's, and would compute with any number.
fn counted(path: &str, item: &Item) -> Result<(), Problem> {
    match item.current_count {
        Some(Whole(count)) if !(0..=AMOUNT_AT_MOST).contains(&count) => {
            let text = format!("must be a whole number from 0 to {AMOUNT_AT_MOST}");
            Err(Problem::field(path, &text))
        }
        _ => Ok(()),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CheckAnswer {
    allowed: bool,
    /// The code of the first limit that would refuse.
    refused_by: Option<String>,
    /// What a use would be refused with.
    reason: Option<&'static str>,
    limitations: Vec<views::Limitation>,
}

pub async fn check(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let subject = request.subject()?;
    let body: Check = request.json().await?;
    let (form, items) = body.into_items()?;
    let subject_id = request.subject_id(subject).await?;
    let meters = &request.gateway.meters;
    let begun = Instant::now();
    let found = entitlement::check(&request.gateway.database, subject_id, &items).await;
    meters.enforced(Enforced::Check, begun.elapsed());
    let found = found.map_err(|error| failed(error, form))?;
    meters.refreshed(found.refreshed);
    let mut answer = CheckAnswer {
        allowed: true,
        refused_by: None,
        reason: None,
        limitations: Vec::with_capacity(found.rows.len()),
    };
    for outcome in found.rows {
        let verdict = match outcome {
            CheckOutcome::Limit(verdict) => *verdict,
            CheckOutcome::Failed(error) => return Err(failed(error, form)),
        };
        match verdict.problem {
            None => (),
            // What a limit refuses is an answer; what no use could be is wrong here as it would be there.
            Some(Error::Rule {
                code: code @ (Code::BillingLimitExceeded | Code::BillingCapacityLocked),
                ..
            }) => {
                if answer.allowed {
                    meters.denied(code.name());
                    answer.refused_by = Some(verdict.limitation.code.clone());
                    answer.reason = Some(code.name());
                }
                answer.allowed = false;
            }
            Some(error) => return Err(failed(error, form)),
        }
        answer.limitations.push(verdict.limitation.into());
    }
    Ok(json(StatusCode::OK, &answer))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CheckBatch {
    #[schema(value_type = Vec<u64>)]
    billable_entity_ids: Option<Vec<u64>>,
    #[schema(value_type = Vec<Text<64>>)]
    codes: Option<Vec<Text<64>>>,
    #[schema(value_type = Option<Amount>)]
    amount: Option<Whole>,
}

#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    results: Vec<PairAnswer>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PairAnswer {
    billable_entity_id: u64,
    code: String,
    allowed: bool,
    available_amount: i64,
}

impl From<Pair> for PairAnswer {
    fn from(row: Pair) -> Self {
        PairAnswer {
            billable_entity_id: row.subject_id,
            code: row.code,
            allowed: row.allowed,
            available_amount: row.available_amount,
        }
    }
}

pub async fn batch(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let body: CheckBatch = request.json().await?;
    let subject_ids = required("billableEntityIds", body.billable_entity_ids)?;
    let codes = required("codes", body.codes)?;
    let codes: Vec<_> = codes.iter().map(|code| code.0.as_str()).collect();
    let amount = body.amount.map(|amount| amount.0);
    let meters = &request.gateway.meters;
    let begun = Instant::now();
    let found = entitlement::check_batch(&request.gateway.database, &subject_ids, &codes, amount).await;
    meters.enforced(Enforced::Check, begun.elapsed());
    let found = found?;
    meters.refreshed(found.refreshed);
    let results = found.rows.into_iter().map(PairAnswer::from).collect();
    Ok(json(StatusCode::OK, &BatchAnswer { results }))
}

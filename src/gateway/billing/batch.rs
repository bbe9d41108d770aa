//! `POST /api/billing/consume/batch`: many uses, of many subjects, in one request. Each is answered on its own.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json as value};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::Form;
use super::consume::{Accepted, Consume, accepted};
use crate::error::Code;
use crate::gateway::caller::Needs;
use crate::gateway::description::{Description, Operation, shapes};
use crate::gateway::problem::{Problem, Transport};
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::wire::{self, Object, required};
use crate::meters::{Enforced, Repeated};
use crate::procedures::billing::{self, Subject};
use crate::procedures::entitlement::ConsumeRequest;

/// Requests of a batch, as many as the procedure takes.
const MAX_REQUESTS: usize = 1_000;

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let batch = Operation::post(
        "consumeBatch",
        "/api/billing/consume/batch",
        "Many uses, of many subjects; each is answered on its own",
    );
    let mut schema = shapes::of::<Batch>();
    // What is wrong with one is told in its place, so that nothing in it makes the batch wrong.
    schema["properties"]["requests"] = shapes::array(value!({"type": "object"}), 1, MAX_REQUESTS);
    let request =
        value!({"workspaceSlug": "acme", "limitationCode": "ai.credits", "amount": 1, "usageEventKey": "order-82"});
    description.add(
        batch
            .by(Needs::Service)
            .body_as::<Batch>(schema)
            .example(value!({"requests": [request]}))
            .answers::<BatchAnswer>(200, "What became of each, in their order"),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Batch {
    /// Read one by one, so that what is wrong with one does not stop the others.
    #[schema(required, value_type = Vec<Object>)]
    requests: Option<Vec<Object<Map<String, Value>>>>,
}

#[derive(Serialize, ToSchema)]
struct BatchAnswer {
    results: Vec<Outcome>,
}

/// What became of one request; a problem has a `status` of its own.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = BatchOutcome)]
enum Outcome {
    Accepted {
        status: u16,
        #[serde(flatten)]
        answer: Accepted,
    },
    Problem(Problem),
}

/// A request as far as it can be read without the database.
struct Read {
    subject: Subject,
    form: Form,
    consume: ConsumeRequest,
}

pub(super) async fn batch(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let body: Batch = request.json().await?;
    let requests = required("requests", body.requests)?;
    if !(1..=MAX_REQUESTS).contains(&requests.len()) {
        let text = format!("must be an array of 1 to {MAX_REQUESTS} requests");
        return Err(Problem::field("requests", &text));
    }
    let id = request.id();
    let mut read: Vec<Result<Read, Problem>> = requests
        .into_iter()
        .map(|Object(fields)| self::read(fields, id))
        .collect();
    name_subjects(&request, &mut read).await?;

    let (mut calls, mut forms) = (Vec::new(), Vec::new());
    let mut results: Vec<Option<Problem>> = Vec::with_capacity(read.len());
    for one in read {
        match one {
            Ok(one) => {
                calls.push(one.consume);
                forms.push(one.form);
                results.push(None);
            }
            Err(problem) => results.push(Some(problem)),
        }
    }
    let meters = &request.gateway.meters;
    let begun = Instant::now();
    let answers = request.gateway.lanes.consume_all(calls).await;
    meters.enforced(Enforced::Consume, begun.elapsed());
    // Not one of them was decided: that is no answer to a batch.
    if let (Some(Err(error)), true) = (answers.first(), answers.iter().all(Result::is_err)) {
        return Err(error.clone().into());
    }
    let mut answers = forms
        .into_iter()
        .zip(answers)
        .map(|(form, outcomes)| accepted(outcomes?, form));
    let mut uses = 0;
    let results = results.into_iter().map(|problem| match problem {
        Some(problem) => Outcome::Problem(problem),
        None => match answers.next() {
            Some(Ok(answer)) => {
                match answer.replayed {
                    true => meters.repeated(Repeated::Consume),
                    false => uses += answer.consumptions.len(),
                }
                let status = StatusCode::OK.as_u16();
                Outcome::Accepted { status, answer }
            }
            Some(Err(problem)) => Outcome::Problem(problem),
            None => Outcome::Problem(Problem::transport(Transport::Internal, "")),
        },
    });
    let answer = BatchAnswer {
        results: results.collect(),
    };
    for result in &answer.results {
        if let Outcome::Problem(problem) = result {
            meters.denied(problem.code());
        }
    }
    if uses > 0 {
        meters.consumed(uses);
        request.gateway.relay.written();
    }
    Ok(json(StatusCode::OK, &answer))
}

fn read(mut fields: Map<String, Value>, request_id: &str) -> Result<Read, Problem> {
    let subject = subject(&mut fields)?;
    let mut body: Consume = wire::read(Value::Object(fields))?;
    let Some(key) = body.usage_event_key.take() else {
        // The header names the batch: it cannot tell one of its requests from another.
        let text = "give each request its usageEventKey";
        return Err(Problem::rule(Code::IdempotencyKeyRequired, text).with_field("usageEventKey", text));
    };
    let (form, items) = body.into_items()?;
    let consume = ConsumeRequest {
        subject_id: 0,
        usage_event_key: Some(key.0),
        request_id: Some(request_id.to_owned()),
        items,
    };
    Ok(Read { subject, form, consume })
}

/// As [`Request::subject`], of the request's own fields.
fn subject(fields: &mut Map<String, Value>) -> Result<Subject, Problem> {
    let (entity, workspace) = (fields.remove("billableEntityId"), fields.remove("workspaceSlug"));
    match (entity.unwrap_or_default(), workspace.unwrap_or_default()) {
        (Value::Null, Value::Null) => {
            let text = "give a billableEntityId or a workspaceSlug";
            Err(Problem::transport(Transport::SubjectRequired, text).with_field("billableEntityId", text))
        }
        (Value::Null, Value::String(slug)) => {
            wire::bounded(&slug, 64).map_err(|text| Problem::field("workspaceSlug", &text))?;
            Ok(Subject::Workspace(slug))
        }
        (Value::Null, _) => Err(Problem::field("workspaceSlug", "must be a text")),
        (entity, _) => {
            let id = entity.as_u64().map(Subject::Entity);
            id.ok_or_else(|| Problem::field("billableEntityId", "must be a billable entity's id"))
        }
    }
}

/// Finds the subjects of all workspaces at once. Those without one fail alone.
async fn name_subjects(request: &Request, read: &mut [Result<Read, Problem>]) -> Result<(), Problem> {
    let slugs: BTreeSet<&str> = read
        .iter()
        .filter_map(|one| match one.as_ref().map(|one| &one.subject) {
            Ok(Subject::Workspace(slug)) => Some(slug.as_str()),
            _ => None,
        })
        .collect();
    let found = match slugs.is_empty() {
        true => Default::default(),
        false => {
            let slugs: Vec<&str> = slugs.into_iter().collect();
            billing::find_subjects(&request.gateway.database, &slugs).await?
        }
    };
    for one in read {
        let Ok(known) = one else { continue };
        let id = match &known.subject {
            Subject::Entity(id) => Some(*id),
            Subject::Workspace(slug) => found.get(slug).copied(),
        };
        match id {
            Some(id) => known.consume.subject_id = id,
            None => {
                *one = Err(Problem::rule(
                    Code::SubjectNotFound,
                    "no billable entity has this workspace",
                ))
            }
        }
    }
    Ok(())
}

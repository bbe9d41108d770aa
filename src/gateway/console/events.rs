//! `/api/console/billing/events`: the inbox of what the payment provider said.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json as value;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{self, Id};
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, first_of, json, request};
use super::super::views::{Instant, List};
use super::super::wire;
use super::whose;
use crate::error::Code;
use crate::procedures::billing::purchases::{self, EventWithPayload, EventsAsked};

/// The routes of events.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let request = request(gateway);
    let list = path!("api" / "console" / "billing" / "events")
        .and(request.clone())
        .then(|request: Request| request.answer("GET", list));
    let find = path!("api" / "console" / "billing" / "events" / u64)
        .and(request.clone())
        .then(|event_id, request: Request| request.answer("GET", move |request| find(request, event_id)));
    let replay = path!("api" / "console" / "billing" / "events" / u64 / "replay")
        .and(request)
        .then(|event_id, request: Request| request.answer("POST", move |request| replay(request, event_id)));
    first_of([list.boxed(), find.boxed(), replay.boxed()])
}

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listEvents",
        "/api/console/billing/events",
        "What the payment provider said, newest first",
    );
    description.add(
        list.by(Needs::Admin)
            .parameter(
                "query",
                "outcome",
                "Only these",
                value!({"enum": ["applied", "ignored", "failed"]}),
            )
            .parameter("query", "billableEntityId", "Only about this one", shapes::of::<Id>())
            .page_by_id()
            .answers::<List<Event>>(200, "A page of events"),
    );
    let find = Operation::get(
        "findEvent",
        "/api/console/billing/events/{eventId}",
        "An event, as it was sent",
    );
    description.add(
        find.by(Needs::Admin)
            .id("eventId", 64)
            .answers::<EventAnswer>(200, "With what became of it")
            .refuses(&[Code::EventNotFound]),
    );
    let replay = Operation::post(
        "replayEvent",
        "/api/console/billing/events/{eventId}/replay",
        "Applies an event again that failed",
    );
    description.add(
        replay
            .by(Needs::Admin)
            .id("eventId", 64)
            .once()
            .answers::<EventAnswer>(200, "With what became of it")
            .refuses(&[Code::EventNotFound]),
    );
}

/// An event of the inbox.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Event {
    id: u64,
    provider: String,
    provider_event_id: String,
    event_type: String,
    api_version: Option<String>,
    /// `applied`, `ignored`, `failed`.
    outcome: String,
    failure: Option<String>,
    ignored_because: Option<String>,
    attempts: u32,
    billable_entity_id: Option<u64>,
    received_at: Instant,
    resolved_at: Option<Instant>,
}

impl From<purchases::Event> for Event {
    fn from(row: purchases::Event) -> Self {
        Event {
            id: row.id,
            provider: row.provider,
            provider_event_id: row.provider_event_id,
            event_type: row.event_type,
            api_version: row.api_version,
            outcome: row.outcome,
            failure: row.failure,
            ignored_because: row.ignored_because,
            attempts: row.attempts,
            billable_entity_id: row.subject_id,
            received_at: Instant(row.received_at),
            resolved_at: row.resolved_at.map(Instant),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct EventAnswer {
    event: WithPayload,
}

#[derive(Serialize, ToSchema)]
struct WithPayload {
    #[serde(flatten)]
    event: Event,
    /// The body as it was sent; what is not UTF-8 in it is shown as such.
    payload: String,
}

fn event_answer(row: EventWithPayload) -> Response {
    let event = WithPayload {
        event: row.event.into(),
        payload: String::from_utf8_lossy(&row.payload).into_owned(),
    };
    json(StatusCode::OK, &EventAnswer { event })
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let page = request.page()?;
    let outcome = request.query("outcome");
    if let Some(outcome) = &outcome {
        wire::bounded(outcome, 16).map_err(|sentence| Problem::field("outcome", &sentence))?;
    }
    let asked = EventsAsked {
        outcome: outcome.as_deref(),
        subject_id: whose(&request)?,
        before_id: page.after,
        limit: page.limit + 1,
    };
    let rows = purchases::list_events(&request.gateway.database, asked).await?;
    let list: List<Event> = List::new(rows, page.limit, |event| event.id.to_string());
    Ok(json(StatusCode::OK, &list))
}

async fn find(request: Request, event_id: u64) -> Answer {
    request.caller(Needs::Admin).await?;
    let event = purchases::find_event(&request.gateway.database, event_id).await?;
    Ok(event_answer(event))
}

async fn replay(request: Request, event_id: u64) -> Answer {
    let caller = request.caller(Needs::Admin).await?;
    let key = request.idempotency_key()?;
    let database = &request.gateway.database;
    let event = purchases::replay_event(database, event_id, key.as_deref(), &caller.signature()).await?;
    request.gateway.relay.written();
    Ok(event_answer(event))
}

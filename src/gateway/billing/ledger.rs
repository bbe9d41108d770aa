//! `GET /api/billing/limitations/{code}/ledger` and `…/history`: what was ever recorded of a limit, and how it stood over time.

use serde_json::json as value;
use warp::http::StatusCode;

use super::segment;
use crate::error::Code;
use crate::gateway::caller::Needs;
use crate::gateway::description::{Description, Operation, shapes};
use crate::gateway::problem::Problem;
use crate::gateway::request::{Answer, CURSOR_CHARACTERS, Request, json};
use crate::gateway::views;
use crate::gateway::wire::{Instant, Text, bounded};
use crate::procedures::entitlement;

/// What the routes take and answer.
pub(super) fn describe(description: &mut Description) {
    let ledger = Operation::get(
        "ledger",
        "/api/billing/limitations/{code}/ledger",
        "All that was ever recorded of a limit, newest first",
    );
    description.add(
        ledger
            .by(Needs::Workspace)
            .segment("code", shapes::of::<Text<64>>())
            .subject()
            .page_by_cursor()
            .answers::<views::List<views::LedgerEntry>>(200, "A page of entries")
            .naming::<views::LedgerEntry>()
            .refuses(&[Code::DefinitionNotFound]),
    );
    let history = Operation::get(
        "history",
        "/api/billing/limitations/{code}/history",
        "How a limit stood at each step of a time, for a chart of at most 1,000 points",
    );
    description.add(
        history
            .by(Needs::Workspace)
            .segment("code", shapes::of::<Text<64>>())
            .subject()
            .parameter("query", "from", "The first instant", shapes::of::<Instant>())
            .parameter(
                "query",
                "to",
                "The end; now, if it is not given",
                shapes::of::<Instant>(),
            )
            .parameter(
                "query",
                "step",
                "From point to point",
                value!({"enum": ["hour", "day"], "default": "day"}),
            )
            .answers::<views::History>(200, "The points, oldest first")
            .refuses(&[Code::DefinitionNotFound]),
    );
}

pub async fn page(request: Request, code: String) -> Answer {
    request.caller(Needs::Workspace).await?;
    let code = segment("code", &code, 64)?;
    let subject = request.subject()?;
    let limit = request.page_limit()?;
    let cursor = request.query("cursor");
    if let Some(cursor) = &cursor {
        bounded(cursor, CURSOR_CHARACTERS).map_err(|sentence| Problem::field("cursor", &sentence))?;
    }
    let subject_id = request.subject_id(subject).await?;
    let (rows, next_cursor) =
        entitlement::ledger(&request.gateway.database, subject_id, &code, cursor.as_deref(), limit).await?;
    let page: views::List<views::LedgerEntry> = views::List::with_cursor(rows, next_cursor);
    Ok(json(StatusCode::OK, &page))
}

pub async fn history(request: Request, code: String) -> Answer {
    request.caller(Needs::Workspace).await?;
    let code = segment("code", &code, 64)?;
    let subject = request.subject()?;
    let instant = |name: &str| match request.query(name) {
        Some(text) => Instant::parse(&text)
            .map(|instant| Some(instant.0))
            .map_err(|sentence| Problem::field(name, sentence)),
        None => Ok(None),
    };
    let (from, to) = (instant("from")?, instant("to")?);
    let step = request.query("step").unwrap_or_else(|| "day".to_owned());
    bounded(&step, 8).map_err(|_| Problem::field("step", "must be hour or day"))?;
    let subject_id = request.subject_id(subject).await?;
    let points = entitlement::history(&request.gateway.database, subject_id, &code, from, to, &step).await?;
    Ok(json(StatusCode::OK, &views::History::new(code, step, points)))
}

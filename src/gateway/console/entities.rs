//! `/api/console/billing/entities`: who there is.

use std::sync::Arc;

use serde_json::json as value;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::{Description, Operation};
use super::super::problem::Problem;
use super::super::request::{Answer, Request, json, request};
use super::super::views::{BillableEntity, List};
use super::super::wire::{bounded, digits};
use crate::procedures::billing::{self, ListedEntity};

/// Characters of a reference.
const NAME_CHARACTERS: usize = 128;

/// Digits of an id that every number of so many digits can be.
const ID_DIGITS: usize = 19;

/// The route of entities.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("api" / "console" / "billing" / "entities")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", list))
        .boxed()
}

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let list = Operation::get(
        "listEntities",
        "/api/console/billing/entities",
        "Who there is, by reference",
    );
    description.add(
        list.by(Needs::Admin)
            .parameter(
                "query",
                "q",
                "Only those whose reference or workspace begins so",
                // An empty parameter counts as none, here and of the cursor.
                value!({"type": "string", "pattern": format!("^[!-~]{{0,{NAME_CHARACTERS}}}$")}),
            )
            .page(value!({"type": "string", "pattern": format!("^([0-9]{{1,{ID_DIGITS}}}[.][!-~]{{1,{NAME_CHARACTERS}}})?$")}))
            .answers::<List<BillableEntity>>(200, "A page of billable entities"),
    );
}

impl From<ListedEntity> for BillableEntity {
    fn from(row: ListedEntity) -> Self {
        row.entity.into()
    }
}

async fn list(request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let beginning = request.query("q");
    if let Some(beginning) = &beginning {
        bounded(beginning, NAME_CHARACTERS).map_err(|sentence| Problem::field("q", &sentence))?;
    }
    let cursor = request.query("cursor");
    let after = match &cursor {
        Some(cursor) => Some(read_cursor(cursor)?),
        None => None,
    };
    let limit = request.page_limit()?;
    let database = &request.gateway.database;
    let rows = billing::list_entities(database, beginning.as_deref(), after, limit + 1).await?;
    let page: List<BillableEntity> = List::new(rows, limit, |row| format!("{}.{}", row.entity.id, row.list_name));
    Ok(json(StatusCode::OK, &page))
}

/// A cursor is the last entity's id and the name by which it stands in the list.
fn read_cursor(cursor: &str) -> Result<(&str, u64), Problem> {
    let wrong = || Problem::field("cursor", "must be the nextCursor of the page before");
    let (id, name) = cursor.split_once('.').ok_or_else(wrong)?;
    if id.len() > ID_DIGITS || name.is_empty() || bounded(name, NAME_CHARACTERS).is_err() {
        return Err(wrong());
    }
    Ok((name, digits(id).ok_or_else(wrong)?))
}

//! `/api/console/billing/…`: what operators do. One file per kind of thing.

mod assignments;
mod catalogue;
mod definitions;
mod engine;
mod entities;
mod events;
mod grants;
mod plans;
mod products;
mod purchases;
mod verify;

use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::Gateway;
use super::description::Description;
use super::problem::Problem;
use super::request::{Request, first_of};
use super::wire;

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    first_of([
        grants::routes(gateway),
        assignments::routes(gateway),
        definitions::routes(gateway),
        plans::routes(gateway),
        products::routes(gateway),
        purchases::routes(gateway),
        events::routes(gateway),
        entities::routes(gateway),
        engine::routes(gateway),
        verify::routes(gateway),
    ])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    grants::describe(description);
    assignments::describe(description);
    definitions::describe(description);
    plans::describe(description);
    products::describe(description);
    purchases::describe(description);
    events::describe(description);
    entities::describe(description);
    engine::describe(description);
    verify::describe(description);
}

/// The billable entity that a list is asked for, by the query `billableEntityId`; `None`: everybody's.
fn whose(request: &Request) -> Result<Option<u64>, Problem> {
    let Some(text) = request.query("billableEntityId") else {
        return Ok(None);
    };
    wire::digits(&text)
        .map(Some)
        .ok_or_else(|| Problem::field("billableEntityId", "must be a billable entity's id"))
}

//! `/api/console/billing/…`: what operators do. One file per kind of thing.

mod assignments;
mod catalogue;
mod definitions;
mod grants;
mod plans;
mod products;

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::Gateway;

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    grants::routes(gateway)
        .or(assignments::routes(gateway))
        .unify()
        .or(definitions::routes(gateway))
        .unify()
        .or(plans::routes(gateway))
        .unify()
        .or(products::routes(gateway))
        .unify()
        .boxed()
}

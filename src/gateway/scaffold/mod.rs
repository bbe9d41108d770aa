//! Examples of routes whose writes are paid for, to be deleted by whoever builds on this.

mod annuity;
mod projects;
mod sums;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::application::Admission;
use super::description::Description;

/// The routes of the family.
pub fn routes(admission: &BoxedFilter<(Admission,)>) -> BoxedFilter<(Response,)> {
    projects::routes(admission)
        .or(annuity::routes(admission))
        .unify()
        .boxed()
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    projects::describe(description);
    annuity::describe(description);
}

//! Examples of routes whose writes are paid for, to be deleted by whoever builds on this.

mod annuity;
mod projects;
mod sums;

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::application::Admission;
use super::description::Description;
use super::request::first_of;

/// The routes of the family.
pub fn routes(admission: &BoxedFilter<(Admission,)>) -> BoxedFilter<(Response,)> {
    first_of([projects::routes(admission), annuity::routes(admission)])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    projects::describe(description);
    annuity::describe(description);
}

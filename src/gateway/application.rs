//! The application's own routes, all behind one gate. Whoever builds on this adds his own family here.
//!
//! Such a route never sees a bare request: it is given an [`Admission`], and nothing but the gate makes one.

use std::sync::Arc;

use serde_json::{Map, Value};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reply::{Reply, Response};

use super::Gateway;
use super::caller::Needs;
use super::description::{Description, Operation};
use super::problem::{Problem, Transport};
use super::request::{Answer, Request, request};
use crate::error::Code;
use crate::procedures::entitlement;

/// What a write needs of its workspace; the map of capabilities says which state that is.
const WRITE: &str = "application.write";

/// Makes the routes of a family from what admits their requests.
type Family = fn(&BoxedFilter<(Admission,)>) -> BoxedFilter<(Response,)>;

/// Adds what they take and answer.
type Describe = fn(&mut Description);

/// The families of the application.
const FAMILIES: &[(Family, Describe)] = &[
    // Examples, to be deleted.
    (super::scaffold::routes, super::scaffold::describe),
];

/// A request that may be answered, or why it may not.
pub type Admission = Result<Admitted, Problem>;

/// A request whose caller may make it, and whose subject is known.
pub struct Admitted {
    /// The request.
    pub request: Request,
    /// The billable entity that it is about.
    pub subject_id: u64,
}

/// The application's routes.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let admission = request(gateway).then(admit).boxed();
    let none = warp::any()
        .and_then(async || Err::<Response, _>(warp::reject()))
        .boxed();
    FAMILIES.iter().fold(none, |routes, (family, _)| {
        routes.or(family(&admission)).unify().boxed()
    })
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    for (_, describe) in FAMILIES {
        describe(description);
    }
}

/// What the gate adds to what an operation takes and answers.
pub fn admitted(operation: Operation) -> Operation {
    let operation = operation.by(Needs::Workspace).subject();
    match operation.is_read() {
        true => operation,
        false => operation
            .fails(&[Transport::WorkspaceAccessExpired])
            .refuses(&[Code::CapabilityNotFound]),
    }
}

/// Lets a request through if its caller may make it and, where it would write, the access of its workspace has not lapsed.
/// The database is asked each time, so that access ends, and begins again, at the instant.
async fn admit(request: Request) -> Admission {
    request.caller(Needs::Workspace).await?;
    let subject_id = request.entity().await?.id;
    if *request.method() != Method::GET {
        let gate = entitlement::gate(&request.gateway.database, subject_id, WRITE).await?;
        if !gate.is_open {
            let mut details = Map::new();
            details.insert("limitationCode".into(), Value::from(gate.code));
            details.insert("lockState".into(), Value::from(gate.lock_state));
            let detail = "The workspace can be read, and written to again as soon as it is granted access";
            return Err(Problem::transport(Transport::WorkspaceAccessExpired, detail).with_details(details));
        }
    }
    Ok(Admitted { request, subject_id })
}

/// Answers an admitted request with `handler`, and any other with what is wrong with it.
pub async fn answer<F>(admission: Admission, handler: impl FnOnce(Admitted) -> F) -> Response
where
    F: Future<Output = Answer>,
{
    let answer = match admission {
        Ok(admitted) => handler(admitted).await,
        Err(problem) => Err(problem),
    };
    answer.unwrap_or_else(Problem::into_response)
}

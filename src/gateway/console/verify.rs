//! `/api/console/billing/verify`: the numbers against the ledger, a page of subjects at a time, so that who asks sees how far it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::super::Gateway;
use super::super::caller::Needs;
use super::super::description::shapes::{Id, PageOfSubjects};
use super::super::description::{Description, Operation};
use super::super::request::{Answer, Request, json, request};
use crate::procedures::entitlement::{self, Mismatch};

/// Subjects that are verified at once, unless the request says how many.
const SUBJECTS_DEFAULT: u32 = 500;

/// The route of verifications.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("api" / "console" / "billing" / "verify")
        .and(request(gateway))
        .then(|request: Request| request.answer("POST", verify))
        .boxed()
}

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let verify = Operation::post(
        "verify",
        "/api/console/billing/verify",
        "Compares every number of the next billable entities with the ledger, for one caller at a time",
    );
    description.add(
        verify
            .by(Needs::Admin)
            .body::<Verify>()
            .example(value!({"afterId": null, "limit": 500}))
            .answers::<VerifyAnswer>(200, "What differs: nothing is the proof"),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Verify {
    /// `lastId` of the answer before.
    #[schema(value_type = Option<Id>)]
    after_id: Option<u64>,
    #[schema(value_type = Option<PageOfSubjects>)]
    limit: Option<u32>,
}

/// How far it is, and what differs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerifyAnswer {
    checked_subjects: u32,
    /// The last of them; null: all were checked before.
    last_id: Option<u64>,
    /// The newest billable entity.
    highest_id: Option<u64>,
    differences: Vec<Difference>,
}

/// A number that is not what the ledger says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Difference {
    billable_entity_id: u64,
    code: String,
    what: String,
    /// Of the segment, the grant or the hold; null for the balance itself.
    number: Option<u64>,
    projected: Option<i64>,
    ledger: Option<i64>,
}

impl From<Mismatch> for Difference {
    fn from(row: Mismatch) -> Self {
        Difference {
            billable_entity_id: row.subject_id,
            code: row.code,
            what: row.what,
            number: row.number,
            projected: row.projected,
            ledger: row.ledger,
        }
    }
}

async fn verify(mut request: Request) -> Answer {
    request.caller(Needs::Admin).await?;
    let body: Verify = request.json().await?;
    // It reads much: whoever comes while another one verifies waits for his turn.
    let _turn = request.gateway.verification.lock().await;
    let limit = body.limit.unwrap_or(SUBJECTS_DEFAULT);
    let (verified, found) = entitlement::verify_page(&request.gateway.database, body.after_id, limit).await?;
    let answer = VerifyAnswer {
        checked_subjects: verified.checked_subjects,
        last_id: verified.last_id,
        highest_id: verified.highest_id,
        differences: found.into_iter().map(Difference::from).collect(),
    };
    Ok(json(StatusCode::OK, &answer))
}

//! What the routes of definitions, plans and products share: versions as ETags, and edits that are refused.

use serde::Serialize;
use serde_json::{Map, Value, json as value};
use utoipa::ToSchema;
use warp::http::header::ETAG;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::super::caller::Needs;
use super::super::description::shapes::{self, Visible};
use super::super::problem::{Problem, Transport};
use super::super::request::{Request, json};
use super::super::views::Instant;
use super::super::wire::Fields;
use crate::error::Code;
use crate::procedures::billing::catalogue::{Edit, EditFields, FieldProblem, Item};
use crate::procedures::entitlement::Definition;

/// A thing of the catalogue.
pub trait Versioned {
    /// Its version, which grows with each edit.
    fn version(&self) -> u32;
    /// Whether the call that gave it made it.
    fn made(&self) -> bool;
}

impl Versioned for Item {
    fn version(&self) -> u32 {
        self.version
    }
    fn made(&self) -> bool {
        self.made
    }
}

impl Versioned for Definition {
    fn version(&self) -> u32 {
        self.version
    }
    fn made(&self) -> bool {
        self.made
    }
}

/// What an edit of the catalogue may be refused with, beside what is wrong with it.
pub const REFUSALS: &[Code] = &[Code::CodeTaken, Code::PriceTaken, Code::UnknownEntitlementCode];

/// The schema of a plan or a product as it is written, with entitlements of this schema. A new one has a code, which stays.
pub fn item_schema(entitlement: Value, is_new: bool) -> Value {
    let fields = value!({
        "code": {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$"},
        "name": shapes::name(160),
        "archived": {"type": "boolean"},
        "providerPriceIds": shapes::array(shapes::of::<Visible<255>>(), 0, 100),
        "entitlements": shapes::array(entitlement, 0, 100),
    });
    let required: &[&str] = if is_new { &["code", "name"] } else { &[] };
    let mut schema = shapes::object(fields, required);
    schema["properties"]["providerPriceIds"]["uniqueItems"] = value!(true);
    schema
}

/// A plan or a product.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    id: u32,
    code: String,
    name: String,
    archived_at: Option<Instant>,
    version: u32,
    #[schema(value_type = Vec<String>)]
    provider_price_ids: Value,
    #[schema(value_type = Vec<Object>)]
    entitlements: Value,
    created_at: Instant,
    updated_at: Instant,
}

impl From<Item> for ItemView {
    fn from(row: Item) -> Self {
        ItemView {
            id: row.id,
            code: row.code,
            name: row.name,
            archived_at: row.archived_at.map(Instant),
            version: row.version,
            provider_price_ids: row.provider_price_ids,
            entitlements: row.entitlements,
            created_at: Instant(row.created_at),
            updated_at: Instant(row.updated_at),
        }
    }
}

/// What a request writes of a definition, a plan or a product.
pub struct Written {
    id: Option<u32>,
    fields: Fields,
    expected_version: Option<u32>,
    idempotency_key: Option<String>,
    created_by: String,
}

impl Written {
    /// Of the thing that has this id, in the version that the request names; without one, of a new thing.
    ///
    /// # Errors
    /// What keeps the caller out, and what cannot be read.
    pub async fn of(request: &mut Request, id: Option<u32>) -> Result<Written, Problem> {
        let caller = request.caller(Needs::Admin).await?;
        let expected_version = match id {
            Some(_) => expected_version(request)?,
            None => None,
        };
        Ok(Written {
            id,
            fields: request.json().await?,
            expected_version,
            idempotency_key: request.idempotency_key()?,
            created_by: caller.signature(),
        })
    }

    /// As the procedures take it.
    pub fn edit(&self) -> EditFields<'_> {
        EditFields {
            id: self.id,
            fields: &self.fields.0,
            expected_version: self.expected_version,
            idempotency_key: self.idempotency_key.as_deref(),
            created_by: &self.created_by,
        }
    }
}

/// The version that the request edits, by its header `If-Match`; `None` for `*`: whichever.
///
/// # Errors
/// `PRECONDITION_REQUIRED` without the header, `VALIDATION_FAILED` when it is no version.
fn expected_version(request: &Request) -> Result<Option<u32>, Problem> {
    let Some(tag) = request.header("if-match")? else {
        let detail = "Send If-Match with the ETag that was read, or with * to overwrite whatever there is";
        return Err(Problem::transport(Transport::PreconditionRequired, detail));
    };
    if tag == "*" {
        return Ok(None);
    }
    // A proxy that compresses answers makes tags weak; the version in them is the same.
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let version = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|version| version.parse().ok());
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(Problem::field(
            "if-match",
            "must be * or one version in quotes, such as \"3\"",
        )),
    }
}

/// The answer to an edit, made of the thing as it is now: 201 where it was made.
///
/// # Errors
/// All that is wrong, as one problem.
pub fn edited<T: Versioned, B: Serialize>(edit: Edit<T>, body: impl FnOnce(T) -> B) -> Result<Response, Problem> {
    match edit {
        Edit::Done(thing) => {
            let status = match thing.made() {
                true => StatusCode::CREATED,
                false => StatusCode::OK,
            };
            Ok(tagged(status, thing, body))
        }
        Edit::Refused { problems, current } => Err(refused(&problems, current.map(|thing| thing.version()))),
    }
}

/// An answer with the thing's version as its ETag.
pub fn tagged<T: Versioned, B: Serialize>(status: StatusCode, thing: T, body: impl FnOnce(T) -> B) -> Response {
    let version = thing.version();
    let mut response = json(status, &body(thing));
    response.headers_mut().insert(ETAG, tag(version));
    response
}

fn tag(version: u32) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("a number in quotes is visible ASCII")
}

fn refused(problems: &[FieldProblem], current: Option<u32>) -> Problem {
    let Some(first) = problems.first() else {
        return Problem::transport(Transport::Internal, "");
    };
    if first.code == Code::VersionConflict {
        let problem = Problem::rule(first.code, &format!("The {} {}", first.path, first.text));
        return match current {
            Some(version) => problem
                .with_details(Map::from_iter([("currentVersion".to_owned(), version.into())]))
                .with_header(ETAG, tag(version)),
            None => problem,
        };
    }
    let detail = match problems.len() {
        1 => format!("{}: {}", first.path, first.text),
        count => format!("{}: {}; and {} more", first.path, first.text, count - 1),
    };
    let problem = Problem::rule(first.code, &detail);
    problems
        .iter()
        .fold(problem, |problem, field| problem.with_field(&field.path, &field.text))
}

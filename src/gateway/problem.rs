//! Errors as answers: RFC 9457 `application/problem+json`. The one table from what went wrong to status and title.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use warp::http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

use super::description::shapes::words;
use super::seldom::Seldom;
use crate::error::{Code, Error, catalogue};

/// Seconds after which a caller may try again when the database is away or busy: a restart or a peak takes about as long.
const RETRY_SECONDS: u64 = 1;

/// Requests that failed because the database is away or busy: in an outage that is each of them.
static FAILED: Seldom = Seldom::new();

/// What went wrong before or beside the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is explained by its row's title")]
pub enum Transport {
    MalformedJson,
    SubjectRequired,
    Unauthenticated,
    Forbidden,
    WorkspaceAccessExpired,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    PayloadTooLarge,
    UnsupportedMediaType,
    Internal,
    DatabaseUnavailable,
    Overloaded,
    NotReady,
    PreconditionRequired,
    KeyRateExceeded,
    TokensNotConfigured,
}

impl Transport {
    /// Every row.
    const ALL: [Transport; 17] = [
        Transport::MalformedJson,
        Transport::SubjectRequired,
        Transport::Unauthenticated,
        Transport::Forbidden,
        Transport::WorkspaceAccessExpired,
        Transport::NotFound,
        Transport::MethodNotAllowed,
        Transport::RequestTimeout,
        Transport::PayloadTooLarge,
        Transport::UnsupportedMediaType,
        Transport::Internal,
        Transport::DatabaseUnavailable,
        Transport::Overloaded,
        Transport::NotReady,
        Transport::PreconditionRequired,
        Transport::KeyRateExceeded,
        Transport::TokensNotConfigured,
    ];
}

/// The rows beside those of `sql/errors.csv`: code, status, title.
const fn row(transport: Transport) -> (&'static str, u16, &'static str) {
    match transport {
        Transport::MalformedJson => ("MALFORMED_JSON", 400, "The body is not JSON"),
        Transport::SubjectRequired => ("SUBJECT_REQUIRED", 400, "The request does not say whom it is about"),
        Transport::Unauthenticated => ("UNAUTHENTICATED", 401, "The request does not prove who makes it"),
        Transport::Forbidden => ("FORBIDDEN", 403, "This caller may not do this"),
        Transport::WorkspaceAccessExpired => (
            "WORKSPACE_ACCESS_EXPIRED",
            403,
            "The access of the workspace has expired",
        ),
        Transport::NotFound => ("NOT_FOUND", 404, "There is nothing at this path"),
        Transport::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 405, "This path has no such method"),
        Transport::RequestTimeout => ("REQUEST_TIMEOUT", 408, "The body took too long to arrive"),
        Transport::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", 413, "The body is too large"),
        Transport::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", 415, "The body must be JSON"),
        Transport::Internal => ("INTERNAL", 500, "The request met a fault of the service"),
        Transport::DatabaseUnavailable => ("DATABASE_UNAVAILABLE", 503, "The database is not available"),
        Transport::Overloaded => ("OVERLOADED", 503, "The service has more to do than it can take"),
        Transport::PreconditionRequired => (
            "PRECONDITION_REQUIRED",
            428,
            "The request must say which version it edits",
        ),
        Transport::KeyRateExceeded => ("KEY_RATE_EXCEEDED", 429, "This caller sends more requests than one may"),
        Transport::NotReady => ("NOT_READY", 503, "The service is not ready"),
        Transport::TokensNotConfigured => (
            "TOKENS_NOT_CONFIGURED",
            503,
            "The service has no secret for workspace tokens",
        ),
    }
}

/// An error as its answer. The same cause gives the same body, byte for byte.
// Boxed, so that answers that are not problems do not carry the room for one.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    details: Map<String, Value>,
    field_errors: BTreeMap<String, String>,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: &'a str,
    #[schema(schema_with = code_words)]
    code: &'a str,
    details: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    field_errors: &'a BTreeMap<String, String>,
}

impl Problem {
    fn new(code: &'static str, status: u16, title: &'static str, detail: &str) -> Problem {
        Problem(Box::new(Parts {
            code,
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title,
            // One cause may have a sentence of its own, or only the title's.
            detail: if detail.is_empty() { title } else { detail }.to_owned(),
            details: Map::new(),
            field_errors: BTreeMap::new(),
            header: None,
        }))
    }

    /// A transport row with a sentence on this occurrence; empty: the title is all there is to say.
    pub fn transport(transport: Transport, detail: &str) -> Problem {
        let (code, status, title) = row(transport);
        let problem = Problem::new(code, status, title, detail);
        match transport {
            Transport::Unauthenticated => problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Transport::DatabaseUnavailable
            | Transport::Overloaded
            | Transport::NotReady
            // One more is always his within a second.
            | Transport::KeyRateExceeded => problem.retry_after(RETRY_SECONDS),
            _ => problem,
        }
    }

    /// A refusal of a rule with a sentence on this occurrence.
    pub fn rule(code: Code, detail: &str) -> Problem {
        let entry = catalogue().iter().find(|row| row.number == code.number());
        let (status, title) = entry.map_or((500, ""), |row| (row.status, row.title.as_str()));
        Problem::new(code.name(), status, title, detail)
    }

    /// `VALIDATION_FAILED` for the field at `path`.
    pub fn field(path: &str, text: &str) -> Problem {
        Problem::rule(Code::ValidationFailed, &format!("{path}: {text}")).with_field(path, text)
    }

    /// `METHOD_NOT_ALLOWED`, with the methods that are, such as `GET, PUT`.
    pub fn method(allowed: &'static str) -> Problem {
        Problem::transport(Transport::MethodNotAllowed, "").with_header(ALLOW, HeaderValue::from_static(allowed))
    }

    /// Names a field of the request as the cause: in `fieldErrors`, and in `details`, which say all there is to say.
    #[must_use]
    pub fn with_field(mut self, path: &str, text: &str) -> Problem {
        self.0.field_errors.insert(path.to_owned(), text.to_owned());
        self.0.details.insert(
            "fieldErrors".to_owned(),
            self.0
                .field_errors
                .iter()
                .map(|(path, text)| (path.clone(), Value::from(text.as_str())))
                .collect::<Map<_, _>>()
                .into(),
        );
        self
    }

    /// Replaces the details.
    #[must_use]
    pub fn with_details(mut self, details: Map<String, Value>) -> Problem {
        self.0.details = details;
        self
    }

    /// Says after how many seconds trying again may help.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Problem {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Sends a header with the answer; the last one counts.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// The name in the body, such as `VALIDATION_FAILED`.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }
}

impl From<Error> for Problem {
    /// The text of what is no caller's fault goes to the log, not to the caller.
    fn from(error: Error) -> Problem {
        match &error {
            Error::Rule {
                code: Code::ValidationFailed,
                field: Some(path),
                text,
            } => Problem::field(path, text),
            Error::Rule { code, text, .. } => {
                let problem = Problem::rule(*code, text);
                if problem.0.status.is_server_error() {
                    tracing::error!(%error, "a procedure failed");
                }
                match code {
                    Code::IdempotencyKeyRequired => problem.with_field("idempotencyKey", text),
                    _ => problem,
                }
            }
            Error::Unavailable(_) | Error::Overloaded(_) => {
                match FAILED.told() {
                    Some(untold) => tracing::warn!(%error, untold, "the request failed"),
                    None => tracing::debug!(%error, "the request failed"),
                }
                let transport = match error {
                    Error::Overloaded(_) => Transport::Overloaded,
                    _ => Transport::DatabaseUnavailable,
                };
                Problem::transport(transport, "")
            }
            Error::Internal(_) => {
                tracing::error!(%error, "the request failed");
                Problem::transport(Transport::Internal, "")
            }
        }
    }
}

impl Serialize for Problem {
    /// As the body of an answer.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = Body {
            r#type: format!(
                "urn:consumable:error:{}",
                self.0.code.to_ascii_lowercase().replace('_', "-")
            ),
            title: self.0.title,
            status: self.0.status.as_u16(),
            detail: &self.0.detail,
            code: self.0.code,
            details: &self.0.details,
            field_errors: &self.0.field_errors,
        };
        body.serialize(serializer)
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Body::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Body::schemas(schemas);
    }
}

/// Every code that an answer can have.
pub fn codes() -> Vec<&'static str> {
    let rules = Code::ALL.iter().map(|code| code.name());
    let transports = Transport::ALL.iter().map(|transport| row(*transport).0);
    rules.chain(transports).collect()
}

fn code_words() -> RefOr<Schema> {
    words(&codes())
}

/// The code of an answer that is a problem, for whoever counts it.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredWith(pub &'static str);

impl Reply for Problem {
    fn into_response(self) -> Response {
        let mut response = warp::reply::json(&self).into_response();
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.0.header);
        response.extensions_mut().insert(AnsweredWith(self.0.code));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_catalogue_is_a_problem() {
        for (code, row) in Code::ALL.iter().zip(catalogue()) {
            let problem = Problem::rule(*code, "text");
            assert_eq!(
                (problem.0.code, problem.0.status.as_u16(), problem.0.title),
                (row.code.as_str(), row.status, row.title.as_str())
            );
        }
    }

    #[test]
    fn faults_of_ours_tell_the_caller_nothing() {
        for error in [
            Error::Internal("secret".into()),
            Error::Unavailable("secret".into()),
            Error::Overloaded("secret".into()),
        ] {
            let problem = Problem::from(error);
            assert!(problem.0.status.is_server_error());
            assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
        }
    }
}

//! A request as handlers see it, without warp's filters; and the filter that makes one.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderName};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::{Reply, Response};
use warp::{Buf, Filter};

use super::problem::{Problem, Transport};
use super::tokens::WorkspaceUser;
use super::{Gateway, wire};

/// Bytes of a body. A thousand requests of a batch fit.
const BODY_BYTES: usize = 1 << 20;

/// Bytes of a body that is too large which are read and thrown away. A connection that is closed with unread bytes in it
/// takes the answer with it; who sends more than this has not waited for one.
const DISCARDED_BYTES: usize = 4 << 20;

/// How long a body may take to arrive: a megabyte over the slowest line that anybody calls from.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

type Body = Pin<Box<dyn Stream<Item = Result<Vec<u8>, warp::Error>> + Send + Sync>>;

/// Entries of a page, unless the request says how many.
pub const PAGE_DEFAULT: u32 = 50;

/// Entries of a page at most.
pub const PAGE_AT_MOST: u32 = 200;

/// Characters of the longest cursor that a page gives, and some more.
pub const CURSOR_CHARACTERS: usize = 160;

/// Characters of the key under which a write is done once.
pub const IDEMPOTENCY_KEY_CHARACTERS: usize = 128;

/// What names a request: given by the caller, or made by the server, which puts it there.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The last entry of the page before; `None`: the first page.
    pub after: Option<u64>,
    /// Entries at most.
    pub limit: u32,
}

/// One request to one of the gateway's paths.
pub struct Request {
    /// What handlers need to answer.
    pub gateway: Arc<Gateway>,
    /// Who proved himself by a workspace token: then the request is about his workspace or about nothing.
    pub(super) user: OnceLock<WorkspaceUser>,
    method: Method,
    headers: HeaderMap,
    query: String,
    body: Body,
}

/// What a handler answers.
pub type Answer = Result<Response, Problem>;

/// The routes tried one after the other. Each is boxed, for the type of a chain of them takes the compiler minutes.
pub fn first_of(routes: impl IntoIterator<Item = BoxedFilter<(Response,)>>) -> BoxedFilter<(Response,)> {
    let mut routes = routes.into_iter();
    let first = routes.next().expect("a family has a route");
    routes.fold(first, |routes, route| routes.or(route).unify().boxed())
}

/// Extracts the [`Request`]. Never rejects.
pub fn request(gateway: &Arc<Gateway>) -> BoxedFilter<(Request,)> {
    let gateway = gateway.clone();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::body::stream())
        .map(move |method, headers, query, body| Request {
            gateway: gateway.clone(),
            user: OnceLock::new(),
            method,
            headers,
            query,
            body: boxed(body),
        })
        .boxed()
}

fn boxed(body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + Sync + 'static) -> Body {
    Box::pin(body.map(|chunk| {
        chunk.map(|mut chunk| {
            let mut bytes = vec![0; chunk.remaining()];
            chunk.copy_to_slice(&mut bytes);
            bytes
        })
    }))
}

impl Request {
    /// Answers with `handler` if the method is `allowed`, else with `METHOD_NOT_ALLOWED`.
    pub async fn answer<F>(self, allowed: &'static str, handler: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Answer>,
    {
        if self.method.as_str() != allowed {
            return Problem::method(allowed).into_response();
        }
        handler(self).await.unwrap_or_else(Problem::into_response)
    }

    /// Shows what `handler` answers, to a GET, and to a HEAD without the body, which hyper leaves away.
    pub async fn show<F>(self, handler: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Answer>,
    {
        if !matches!(self.method, Method::GET | Method::HEAD) {
            return Problem::method("GET, HEAD").into_response();
        }
        handler(self).await.unwrap_or_else(Problem::into_response)
    }

    /// The request's id, as the log has it and the answer will.
    pub fn id(&self) -> &str {
        let id = self.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        id.unwrap_or_default()
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// A header's text; `None` when it is not there or empty.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when it is not visible ASCII.
    pub fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.headers.get(name).map(|value| value.to_str()) {
            Some(Err(_)) => Err(Problem::field(name, "must be visible ASCII characters")),
            Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }

    /// A query parameter's text, decoded; `None` when it is not there or empty. The first one counts.
    pub fn query(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    }

    /// Which page of a list is asked for: `cursor`, as the page before gave it, and `limit`.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for a cursor that no page gave, and for a limit beyond its bounds.
    pub fn page(&self) -> Result<Page, Problem> {
        let after = match self.query("cursor") {
            Some(cursor) => Some(
                wire::digits(&cursor)
                    .ok_or_else(|| Problem::field("cursor", "must be the nextCursor of the page before"))?,
            ),
            None => None,
        };
        Ok(Page {
            after,
            limit: self.page_limit()?,
        })
    }

    /// How many entries of a list are asked for.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` beyond its bounds.
    pub fn page_limit(&self) -> Result<u32, Problem> {
        let Some(limit) = self.query("limit") else {
            return Ok(PAGE_DEFAULT);
        };
        let limit = wire::digits(&limit).filter(|limit| (1..=PAGE_AT_MOST).contains(limit));
        let sentence = format!("must be a whole number from 1 to {PAGE_AT_MOST}");
        limit.ok_or_else(|| Problem::field("limit", &sentence))
    }

    /// The key under which a write is done once: `Idempotency-Key`, else `X-Command-Id`.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when it is too long to be one.
    pub fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let key = match self.header("idempotency-key")? {
            Some(key) => Some(key),
            None => self.header("x-command-id")?,
        };
        if let Some(key) = key {
            wire::bounded(key, IDEMPOTENCY_KEY_CHARACTERS).map_err(|text| Problem::field("idempotencyKey", &text))?;
        }
        Ok(key.map(str::to_owned))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `REQUEST_TIMEOUT`, and as [`wire::decode`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let content_type = self.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let essence = content_type
            .and_then(|value| value.split(|byte| *byte == b';').next())
            .map(<[u8]>::trim_ascii);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json")) {
            let detail = "Send it with Content-Type: application/json";
            return Err(Problem::transport(Transport::UnsupportedMediaType, detail));
        }
        wire::decode(&self.bytes().await?)
    }

    /// Reads the body as it comes.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE`, `REQUEST_TIMEOUT`.
    pub async fn bytes(&mut self) -> Result<Vec<u8>, Problem> {
        within(BODY_DEADLINE, read(&self.headers, &mut self.body)).await
    }
}

async fn within(deadline: Duration, body: impl Future<Output = Result<Vec<u8>, Problem>>) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(deadline, body).await {
        Ok(body) => body,
        Err(_) => Err(Problem::transport(Transport::RequestTimeout, "")),
    }
}

async fn read(headers: &HeaderMap, chunks: &mut Body) -> Result<Vec<u8>, Problem> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0_usize);
    let mut body = Vec::with_capacity(declared.min(BODY_BYTES));
    let mut length = 0;
    // Who asks before he sends (`Expect: 100-continue`) is told at once, and so is who would send too much to throw away.
    let is_hopeless = declared > DISCARDED_BYTES || declared > BODY_BYTES && headers.contains_key(EXPECT);
    while !is_hopeless && let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            // Nobody will read this: the connection broke, or the chunks are not chunks.
            Problem::transport(Transport::MalformedJson, "The body broke off")
        })?;
        length += chunk.len();
        if length.max(declared) <= BODY_BYTES {
            body.extend_from_slice(&chunk);
        } else if length > DISCARDED_BYTES {
            break;
        }
    }
    if length.max(declared) > BODY_BYTES {
        let detail = format!("Send at most {BODY_BYTES} bytes");
        return Err(Problem::transport(Transport::PayloadTooLarge, &detail));
    }
    Ok(body)
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    warp::reply::with_status(warp::reply::json(body), status).into_response()
}

/// The answer to a path that the gateway does not have.
pub fn not_found() -> Response {
    Problem::transport(Transport::NotFound, "").into_response()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn a_body_that_trickles_is_not_waited_for() {
        let next = |()| async {
            sleep(Duration::from_millis(5)).await;
            Some((Ok(vec![b' ']), ()))
        };
        let deadline = Duration::from_millis(100);
        let mut endless: Body = Box::pin(stream::unfold((), next));
        let refused = within(deadline, read(&HeaderMap::new(), &mut endless))
            .await
            .unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (408, "REQUEST_TIMEOUT"));
    }
}

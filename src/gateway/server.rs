//! From a listener to answered requests: connections, their bounds, and an orderly end.
//!
//! hyper is driven directly, because warp's own server has no deadline for headers, no bound on connections, and waits
//! without end when it shuts down. HTTP/1.1 only: whoever wants HTTP/2 for browsers has it end, with TLS, at the proxy in
//! front, and one protocol is one set of bounds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tracing::Instrument;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue, Request};
use warp::reply::{Reply, Response};

use super::problem::{AnsweredWith, Problem, Transport};
use super::request::REQUEST_ID;
use super::told_to_stop;
use crate::meters::Meters;

/// Connections at once: all readers of realtime events, and as many again of all others. Beyond it they wait unaccepted.
const MAX_CONNECTIONS: usize = 2 * super::MAX_READERS;

/// Connections that are made and not accepted yet.
const BACKLOG: u32 = MAX_CONNECTIONS as u32;

/// Requests under way at once. At a thousand a second, the last of them waits a second, and its client still listens.
const MAX_IN_FLIGHT: usize = 1_024;

/// How long a request may wait for its place among those under way. After a restart all readers come at once, and a browser's `EventSource`
/// that is refused does not come again: a moment's waiting is better for them, and one that lasts is better told.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);

/// How long headers may take, and how long a connection may wait for its next request. Longer than the pools of common
/// clients keep one, so that they seldom write on one that is being closed.
const HEADER_DEADLINE: Duration = Duration::from_secs(100);

/// How long a client may take none of what is written to it: one that reads nothing would keep its place for ever.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of headers: a key, a URL and a workspace token fit many times.
const HEADER_BYTES: usize = 32_768;

/// How long requests under way may take to finish when the gateway stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Pause after an accept that failed, such as for want of file descriptors: some will be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener on `address`. Whoever connects while the line is full tries again after seconds, and then longer and longer: after a restart all readers
/// come at once, so the line has room for them, as far as the system allows (`net.core.somaxconn`).
///
/// # Errors
/// When the address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As a service that is restarted needs it: connections of the one before it may still be ending.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What a client may take up of the gateway.
#[derive(Clone, Copy)]
pub struct Bounds {
    connections: usize,
    in_flight: usize,
    place_deadline: Duration,
    header_deadline: Duration,
    write_deadline: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connections: MAX_CONNECTIONS,
            in_flight: MAX_IN_FLIGHT,
            place_deadline: PLACE_DEADLINE,
            header_deadline: HEADER_DEADLINE,
            write_deadline: WRITE_DEADLINE,
        }
    }
}

/// The places of requests under way.
#[derive(Clone)]
struct Places {
    places: Arc<Semaphore>,
    deadline: Duration,
}

impl Places {
    fn new(bounds: Bounds) -> Places {
        Places {
            places: Arc::new(Semaphore::new(bounds.in_flight)),
            deadline: bounds.place_deadline,
        }
    }

    /// A place, as soon as there is one; `None` when there was none in time.
    async fn take(&self) -> Option<SemaphorePermit<'_>> {
        timeout(self.deadline, self.places.acquire()).await.ok()?.ok()
    }
}

/// Serves `routes` on `listener`, within `bounds`, until `shutdown` is true. Each request is counted.
pub async fn run(
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    bounds: Bounds,
    meters: Arc<Meters>,
    mut shutdown: watch::Receiver<bool>,
) {
    let in_flight = Places::new(bounds);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The semaphore is never closed; without a permit the connection would merely not be counted.
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection =
                        connection(stream, routes.clone(), bounds, in_flight.clone(), meters.clone(), shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // Forgets those that have ended.
            Some(_) = connections.join_next() => (),
            () = told_to_stop(&mut shutdown) => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_DEADLINE, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections whose requests did not finish"
        );
    }
}

async fn connection(
    stream: TcpStream,
    routes: BoxedFilter<(Response,)>,
    bounds: Bounds,
    in_flight: Places,
    meters: Arc<Meters>,
    mut shutdown: watch::Receiver<bool>,
) {
    // An answer is one write; waiting to fill a packet only delays it.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(bounds.write_deadline));
    let routes = TowerToHyperService::new(warp::service(routes));
    let service = service_fn(move |request| handle(routes.clone(), request, in_flight.clone(), meters.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_deadline)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away as they please.
        tracing::debug!(%error, "a connection broke");
    }
}

/// One request with all that is the same for every route: its id, its span, its bound, and an answer even to a panic.
async fn handle<S, B>(
    routes: S,
    mut request: Request<B>,
    in_flight: Places,
    meters: Arc<Meters>,
) -> Result<Response, Infallible>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    // The path without the query: that may hold an access token.
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path()
    );
    let answer = async {
        let begun = Instant::now();
        let path = request.uri().path().to_owned();
        // A full gateway is alive, and must not be killed for it: its health is told beside the bound.
        let place = match path.starts_with("/api/") {
            true => in_flight.take().await.map(Some),
            false => Some(None),
        };
        let response = match place {
            None => Problem::transport(Transport::Overloaded, "").into_response(),
            Some(_place) => match AssertUnwindSafe(routes.call(request)).catch_unwind().await {
                Ok(Ok(response)) => response,
                Err(_) => {
                    tracing::error!("a handler panicked");
                    Problem::transport(Transport::Internal, "").into_response()
                }
            },
        };
        let status = response.status().as_u16();
        let elapsed = begun.elapsed();
        meters.answered(&path, status, elapsed);
        if let Some(AnsweredWith(code)) = response.extensions().get() {
            meters.denied(code);
        }
        tracing::debug!(status, ?elapsed, "answered");
        response
    };
    let mut response = answer.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

/// The caller's own id for the request, if it can be one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_id = |id: &HeaderValue| (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    if let Some(id) = headers.get(REQUEST_ID).filter(|id| is_id(id)) {
        return id.clone();
    }
    // Without a source of randomness the ids are all the same, and still ids.
    let random = getrandom::u64().unwrap_or_default();
    HeaderValue::from_str(&format!("{random:016x}")).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests;

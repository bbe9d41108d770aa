//! The HTTP side: parse, authorise, call one procedure, answer. No rule is here.
//!
//! One file per route family (`billing`, `console`, `webhooks`, `realtime`, `application`, `health`, `scrape`, `description`, `page`). Each gives its routes as one boxed
//! filter, so that warp's types stay small; behind them, handlers are plain async functions from a `request::Request` to
//! an answer or a `problem::Problem`. Neither is a warp rejection.

mod application;
mod billing;
mod caller;
mod console;
mod description;
mod gathered;
mod health;
mod page;
mod problem;
mod rates;
mod realtime;
mod request;
mod scaffold;
mod scrape;
mod seldom;
mod server;
mod shared;
mod subject;
mod tokens;
mod views;
mod webhooks;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::Rate;
use crate::database::{Database, Release};
use crate::lanes::Lanes;
use crate::meters::Meters;
use crate::procedures::access::Holder;
use crate::procedures::entitlement::{LimitationsRequest, SubjectLimitations};
use crate::relay::Relay;

pub use caller::Secret;
pub use problem::codes;
use request::first_of;
pub use server::listen;
pub use tokens::Tokens;

/// Readers of realtime events at once. Each keeps a connection and some kilobytes.
const MAX_READERS: usize = 10_000;

/// What callers other than those with a key prove themselves by.
pub struct Secrets {
    /// Of users of workspaces.
    pub tokens: Tokens,
    /// What the payment provider signs its events with: any of these; none: no event is believed.
    pub webhooks: Vec<String>,
}

/// What somebody else runs beside the gateway.
pub struct Parts {
    /// What readers of realtime events are fed by.
    pub relay: Relay,
    /// What uses are decided by.
    pub lanes: Lanes,
    /// The connections that those call by.
    pub lanes_database: Database,
    /// What the gateway does is counted here.
    pub meters: Arc<Meters>,
}

/// What handlers share.
pub struct Gateway {
    database: Database,
    relay: Relay,
    lanes: Lanes,
    lanes_database: Database,
    /// Whose a key is, as it is being asked.
    holders: Arc<shared::Shared<[u8; 32], Option<Holder>>>,
    /// Each with the id of its request.
    limitations: Arc<gathered::Gathered<(LimitationsRequest, String), Option<SubjectLimitations>>>,
    tokens: Tokens,
    /// What each caller may still send; none: whatever he likes.
    rates: Option<rates::Rates>,
    readiness: health::Readiness,
    figures: scrape::Figures,
    meters: Arc<Meters>,
    /// What the payment provider signs its events with: any of these.
    webhook_secrets: Vec<String>,
    /// Places for readers of realtime events.
    readers: Arc<Semaphore>,
    /// Who verifies holds it, so that one verification at a time reads the whole ledger.
    verification: Mutex<()>,
    /// Becomes true when streams must end.
    shutdown: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway to `database`, which `database_url` names and which should have `release`, with `parts`, which somebody
    /// else runs. What callers prove themselves by is checked with `secrets`, and how
    /// much each sends with `rate`. When `shutdown` becomes true it stops: see
    /// [`Gateway::serve`].
    pub fn new(
        database: Database,
        database_url: String,
        release: Release,
        parts: Parts,
        secrets: Secrets,
        rate: Option<Rate>,
        shutdown: watch::Receiver<bool>,
    ) -> Gateway {
        Gateway {
            database,
            relay: parts.relay,
            lanes: parts.lanes,
            lanes_database: parts.lanes_database,
            holders: Arc::default(),
            limitations: Arc::default(),
            tokens: secrets.tokens,
            rates: rate.map(rates::Rates::new),
            webhook_secrets: secrets.webhooks,
            readiness: health::Readiness::new(database_url, release),
            figures: scrape::Figures::default(),
            meters: parts.meters,
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            verification: Mutex::new(()),
            shutdown,
        }
    }

    /// Answers requests on `listener` until shutdown, then lets those under way finish, for ten seconds at most.
    pub async fn serve(self, listener: TcpListener) {
        let shutdown = self.shutdown.clone();
        let meters = self.meters.clone();
        let routes = routes(&Arc::new(self));
        server::run(listener, routes, server::Bounds::default(), meters, shutdown).await;
    }
}

/// Waits for shutdown. When nobody is left who could ask for it, it is time too.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|is_down| *is_down).await;
}

fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    first_of([
        billing::routes(gateway),
        realtime::routes(gateway),
        console::routes(gateway),
        webhooks::routes(gateway),
        application::routes(gateway),
        health::routes(gateway),
        scrape::routes(gateway),
        description::routes(gateway),
        page::routes(gateway),
        warp::any().map(request::not_found).boxed(),
    ])
}

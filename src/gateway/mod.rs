//! The HTTP side: parse, authorise, call one procedure, answer. No rule is here.
//!
//! One file per route family (`billing`, `console`, `realtime`, `application`, `health`). Each gives its routes as one boxed
//! filter, so that warp's types stay small; behind them, handlers are plain async functions from a `request::Request` to
//! an answer or a `problem::Problem`. Neither is a warp rejection.

mod application;
mod billing;
mod caller;
mod console;
mod health;
mod problem;
mod realtime;
mod request;
mod scaffold;
mod server;
mod subject;
mod tokens;
mod views;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::database::{Database, Release};
use crate::relay::Relay;

pub use caller::Secret;
pub use tokens::Tokens;

/// Readers of realtime events at once. Each keeps a connection and some kilobytes.
const MAX_READERS: usize = 10_000;

/// What handlers share.
pub struct Gateway {
    database: Database,
    relay: Relay,
    tokens: Tokens,
    readiness: health::Readiness,
    /// Places for readers of realtime events.
    readers: Arc<Semaphore>,
    /// Becomes true when streams must end.
    shutdown: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway to `database`, which `database_url` names and which should have `release`, with `relay`, which somebody
    /// else runs, and `tokens` that browsers bring. When `shutdown` becomes true it stops: see [`Gateway::serve`].
    pub fn new(
        database: Database,
        database_url: String,
        release: Release,
        relay: Relay,
        tokens: Tokens,
        shutdown: watch::Receiver<bool>,
    ) -> Gateway {
        Gateway {
            database,
            relay,
            tokens,
            readiness: health::Readiness::new(database_url, release),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            shutdown,
        }
    }

    /// Answers requests on `listener` until shutdown, then lets those under way finish, for ten seconds at most.
    pub async fn serve(self, listener: TcpListener) {
        let shutdown = self.shutdown.clone();
        let routes = routes(&Arc::new(self));
        server::run(listener, routes, shutdown).await;
    }
}

/// Waits for shutdown. When nobody is left who could ask for it, it is time too.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|is_down| *is_down).await;
}

fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    billing::routes(gateway)
        .or(realtime::routes(gateway))
        .unify()
        .or(console::routes(gateway))
        .unify()
        .or(application::routes(gateway))
        .unify()
        .or(health::routes(gateway))
        .unify()
        .or(warp::any().map(request::not_found))
        .unify()
        .boxed()
}

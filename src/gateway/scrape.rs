//! `/metrics`: what is counted, for Prometheus. No key: nothing in it is of one subject.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json as value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::CONTENT_TYPE;
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::description::{Description, Operation};
use super::request::{Answer, Request, request};
use super::{Gateway, MAX_READERS};
use crate::database::Database;
use crate::meters::{Connections, DatabaseFigures, OwnFigures};
use crate::procedures::operator::{self, Health};

/// How long what the database said counts: whoever asks more often costs it nothing more.
const FRESH: Duration = Duration::from_secs(1);

/// How long the database may take to answer. The rest must arrive before Prometheus gives up, after ten seconds.
const DEADLINE: Duration = Duration::from_secs(3);

/// What Prometheus reads.
const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("metrics")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", metrics))
        .boxed()
}

/// What the route takes and answers.
pub fn describe(description: &mut Description) {
    let metrics = Operation::get("metrics", "/metrics", "What is counted, for Prometheus");
    description.add(metrics.answers_as(200, "In the text format 0.0.4", CONTENT, value!({"type": "string"})));
}

async fn metrics(request: Request) -> Answer {
    let gateway = &request.gateway;
    let database = gateway.figures.look(gateway).await;
    let readers = MAX_READERS - gateway.readers.available_permits();
    let own = OwnFigures {
        readers: number(readers),
        relay_lag: gateway.relay.lag(),
        waiting: number(gateway.lanes.waiting()),
        calls: connections(&gateway.database),
        lanes: connections(&gateway.lanes_database),
    };
    let text = gateway.meters.render(own, database);
    let mut response = text.into_response();
    let content_type = HeaderValue::from_static(CONTENT);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn connections(database: &Database) -> Connections {
    let pool = database.connections();
    Connections {
        open: number(pool.open),
        idle: number(pool.idle),
        waiting: number(pool.waiting),
    }
}

/// What the database last said of itself.
#[derive(Default)]
pub struct Figures {
    last: Mutex<Option<(Instant, Option<DatabaseFigures>)>>,
}

impl Figures {
    /// `None` when it does not answer.
    async fn look(&self, gateway: &Gateway) -> Option<DatabaseFigures> {
        // Who comes while another looks waits for what it finds.
        let mut last = self.last.lock().await;
        match *last {
            Some((at, figures)) if at.elapsed() < FRESH => figures,
            _ => {
                let position = gateway.relay.position();
                let figures = match timeout(DEADLINE, operator::health(&gateway.database)).await {
                    Ok(Ok(health)) => Some(figures(health, position)),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the metrics are without the database's");
                        None
                    }
                    Err(_) => None,
                };
                *last = Some((Instant::now(), figures));
                figures
            }
        }
    }
}

fn figures(health: Health, position: u64) -> DatabaseFigures {
    let untold = health.last_sequence_no.saturating_sub(position);
    DatabaseFigures {
        balances_aside: health.balances_aside,
        highest_failure_count: health.highest_failure_count,
        balances_due: health.balances_due,
        oldest_due: Duration::from_millis(health.oldest_due_milliseconds),
        outbox_lag: u32::try_from(untold)
            .unwrap_or(u32::MAX)
            .saturating_add(health.unnumbered_changes),
        lock_changes: health.lock_changes,
        grants: health.last_grant_id,
    }
}

//! `/healthz` and `/readyz`: for whoever starts, watches and balances gateways. No key: they tell no secret.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use super::Gateway;
use super::description::{Description, Operation};
use super::problem::{Problem, Transport};
use super::request::{Answer, Request, first_of, json, request};
use crate::database::{self, Database, Release, Weight};
use crate::error::Error;

/// How long an answer of the database counts: probes of many balancers cost it one look in this time.
const FRESH: Duration = Duration::from_secs(1);

/// How long counts that it does not answer: whoever waits for it to come back wants to know.
const AWAY_FRESH: Duration = Duration::from_millis(200);

/// How long the database may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    let alive = path!("healthz")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", alive));
    let ready = path!("readyz")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", ready));
    first_of([alive.boxed(), ready.boxed()])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    let alive = Operation::get("alive", "/healthz", "Whether this gateway is alive");
    description.add(alive.answers::<Alive>(200, "It is"));
    let ready = Operation::get("ready", "/readyz", "Whether this gateway can answer");
    description.add(ready.answers::<Ready>(200, "It can").fails(&[Transport::NotReady]));
}

#[derive(Serialize, ToSchema)]
struct Alive {
    status: &'static str,
}

async fn alive(_: Request) -> Answer {
    let status = "alive";
    Ok(json(StatusCode::OK, &Alive { status }))
}

/// What readiness depends on, each in a word.
#[derive(Serialize, ToSchema)]
struct Ready {
    status: &'static str,
    checks: Checks,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct Checks {
    /// `reachable`, `unreachable`.
    database: &'static str,
    /// `asBuilt`; `edited` by hand, which works; `lacking` or `unknown`, which does not.
    procedures: &'static str,
    /// `current`, `behind`.
    relay: &'static str,
}

async fn ready(request: Request) -> Answer {
    let (database, procedures) = request.gateway.readiness.look(&request.gateway.database).await;
    let relay = match request.gateway.relay.is_current() {
        true => "current",
        false => "behind",
    };
    let checks = Checks {
        database,
        procedures,
        relay,
    };
    match (procedures, relay) {
        ("asBuilt" | "edited", "current") => {
            let status = "ready";
            Ok(json(StatusCode::OK, &Ready { status, checks }))
        }
        _ => {
            let details: Map<String, Value> = [("database", database), ("procedures", procedures), ("relay", relay)]
                .map(|(check, word)| (check.to_owned(), word.into()))
                .into_iter()
                .collect();
            Err(Problem::transport(Transport::NotReady, "").with_details(details))
        }
    }
}

/// Looks at the database as `consumable migrate --check` does, at most once in a while.
pub struct Readiness {
    database_url: String,
    release: Release,
    last: Mutex<Option<(Instant, Words)>>,
}

/// How the database and its procedures are.
type Words = (&'static str, &'static str);

/// When it does not answer.
const AWAY: Words = ("unreachable", "unknown");

impl Readiness {
    /// Looks at the database of this URL, and whether it has this release.
    pub fn new(database_url: String, release: Release) -> Readiness {
        Readiness {
            database_url,
            release,
            last: Mutex::new(None),
        }
    }

    async fn look(&self, database: &Database) -> Words {
        // Who comes while another looks waits for what it finds.
        let mut last = self.last.lock().await;
        match *last {
            Some((at, words)) if at.elapsed() < if words == AWAY { AWAY_FRESH } else { FRESH } => words,
            _ => {
                let words = tokio::select! {
                    biased;
                    () = database.silence() => AWAY,
                    words = self.look_now() => words,
                };
                *last = Some((Instant::now(), words));
                words
            }
        }
    }

    /// What of the database is not as this program wants it, a line each.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer in time; and as [`database::check`].
    pub async fn differences(&self) -> Result<Vec<String>, Error> {
        let looking = database::check(&self.database_url, &self.release);
        let late = |_| Error::Unavailable(format!("the comparison did not end within {DEADLINE:?}"));
        let found = timeout(DEADLINE, looking).await.map_err(late)??;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    async fn look_now(&self) -> Words {
        let looking = database::check(&self.database_url, &self.release);
        match timeout(DEADLINE, looking).await {
            Ok(Ok(found)) => {
                let has = |weight| found.iter().any(|found| found.weight() == weight);
                match (has(Weight::Lack), has(Weight::Drift)) {
                    (true, _) => ("reachable", "lacking"),
                    (false, true) => ("reachable", "edited"),
                    (false, false) => ("reachable", "asBuilt"),
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                AWAY
            }
            Err(_) => AWAY,
        }
    }
}

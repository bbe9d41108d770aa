//! Joins concurrent uses into one call: while a call is under way, what arrives waits; when it returns, all that waits goes
//! as the next one. Nothing waits for a clock: an idle gateway calls at once, a busy one shares each commit among hundreds.
//!
//! Lanes are calls that are under way beside each other. While little waits, half of them stand by, since fewer and larger calls
//! are cheaper; when much waits, all of them call. A subject is in one call at a time, so lanes never wait for each other's rows. Subjects
//! take turns, and those of a call that failed as a whole are called one by one, while the lane goes on without them.

mod lane;
mod queue;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::lane::Shared;
use self::queue::Waiting;
use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::{ConsumeRequest, Outcome};

/// How long a request waits for its decision, its place in line included. Past it the client has gone.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// The lanes of a gateway. Cloning shares them.
#[derive(Clone)]
pub struct Lanes {
    count: usize,
    shared: Arc<Shared>,
}

impl Lanes {
    /// Lanes that only collect, until somebody runs them.
    pub fn new(count: usize) -> Lanes {
        let count = count.max(1);
        Lanes {
            count,
            shared: Arc::new(Shared::by(count)),
        }
    }

    /// Decides a request, together with what others ask at the same time. Whoever does not wait for the answer takes his request back,
    /// unless its call has begun.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once when too many wait already, and as
    /// [`consume`](crate::procedures::entitlement::consume).
    pub async fn consume(&self, request: ConsumeRequest) -> Result<Vec<Outcome>, Error> {
        let mut answers = self.consume_all(vec![request]).await;
        answers.pop().unwrap_or_else(|| Err(lost()))
    }

    /// Decides requests, those of one subject in their order, and answers each by itself, in their order, within ten seconds.
    pub async fn consume_all(&self, requests: Vec<ConsumeRequest>) -> Vec<Result<Vec<Outcome>, Error>> {
        let mut waiting = Vec::with_capacity(requests.len());
        let mut submitted = Vec::with_capacity(requests.len());
        for request in requests {
            submitted.push(request.encode().map(|encoded| {
                let (answer, decided) = oneshot::channel();
                waiting.push(Waiting {
                    subject_id: request.subject_id,
                    items: request.items.len(),
                    request_id: request.request_id,
                    request: encoded,
                    answer,
                });
                decided
            }));
        }
        self.shared.submit(waiting);
        let deadline = Instant::now() + DECIDED_WITHIN;
        let mut answers = Vec::with_capacity(submitted.len());
        for one in submitted {
            answers.push(match one {
                Ok(decided) => match timeout_at(deadline, decided).await {
                    Ok(decided) => decided.unwrap_or_else(|_| Err(lost())),
                    Err(_) => Err(Error::Unavailable(format!(
                        "nothing was decided within {DECIDED_WITHIN:?}"
                    ))),
                },
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Requests that wait for the call before theirs.
    pub fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// Calls for what arrives, for as long as it is polled: each lane by `impatient`, which should have a connection for each, and what
    /// is set aside by `database`. `called` is told how many requests each call of a lane has. It never ends by itself.
    pub async fn run(&self, database: &Database, impatient: &Database, called: Arc<dyn Fn(usize) + Send + Sync>) {
        let mut running = JoinSet::new();
        for _ in 0..self.count {
            let (shared, called) = (self.shared.clone(), called.clone());
            let (database, impatient) = (database.clone(), impatient.clone());
            running.spawn(async move {
                loop {
                    let serving = shared.lane(&database, &impatient, &*called);
                    let _ = AssertUnwindSafe(serving).catch_unwind().await;
                    // Those of the call have lost their answer; those who wait will have theirs.
                    tracing::error!("a lane panicked, and goes on");
                }
            });
        }
        while running.join_next().await.is_some() {}
    }
}

fn lost() -> Error {
    Error::Internal("a lane lost a request".into())
}

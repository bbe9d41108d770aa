//! One lane: a queue, and the calls that it is emptied by.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::queue::{Queue, Waiting};
use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::{self, EncodedRequest};

/// Subjects of a lane that are called apart from it at once: a few of the connections that all other calls share.
const ASIDE_AT_ONCE: usize = 4;

#[derive(Default)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Lane {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Puts requests in line. What finds no room is answered at once.
    pub fn submit(&self, requests: Vec<Waiting>) {
        if requests.is_empty() {
            return;
        }
        let mut refused = Vec::new();
        {
            let mut queue = self.queue();
            for request in requests {
                refused.extend(queue.push(request).err());
            }
        }
        self.arrived.notify_one();
        fail(refused, &Error::Overloaded("too many uses wait for their lane".into()));
    }

    /// Calls for all that waits, again and again. It never ends.
    pub async fn run(
        self: &Arc<Lane>,
        database: &Database,
        impatient: &Database,
        called: &(dyn Fn(usize) + Send + Sync),
    ) {
        let places = Arc::new(Semaphore::new(ASIDE_AT_ONCE));
        let mut apart = JoinSet::new();
        loop {
            let requests = self.queue().take();
            if requests.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            called(requests.len());
            let Err(failure) = decide(impatient, requests).await else {
                continue;
            };
            if failure.is_final() {
                failure.tell();
                continue;
            }
            tracing::warn!(error = %failure.error, ids = %Ids(&failure.requests), "a call of several uses failed, and is taken apart");
            // Forgets those that have ended.
            while apart.try_join_next().is_some() {}
            for (subject_id, requests) in failure.by_subject() {
                let aside = Aside::new(self, subject_id);
                let (database, places) = (database.clone(), places.clone());
                apart.spawn(async move {
                    // The semaphore is never closed.
                    let _place = places.acquire().await;
                    decide_apart(&database, requests).await;
                    drop(aside);
                });
            }
        }
    }
}

/// A subject whose line stands still, for as long as this is kept.
struct Aside {
    lane: Arc<Lane>,
    subject_id: u64,
}

impl Aside {
    fn new(lane: &Arc<Lane>, subject_id: u64) -> Aside {
        lane.queue().set_aside(subject_id);
        let lane = lane.clone();
        Aside { lane, subject_id }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.lane.queue().bring_back(self.subject_id);
        self.lane.arrived.notify_one();
    }
}

/// A call that failed as a whole.
struct Failure {
    error: Error,
    requests: Vec<Waiting>,
}

impl Failure {
    /// Whether no other call could do better: there is no database, or it was the only request and it did not fail by waiting.
    fn is_final(&self) -> bool {
        match self.error {
            Error::Unavailable(_) => true,
            Error::Overloaded(_) => false,
            Error::Rule { .. } | Error::Internal(_) => self.requests.len() == 1,
        }
    }

    fn tell(self) {
        fail(self.requests, &self.error);
    }

    fn by_subject(self) -> HashMap<u64, Vec<Waiting>> {
        let mut subjects: HashMap<u64, Vec<Waiting>> = HashMap::new();
        for request in self.requests {
            subjects.entry(request.subject_id).or_default().push(request);
        }
        subjects
    }
}

fn fail(requests: impl IntoIterator<Item = Waiting>, error: &Error) {
    for request in requests {
        let _ = request.answer.send(Err(error.clone()));
    }
}

/// The ids of a call's requests, so that whoever sees the call in the log, or in the server, finds them.
struct Ids<'a>(&'a [Waiting]);

impl Display for Ids<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut before: Option<&str> = None;
        for id in self.0.iter().filter_map(|waiting| waiting.request_id.as_deref()) {
            // Those of a batch have one id, and most often stand together.
            if before != Some(id) {
                out.write_str(if before.is_some() { " " } else { "" })?;
                out.write_str(id)?;
            }
            before = Some(id);
        }
        Ok(())
    }
}

/// Decides requests in one call, and tells each what became of it.
async fn decide(database: &Database, requests: Vec<Waiting>) -> Result<(), Failure> {
    let encoded: Vec<&EncodedRequest> = requests.iter().map(|waiting| &waiting.request).collect();
    let span = tracing::info_span!("lane", ids = %Ids(&requests));
    let decided = match entitlement::consume(database, &encoded).instrument(span).await {
        Ok(decided) => decided,
        Err(error) => return Err(Failure { error, requests }),
    };
    for (waiting, outcomes) in requests.into_iter().zip(decided) {
        // Who has gone meanwhile hears of it when he sends his key again.
        let _ = waiting.answer.send(Ok(outcomes));
    }
    Ok(())
}

/// Decides the requests of one subject: together, and if that fails, one by one, so that what cannot be decided fails alone.
async fn decide_apart(database: &Database, requests: Vec<Waiting>) {
    let Err(failure) = decide(database, requests).await else {
        return;
    };
    if failure.is_final() || matches!(failure.error, Error::Overloaded(_)) {
        return failure.tell();
    }
    let mut requests = failure.requests.into_iter();
    while let Some(request) = requests.next() {
        if let Err(failure) = decide(database, vec![request]).await {
            if !matches!(failure.error, Error::Rule { .. } | Error::Internal(_)) {
                // The others would only wait as long for the same.
                fail(requests.by_ref(), &failure.error);
            }
            failure.tell();
        }
    }
}

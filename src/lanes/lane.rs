//! What a lane does: the calls that it makes for what waits.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::Instrument;

use super::queue::{CALL_REQUESTS, Queue, Waiting};
use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::{self, EncodedRequest};

/// Subjects of a lane that are called apart from it at once: a few of the connections that all other calls share.
const ASIDE_AT_ONCE: usize = 4;

/// Ready requests that make a call worth its fixed cost, so that it goes beside others: with half of what a call takes, sharing it with
/// more saves little.
const LARGE: usize = CALL_REQUESTS / 2;

/// How long others wait behind a small call, several times what one takes: not for as long as it waits for somebody's lock.
const WAITED_FOR: Duration = Duration::from_millis(20);

/// What the lanes of a gateway share: the queue that all of them empty.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
    /// Places of small calls: half as many as there are lanes. It is never closed.
    small: Semaphore,
}

impl Shared {
    /// What so many lanes share.
    pub fn by(lanes: usize) -> Shared {
        Shared {
            queue: Mutex::default(),
            arrived: Notify::new(),
            small: Semaphore::new(lanes.div_ceil(2)),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Puts requests in line. What finds no room is answered at once.
    pub fn submit(&self, requests: Vec<Waiting>) {
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

    /// Ends when there is something to call for: at once if it is much, and if it is not, with a place. Behind small calls that have
    /// all of them, more arrives to share the next one.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        while self.queue().ready() == 0 {
            self.arrived.notified().await;
        }
        let mut place = pin!(self.small.acquire());
        while self.queue().ready() < LARGE {
            tokio::select! {
                biased;
                place = &mut place => return place.ok(),
                () = self.arrived.notified() => (),
            }
        }
        None
    }

    /// One lane: calls for all that waits, again and again. It never ends.
    pub async fn lane(
        self: &Arc<Shared>,
        database: &Database,
        impatient: &Database,
        called: &(dyn Fn(usize) + Send + Sync),
    ) {
        let places = Arc::new(Semaphore::new(ASIDE_AT_ONCE));
        let mut apart = JoinSet::new();
        loop {
            let place = self.turn().await;
            let requests = self.queue().take();
            if requests.is_empty() {
                continue;
            }
            let standing = Standing::new(self, &requests);
            called(requests.len());
            let mut call = pin!(decide(impatient, requests));
            let decided = tokio::select! {
                decided = &mut call => decided,
                () = sleep(WAITED_FOR) => {
                    drop(place);
                    call.await
                }
            };
            let Err(failure) = decided else {
                continue;
            };
            if failure.is_final() {
                failure.tell();
                continue;
            }
            tracing::warn!(error = %failure.error, ids = %Ids(&failure.requests), "a call of several uses failed, and is taken apart");
            // Forgets those that have ended.
            while apart.try_join_next().is_some() {}
            let mut subjects = failure.by_subject();
            for standing in standing.apart() {
                let requests = standing.subjects.iter().filter_map(|subject| subjects.remove(subject));
                let requests = requests.flatten().collect();
                let (database, places) = (database.clone(), places.clone());
                apart.spawn(async move {
                    // The semaphore is never closed.
                    let _place = places.acquire().await;
                    decide_apart(&database, requests).await;
                    drop(standing);
                });
            }
        }
    }
}

/// Subjects whose requests are being decided: their lines stand still for as long as this is kept.
struct Standing {
    shared: Arc<Shared>,
    subjects: HashSet<u64>,
}

impl Standing {
    /// Those whose requests have been taken.
    fn new(shared: &Arc<Shared>, taken: &[Waiting]) -> Standing {
        Standing {
            shared: shared.clone(),
            subjects: taken.iter().map(|waiting| waiting.subject_id).collect(),
        }
    }

    /// Each by itself.
    fn apart(mut self) -> Vec<Standing> {
        let subjects = std::mem::take(&mut self.subjects);
        let alone = |subject| Standing {
            shared: self.shared.clone(),
            subjects: HashSet::from([subject]),
        };
        subjects.into_iter().map(alone).collect()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.queue();
            for subject in &self.subjects {
                queue.move_on(*subject);
            }
        }
        self.shared.arrived.notify_one();
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

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::super::queue::tests::request;
    use super::*;

    #[tokio::test]
    async fn little_waits_behind_a_small_call_and_much_does_not() {
        let shared = Shared::by(2);
        let mut waits = Vec::new();
        let mut ask = |subject| {
            let (waiting, wait) = request(subject, "key", 1);
            waits.push(wait);
            shared.submit(vec![waiting]);
        };
        let mut idle = Box::pin(shared.turn());
        assert!(poll!(&mut idle).is_pending());
        ask(1);
        let place = idle.await;
        assert!(place.is_some());
        assert_eq!(shared.queue().take().len(), 1);
        // Those of a call do not count, neither does what waits behind it.
        for subject in std::iter::repeat_n(1, LARGE).chain([2]) {
            ask(subject);
        }
        let mut little = Box::pin(shared.turn());
        assert!(poll!(&mut little).is_pending());
        for subject in 3..=LARGE as u64 {
            ask(subject);
        }
        assert!(poll!(&mut little).is_pending());
        ask(1_000);
        assert!(little.await.is_none());
        assert_eq!(shared.queue().take().len(), LARGE);
        ask(1_001);
        let mut little = Box::pin(shared.turn());
        assert!(poll!(&mut little).is_pending());
        drop(place);
        assert!(little.await.is_some());
    }
}

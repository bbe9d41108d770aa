//! Calls that are shared. Whoever asks while the same is being asked already waits for the next call, together with all others who ask
//! meanwhile: an answer is never older than its question, and a busy gateway asks the same thing once at a time. Only that there is no database
//! is told at once to all who wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::Error;

type Answer<V> = Result<V, Error>;

/// What is being asked, by what it is about, and who waits for the next call about it. It keeps no answer.
pub(super) struct Shared<K, V> {
    under_way: Mutex<HashMap<K, Vec<oneshot::Sender<Answer<V>>>>>,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Shared {
            under_way: Mutex::default(),
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// The answer of a `call` that began after this was asked. Who goes away does not end the call for the others.
    ///
    /// # Errors
    /// As the call, for all who share it.
    pub(super) async fn ask<F>(self: &Arc<Self>, about: K, call: impl Fn() -> F + Send + 'static) -> Answer<V>
    where
        F: Future<Output = Answer<V>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        match self.under_way().entry(about.clone()) {
            Entry::Occupied(mut line) => line.get_mut().push(answer),
            Entry::Vacant(place) => {
                place.insert(Vec::new());
                let line = Line {
                    shared: self.clone(),
                    about,
                    is_open: true,
                };
                tokio::spawn(line.serve(answer, call));
            }
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::Internal("a shared call was lost".into())))
    }
}

impl<K, V> Shared<K, V> {
    fn under_way(&self) -> MutexGuard<'_, HashMap<K, Vec<oneshot::Sender<Answer<V>>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who ask about one thing. Closed when nobody waits, and when a call panics: whoever waited then is told.
struct Line<K: Eq + Hash, V> {
    shared: Arc<Shared<K, V>>,
    about: K,
    is_open: bool,
}

impl<K: Eq + Hash, V: Clone> Line<K, V> {
    /// Calls for the first, and then for all who have come meanwhile, until nobody has.
    async fn serve<F>(mut self, first: oneshot::Sender<Answer<V>>, call: impl Fn() -> F)
    where
        F: Future<Output = Answer<V>>,
    {
        let mut asking = vec![first];
        while !asking.is_empty() {
            let answer = call().await;
            if matches!(answer, Err(Error::Unavailable(_))) {
                // Whoever asked meanwhile would only wait as long for the same.
                let mut under_way = self.shared.under_way();
                asking.extend(under_way.get_mut(&self.about).map(std::mem::take).unwrap_or_default());
            }
            for one in asking {
                // Some may have gone.
                let _ = one.send(answer.clone());
            }
            asking = self.next();
        }
    }

    fn next(&mut self) -> Vec<oneshot::Sender<Answer<V>>> {
        let mut under_way = self.shared.under_way();
        let waiting = under_way.get_mut(&self.about).map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            under_way.remove(&self.about);
            self.is_open = false;
        }
        waiting
    }
}

impl<K: Eq + Hash, V> Drop for Line<K, V> {
    fn drop(&mut self) {
        if self.is_open {
            self.shared.under_way().remove(&self.about);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// Answers with the number of the call, which needs a permit to end.
    fn ask(shared: &Arc<Shared<u8, u32>>, doors: &Arc<(Semaphore, AtomicU32)>, about: u8) -> JoinHandle<Answer<u32>> {
        let (shared, doors) = (shared.clone(), doors.clone());
        tokio::spawn(async move {
            let call = move || {
                let doors = doors.clone();
                async move {
                    let number = doors.1.fetch_add(1, Ordering::SeqCst) + 1;
                    doors.0.acquire().await.unwrap().forget();
                    match number {
                        9 => panic!("the ninth call always does"),
                        number => Ok(number),
                    }
                }
            };
            shared.ask(about, call).await
        })
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_call_shares_the_next_one() {
        let shared: Arc<Shared<u8, u32>> = Arc::default();
        let doors = Arc::new((Semaphore::new(0), AtomicU32::new(0)));
        let waiting = |about: u8| shared.under_way().get(&about).map(Vec::len);
        let first = ask(&shared, &doors, 1);
        until(|| doors.1.load(Ordering::SeqCst) == 1).await;
        let later: Vec<_> = (0..64).map(|_| ask(&shared, &doors, 1)).collect();
        until(|| waiting(1) == Some(64)).await;
        // Something else waits for nobody.
        let other = ask(&shared, &doors, 2);
        until(|| doors.1.load(Ordering::SeqCst) == 2).await;
        later[0].abort();
        doors.0.add_permits(3);
        assert_eq!((first.await.unwrap().unwrap(), other.await.unwrap().unwrap()), (1, 2));
        for one in later.into_iter().skip(1) {
            assert_eq!(one.await.unwrap().unwrap(), 3);
        }
        until(|| shared.under_way().is_empty()).await;

        // Nothing is kept: the next one is asked anew.
        doors.0.add_permits(1);
        assert_eq!(ask(&shared, &doors, 1).await.unwrap().unwrap(), 4);
    }

    #[tokio::test]
    async fn without_a_database_all_who_wait_hear_it_at_once() {
        let shared: Arc<Shared<u8, u32>> = Arc::default();
        let door = Arc::new(Semaphore::new(0));
        let calls = Arc::new(AtomicU32::new(0));
        let ask = || {
            let (shared, door, calls) = (shared.clone(), door.clone(), calls.clone());
            tokio::spawn(async move {
                let call = move || {
                    let door = door.clone();
                    calls.fetch_add(1, Ordering::SeqCst);
                    async move {
                        door.acquire().await.unwrap().forget();
                        Err(Error::Unavailable("away".into()))
                    }
                };
                shared.ask(1, call).await
            })
        };
        let first = ask();
        until(|| calls.load(Ordering::SeqCst) == 1).await;
        let second = ask();
        until(|| shared.under_way().get(&1).map(Vec::len) == Some(1)).await;
        door.add_permits(1);
        for one in [first, second] {
            assert_eq!(one.await.unwrap(), Err(Error::Unavailable("away".into())));
        }
        until(|| shared.under_way().is_empty()).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_told_and_blocks_nobody() {
        let shared: Arc<Shared<u8, u32>> = Arc::default();
        let doors = Arc::new((Semaphore::new(2), AtomicU32::new(8)));
        assert!(ask(&shared, &doors, 1).await.unwrap().is_err());
        assert_eq!(ask(&shared, &doors, 1).await.unwrap().unwrap(), 10);
    }
}

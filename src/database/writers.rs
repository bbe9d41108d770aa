//! Places of calls that may write, fewer than there are connections: they may all wait for one lock that a session forgot, and keys are
//! still known, limits shown, and uses decided, on what is left.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// The places, and how many wait for one.
#[derive(Debug)]
pub(super) struct Writers {
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Writers {
    pub fn new(places: usize) -> Writers {
        Writers {
            places: Semaphore::new(places),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A place, when there is one.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let _waiting = Waiting::of(&self.waiting);
        // They are never closed.
        self.places.acquire().await.ok()
    }

    /// Calls that wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// One that waits, until this is dropped: with its place, or since nobody waits for it any more.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_place_is_counted_until_he_has_it_or_goes() {
        let writers = Writers::new(1);
        let first = writers.place().await;
        assert!(first.is_some());
        let (mut second, mut third) = (Box::pin(writers.place()), Box::pin(writers.place()));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert_eq!(writers.waiting(), 2);
        drop(third);
        assert_eq!(writers.waiting(), 1);
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(writers.waiting(), 0);
    }
}

//! What happens to many requests at once, and is told once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is told at most.
const APART: Duration = Duration::from_secs(1);

/// When something was told last, and how often it happened since.
pub(super) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    pub const fn new() -> Seldom {
        Seldom(Mutex::new((None, 0)))
    }

    /// If it should be told: how often it happened untold before.
    pub fn told(&self) -> Option<u64> {
        self.told_at(Instant::now())
    }

    fn told_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, untold) = &mut *state;
        if last.is_some_and(|last| now < last + APART) {
            *untold += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_second_and_counted_meanwhile() {
        let seldom = Seldom::new();
        let begun = Instant::now();
        let told = [0, 1, 999, 1_000, 1_001, 5_000, 5_001].map(|at| seldom.told_at(begun + Duration::from_millis(at)));
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}

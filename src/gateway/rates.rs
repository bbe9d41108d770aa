//! How many requests one caller may send: so many in a second, and some more at once after a silence.
//!
//! An instant for each caller is all that is kept (the generic cell rate algorithm): when he will have been silent for long enough
//! to be as one who never came. No crate does it: those that do keep every caller for ever, until they are told to forget, and this is
//! shorter than telling them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Rate;

/// Callers that are kept before those are forgotten who are as if they had never come. Each takes some 50 bytes.
const KEPT: usize = 16_384;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A key's, by its number.
    Key(u64),
    /// Of all users of a workspace, by its name.
    Workspace(String),
}

/// What each caller has left.
pub struct Rates {
    /// Between two requests, on the whole.
    interval: Duration,
    /// How far ahead of that a caller may be.
    ahead: Duration,
    callers: Mutex<Callers>,
}

struct Callers {
    even_at: HashMap<Whose, Instant>,
    /// How many there may be until it is time to forget some.
    room: usize,
}

impl Rates {
    /// Nobody has sent anything.
    pub fn new(rate: Rate) -> Rates {
        let interval = Duration::from_secs(1) / rate.per_second;
        Rates {
            interval,
            ahead: interval * rate.at_once,
            callers: Mutex::new(Callers {
                even_at: HashMap::new(),
                room: KEPT,
            }),
        }
    }

    /// Whether one more request of this caller is within the bound; it counts if it is.
    pub fn admit(&self, whose: Whose, now: Instant) -> bool {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.even_at.len() >= callers.room {
            callers.even_at.retain(|_, even_at| *even_at > now);
            // As many again may come before the next look: so each pays for few of the others.
            callers.room = KEPT.max(2 * callers.even_at.len());
        }
        let even_at = callers.even_at.entry(whose).or_insert(now);
        let next = (*even_at).max(now) + self.interval;
        let is_within = next <= now + self.ahead;
        if is_within {
            *even_at = next;
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(per_second: u32, at_once: u32) -> Rates {
        Rates::new(Rate { per_second, at_once })
    }

    /// How many of a hundred requests at one instant are admitted.
    fn admitted(rates: &Rates, whose: u64, now: Instant) -> usize {
        (0..100).filter(|_| rates.admit(Whose::Key(whose), now)).count()
    }

    #[test]
    fn so_many_at_once_and_then_so_many_in_a_second() {
        let (rates, now) = (rates(10, 30), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(admitted(&rates, 1, now), 30);
        assert_eq!(admitted(&rates, 1, after(99)), 0);
        assert_eq!(admitted(&rates, 1, after(100)), 1);
        assert_eq!(admitted(&rates, 1, after(1_100)), 10);
        // Who is refused loses nothing by having asked.
        assert_eq!(admitted(&rates, 1, after(1_200)), 1);
        // After a silence it is as at the beginning, and never more.
        assert_eq!(admitted(&rates, 1, after(4_200)), 30);
        assert_eq!(admitted(&rates, 1, after(3_600_000)), 30);
    }

    #[test]
    fn nobody_counts_for_another() {
        let (rates, now) = (rates(1, 2), Instant::now());
        assert_eq!((admitted(&rates, 1, now), admitted(&rates, 2, now)), (2, 2));
        let user = |slug: &str| rates.admit(Whose::Workspace(slug.into()), now);
        assert_eq!([user("1"), user("1"), user("1"), user("2")], [true, true, false, true]);
    }

    #[test]
    fn a_million_at_once_and_one_at_a_time() {
        let now = Instant::now();
        assert_eq!(admitted(&rates(1_000_000, 1), 1, now), 1);
        assert_eq!(admitted(&rates(1, 1_000_000), 1, now), 100);
    }

    #[test]
    fn who_is_silent_is_forgotten_and_who_is_not_is_kept() {
        let (rates, now) = (rates(1, 1), Instant::now());
        let many = 3 * KEPT as u64;
        for whose in 0..many {
            // A new caller each millisecond: a thousand are within their second.
            let at = now + Duration::from_millis(whose);
            assert!(rates.admit(Whose::Key(whose), at));
            let kept = rates.callers.lock().unwrap().even_at.len();
            assert!(kept <= KEPT, "{kept} callers");
        }
        let last = now + Duration::from_millis(many);
        assert!(!rates.admit(Whose::Key(many - 1), last));
        // However many are at it at once, they are kept.
        let crowd = (0..many)
            .filter(|whose| rates.admit(Whose::Workspace(whose.to_string()), last))
            .count();
        assert_eq!(crowd as u64, many);
        assert!(!rates.admit(Whose::Workspace("0".into()), last));
    }
}

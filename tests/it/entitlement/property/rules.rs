//! What definitions say, and which window contains an instant: `docs/domain.md` without SQL.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};

/// Milliseconds since 1970.
pub type Instant = i64;

/// `entitlement_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    Capacity,
    Quota,
    Balance,
    State,
}

/// `window_interval`.
#[derive(Clone, Copy, Debug)]
pub enum Interval {
    Day,
    Week,
    Month,
    Year,
}

/// `window_anchor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Anchor {
    Calendar,
    Billing,
    Rolling,
}

/// `enforcement_mode`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Enforcement {
    Deny,
    Lock,
    Warn,
}

/// What a definition says.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub code: &'static str,
    pub kind: Type,
    pub window: Option<(Interval, Anchor)>,
    /// `max` instead of `sum`.
    pub largest_counts: bool,
    pub enforcement: Enforcement,
}

impl Rules {
    /// Whether a use comes back by itself, so that no grant pays for it and grants of every kind count whole.
    pub fn counts_whole(&self) -> bool {
        matches!(self.kind, Type::Capacity | Type::State) || self.is_rolling()
    }

    fn is_rolling(&self) -> bool {
        matches!(self.window, Some((_, Anchor::Rolling)))
    }

    pub fn renews(&self, grant_kind: &str) -> bool {
        self.kind == Type::Quota && matches!(grant_kind, "plan_base" | "plan_bonus" | "addon_timeboxed")
    }

    pub fn window_at(&self, anchor: Instant, at: Instant) -> Option<(Instant, Instant)> {
        match self.window {
            None | Some((_, Anchor::Rolling)) => None,
            Some((interval, Anchor::Calendar)) => Some(calendar_window(interval, at)),
            Some((interval, Anchor::Billing)) => Some(billing_window(interval, anchor, at)),
        }
    }
}

pub fn date(at: Instant) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at).unwrap()
}

fn calendar_window(interval: Interval, at: Instant) -> (Instant, Instant) {
    let day = date(at).date_naive();
    let (first, end) = match interval {
        Interval::Day => (day, day + Days::new(1)),
        Interval::Week => {
            let monday = day - Days::new(u64::from(day.weekday().num_days_from_monday()));
            (monday, monday + Days::new(7))
        }
        Interval::Month => {
            let first = day.with_day(1).unwrap();
            (first, first + Months::new(1))
        }
        Interval::Year => {
            let first = day.with_ordinal(1).unwrap();
            (first, first + Months::new(12))
        }
    };
    let midnight = |day: chrono::NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    (midnight(first), midnight(end))
}

/// The start of the nth period. Counted from the anchor each time, so that a month of 28 days does not move the ones after it.
fn period_start(interval: Interval, anchor: Instant, period: i64) -> Instant {
    let days = match interval {
        Interval::Day => 1,
        Interval::Week => 7,
        Interval::Month | Interval::Year => {
            let months = period * if matches!(interval, Interval::Year) { 12 } else { 1 };
            let distance = Months::new(months.unsigned_abs() as u32);
            let anchor = date(anchor);
            let start = if months < 0 {
                anchor - distance
            } else {
                anchor + distance
            };
            return start.timestamp_millis();
        }
    };
    anchor + period * days * DAY
}

fn billing_window(interval: Interval, anchor: Instant, at: Instant) -> (Instant, Instant) {
    let mut period = 0;
    while period_start(interval, anchor, period) > at {
        period -= 1;
    }
    while period_start(interval, anchor, period + 1) <= at {
        period += 1;
    }
    (
        period_start(interval, anchor, period),
        period_start(interval, anchor, period + 1),
    )
}

/// 24 hours.
pub const DAY: i64 = 86_400_000;

//! What a sequence is to do, made from its seed.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use fastrand::Rng;

use super::rules::{Anchor, DAY, Enforcement, Instant, Interval, Rules, Type};
use super::ways::{Mode, Way};

const fn rules(code: &'static str, kind: Type, window: Option<(Interval, Anchor)>, enforcement: Enforcement) -> Rules {
    Rules {
        code,
        kind,
        window,
        largest_counts: false,
        enforcement,
    }
}

const fn largest(rules: Rules) -> Rules {
    Rules {
        largest_counts: true,
        ..rules
    }
}

/// Every kind of limit that can be defined, where the kinds differ.
#[rustfmt::skip] // a table
pub const RULES: [Rules; 18] = [
    rules("p.credits", Type::Balance, None, Enforcement::Deny),
    rules("p.credits.soft", Type::Balance, None, Enforcement::Warn),
    rules("p.day", Type::Quota, Some((Interval::Day, Anchor::Calendar)), Enforcement::Deny),
    rules("p.week.soft", Type::Quota, Some((Interval::Week, Anchor::Calendar)), Enforcement::Warn),
    rules("p.month", Type::Quota, Some((Interval::Month, Anchor::Calendar)), Enforcement::Deny),
    rules("p.month.soft", Type::Quota, Some((Interval::Month, Anchor::Calendar)), Enforcement::Warn),
    largest(rules("p.month.max", Type::Quota, Some((Interval::Month, Anchor::Calendar)), Enforcement::Lock)),
    rules("p.year", Type::Quota, Some((Interval::Year, Anchor::Calendar)), Enforcement::Deny),
    rules("p.billing.month", Type::Quota, Some((Interval::Month, Anchor::Billing)), Enforcement::Deny),
    rules("p.billing.month.soft", Type::Quota, Some((Interval::Month, Anchor::Billing)), Enforcement::Warn),
    rules("p.billing.day", Type::Quota, Some((Interval::Day, Anchor::Billing)), Enforcement::Deny),
    rules("p.rolling.day", Type::Quota, Some((Interval::Day, Anchor::Rolling)), Enforcement::Deny),
    rules("p.rolling.week.soft", Type::Quota, Some((Interval::Week, Anchor::Rolling)), Enforcement::Warn),
    largest(rules("p.rolling.month.max", Type::Quota, Some((Interval::Month, Anchor::Rolling)), Enforcement::Deny)),
    rules("p.cap", Type::Capacity, None, Enforcement::Lock),
    largest(rules("p.cap.max", Type::Capacity, None, Enforcement::Deny)),
    rules("p.cap.soft", Type::Capacity, None, Enforcement::Warn),
    rules("p.state", Type::State, None, Enforcement::Deny),
];

/// Instants near which months, leap days and years end.
const STARTS: [&str; 6] = [
    "2026-01-29 18:00:00.000",
    "2026-02-27 23:59:59.500",
    "2026-03-15 12:34:56.789",
    "2026-12-31 23:59:59.999",
    "2028-02-28 10:00:00.000",
    "2026-05-31 00:00:00.000",
];

/// A sequence before it is run. Steps name grants, holds and limits by number, so that any of them can be left out.
#[derive(Clone)]
pub struct Plan {
    pub start: Instant,
    /// Billing anchor of each subject.
    pub anchors: Vec<Instant>,
    /// Positions in [`RULES`].
    pub limits: Vec<usize>,
    /// Whether each way to ask is asked after each step, or the limitations alone.
    pub asks_in_every_way: bool,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Grant(NewGrant),
    /// The nth grant, now or later.
    Revoke {
        grant: usize,
        later: i64,
    },
    /// A change of plan: one grant ends, another of the same limit begins, in one commit.
    Swap {
        grant: usize,
        new: NewGrant,
    },
    Consume {
        way: Way,
        requests: Vec<Request>,
    },
    Hold(NewHold),
    Commit {
        hold: usize,
        amount: Option<i64>,
    },
    Release {
        hold: usize,
    },
    /// An absolute count, where the limit counts.
    Recount {
        subject: usize,
        limit: usize,
        count: i64,
    },
    /// The uses of segments that were closed some time ago are archived, so many at most.
    Archive {
        ago: i64,
        limit: u32,
    },
    Wait(i64),
    /// To the next boundary of a limit, or a millisecond beside it.
    WaitForBoundary {
        subject: usize,
        limit: usize,
        beside: i64,
    },
}

#[derive(Clone, Debug)]
pub struct NewGrant {
    pub subject: usize,
    pub limit: usize,
    pub kind: &'static str,
    pub amount: i64,
    pub priority: Option<u8>,
    /// From now.
    pub effective: Option<i64>,
    /// From now, or from a start that is later.
    pub expires: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub subject: usize,
    pub key: usize,
    /// Limits and amounts.
    pub items: Vec<(usize, i64)>,
}

#[derive(Clone, Debug)]
pub struct NewHold {
    pub subject: usize,
    pub limit: usize,
    pub key: usize,
    pub amount: i64,
    pub ttl_seconds: i64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", text(self.start))?;
        for anchor in &self.anchors {
            write!(f, ", a subject whose billing began at {}", text(*anchor))?;
        }
        for limit in &self.limits {
            write!(f, ", {}", RULES[*limit].code)?;
        }
        self.steps.iter().try_for_each(|step| write!(f, "\n{step:?}"))
    }
}

impl Plan {
    /// The steps of a seed are the same in every mode.
    pub fn of(seed: u64, most_steps: usize, mode: Mode) -> Plan {
        let mut rng = Rng::with_seed(seed);
        let mut way_rng = Rng::with_seed(!seed);
        let start = instant(rng.choice(STARTS).unwrap());
        let subjects = if rng.u8(0..4) == 0 { 2 } else { 1 };
        let anchors = (0..subjects)
            .map(|_| start - rng.i64(0..70) * DAY - rng.i64(0..3) * 3_600_000)
            .collect();
        let limit_count = rng.usize(1..=3);
        let limits = rng.choose_multiple(0..RULES.len(), limit_count);
        let mut plan = Plan {
            start,
            anchors,
            limits,
            asks_in_every_way: seed.is_multiple_of(4),
            steps: Vec::new(),
        };
        let count = rng.usize(most_steps.div_ceil(2)..=most_steps);
        let (mut requests, mut holds): (Vec<Request>, Vec<NewHold>) = (Vec::new(), Vec::new());
        while plan.steps.len() < count {
            let step = match rng.u8(0..100) {
                0..20 => Step::Grant(plan.grant(&mut rng)),
                20..26 => Step::Revoke {
                    grant: rng.usize(0..100),
                    later: *choose(&mut rng, &[0, 0, 1, 3_600_000, 3 * DAY]),
                },
                26..31 => Step::Swap {
                    grant: rng.usize(0..100),
                    new: plan.grant(&mut rng),
                },
                31..58 => {
                    let count = *choose(&mut rng, &[1, 1, 1, 2, 5]);
                    let mut call = Vec::new();
                    for _ in 0..count {
                        let request = plan.request(&mut rng, &requests);
                        requests.push(request.clone());
                        call.push(request);
                    }
                    Step::Consume {
                        way: *choose(&mut way_rng, mode.ways()),
                        requests: call,
                    }
                }
                58..68 => {
                    let hold = plan.hold(&mut rng, &holds);
                    holds.push(hold.clone());
                    Step::Hold(hold)
                }
                68..74 => Step::Commit {
                    hold: rng.usize(0..100),
                    amount: rng.bool().then(|| rng.i64(1..20)),
                },
                74..77 => Step::Release {
                    hold: rng.usize(0..100),
                },
                77..79 => Step::Recount {
                    subject: rng.usize(0..subjects),
                    limit: rng.usize(0..limit_count),
                    count: rng.i64(0..50),
                },
                79..83 => Step::Archive {
                    ago: *choose(&mut rng, &[0, 0, 1, DAY, 20 * DAY]),
                    limit: *choose(&mut rng, &[1, 3, 10_000]),
                },
                83..90 => Step::Wait(*choose(
                    &mut rng,
                    &[
                        1,
                        999,
                        30_000,
                        900_000,
                        3_600_000,
                        DAY / 4,
                        2 * DAY / 3,
                        DAY - 1,
                        DAY,
                        5 * DAY,
                        7 * DAY,
                        28 * DAY,
                        31 * DAY,
                        366 * DAY,
                    ],
                )),
                _ => Step::WaitForBoundary {
                    subject: rng.usize(0..subjects),
                    limit: rng.usize(0..limit_count),
                    beside: *choose(&mut rng, &[-1, 0, 0, 1]),
                },
            };
            plan.steps.push(step);
        }
        plan
    }

    /// What can be left out of it: each step, and before it in the list each of its requests if it has several.
    pub fn parts(&self) -> Vec<(usize, Option<usize>)> {
        let of_step = |(number, step): (usize, &Step)| {
            let requests = match step {
                Step::Consume { requests, .. } if requests.len() > 1 => requests.len(),
                _ => 0,
            };
            (0..requests)
                .map(Some)
                .chain([None])
                .map(move |request| (number, request))
        };
        self.steps.iter().enumerate().flat_map(of_step).collect()
    }

    /// The same without one of its parts.
    pub fn without(&self, (step, request): (usize, Option<usize>)) -> Plan {
        let mut plan = self.clone();
        match (&mut plan.steps[step], request) {
            (Step::Consume { requests, .. }, Some(request)) => drop(requests.remove(request)),
            _ => drop(plan.steps.remove(step)),
        }
        plan
    }

    fn limit(&self, rng: &mut Rng) -> (usize, usize) {
        (rng.usize(0..self.anchors.len()), rng.usize(0..self.limits.len()))
    }

    fn grant(&self, rng: &mut Rng) -> NewGrant {
        let (subject, limit) = self.limit(rng);
        let kinds = [
            "plan_base",
            "plan_bonus",
            "addon_timeboxed",
            "topup",
            "promo",
            "manual_adjustment",
            "correction",
        ];
        NewGrant {
            subject,
            limit,
            kind: rng.choice(kinds).unwrap(),
            amount: rng.i64(1..60),
            priority: *choose(rng, &[None, None, Some(0), Some(1), Some(255)]),
            effective: *choose(
                rng,
                &[
                    None,
                    None,
                    None,
                    Some(-DAY),
                    Some(1),
                    Some(60_000),
                    Some(DAY),
                    Some(20 * DAY),
                ],
            ),
            expires: *choose(
                rng,
                &[
                    None,
                    None,
                    Some(1),
                    Some(60_000),
                    Some(DAY),
                    Some(10 * DAY),
                    Some(60 * DAY),
                ],
            ),
        }
    }

    /// One in four has an earlier key, and half of those other content.
    fn request(&self, rng: &mut Rng, earlier: &[Request]) -> Request {
        if !earlier.is_empty() && rng.u8(0..4) == 0 {
            let mut again = choose(rng, earlier).clone();
            if rng.bool() {
                again.items[0].1 += 1;
            }
            return again;
        }
        let count = rng.usize(1..=self.limits.len());
        let items = rng
            .choose_multiple(0..self.limits.len(), count)
            .into_iter()
            .map(|limit| (limit, rng.i64(1..30)))
            .collect();
        Request {
            subject: rng.usize(0..self.anchors.len()),
            key: earlier.len(),
            items,
        }
    }

    fn hold(&self, rng: &mut Rng, earlier: &[NewHold]) -> NewHold {
        if !earlier.is_empty() && rng.u8(0..5) == 0 {
            let mut again = choose(rng, earlier).clone();
            if rng.u8(0..3) == 0 {
                again.amount += 1;
            }
            return again;
        }
        let (subject, limit) = self.limit(rng);
        NewHold {
            subject,
            limit,
            key: earlier.len(),
            amount: rng.i64(1..25),
            ttl_seconds: *choose(rng, &[1, 60, 900, 86_400]),
        }
    }
}

fn choose<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(0..all.len())]
}

pub fn instant(text: &str) -> Instant {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.3f")
        .unwrap()
        .and_utc()
        .timestamp_millis()
}

pub fn text(at: Instant) -> String {
    DateTime::from_timestamp_millis(at)
        .unwrap()
        .format("%Y-%m-%d %H:%M:%S%.3f")
        .to_string()
}

//! Random operations on the procedures and on the model, number by number.
//!
//! Environment: `CONSUMABLE_SEED` (the first sequence's; a failure names its own), `CONSUMABLE_SEQUENCES`, `CONSUMABLE_STEPS` (of a sequence, at most).

use std::collections::HashMap;
use std::env;
use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, NaiveDateTime};
use fastrand::Rng;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use serde_json::{Value as Json, json};

use super::model::{Anchor, DAY, Enforcement, Figures, Instant, Interval, Limit, Rules, Type};
use crate::support::database::TestDatabase;
use crate::support::session::begin;
use crate::support::story::{answer, differences, projections_of};

/// Sequences of a plain `cargo test`.
const SEQUENCES: u64 = 2_000;
/// Steps of the longest of them.
const STEPS: usize = 20;
/// Sessions that work side by side, each on subjects of its own.
const SESSIONS: usize = 3;

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
const RULES: [Rules; 18] = [
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
struct Plan {
    start: Instant,
    /// Billing anchor of each subject.
    anchors: Vec<Instant>,
    /// Positions in [`RULES`].
    limits: Vec<usize>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
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
    Consume(Vec<Request>),
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
    Wait(i64),
    /// To the next boundary of a limit, or a millisecond beside it.
    WaitForBoundary {
        subject: usize,
        limit: usize,
        beside: i64,
    },
}

#[derive(Clone, Debug)]
struct NewGrant {
    subject: usize,
    limit: usize,
    kind: &'static str,
    amount: i64,
    priority: Option<u8>,
    /// From now.
    effective: Option<i64>,
    /// From now, or from a start that is later.
    expires: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Request {
    subject: usize,
    key: usize,
    /// Limits and amounts.
    items: Vec<(usize, i64)>,
}

#[derive(Clone, Debug)]
struct NewHold {
    subject: usize,
    limit: usize,
    key: usize,
    amount: i64,
    ttl_seconds: i64,
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
    fn of(seed: u64, most_steps: usize) -> Plan {
        let mut rng = Rng::with_seed(seed);
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
                    Step::Consume(call)
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
                79..88 => Step::Wait(*choose(
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

fn instant(text: &str) -> Instant {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.3f")
        .unwrap()
        .and_utc()
        .timestamp_millis()
}

fn text(at: Instant) -> String {
    DateTime::from_timestamp_millis(at)
        .unwrap()
        .format("%Y-%m-%d %H:%M:%S%.3f")
        .to_string()
}

/// A request that was accepted: its items, and the answer to each.
struct Accepted {
    items: Vec<(usize, i64)>,
    answers: Vec<Figures>,
}

/// A hold that was accepted.
struct Held {
    id: u64,
    subject: usize,
    limit: usize,
    amount: i64,
    ttl_seconds: i64,
    made: Figures,
    /// What was used (0: released), and the answer.
    resolved: Option<(i64, Figures)>,
}

/// A sequence while it runs, on both sides.
struct Run<'a> {
    session: &'a mut Conn,
    plan: &'a Plan,
    now: Instant,
    subjects: Vec<u64>,
    /// By subject, then as in the plan.
    limits: Vec<Vec<Limit>>,
    /// Grants in the order of their making: subject, limit, id.
    grants: Vec<(usize, usize, u64)>,
    /// By subject, key and limit: what was accepted is known by each of its limits.
    accepted: HashMap<(usize, usize, usize), Arc<Accepted>>,
    holds: Vec<Held>,
    /// By subject, limit and key.
    hold_keys: HashMap<(usize, usize, usize), usize>,
    keys: usize,
    /// What was called, for whoever wants to do it by hand.
    log: &'a mut Vec<String>,
}

/// A difference between the procedures and the model, or an error that none of them should give.
type Difference = Box<dyn std::error::Error + Send + Sync>;

fn same<T: PartialEq + Debug>(what: &str, procedures: T, model: T) -> Result<(), Difference> {
    if procedures == model {
        Ok(())
    } else {
        Err(format!("{what}\n  procedures {procedures:?}\n  model      {model:?}").into())
    }
}

/// The code of an error that a procedure raised.
fn code_of(error: &Error) -> String {
    match error {
        Error::Server(server) => server.message.split(':').next().unwrap().to_owned(),
        other => panic!("{other}"),
    }
}

impl<'a> Run<'a> {
    async fn begin(
        session: &'a mut Conn,
        plan: &'a Plan,
        name: &str,
        log: &'a mut Vec<String>,
    ) -> Result<Run<'a>, Difference> {
        let mut run = Run {
            session,
            plan,
            now: plan.start,
            subjects: Vec::new(),
            limits: Vec::new(),
            grants: Vec::new(),
            accepted: HashMap::new(),
            holds: Vec::new(),
            hold_keys: HashMap::new(),
            keys: 0,
            log,
        };
        run.set_clock().await?;
        for (number, anchor) in plan.anchors.iter().enumerate() {
            let row: Row = run
                .session
                .exec_first(
                    "CALL billing_put_entity_v1('workspace', ?, NULL, NULL, NULL, NULL)",
                    (format!("{name}-{number}"),),
                )
                .await?
                .unwrap();
            let subject: u64 = row.get("id").unwrap();
            run.session
                .exec_drop(
                    "UPDATE billable_entities SET billing_anchor_at = ? WHERE id = ?",
                    (text(*anchor), subject),
                )
                .await?;
            run.subjects.push(subject);
            let limits = plan.limits.iter().map(|rules| Limit::new(RULES[*rules], *anchor));
            run.limits.push(limits.collect());
        }
        run.advance();
        Ok(run)
    }

    async fn set_clock(&mut self) -> Result<(), Difference> {
        let set = format!(
            "SET timestamp = {}.{:03}",
            self.now.div_euclid(1000),
            self.now.rem_euclid(1000)
        );
        self.log.push(format!("{set}; -- {}", text(self.now)));
        self.session.query_drop(set).await?;
        Ok(())
    }

    fn advance(&mut self) {
        for limit in self.limits.iter_mut().flatten() {
            limit.advance(self.now);
        }
    }

    fn code(&self, limit: usize) -> &'static str {
        RULES[self.plan.limits[limit]].code
    }

    fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.subjects[0], self.keys)
    }

    async fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Grant(new) => {
                let (subject, limit) = (new.subject, new.limit);
                self.change_grants(None, Some((subject, limit, new))).await?;
            }
            Step::Revoke { grant, later } => {
                if let Some(old) = self.nth_grant(*grant) {
                    self.change_grants(Some((old, *later)), None).await?;
                }
            }
            Step::Swap { grant, new } => {
                if let Some(old) = self.nth_grant(*grant) {
                    let (subject, limit, _) = old;
                    self.change_grants(Some((old, 0)), Some((subject, limit, new))).await?;
                }
            }
            Step::Consume(requests) => self.consume(requests).await?,
            Step::Hold(hold) => self.hold(hold).await?,
            Step::Commit { hold, amount } => self.resolve(*hold, Some(*amount)).await?,
            Step::Release { hold } => self.resolve(*hold, None).await?,
            Step::Recount { subject, limit, count } => self.recount(*subject, *limit, *count).await?,
            Step::Wait(millis) => self.wait_until(self.now + millis).await?,
            Step::WaitForBoundary { subject, limit, beside } => {
                if let Some(at) = self.limits[*subject][*limit].next_change() {
                    self.wait_until((at + beside).max(self.now)).await?;
                }
            }
        }
        self.compare().await
    }

    async fn wait_until(&mut self, at: Instant) -> Result<(), Difference> {
        self.now = at;
        self.set_clock().await?;
        self.advance();
        Ok(())
    }

    fn nth_grant(&self, number: usize) -> Option<(usize, usize, u64)> {
        (!self.grants.is_empty()).then(|| self.grants[number % self.grants.len()])
    }

    /// Revokes, grants, or both, in one commit.
    async fn change_grants(
        &mut self,
        old: Option<((usize, usize, u64), i64)>,
        new: Option<(usize, usize, &NewGrant)>,
    ) -> Result<(), Difference> {
        begin(self.session).await;
        if let Some(((subject, limit, id), later)) = old {
            let at = self.now + later;
            let call = format!(
                "CALL entitlement_revoke_in_tx_v1({id}, '{}', '{}', NULL, 'property', @replayed)",
                text(at),
                self.new_key()
            );
            self.log.push(format!("{call};"));
            let done = self.session.query_drop(call).await;
            let expected = self.limits[subject][limit].revoke(id, at);
            same("whether the grant can be revoked", done.is_ok(), expected)?;
            if done.is_err() {
                self.session.query_drop("ROLLBACK").await?;
                return Ok(());
            }
        }
        if let Some((subject, limit, new)) = new {
            let effective_at = new.effective.map(|offset| self.now + offset);
            let start = effective_at.unwrap_or(self.now);
            let expires_at = new.expires.map(|offset| start.max(self.now) + offset);
            let quoted = |at: Option<Instant>| at.map_or("NULL".to_owned(), |at| format!("'{}'", text(at)));
            let key = self.new_key();
            let call = format!(
                "CALL entitlement_grant_in_tx_v1({}, '{}', {}, '{}', {}, {}, {}, 'operator', NULL, NULL, '{}', NULL, 'property', @grant_id, @replayed)",
                self.subjects[subject],
                self.code(limit),
                new.amount,
                new.kind,
                quoted(effective_at),
                quoted(expires_at),
                new.priority.map_or("NULL".to_owned(), |priority| priority.to_string()),
                key,
            );
            self.log.push(format!("{call};"));
            self.session.query_drop(call).await?;
            let id: u64 = self.session.query_first("SELECT @grant_id").await?.unwrap();
            self.limits[subject][limit].grant(id, new.kind, new.amount, new.priority.unwrap_or(100), start, expires_at);
            self.grants.push((subject, limit, id));
        }
        self.session.query_drop("COMMIT").await?;
        Ok(())
    }

    async fn consume(&mut self, requests: &[Request]) -> Result<(), Difference> {
        let body: Json = requests
            .iter()
            .map(|request| {
                let items: Json = request
                    .items
                    .iter()
                    .map(|(limit, amount)| json!({"limitationCode": self.code(*limit), "amount": amount}))
                    .collect();
                json!({"subjectId": self.subjects[request.subject], "usageEventKey": format!("use-{}", request.key), "items": items})
            })
            .collect();
        self.log.push(format!("CALL entitlement_consume_v1('{body}');"));
        let rows: Vec<Row> = self
            .session
            .exec("CALL entitlement_consume_v1(?)", (body.to_string(),))
            .await?;

        // A limit that only warns begins when it is first asked for.
        for request in requests {
            for (limit, _) in &request.items {
                let limit = &mut self.limits[request.subject][*limit];
                if limit.rules.enforcement == Enforcement::Warn {
                    limit.open();
                }
            }
        }
        let decided: Vec<Vec<Expected>> = requests.iter().map(|request| self.decide(request)).collect();
        let mut rows = rows.iter();
        for (number, (request, expected)) in requests.iter().zip(decided).enumerate() {
            for (item, ((limit, _), expected)) in request.items.iter().zip(expected).enumerate() {
                let row = rows.next().expect("a row for each item");
                let problem: Option<String> = row.get("problem").unwrap();
                let code = problem.map(|problem| problem.split(':').next().unwrap().to_owned());
                let answer = answer(row);
                let what = format!("request {} item {}", number + 1, item + 1);
                same(
                    &what,
                    (
                        answer.outcome.as_str(),
                        answer.replayed,
                        code.as_deref(),
                        answer.refused_code.as_deref(),
                    ),
                    (
                        expected.outcome,
                        expected.replayed,
                        expected.problem,
                        expected.refused_code,
                    ),
                )?;
                // What was not accepted is told the limit as it is after the call, but for the amounts that it was refused on.
                let now = self.limits[request.subject][*limit].figures();
                let said = match expected.said {
                    Some(then) if expected.outcome == "accepted" => then,
                    Some(then) => Figures {
                        over_limit: now.over_limit,
                        is_locked: now.is_locked,
                        next_change_at: now.next_change_at,
                        ..then
                    },
                    None => now,
                };
                same(&what, figures(row), said)?;
            }
        }
        Ok(())
    }

    /// What a request should be answered, item by item.
    fn decide(&mut self, request: &Request) -> Vec<Expected> {
        let known: Vec<Arc<Accepted>> = request
            .items
            .iter()
            .filter_map(|(limit, _)| self.accepted.get(&(request.subject, request.key, *limit)))
            .cloned()
            .collect();
        let all = |expected: Expected| vec![expected; request.items.len()];
        if let Some(first) = known.first().filter(|first| first.items == request.items) {
            return first
                .answers
                .iter()
                .map(|said| Expected {
                    replayed: true,
                    said: Some(*said),
                    ..Expected::default()
                })
                .collect();
        }
        let limits = &mut self.limits[request.subject];
        let failed = |problem| Expected {
            outcome: "failed",
            problem: Some(problem),
            ..Expected::default()
        };
        if request
            .items
            .iter()
            .any(|(limit, _)| limits[*limit].rules.kind == Type::State)
        {
            return all(failed("NOT_CONSUMABLE"));
        }
        if !known.is_empty() {
            return all(failed("IDEMPOTENCY_CONFLICT"));
        }
        if let Some((limit, _)) = request
            .items
            .iter()
            .find(|(limit, amount)| !limits[*limit].allows(*amount))
        {
            let refused = &limits[*limit];
            let problem = if refused.rules.kind == Type::Capacity {
                "BILLING_CAPACITY_LOCKED"
            } else {
                "BILLING_LIMIT_EXCEEDED"
            };
            return request
                .items
                .iter()
                .map(|(item, _)| Expected {
                    outcome: "refused",
                    problem: Some(problem),
                    refused_code: Some(refused.rules.code),
                    said: (item == limit).then(|| refused.figures()),
                    ..Expected::default()
                })
                .collect();
        }
        let mut answers = Vec::new();
        for (limit, amount) in &request.items {
            limits[*limit].consume(*amount);
            answers.push(limits[*limit].figures());
        }
        let accepted = Arc::new(Accepted {
            items: request.items.clone(),
            answers: answers.clone(),
        });
        for (limit, _) in &request.items {
            self.accepted
                .insert((request.subject, request.key, *limit), accepted.clone());
        }
        answers
            .into_iter()
            .map(|said| Expected {
                said: Some(said),
                ..Expected::default()
            })
            .collect()
    }

    async fn hold(&mut self, new: &NewHold) -> Result<(), Difference> {
        let call = format!(
            "CALL entitlement_hold_v1({}, NULL, '{}', {}, {}, 'hold-{}', NULL, NULL)",
            self.subjects[new.subject],
            self.code(new.limit),
            new.amount,
            new.ttl_seconds,
            new.key
        );
        self.log.push(format!("{call};"));
        let answered: Result<Option<Row>, Error> = self.session.query_first(call).await;
        let limit = &mut self.limits[new.subject][new.limit];
        let key = (new.subject, new.limit, new.key);
        if limit.rules.kind == Type::State {
            let code = answered.err().map(|error| code_of(&error));
            return same("hold of a state", code.as_deref(), Some("NOT_CONSUMABLE"));
        }
        if let Some(first) = self.hold_keys.get(&key).map(|first| &self.holds[*first]) {
            return if (first.amount, first.ttl_seconds) == (new.amount, new.ttl_seconds) {
                let row = answered?.unwrap();
                same("whose hold it is", row.get("hold_id"), Some(first.id))?;
                same_answer("a hold again", &row, true, None, first.made)
            } else {
                let code = answered.err().map(|error| code_of(&error));
                same(
                    "another hold with its key",
                    code.as_deref(),
                    Some("IDEMPOTENCY_CONFLICT"),
                )
            };
        }
        let row = answered?.unwrap();
        if limit.rules.enforcement == Enforcement::Warn {
            limit.open();
        }
        if !limit.allows(new.amount) {
            let problem = if limit.rules.kind == Type::Capacity {
                "BILLING_CAPACITY_LOCKED"
            } else {
                "BILLING_LIMIT_EXCEEDED"
            };
            return same_answer("a hold", &row, false, Some(problem), limit.figures());
        }
        let id = row.get::<Option<u64>, _>("hold_id").unwrap().unwrap_or(0);
        limit.hold(id, new.amount, self.now + new.ttl_seconds * 1000);
        let made = limit.figures();
        self.hold_keys.insert(key, self.holds.len());
        self.holds.push(Held {
            id,
            subject: new.subject,
            limit: new.limit,
            amount: new.amount,
            ttl_seconds: new.ttl_seconds,
            made,
            resolved: None,
        });
        same_answer("a hold", &row, false, None, made)
    }

    /// Commits an amount or, where there is none, all of a hold; or releases it.
    async fn resolve(&mut self, hold: usize, commit: Option<Option<i64>>) -> Result<(), Difference> {
        if self.holds.is_empty() {
            return Ok(());
        }
        let number = hold % self.holds.len();
        let held = &mut self.holds[number];
        let call = match commit {
            Some(amount) => format!(
                "CALL entitlement_commit_hold_v1({}, {})",
                held.id,
                amount.map_or("NULL".to_owned(), |amount| amount.to_string())
            ),
            None => format!("CALL entitlement_release_hold_v1({})", held.id),
        };
        self.log.push(format!("{call};"));
        let answered: Result<Option<Row>, Error> = self.session.query_first(call).await;
        let used = commit.map_or(0, |amount| amount.unwrap_or(held.amount));
        let limit = &mut self.limits[held.subject][held.limit];
        let expected = match held.resolved {
            Some((first, answer)) if first == used => Ok((true, answer)),
            Some(_) => Err("HOLD_ALREADY_RESOLVED"),
            None => match limit.held_by(held.id) {
                None => Err("HOLD_EXPIRED"),
                Some(amount) if used > amount => Err("HOLD_AMOUNT_EXCEEDED"),
                Some(_) => {
                    limit.end_hold(held.id);
                    if used > 0 {
                        limit.consume(used);
                    }
                    let answer = limit.figures();
                    held.resolved = Some((used, answer));
                    Ok((false, answer))
                }
            },
        };
        match expected {
            Ok((replayed, answer)) => {
                let row = answered?.unwrap();
                same_answer("ending a hold", &row, replayed, None, answer)
            }
            Err(code) => {
                let found = answered.err().map(|error| code_of(&error));
                same("ending a hold", found.as_deref(), Some(code))
            }
        }
    }

    async fn recount(&mut self, subject: usize, limit: usize, count: i64) -> Result<(), Difference> {
        let code = self.code(limit);
        let counts = &mut self.limits[subject][limit];
        if counts.rules.kind == Type::Capacity {
            counts.recount(count);
            let call = format!(
                "CALL entitlement_recount_v1({}, '{code}', {count})",
                self.subjects[subject]
            );
            self.log.push(format!("{call};"));
            self.session.query_drop(call).await?;
        }
        Ok(())
    }

    /// Every number of every limit.
    async fn compare(&mut self) -> Result<(), Difference> {
        for (subject, limits) in self.subjects.iter().zip(&self.limits) {
            let rows: Vec<Row> = self
                .session
                .exec("CALL entitlement_limitations_v1(?, NULL, FALSE)", (subject,))
                .await?;
            for limit in limits {
                let row = rows
                    .iter()
                    .find(|row| row.get::<String, _>("code").unwrap() == limit.rules.code)
                    .expect("each definition has a row");
                let what = format!("{} of subject {subject} at {}", limit.rules.code, text(self.now));
                same(&what, figures(row), limit.figures())?;
            }
        }
        Ok(())
    }

    /// After the last step: history, what grants gave, and that rebuilding changes nothing.
    async fn end(&mut self) -> Result<(), Difference> {
        let before = projections_of(self.session, &self.subjects).await;
        for subject in &self.subjects {
            self.session
                .exec_drop("CALL entitlement_recompute_v1(?)", (subject,))
                .await?;
        }
        let after = projections_of(self.session, &self.subjects).await;
        same("projections, recomputed and before", after, before)?;

        for subject in &self.subjects {
            same(
                "what verify finds",
                differences(self.session, *subject).await,
                Vec::new(),
            )?;
        }

        // Closes what is open, so that the ledger says who paid for it.
        begin(self.session).await;
        for subject in &self.subjects {
            let open: Vec<u32> = self
                .session
                .exec(
                    "SELECT definition_id FROM billing_entitlement_balances WHERE subject_id = ? AND history_no = 0 ORDER BY definition_id",
                    (subject,),
                )
                .await?;
            for definition in open {
                self.session
                    .exec_drop(
                        "CALL entitlement_settle_in_tx_v1(?, ?, UTC_TIMESTAMP(3), 'grant', @boundaries)",
                        (subject, definition),
                    )
                    .await?;
            }
        }
        self.session.query_drop("COMMIT").await?;
        self.compare().await?;
        for (subject, limits) in self.subjects.iter().zip(&self.limits) {
            let gave: HashMap<u64, i64> = self
                .session
                .exec(
                    "SELECT grant_id, CAST(SUM(gave_amount) AS SIGNED) FROM billing_entitlement_settlement_grants WHERE subject_id = ? GROUP BY grant_id",
                    (subject,),
                )
                .await?
                .into_iter()
                .collect();
            for limit in limits {
                for (grant, given) in limit.given() {
                    let found = gave.get(&grant).copied().unwrap_or(0);
                    same(&format!("what grant {grant} gave"), found, given)?;
                }
                let history: Vec<(NaiveDateTime, i64, i64)> = self
                    .session
                    .exec(
                        "SELECT b.window_start_at, b.granted_amount, b.consumed_amount
                           FROM billing_entitlement_balances AS b JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
                          WHERE b.subject_id = ? AND d.code = ? AND b.history_no > 0 ORDER BY b.history_no",
                        (subject, limit.rules.code),
                    )
                    .await?;
                let history: Vec<_> = history
                    .into_iter()
                    .map(|(start, granted, consumed)| (start.and_utc().timestamp_millis(), granted, consumed))
                    .collect();
                same(&format!("windows of {}", limit.rules.code), &history, &limit.history)?;
            }
        }
        Ok(())
    }
}

/// What an item should be answered.
#[derive(Clone)]
struct Expected {
    outcome: &'static str,
    replayed: bool,
    problem: Option<&'static str>,
    refused_code: Option<&'static str>,
    said: Option<Figures>,
}

impl Default for Expected {
    fn default() -> Expected {
        Expected {
            outcome: "accepted",
            replayed: false,
            problem: None,
            refused_code: None,
            said: None,
        }
    }
}

fn same_answer(what: &str, row: &Row, replayed: bool, problem: Option<&str>, model: Figures) -> Result<(), Difference> {
    let found: Option<String> = row.get("problem").unwrap();
    let found = found.map(|problem| problem.split(':').next().unwrap().to_owned());
    same(
        what,
        (row.get("replayed").unwrap(), found.as_deref(), figures(row)),
        (replayed, problem, model),
    )
}

fn figures(row: &Row) -> Figures {
    let at = |column| {
        row.get::<Option<NaiveDateTime>, _>(column)
            .unwrap()
            .map(|at| at.and_utc().timestamp_millis())
    };
    // Without windows, the window is all of time: nothing that the model would keep.
    let lifetime = instant("1970-01-01 00:00:00.000");
    Figures {
        granted: row.get("granted_amount").unwrap(),
        consumed: row.get("consumed_amount").unwrap(),
        held: row.get("held_amount").unwrap(),
        effective: row.get("effective_amount").unwrap(),
        available: row.get("available_amount").unwrap(),
        hard_limit: row.get("hard_limit_amount").unwrap(),
        over_limit: row.get("over_limit").unwrap(),
        is_locked: row.get::<String, _>("lock_state").unwrap() != "none",
        next_change_at: at("next_change_at"),
        window_start_at: at("window_start_at").filter(|start| *start != lifetime),
    }
}

/// A sequence that failed: at which step, how, and what was called.
struct Failure {
    step: usize,
    difference: Difference,
    log: Vec<String>,
}

async fn run(session: &mut Conn, plan: &Plan, name: &str) -> Result<(), Failure> {
    let mut log = Vec::new();
    let mut step = 0;
    let Err(mut difference) = try_run(session, plan, name, &mut step, &mut log).await else {
        return Ok(());
    };
    if difference.to_string().contains("Deadlock") {
        let status: (String, String, String) = session.query_first("SHOW ENGINE INNODB STATUS").await.unwrap().unwrap();
        let (_, deadlock) = status.2.split_once("LATEST DETECTED DEADLOCK").unwrap();
        let deadlock = deadlock
            .split_once("TRANSACTIONS\n-----")
            .map_or(deadlock, |(deadlock, _)| deadlock);
        difference = format!("{difference}{deadlock}").into();
    }
    Err(Failure { step, difference, log })
}

async fn try_run(
    session: &mut Conn,
    plan: &Plan,
    name: &str,
    number: &mut usize,
    log: &mut Vec<String>,
) -> Result<(), Difference> {
    let mut run = Run::begin(session, plan, name, log).await?;
    for step in &plan.steps {
        run.step(step).await?;
        *number += 1;
    }
    run.end().await
}

/// Leaves out what the failure does not need: all after it, then step by step whatever can be missed.
async fn shrink(database: &TestDatabase, mut plan: Plan, mut failure: Failure) -> (Plan, Failure) {
    plan.steps.truncate(failure.step + 1);
    let mut tries = 0;
    let mut number = plan.steps.len();
    while number > 0 {
        number -= 1;
        let mut shorter = plan.clone();
        shorter.steps.remove(number);
        tries += 1;
        // A session of its own: the last one may have been left inside a transaction.
        let mut session = database.session().await;
        if let Err(found) = run(&mut session, &shorter, &format!("shrunk-{tries}")).await {
            shorter.steps.truncate(found.step + 1);
            plan = shorter;
            failure = found;
            number = number.min(plan.steps.len());
        }
    }
    (plan, failure)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// A database with the definitions of [`RULES`].
async fn database() -> TestDatabase {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    for rules in RULES {
        let (interval, anchor) = rules.window.unzip();
        session
            .exec_drop(
                "INSERT INTO billing_entitlement_definitions
                   (code, name, unit, entitlement_type, window_interval, window_anchor, aggregation_mode, enforcement_mode, lock_label, resource_code,
                    created_at, updated_at)
                 VALUES (?, 'Property', 'thing', ?, ?, ?, ?, ?, 'locked', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
                (
                    rules.code,
                    match rules.kind {
                        Type::Capacity => "capacity",
                        Type::Quota => "metered_quota",
                        Type::Balance => "balance",
                        Type::State => "state",
                    },
                    interval.map(|interval| match interval {
                        Interval::Day => "day",
                        Interval::Week => "week",
                        Interval::Month => "month",
                        Interval::Year => "year",
                    }),
                    anchor.map(|anchor| match anchor {
                        Anchor::Calendar => "calendar_utc",
                        Anchor::Billing => "billing_period",
                        Anchor::Rolling => "rolling",
                    }),
                    match rules.kind {
                        Type::State => "boolean_any_true",
                        _ if rules.largest_counts => "max",
                        _ => "sum",
                    },
                    match rules.enforcement {
                        Enforcement::Deny => "hard_deny",
                        Enforcement::Lock => "hard_lock_resource",
                        Enforcement::Warn => "soft_warn",
                    },
                    (rules.kind == Type::Capacity).then_some(rules.code),
                ),
            )
            .await
            .unwrap();
    }
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_the_procedures_say_what_the_model_says() {
    let first_seed: u64 = variable("CONSUMABLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let sequences: u64 = variable("CONSUMABLE_SEQUENCES").unwrap_or(SEQUENCES);
    let steps: usize = variable("CONSUMABLE_STEPS").unwrap_or(STEPS);
    println!("CONSUMABLE_SEED={first_seed} CONSUMABLE_SEQUENCES={sequences} CONSUMABLE_STEPS={steps}");

    let database = Arc::new(database().await);
    let next = Arc::new(AtomicU64::new(0));
    let steps_done = Arc::new(AtomicU64::new(0));
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let (database, next, steps_done) = (database.clone(), next.clone(), steps_done.clone());
        sessions.push(tokio::spawn(async move {
            let mut session = database.session().await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sequences {
                    return None;
                }
                let seed = first_seed.wrapping_add(number);
                let plan = Plan::of(seed, steps);
                if let Err(failure) = run(&mut session, &plan, &format!("sequence-{number}")).await {
                    // The others need not go on.
                    next.store(sequences, Ordering::Relaxed);
                    return Some((seed, plan, failure));
                }
                steps_done.fetch_add(plan.steps.len() as u64, Ordering::Relaxed);
            }
        }));
    }
    for session in sessions {
        if let Some((seed, plan, failure)) = session.await.unwrap() {
            let (plan, failure) = shrink(&database, plan, failure).await;
            panic!(
                "again with CONSUMABLE_SEED={seed} CONSUMABLE_SEQUENCES=1 CONSUMABLE_STEPS={steps}\n\n{}\n\n{plan}\n\n{}",
                failure.log.join("\n"),
                failure.difference
            );
        }
    }
    println!("{} steps", steps_done.load(Ordering::Relaxed));
}

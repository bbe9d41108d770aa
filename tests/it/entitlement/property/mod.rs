//! Random operations on the procedures and on the model, number by number. Uses go by calls of a session and by the lanes of a gateway, and what
//! they are told is the same.
//!
//! Environment:
//! - `CONSUMABLE_SEED`: the first sequence's; a failure names its own.
//! - `CONSUMABLE_SEQUENCES`: how many.
//! - `CONSUMABLE_STEPS`: of a sequence, at most.
//! - `CONSUMABLE_MODE`: `calls` (the uses of a step are one call of the session), `lanes` (they go through lanes, all at once or one by one) or
//!   `mixed`, which is the default: each step of a sequence goes by one of these ways. A seed has the same steps in each mode.

mod ask;
mod gateway;
mod model;
mod plan;
mod rules;
mod run;
mod uses;
mod ways;

use std::env;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use self::gateway::Gateway;
use self::plan::{Plan, RULES};
use self::rules::{Anchor, Enforcement, Interval, Type};
use self::run::{Difference, Run};
use self::ways::Mode;
use crate::support::database::TestDatabase;
use crate::support::story::differences;
use crate::support::told::lock_differences;

/// Sequences of a plain `cargo test`.
const SEQUENCES: u64 = 2_000;
/// Steps of the longest of them.
const STEPS: usize = 20;
/// Sessions that work side by side, each on subjects of its own.
const SESSIONS: usize = 3;

/// A sequence that failed: at which step, how, and what was called.
struct Failure {
    step: usize,
    difference: Difference,
    log: Vec<String>,
}

async fn run(session: &mut Conn, gateway: &Gateway, plan: &Plan, name: &str) -> Result<(), Failure> {
    let mut log = Vec::new();
    let mut step = 0;
    let Err(mut difference) = try_run(session, gateway, plan, name, &mut step, &mut log).await else {
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
    gateway: &Gateway,
    plan: &Plan,
    name: &str,
    number: &mut usize,
    log: &mut Vec<String>,
) -> Result<(), Difference> {
    let mut run = Run::begin(session, gateway, plan, name, log).await?;
    for step in &plan.steps {
        run.step(step).await?;
        *number += 1;
    }
    run.end().await
}

/// Leaves out what the failure does not need: all after it, then whatever can be missed, one part after the other.
async fn shrink(database: &TestDatabase, mut plan: Plan, mut failure: Failure) -> (Plan, Failure) {
    plan.steps.truncate(failure.step + 1);
    let mut tries = 0;
    let mut parts = plan.parts();
    let mut number = parts.len();
    while number > 0 {
        number -= 1;
        let mut shorter = plan.without(parts[number]);
        tries += 1;
        // Of its own: the last session may have been left inside a transaction, the last lanes with requests that wait.
        let (mut session, gateway) = (database.session().await, Gateway::start(database).await);
        if let Err(found) = run(&mut session, &gateway, &shorter, &format!("shrunk-{tries}")).await {
            shorter.steps.truncate(found.step + 1);
            plan = shorter;
            failure = found;
            parts = plan.parts();
            number = number.min(parts.len());
        }
    }
    (plan, failure)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} cannot be {text}")))
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
    let mode: Mode = variable("CONSUMABLE_MODE").unwrap_or(Mode::Mixed);
    println!(
        "CONSUMABLE_SEED={first_seed} CONSUMABLE_SEQUENCES={sequences} CONSUMABLE_STEPS={steps} CONSUMABLE_MODE={mode}"
    );

    let database = Arc::new(database().await);
    let next = Arc::new(AtomicU64::new(0));
    let steps_done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let (database, next, steps_done) = (database.clone(), next.clone(), steps_done.clone());
        sessions.push(tokio::spawn(async move {
            let (mut session, gateway) = (database.session().await, Gateway::start(&database).await);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sequences {
                    return None;
                }
                let seed = first_seed.wrapping_add(number);
                let plan = Plan::of(seed, steps, mode);
                if let Err(failure) = run(&mut session, &gateway, &plan, &format!("sequence-{number}")).await {
                    // The others need not go on.
                    next.store(sequences, Ordering::Relaxed);
                    return Some((seed, plan, failure));
                }
                let done = steps_done.fetch_add(plan.steps.len() as u64, Ordering::Relaxed);
                // A long run by hand says that it goes on.
                if (number + 1).is_multiple_of(SEQUENCES) {
                    println!("{} sequences, {done} steps, {:.0?}", number + 1, begun.elapsed());
                }
            }
        }));
    }
    for session in sessions {
        if let Some((seed, plan, failure)) = session.await.unwrap() {
            let (plan, failure) = shrink(&database, plan, failure).await;
            panic!(
                "again with CONSUMABLE_SEED={seed} CONSUMABLE_SEQUENCES=1 CONSUMABLE_STEPS={steps} CONSUMABLE_MODE={mode}\n\n{}\n\n{plan}\n\n{}",
                failure.log.join("\n"),
                failure.difference
            );
        }
    }
    println!(
        "{} steps in {:.0?}",
        steps_done.load(Ordering::Relaxed),
        begun.elapsed()
    );
    let begun = Instant::now();
    let found = differences(&mut database.session().await, None).await;
    println!(
        "entitlement_verify_v1 over all of it in {:.1?}: {} rows",
        begun.elapsed(),
        found.len()
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(lock_differences(&mut database.session().await).await, [""; 0]);
}

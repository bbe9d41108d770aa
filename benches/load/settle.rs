//! P6: settling what is due takes as long as that, however many balances there are.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use consumable::database::Database;
use consumable::scheduler::{self, Look};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Outcome;
use crate::engine::Engine;
use crate::measure::milliseconds;
use crate::report::{Baseline, Row};
use crate::stock::Template;
use crate::world::{NUMBERS, World};

/// Balances that are due.
const DUE: u64 = 10_000;

/// All balances of the smaller database.
const FEW: u64 = 20_000;

/// How much longer it may take among many.
const WITHIN: f64 = 1.2;

/// In a second, at least.
const RATE: f64 = 2_000.0;

/// How long settling may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// Subjects of which all numbers are compared with the ledger afterwards.
const SAMPLE: u64 = 50;

/// P6.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    let (before, _) = settle(world, FEW).await?;
    let (among_many, looks) = settle(world, NUMBERS).await?;
    let (after, _) = settle(world, FEW).await?;
    let rate = |time: Duration| DUE as f64 / time.as_secs_f64();
    let ratio = among_many.as_secs_f64() * 2.0 / (before + after).as_secs_f64();
    Ok(vec![
        Row {
            p50: Some(milliseconds(&looks, 500)),
            p99: Some(milliseconds(&looks, 990)),
            baseline: Some(Baseline {
                what: "among 20,000".into(),
                before: before.as_secs_f64(),
                after: after.as_secs_f64(),
                cpu_microseconds: None,
            }),
            ratio: Some(ratio),
            ..Row::single(
                "P6",
                "settling 10,000 due balances among 1,000,000 (p50 and p99 of a batch of 100)".into(),
                among_many.as_secs_f64(),
                "s",
                "≤ 1.2 ×",
                Some(ratio <= WITHIN),
            )
        },
        Row::single(
            "P6",
            "the same".into(),
            rate(among_many),
            "/s",
            "≥ 2,000/s",
            Some(rate(among_many) >= RATE),
        ),
    ])
}

/// Time for all that are due among `balances`, and of each look of the scheduler, sorted.
async fn settle(world: &mut World, balances: u64) -> Outcome<(Duration, Vec<Duration>)> {
    world.say(&format!("P6: making {balances} balances"));
    let mut engine = Engine::new(world, "settling").await?;
    engine.subjects(&Template::of_a_year(false), balances - DUE).await?;
    let due = engine.subjects(&Template::of_a_year(true), DUE).await?;
    let database = Database::connect(&engine.gateway_url).await?;
    world.durable().await?;

    world.say(&format!("P6: settling {DUE} among {balances}"));
    let (_changes, moves) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let looks = RefCell::new((0, Vec::new(), Instant::now()));
    let looked = |look: &Look| {
        let lease = &look.lease;
        let (settled, times, since) = &mut *looks.borrow_mut();
        *settled += u64::from(lease.settled);
        times.push(since.elapsed());
        *since = Instant::now();
        if *settled >= DUE || lease.failed > 0 {
            stop.send_replace(true);
        }
    };
    let begun = Instant::now();
    let scheduler = scheduler::run(&database, Duration::from_secs(60), moves, looked, stopped);
    timeout(PATIENCE, scheduler)
        .await
        .map_err(|_| format!("{DUE} balances were not settled within {PATIENCE:?}"))?;
    let time = begun.elapsed();

    let (settled, mut times, _) = looks.into_inner();
    if settled != DUE {
        return Err(format!("WRONG COUNT: {settled} balances were settled of {DUE}").into());
    }
    for number in 0..SAMPLE {
        let subject = due.first + number * (due.count / SAMPLE);
        engine.must_verify(&subject.to_string()).await?;
    }
    database.disconnect().await?;
    engine.drop(world).await?;
    times.sort();
    Ok((time, times))
}

//! P8: what the gateway adds to a use when nobody else is there.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::Outcome;
use crate::consume::SUBJECTS;
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::measure::{Worker, milliseconds};
use crate::report::{Baseline, Row};
use crate::stock::Template;
use crate::uses::{Caller, Consumer};
use crate::world::World;

/// Requests of one kind before it is the other's turn: what the disk does in a minute, it does to both.
const TURN: u32 = 20;

/// Of the bare CALL's median.
const GOAL: f64 = 1.3;

/// P8.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    world.say("P8: preparing");
    let mut engine = Engine::new(world, "idle").await?;
    let subjects = engine.subjects(&Template::of_five_codes(), SUBJECTS).await?;
    let gateway = Gateway::start(&engine).await?;
    let mut consumers = Consumer::all(gateway.connect(1).await?, subjects, 0);
    let consumer = consumers.first_mut().ok_or("no connection")?;
    let mut caller = Caller::new(engine.session().await?, subjects, 1);
    world.durable().await?;

    world.say("P8: one connection, in turns with a bare CALL");
    let (mut through, mut bare) = (Vec::new(), Vec::new());
    // Each has its statements prepared by then.
    let warm = Instant::now() + Duration::from_secs(1);
    turns(consumer, &mut caller, warm, &mut Vec::new(), &mut Vec::new()).await?;
    let end = Instant::now() + 2 * world.seconds;
    turns(consumer, &mut caller, end, &mut through, &mut bare).await?;

    engine.must_hold([consumer.accepted(), caller.accepted()]).await?;
    drop((consumers, caller));
    gateway.stop().await?;
    engine.drop(world).await?;
    // What the baseline was like at the beginning and in the end, as elsewhere.
    let half = bare.len() / 2;
    let (first, second) = bare.split_at_mut(half);
    let [(before, _), (after, _)] = [first, second].map(median_and_p99);
    let (bare, bare_p99) = median_and_p99(&mut bare);
    let (through, p99) = median_and_p99(&mut through);
    let ratio = through / bare;
    let workload = "consume, one connection, idle gateway: the median".into();
    Ok(vec![Row {
        p50: Some(through),
        p99: Some(p99),
        baseline: Some(Baseline {
            what: format!("bare CALL, one connection (p99 {bare_p99:.2})"),
            before,
            after,
            cpu_microseconds: None,
        }),
        ratio: Some(ratio),
        ..Row::single("P8", workload, through, "ms", "≤ 1.3 ×", Some(ratio <= GOAL))
    }])
}

/// In milliseconds.
fn median_and_p99(times: &mut [Duration]) -> (f64, f64) {
    times.sort();
    (milliseconds(times, 500), milliseconds(times, 990))
}

/// Some of the one, some of the other, until then.
async fn turns(
    consumer: &mut Consumer,
    caller: &mut Caller,
    end: Instant,
    through: &mut Vec<Duration>,
    bare: &mut Vec<Duration>,
) -> Outcome<()> {
    while Instant::now() < end {
        turn(consumer, through).await?;
        turn(caller, bare).await?;
    }
    Ok(())
}

async fn turn(worker: &mut impl Worker, times: &mut Vec<Duration>) -> Outcome<()> {
    for _ in 0..TURN {
        let sent = Instant::now();
        timeout(Duration::from_secs(30), worker.once()).await??;
        times.push(sent.elapsed());
    }
    Ok(())
}

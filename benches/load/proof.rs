//! P9: the proof of a whole ledger, while somebody writes to it.

use std::time::Instant;

use mysql_async::Row as Record;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use crate::Outcome;
use crate::engine::Engine;
use crate::measure::{Processes, drive, until};
use crate::report::{Baseline, Row};
use crate::stock::Template;
use crate::uses::Caller;
use crate::world::{PATIENCE, World};

/// Uses of all subjects together.
const USES: u64 = 1_000_000;

/// Whose they are.
struct Shape {
    subjects: u64,
    is_archived: bool,
    of: &'static str,
}

/// One subject that used all, few that used much, and many that used little.
const SHAPES: [Shape; 4] = [
    Shape {
        subjects: 1,
        is_archived: false,
        of: "one subject",
    },
    Shape {
        subjects: 1,
        is_archived: true,
        of: "one subject, all of them archived",
    },
    Shape {
        subjects: 1_000,
        is_archived: false,
        of: "1,000 subjects",
    },
    Shape {
        subjects: 100_000,
        is_archived: false,
        of: "100,000 subjects",
    },
];

/// P9.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for shape in SHAPES {
        rows.extend(prove(world, &shape).await?);
    }
    Ok(rows)
}

async fn prove(world: &mut World, shape: &Shape) -> Outcome<[Row; 2]> {
    let of = shape.of;
    world.say(&format!("P9: making {USES} uses of {of}"));
    let mut engine = Engine::new(world, "proof").await?;
    let subjects = engine.subjects(&Template::of_credits(1), shape.subjects).await?;
    engine.earlier_uses(subjects, USES / shape.subjects).await?;
    if shape.is_archived {
        let begun = Instant::now();
        engine.archive(subjects).await?;
        world.say(&format!("P9: archived in {:.1} s", begun.elapsed().as_secs_f64()));
    }
    let mut writer = [Caller::new(engine.session().await?, subjects, 0)];
    let mut prover = engine.session().await?;
    world.durable().await?;

    let processes = Processes {
        server: world.server.process(),
        gateway: None,
    };
    world.say("P9: a writer alone, before");
    let before = drive(&mut writer, processes, world.seconds / 2).await?;
    let waits = world.row_lock_waits().await?;
    world.say("P9: verify, while he writes");
    let verify = async {
        let begun = Instant::now();
        let differences = timeout(PATIENCE, prover.query::<Record, _>("CALL entitlement_verify_v1(NULL)")).await;
        (begun.elapsed(), differences)
    };
    let (during, (time, differences)) = until(&mut writer, processes, verify).await?;
    let waits = world.row_lock_waits().await? - waits;
    world.say("P9: a writer alone, after");
    let after = drive(&mut writer, processes, world.seconds / 2).await?;

    let differences = differences??;
    if let Some(first) = differences.first() {
        return Err(format!("{} DIFFERENCES, the first: {first:?}", differences.len()).into());
    }
    world.say("P9: counting");
    engine.must_hold([writer[0].accepted()]).await?;
    drop((writer, prover));
    engine.drop(world).await?;
    let seconds = time.as_secs_f64();
    let worst = 1_000;
    let workload = format!("entitlement_verify_v1 over 1,000,000 uses of {of}");
    let wait = format!(
        "the writer's worst wait meanwhile, of {} uses; row locks waited for: {waits}",
        during.done
    );
    Ok([
        Row::single("P9", workload, seconds, "s", "< 10 s", Some(seconds < 10.0)),
        Row {
            p50: Some(during.milliseconds(500)),
            p99: Some(during.milliseconds(990)),
            baseline: Some(Baseline {
                what: "his worst without verify".into(),
                before: before.milliseconds(worst),
                after: after.milliseconds(worst),
                cpu_microseconds: None,
            }),
            ..Row::single(
                "P9",
                wait,
                during.milliseconds(worst),
                "ms",
                "no lock waited for",
                Some(waits == 0),
            )
        },
    ])
}

//! What lanes answer is what would be answered one by one: random requests of twins, one of whom asks through lanes and the other by himself.
//!
//! Environment: `CONSUMABLE_SEED`, `CONSUMABLE_ROUNDS`.

use std::env;
use std::str::FromStr;

use consumable::procedures::entitlement::{ConsumeItem, ConsumeRequest, Outcome, consume, limitations};
use fastrand::Rng;

use super::{Decided, World};
use crate::support::story::{define, definition, differences};

/// Rounds of a plain `cargo test`.
const ROUNDS: usize = 40;

/// Subjects, each with a twin.
const SUBJECTS: usize = 5;

/// What they use. Nothing of it is changed by the clock, so that twins may be asked one after another. The last one is not defined.
const LIMITS: [(&str, &str); 5] = [
    ("same.credits", definition::BALANCE),
    ("same.soft", definition::SOFT_BALANCE),
    ("same.places", definition::CAPACITY),
    ("same.state", definition::STATE),
    ("same.unknown", ""),
];

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// A request of a subject; few keys, so that many are seen again, with the same items or with others.
fn request(rng: &mut Rng) -> ConsumeRequest {
    let count = *rng.choice(&[1, 1, 1, 2, 3]).unwrap();
    let items = (0..count).map(|_| ConsumeItem {
        capability: None,
        limitation_code: Some(LIMITS[rng.choice([0, 0, 0, 1, 1, 2, 2, 3, 4]).unwrap()].0.to_owned()),
        amount: Some(*rng.choice(&[0, 1, 1, 1, 2, 3, 7]).unwrap()),
        reason_code: None,
        occurred_at: None,
        metadata: None,
    });
    ConsumeRequest {
        subject_id: 0,
        request_id: None,
        items: items.collect(),
        usage_event_key: Some(format!("key-{}", rng.u32(0..300))),
    }
}

/// What both twins must be told. What was not accepted is told the limit as it is after the call, so of that only what refused is the same.
fn told(decided: &Decided) -> Vec<String> {
    let outcomes = decided.as_ref().unwrap();
    let tell = |outcome: &Outcome| match outcome {
        Outcome::Accepted {
            replayed,
            warning,
            consumption,
            limitation,
        } => format!(
            "accepted {replayed} {warning:?} {} {} {} {:?}: {} {} {} {} {}",
            consumption.code,
            consumption.amount,
            consumption.usage_event_key,
            consumption.sequence_no,
            limitation.granted_amount,
            limitation.consumed_amount,
            limitation.available_amount,
            limitation.over_limit,
            limitation.lock_state
        ),
        Outcome::Refused {
            refused_by_this: false, ..
        } => "refused by another".to_owned(),
        Outcome::Refused { refusal, .. } => format!(
            "refused {:?}: {} {} {} {} {}",
            refusal.error,
            refusal.amount,
            refusal.used_amount,
            refusal.over_by_amount,
            refusal.limitation.granted_amount,
            refusal.limitation.available_amount
        ),
        Outcome::Failed(error) => format!("failed {error}"),
    };
    outcomes.iter().map(tell).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_answer_as_if_each_had_asked_by_himself() {
    let seed: u64 = variable("CONSUMABLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds: usize = variable("CONSUMABLE_ROUNDS").unwrap_or(ROUNDS);
    println!("CONSUMABLE_SEED={seed} CONSUMABLE_ROUNDS={rounds}");
    let mut rng = Rng::with_seed(seed);
    let mut world = World::of(2).await;
    for (code, definition) in LIMITS.iter().filter(|(_, definition)| !definition.is_empty()) {
        define(&mut world.session, code, definition).await;
    }
    let mut twins = Vec::new();
    for number in 0..SUBJECTS {
        twins.push((
            world.subject(&format!("together-{number}"), 1).await,
            world.subject(&format!("alone-{number}"), 1).await,
        ));
    }
    world.run();
    let mut asked = 0;
    for round in 0..rounds {
        for twin in &twins {
            if rng.bool() {
                let (code, amount) = (LIMITS[rng.usize(0..3)].0, rng.i64(1..30));
                for id in [twin.0, twin.1] {
                    world.grant(id, code, amount, &format!("{round}-{id}")).await;
                }
            }
        }
        let count = *rng.choice(&[1, 5, 40]).unwrap();
        let requests: Vec<(usize, ConsumeRequest)> = (0..count)
            .map(|_| (rng.usize(0..SUBJECTS), request(&mut rng)))
            .collect();
        asked += requests.len();
        let of = |place: fn(&(u64, u64)) -> u64| -> Vec<ConsumeRequest> {
            let named = requests.iter().map(|(subject, request)| ConsumeRequest {
                subject_id: place(&twins[*subject]),
                ..request.clone()
            });
            named.collect()
        };
        // Both ways are mixed for one and the same subject.
        let together = if rng.u8(0..4) > 0 {
            world.lanes.consume_all(of(|twin| twin.0)).await
        } else {
            let mut answers = Vec::new();
            for request in of(|twin| twin.0) {
                answers.push(world.lanes.consume(request).await);
            }
            answers
        };
        for (number, (request, together)) in of(|twin| twin.1).iter().zip(&together).enumerate() {
            let alone = consume(&world.database, &[&request.encode().unwrap()]).await;
            let alone = alone.map(|mut outcomes| outcomes.remove(0));
            assert_eq!(
                told(together),
                told(&alone),
                "CONSUMABLE_SEED={seed}: request {number} of round {round}: {request:?}"
            );
        }
    }
    println!("{asked} requests in {} calls", world.calls().len());
    for (together, alone) in twins {
        let mut figures = Vec::new();
        for id in [together, alone] {
            let rows = limitations(&world.database, id, None, false).await.unwrap();
            let rows = rows.rows.into_iter().map(|row| {
                (
                    row.code,
                    row.granted_amount,
                    row.consumed_amount,
                    row.available_amount,
                    row.over_limit,
                )
            });
            figures.push(rows.collect::<Vec<_>>());
        }
        assert_eq!(figures[0], figures[1], "CONSUMABLE_SEED={seed}");
    }
    assert_eq!(differences(&mut world.session, None).await, [""; 0]);
}

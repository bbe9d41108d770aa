//! P4: the cost of a use does not grow with what was used before, nor with the number of grants.

use crate::Outcome;
use crate::consume::{CONNECTIONS, SUBJECTS};
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::measure::{Figures, Processes, drive};
use crate::report::Row;
use crate::stock::{Subjects, Template};
use crate::uses::Consumer;
use crate::world::World;

/// Earlier uses of the one subject, on which all of the load falls, so that each of the calls meets them.
const USES: u64 = 1_000_000;

/// Active grants of each of the subjects that the load is spread over.
const GRANTS: usize = 100;

/// The part of the rate that must stay.
const GOAL: f64 = 0.9;

/// P4.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    world.say("P4: making 1,000,000 uses and 100,000 grants");
    let mut engine = Engine::new(world, "history").await?;
    let bare = engine.subjects(&Template::of_credits(1), 1).await?;
    let used = engine.subjects(&Template::of_credits(1), 1).await?;
    engine.earlier_uses(used, USES).await?;
    let one_grant = engine.subjects(&Template::of_credits(1), SUBJECTS).await?;
    let many_grants = engine.subjects(&Template::of_credits(GRANTS), SUBJECTS).await?;
    let gateway = Gateway::start(&engine).await?;
    let mut accepted = Vec::new();
    let uses = compare(world, &gateway, "1,000,000 earlier uses", bare, used, &mut accepted).await?;
    let grants = compare(
        world,
        &gateway,
        "100 active grants",
        one_grant,
        many_grants,
        &mut accepted,
    )
    .await?;

    world.say("P4: counting");
    engine.must_hold(accepted).await?;
    gateway.stop().await?;
    engine.drop(world).await?;
    let told = |what: &str, subjects: Subjects| {
        let who = if subjects.count == 1 {
            "one subject"
        } else {
            "1,000 subjects"
        };
        format!("consume, {CONNECTIONS} connections, {who} with {what}")
    };
    let row = |workload, (before, figures, after): &Compared, what| {
        Row::rates(("P4", workload, "/s"), figures, (what, before, after), GOAL)
    };
    Ok(vec![
        row(told("1,000,000 earlier uses", used), &uses, "the same without"),
        row(
            told("100 active grants each", many_grants),
            &grants,
            "the same with one grant each",
        ),
    ])
}

type Compared = (Figures, Figures, Figures);

async fn compare(
    world: &mut World,
    gateway: &Gateway,
    what: &str,
    without: Subjects,
    with: Subjects,
    accepted: &mut Vec<(u64, u64)>,
) -> Outcome<Compared> {
    let processes = Processes {
        server: world.server.process(),
        gateway: Some(gateway.process),
    };
    let next = accepted.len() as u64;
    let mut plain = Consumer::all(gateway.connect(CONNECTIONS).await?, without, next);
    let mut full = Consumer::all(gateway.connect(CONNECTIONS).await?, with, next + CONNECTIONS as u64);
    world.durable().await?;
    world.say(&format!("P4: without {what}, before"));
    let before = drive(&mut plain, processes, world.seconds / 2).await?;
    world.say(&format!("P4: with {what}"));
    let figures = drive(&mut full, processes, world.seconds).await?;
    world.say(&format!("P4: without {what}, after"));
    let after = drive(&mut plain, processes, world.seconds / 2).await?;
    accepted.extend(plain.iter().chain(&full).map(Consumer::accepted));
    Ok((before, figures, after))
}

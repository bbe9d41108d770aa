//! P1 and P2: one use a request, on many connections.

use crate::Outcome;
use crate::baseline::ByHand;
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::measure::{Processes, drive};
use crate::report::Row;
use crate::stock::Template;
use crate::uses::Consumer;
use crate::world::World;

/// Keep-alive connections.
pub const CONNECTIONS: usize = 64;

/// Subjects of a workload that is spread.
pub const SUBJECTS: u64 = 1_000;

/// P1.
pub async fn spread(world: &mut World) -> Outcome<Vec<Row>> {
    run(world, "P1", SUBJECTS, 8.0).await
}

/// P2.
pub async fn hot(world: &mut World) -> Outcome<Vec<Row>> {
    run(world, "P2", 1, 20.0).await
}

async fn run(world: &mut World, id: &'static str, count: u64, goal: f64) -> Outcome<Vec<Row>> {
    world.say(&format!("{id}: preparing"));
    let mut engine = Engine::new(world, "consume").await?;
    let subjects = engine.subjects(&Template::of_five_codes(), count).await?;
    let gateway = Gateway::start(&engine).await?;
    let mut consumers = Consumer::all(gateway.connect(CONNECTIONS).await?, subjects, 0);
    let mut by_hand = ByHand::all(world, count).await?;
    world.durable().await?;

    let without = Processes {
        server: world.server.process(),
        gateway: None,
    };
    let with = Processes {
        gateway: Some(gateway.process),
        ..without
    };
    world.say(&format!("{id}: transactions written by hand, before"));
    let before = drive(&mut by_hand, without, world.seconds / 2).await?;
    world.say(&format!("{id}: consume"));
    let figures = drive(&mut consumers, with, world.seconds).await?;
    world.say(&format!("{id}: transactions written by hand, after"));
    let after = drive(&mut by_hand, without, world.seconds / 2).await?;

    world.say(&format!("{id}: counting"));
    engine.must_hold(consumers.iter().map(Consumer::accepted)).await?;
    let repeated: u64 = consumers.iter().map(|consumer| consumer.repeated).sum();
    drop(consumers);
    gateway.stop().await?;
    engine.drop(world).await?;
    let told = match repeated {
        0 => String::new(),
        _ => format!(" ({repeated} sent again, being overloaded)"),
    };
    let who = if count == 1 {
        "one subject".to_owned()
    } else {
        format!("{count} subjects")
    };
    Ok(vec![Row::rates(
        (id, format!("consume, {CONNECTIONS} connections, {who}{told}"), "/s"),
        &figures,
        ("transaction by hand, 32 connections", &before, &after),
        goal,
    )])
}

//! P3: many uses a request.

use crate::Outcome;
use crate::baseline::{Insert, ROWS};
use crate::client::Connection;
use crate::consume::SUBJECTS;
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::measure::{Processes, Worker, drive};
use crate::report::Row;
use crate::stock::{Subjects, Template};
use crate::uses::{CODE, key, post};
use crate::world::World;

/// Connections of both.
const CONNECTIONS: u64 = 4;

/// `POST /api/billing/consume/batch`.
struct Batch {
    connection: Connection,
    subjects: Subjects,
    random: fastrand::Rng,
    worker: u64,
    accepted: u64,
}

impl Worker for Batch {
    async fn once(&mut self) -> Outcome<u64> {
        let requests: Vec<String> = (self.accepted..self.accepted + ROWS)
            .map(|number| {
                let (subject, key) = (self.subjects.any(&mut self.random), key(self.worker, number));
                format!(
                    r#"{{"billableEntityId":{subject},"limitationCode":"{CODE}","amount":1,"usageEventKey":"{key}"}}"#
                )
            })
            .collect();
        let body = format!(r#"{{"requests":[{}]}}"#, requests.join(","));
        let (accepted, _) = post(&mut self.connection, "/api/billing/consume/batch", None, &body).await?;
        if accepted != ROWS {
            return Err(format!("a batch of {ROWS} of which {accepted} were accepted").into());
        }
        self.accepted += ROWS;
        Ok(ROWS)
    }
}

/// P3.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    world.say("P3: preparing");
    let mut engine = Engine::new(world, "batch").await?;
    let subjects = engine.subjects(&Template::of_five_codes(), SUBJECTS).await?;
    let gateway = Gateway::start(&engine).await?;
    let connections = gateway.connect(CONNECTIONS as usize).await?;
    let mut batches: Vec<Batch> = connections
        .into_iter()
        .zip(0..)
        .map(|(connection, worker)| Batch {
            connection,
            subjects,
            random: fastrand::Rng::with_seed(worker),
            worker,
            accepted: 0,
        })
        .collect();
    let mut inserts = Insert::all(world, SUBJECTS, CONNECTIONS).await?;
    world.durable().await?;

    let without = Processes {
        server: world.server.process(),
        gateway: None,
    };
    let with = Processes {
        gateway: Some(gateway.process),
        ..without
    };
    world.say("P3: multi-row INSERT, before");
    let before = drive(&mut inserts, without, world.seconds / 2).await?;
    world.say("P3: consume/batch");
    let figures = drive(&mut batches, with, world.seconds).await?;
    world.say("P3: multi-row INSERT, after");
    let after = drive(&mut inserts, without, world.seconds / 2).await?;

    world.say("P3: counting");
    engine
        .must_hold(batches.iter().map(|batch| (batch.worker, batch.accepted)))
        .await?;
    drop(batches);
    gateway.stop().await?;
    engine.drop(world).await?;
    Ok(vec![Row::rates(
        (
            "P3",
            format!("consume/batch, {ROWS} items, {CONNECTIONS} connections"),
            "/s",
        ),
        &figures,
        ("INSERT of 200 rows, 4 connections", &before, &after),
        0.5,
    )])
}

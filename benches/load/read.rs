//! P5: what a subject may use.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row as Record};

use crate::Outcome;
use crate::client::Connection;
use crate::consume::{CONNECTIONS, SUBJECTS};
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::measure::{Processes, Worker, drive};
use crate::report::Row;
use crate::stock::{Subjects, Template};
use crate::world::World;

/// Codes of each subject.
const CODES: usize = 5;

/// The rows of which the answer is made, as somebody would read them who knows the tables.
const SELECT: &str = "SELECT d.code, d.name, d.entitlement_type, d.enforcement_mode, d.unit, d.scale, d.window_interval, d.window_anchor,
                             b.granted_amount, b.consumed_amount, b.held_amount, b.effective_amount, b.available_amount, b.over_limit,
                             b.next_change_at, b.window_start_at, b.window_end_at, b.settled_at
                        FROM billing_entitlement_definitions AS d
                        JOIN billing_entitlement_balances AS b ON b.subject_id = ? AND b.definition_id = d.id AND b.history_no = 0
                       ORDER BY d.code";

/// `GET /api/billing/limitations`.
struct Reader {
    connection: Connection,
    subjects: Subjects,
    random: fastrand::Rng,
}

impl Worker for Reader {
    async fn once(&mut self) -> Outcome<u64> {
        let subject = self.subjects.any(&mut self.random);
        let answer = self
            .connection
            .ask("GET", "/api/billing/limitations", Some(subject), "")
            .await?;
        match (answer.status, answer.body.matches(r#""availableAmount":"#).count()) {
            (200, CODES) => Ok(1),
            (status, codes) => Err(format!("{status} with {codes} limitations: {}", answer.body).into()),
        }
    }
}

/// A bare prepared SELECT.
struct Select {
    session: Conn,
    subjects: Subjects,
    random: fastrand::Rng,
}

impl Worker for Select {
    async fn once(&mut self) -> Outcome<u64> {
        let subject = self.subjects.any(&mut self.random);
        let rows: Vec<Record> = self.session.exec(SELECT, (subject,)).await?;
        match rows.len() {
            CODES => Ok(1),
            rows => Err(format!("{rows} rows of a subject").into()),
        }
    }
}

/// P5.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    world.say("P5: preparing");
    let mut engine = Engine::new(world, "reading").await?;
    let subjects = engine.subjects(&Template::of_five_codes(), SUBJECTS).await?;
    let gateway = Gateway::start(&engine).await?;
    let connections = gateway.connect(CONNECTIONS).await?.into_iter();
    let mut readers: Vec<Reader> = connections
        .zip(0..)
        .map(|(connection, seed)| Reader {
            connection,
            subjects,
            random: fastrand::Rng::with_seed(seed),
        })
        .collect();
    let mut selects = Vec::with_capacity(CONNECTIONS);
    for seed in 0..CONNECTIONS as u64 {
        selects.push(Select {
            session: Conn::new(Opts::from_url(&world.url("reading"))?).await?,
            subjects,
            random: fastrand::Rng::with_seed(seed),
        });
    }
    world.durable().await?;

    let without = Processes {
        server: world.server.process(),
        gateway: None,
    };
    let with = Processes {
        gateway: Some(gateway.process),
        ..without
    };
    world.say("P5: bare SELECT, before");
    let before = drive(&mut selects, without, world.seconds / 2).await?;
    world.say("P5: limitations");
    let figures = drive(&mut readers, with, world.seconds).await?;
    world.say("P5: bare SELECT, after");
    let after = drive(&mut selects, without, world.seconds / 2).await?;

    drop((readers, selects));
    gateway.stop().await?;
    engine.drop(world).await?;
    Ok(vec![Row::rates(
        (
            "P5",
            format!("limitations, {CONNECTIONS} connections, {CODES} codes, {SUBJECTS} subjects"),
            "/s",
        ),
        &figures,
        ("prepared SELECT, 64 connections", &before, &after),
        0.7,
    )])
}

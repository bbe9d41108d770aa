//! P7: readers of events, while uses come in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use mysql_async::prelude::Queryable;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::Outcome;
use crate::client::Connection;
use crate::consume::{CONNECTIONS, SUBJECTS};
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::machine::memory_kilobytes;
use crate::measure::{Figures, Processes, Worker, drive, milliseconds};
use crate::report::Row;
use crate::stock::{Subjects, Template};
use crate::uses::Consumer;
use crate::world::World;

/// Readers, as many for each workspace.
const READERS: u64 = 5_000;

/// Workspaces, of two subjects each.
const WORKSPACES: u64 = 500;

/// Uses in a second, each of which ten readers are told of. Without a bound the readers, on the same cores, would be what is measured.
const RATE: u64 = 500;

/// Open files beside the readers.
const OTHER_FILES: u64 = 300;

/// How long the readers may take to connect, or the last event to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Milliseconds from the commit to the reader.
const GOAL: f64 = 250.0;

/// Megabytes of the gateway.
const MEMORY: u64 = 150;

/// P7.
pub async fn run(world: &mut World) -> Outcome<Vec<Row>> {
    allow_files(READERS + OTHER_FILES)?;
    world.say("P7: preparing");
    let mut engine = Engine::new(world, "readers").await?;
    let subjects = engine.subjects(&Template::of_five_codes(), SUBJECTS).await?;
    workspaces(&mut engine, subjects).await?;
    let gateway = Gateway::start(&engine).await?;
    world.durable().await?;

    world.say(&format!("P7: connecting {READERS} readers"));
    let (idle_memory, _) = memory_kilobytes(gateway.process)?;
    let told = Arc::new(Told::default());
    let (stop, stopped) = watch::channel(false);
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let place = number % WORKSPACES;
        for connection in gateway.connect(1).await? {
            let delays = Reader::listen(connection, subjects.first + place, Arc::clone(&told), stopped.clone());
            readers.spawn(async move { Outcome::Ok((place + 1, delays.await?)) });
        }
    }
    tokio::select! {
        reached = told.reach(READERS, |told| &told.listening) => reached?,
        Some(left) = readers.join_next() => {
            left??;
            return Err("a reader left".into());
        }
    }
    let mark: Option<u64> = engine
        .root
        .query_first("SELECT COALESCE(MAX(c.id), 0) FROM billing_limit_changes AS c")
        .await?;

    let (uses, accepted) = load(world, &gateway, subjects).await?;
    let (memory, most_memory) = memory_kilobytes(gateway.process)?;
    let expected = events(&mut engine, mark.ok_or("an outbox without ids")?).await?;
    told.reach(expected.values().sum::<u64>() * (READERS / WORKSPACES), |told| {
        &told.events
    })
    .await?;
    stop.send_replace(true);
    let mut delays = Vec::new();
    while let Some(reader) = timeout(PATIENCE, readers.join_next()).await? {
        let (workspace, of_reader) = reader??;
        let (told, wanted) = (
            of_reader.len() as u64,
            expected.get(&workspace).copied().unwrap_or_default(),
        );
        if told != wanted {
            return Err(
                format!("WRONG COUNT: a reader of workspace {workspace} was told {told} of {wanted} events").into(),
            );
        }
        delays.extend(of_reader);
    }
    delays.sort();

    world.say("P7: counting");
    engine.must_hold(accepted).await?;
    gateway.stop().await?;
    engine.drop(world).await?;
    let p99 = milliseconds(&delays, 990);
    let workload = format!(
        "commit to delivery: {} events to {READERS} readers of {WORKSPACES} workspaces, at {:.0} uses a second",
        delays.len(),
        uses.rate()
    );
    Ok(vec![
        Row {
            p50: Some(milliseconds(&delays, 500)),
            p99: Some(p99),
            cpu_microseconds: Some(uses.cpu),
            ..Row::single("P7", workload, p99, "ms", "p99 < 250 ms", Some(p99 < GOAL))
        },
        Row::single(
            "P7",
            format!(
                "the gateway's memory then ({} MB before the readers, {} MB at most)",
                idle_memory / 1_024,
                most_memory / 1_024
            ),
            memory as f64 / 1_024.0,
            "MB",
            "< 150 MB",
            Some(most_memory < MEMORY * 1_024),
        ),
    ])
}

/// Every reader is an open file, here as in the gateway, which raises its own limit.
fn allow_files(needed: u64) -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        let maximum = limit.maximum.unwrap_or_default();
        return Err(format!(
            "P7 needs {needed} open files, and this system allows {maximum}: raise it with ulimit -Hn, or leave P7 out"
        )
        .into());
    }
    let current = limit.current.map(|current| current.max(needed));
    Ok(setrlimit(Resource::Nofile, Rlimit { current, ..limit })?)
}

/// Puts the subjects into workspaces, in turn.
async fn workspaces(engine: &mut Engine, subjects: Subjects) -> Outcome<()> {
    let Subjects { first, count } = subjects;
    engine
        .execute(&format!(
            "INSERT INTO workspaces (id, slug, name, created_at, updated_at)
             SELECT n.n + 1, CONCAT('load-', n.n), 'Load', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM beside.numbers AS n WHERE n.n < {WORKSPACES}"
        ))
        .await?;
    engine
        .execute(&format!(
            "UPDATE billable_entities AS e SET e.workspace_id = 1 + (e.id - {first}) % {WORKSPACES} WHERE e.id >= {first} AND e.id < {first} + {count}"
        ))
        .await
}

/// Uses over HTTP, at the rate. Gives what was measured, and how many uses of each worker were accepted.
async fn load(world: &World, gateway: &Gateway, subjects: Subjects) -> Outcome<(Figures, Vec<(u64, u64)>)> {
    let processes = Processes {
        server: world.server.process(),
        gateway: Some(gateway.process),
    };
    let every = Duration::from_secs(1) * CONNECTIONS as u32 / RATE as u32;
    let begun = Instant::now();
    let consumers = Consumer::all(gateway.connect(CONNECTIONS).await?, subjects, 0);
    let mut paced: Vec<Paced> = consumers
        .into_iter()
        .zip(0..)
        .map(|(consumer, place)| Paced {
            consumer,
            next: begun + every * place / CONNECTIONS as u32,
            every,
        })
        .collect();
    world.say(&format!("P7: {RATE} uses a second"));
    let figures = drive(&mut paced, processes, 2 * world.seconds).await?;
    Ok((figures, paced.iter().map(|paced| paced.consumer.accepted()).collect()))
}

/// One who does not send as fast as he can.
struct Paced {
    consumer: Consumer,
    next: Instant,
    every: Duration,
}

impl Worker for Paced {
    async fn once(&mut self) -> Outcome<u64> {
        sleep_until(self.next.into()).await;
        // Who is late does not make up for it.
        self.next = (self.next + self.every).max(Instant::now());
        self.consumer.once().await
    }
}

/// Events that a reader of each workspace must have been told since the mark.
async fn events(engine: &mut Engine, mark: u64) -> Outcome<BTreeMap<u64, u64>> {
    let count = format!(
        "SELECT e.workspace_id, COUNT(DISTINCT c.id)
           FROM billing_limit_changes AS c
           JOIN JSON_TABLE(c.changes, '$[*]' COLUMNS (subject_id BIGINT UNSIGNED PATH '$.subjectId')) AS j
           JOIN billable_entities AS e ON e.id = j.subject_id
          WHERE c.id > {mark}
          GROUP BY e.workspace_id"
    );
    let rows: Vec<(u64, u64)> = engine.root.query(count).await?;
    Ok(rows.into_iter().collect())
}

/// How far all readers are.
#[derive(Default)]
struct Told {
    listening: AtomicU64,
    events: AtomicU64,
}

impl Told {
    /// Waits until one of the counts is as it should be. More is as wrong as less, and is found when all are counted.
    async fn reach(&self, wanted: u64, count: fn(&Told) -> &AtomicU64) -> Outcome<()> {
        let reached = async {
            while count(self).load(Ordering::Relaxed) < wanted {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, reached).await.map_err(|_| {
            let counted = count(self).load(Ordering::Relaxed);
            format!("WRONG COUNT: readers were told {counted} of {wanted} within {PATIENCE:?}").into()
        })
    }
}

/// One reader's side of a stream.
struct Reader {
    stream: TcpStream,
    received: Vec<u8>,
    told: Arc<Told>,
    last_id: u64,
    delays: Vec<Duration>,
}

impl Reader {
    /// Listens until it is told to stop. Gives how long each event was under way.
    async fn listen(
        connection: Connection,
        subject: u64,
        told: Arc<Told>,
        mut stopped: watch::Receiver<bool>,
    ) -> Outcome<Vec<Duration>> {
        let path =
            format!("/api/realtime/events?topic=workspace_billing_limits&surface=app&billableEntityId={subject}");
        let mut reader = Reader {
            stream: connection.listen(&path).await?,
            received: Vec::with_capacity(1_024),
            told,
            last_id: 0,
            delays: Vec::new(),
        };
        tokio::select! {
            failed = reader.read() => failed.map(|never| match never {}),
            stopped = stopped.wait_for(|stopped| *stopped) => {
                stopped?;
                Ok(reader.delays)
            }
        }
    }

    async fn read(&mut self) -> Outcome<std::convert::Infallible> {
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the gateway closed a stream".into());
            }
            let now = Utc::now();
            let mut begin = 0;
            while let Some(length) = self.received[begin..].iter().position(|byte| *byte == b'\n') {
                let line = self.received[begin..begin + length].to_owned();
                self.line(std::str::from_utf8(&line)?, now)?;
                begin += length + 1;
            }
            self.received.drain(..begin);
        }
    }

    /// Lines of the head and of the chunks that carry the frames are none of the stream's.
    fn line(&mut self, line: &str, now: DateTime<Utc>) -> Outcome<()> {
        if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            if !status.starts_with("200") {
                return Err(format!("a reader was answered {status}").into());
            }
        } else if line == ": listening" {
            self.told.listening.fetch_add(1, Ordering::Relaxed);
        } else if line == "event: resync" {
            return Err("a reader was told to refetch".into());
        } else if let Some(id) = line.strip_prefix("id: ") {
            let id = id.parse()?;
            if id <= self.last_id && self.last_id > 0 {
                return Err(format!("WRONG ORDER: event {id} after {}", self.last_id).into());
            }
            self.last_id = id;
        } else if let Some(data) = line.strip_prefix("data: ") {
            let at = data.split_once(r#""changedAt":""#).and_then(|(_, rest)| rest.get(..24));
            let at = DateTime::parse_from_rfc3339(at.ok_or("an event without an instant")?)?;
            // The instant is that of the decision: the commit, which comes after it, is counted as a part of the way.
            self.delays.push((now - at.to_utc()).to_std().unwrap_or_default());
            self.told.events.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

//! Uses over HTTP and by a bare CALL, numbered by worker, so that each can be found in the ledger afterwards.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::time::sleep;

use crate::Outcome;
use crate::client::Connection;
use crate::measure::Worker;
use crate::stock::Subjects;

/// What is used.
pub const CODE: &str = "ai.credits";

/// In the keys of uses that were there before: they are not counted.
pub const EARLIER: &str = "earlier";

/// How often a use is sent again, with its key, when the gateway is overloaded.
const ATTEMPTS: u32 = 500;

/// Before it is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// The key of a use: random at its beginning, as those of applications are, so that it falls anywhere in the ledger.
pub fn key(worker: u64, number: u64) -> String {
    // The finalizer of splitmix64: every number has its own.
    let mut mixed = (worker << 40) ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    format!("{mixed:016x}-{worker}-{number}")
}

/// `POST /api/billing/consume`, one item a request.
pub struct Consumer {
    connection: Connection,
    subjects: Subjects,
    random: fastrand::Rng,
    worker: u64,
    accepted: u64,
    /// Requests that were sent again, as the gateway was overloaded.
    pub repeated: u64,
}

impl Consumer {
    /// One for each connection. Workers are numbered from `worker` on.
    pub fn all(connections: Vec<Connection>, subjects: Subjects, worker: u64) -> Vec<Consumer> {
        let consumer = |(connection, worker)| Consumer {
            connection,
            subjects,
            random: fastrand::Rng::with_seed(worker),
            worker,
            accepted: 0,
            repeated: 0,
        };
        connections.into_iter().zip(worker..).map(consumer).collect()
    }

    /// The worker's number, and how many of its uses were accepted.
    pub fn accepted(&self) -> (u64, u64) {
        (self.worker, self.accepted)
    }
}

impl Worker for Consumer {
    async fn once(&mut self) -> Outcome<u64> {
        let key = key(self.worker, self.accepted);
        let subject = self.subjects.any(&mut self.random);
        let body = format!(r#"{{"limitationCode":"{CODE}","amount":1,"usageEventKey":"{key}"}}"#);
        self.repeated += post(&mut self.connection, "/api/billing/consume", Some(subject), &body)
            .await?
            .1;
        self.accepted += 1;
        Ok(1)
    }
}

/// Sends a body until it is taken, and gives how many `outcome: accepted` there are in the answer, and how often it was sent again.
/// Anything but "accepted" and "overloaded" fails.
pub async fn post(connection: &mut Connection, path: &str, subject: Option<u64>, body: &str) -> Outcome<(u64, u64)> {
    for attempt in 0..ATTEMPTS {
        let answer = connection.ask("POST", path, subject, body).await?;
        match answer.status {
            200 => {
                let accepted = answer.body.matches(r#""outcome":"accepted""#).count() as u64;
                match accepted {
                    0 => return Err(format!("an answer that accepts nothing: {}", answer.body).into()),
                    _ => return Ok((accepted, attempt.into())),
                }
            }
            503 => sleep(PAUSE).await,
            status => return Err(format!("{path} answered {status}: {}", answer.body).into()),
        }
    }
    Err(format!("{path} was overloaded {ATTEMPTS} times in a row").into())
}

/// `CALL entitlement_consume_v1` without a gateway, one use a call.
pub struct Caller {
    session: Conn,
    subjects: Subjects,
    random: fastrand::Rng,
    worker: u64,
    accepted: u64,
}

impl Caller {
    /// A caller on a session of its own.
    pub fn new(session: Conn, subjects: Subjects, worker: u64) -> Caller {
        Caller {
            session,
            subjects,
            random: fastrand::Rng::with_seed(worker),
            worker,
            accepted: 0,
        }
    }

    /// The worker's number, and how many of its uses were accepted.
    pub fn accepted(&self) -> (u64, u64) {
        (self.worker, self.accepted)
    }
}

impl Worker for Caller {
    async fn once(&mut self) -> Outcome<u64> {
        let key = key(self.worker, self.accepted);
        let subject = self.subjects.any(&mut self.random);
        let requests = format!(
            r#"[{{"subjectId":{subject},"usageEventKey":"{key}","items":[{{"limitationCode":"{CODE}","amount":1}}]}}]"#
        );
        let rows: Vec<Row> = self.session.exec("CALL entitlement_consume_v1(?)", (requests,)).await?;
        let outcome: Option<String> = rows.first().and_then(|row| row.get("outcome"));
        if outcome.as_deref() != Some("accepted") {
            return Err(format!("a call that accepts nothing: {rows:?}").into());
        }
        self.accepted += 1;
        Ok(1)
    }
}

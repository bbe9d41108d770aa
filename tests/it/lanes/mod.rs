//! Uses that share a call.

mod http;
mod same;
mod trouble;
mod turns;

use std::sync::{Arc, Mutex};

use consumable::database::Database;
use consumable::error::Error;
use consumable::lanes::Lanes;
use consumable::procedures::entitlement::{ConsumeItem, ConsumeRequest, Outcome};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::database::TestDatabase;
use crate::support::gateway::PATIENCE;

/// What became of a request.
type Decided = Result<Vec<Outcome>, Error>;

/// Lanes that run only when a test says so.
struct World {
    test: TestDatabase,
    database: Database,
    session: Conn,
    lanes: Lanes,
    /// How many requests each call of a lane had.
    called: Arc<Mutex<Vec<usize>>>,
    running: Option<JoinHandle<()>>,
}

impl World {
    async fn of(lanes: usize) -> World {
        let test = TestDatabase::migrated().await;
        World {
            database: test.connect().await,
            session: test.session().await,
            lanes: Lanes::new(lanes),
            called: Arc::default(),
            running: None,
            test,
        }
    }

    /// A subject with so many credits.
    async fn subject(&mut self, name: &str, credits: i64) -> u64 {
        let row: Row = self
            .session
            .exec_first(
                "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)",
                (name, name),
            )
            .await
            .unwrap()
            .unwrap();
        let id = row.get("id").unwrap();
        self.grant(id, "ai.credits", credits, &format!("first-{id}")).await;
        id
    }

    async fn grant(&mut self, subject: u64, code: &str, amount: i64, key: &str) {
        self.session
            .exec_drop(
                "CALL entitlement_grant_v1(?, ?, ?, 'promo', NULL, NULL, NULL, ?, 'test', 'test')",
                (subject, code, amount, key),
            )
            .await
            .unwrap();
    }

    /// Sends requests by themselves, in this order; gives what ends with their answers, when all of them wait.
    async fn wait_in_line(&self, requests: Vec<ConsumeRequest>) -> JoinHandle<Vec<Decided>> {
        let there = self.lanes.waiting() + requests.len();
        let lanes = self.lanes.clone();
        let answers = tokio::spawn(async move { lanes.consume_all(requests).await });
        until(async || self.lanes.waiting() == there).await;
        answers
    }

    /// Lets the lanes call.
    fn run(&mut self) {
        let (lanes, database, called) = (self.lanes.clone(), self.database.clone(), self.called.clone());
        let impatient = database.impatient(4);
        self.running = Some(tokio::spawn(async move {
            let called = move |requests| called.lock().unwrap().push(requests);
            lanes.run(&database, &impatient, Arc::new(called)).await;
        }));
    }

    fn calls(&self) -> Vec<usize> {
        self.called.lock().unwrap().clone()
    }

    /// Locks what a subject has, until the transaction ends.
    async fn lock(&self, subject: u64) -> Conn {
        let mut holder = self.test.session().await;
        holder.query_drop("START TRANSACTION").await.unwrap();
        lock(&mut holder, subject).await;
        holder
    }

    /// How many uses of a subject are booked.
    async fn booked(&mut self, subject: u64) -> u64 {
        self.session
            .exec_first(
                "SELECT COUNT(*) FROM billing_entitlement_consumptions WHERE subject_id = ?",
                (subject,),
            )
            .await
            .unwrap()
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn lock(session: &mut Conn, subject: u64) {
    session
        .exec_drop(
            "SELECT subject_id FROM billing_entitlement_balances WHERE subject_id = ? AND history_no = 0 FOR UPDATE",
            (subject,),
        )
        .await
        .unwrap();
}

/// The connections that wait for a row of this database.
async fn blocked(session: &mut Conn) -> Vec<u64> {
    session
        .query(
            "SELECT DISTINCT t.PROCESSLIST_ID FROM performance_schema.data_lock_waits AS w
               JOIN performance_schema.data_locks AS l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID
               JOIN performance_schema.threads AS t ON t.THREAD_ID = w.REQUESTING_THREAD_ID
              WHERE l.OBJECT_SCHEMA = DATABASE()",
        )
        .await
        .unwrap()
}

fn use_of(subject_id: u64, key: &str) -> ConsumeRequest {
    let item = ConsumeItem {
        capability: None,
        limitation_code: Some("ai.credits".to_owned()),
        amount: Some(1),
        reason_code: None,
        occurred_at: None,
        metadata: None,
    };
    ConsumeRequest {
        subject_id,
        usage_event_key: Some(key.to_owned()),
        request_id: None,
        items: vec![item],
    }
}

/// So many uses, whose keys begin with a word.
fn uses_of(subject: u64, key: &str, count: usize) -> Vec<ConsumeRequest> {
    (0..count)
        .map(|number| use_of(subject, &format!("{key}-{number}")))
        .collect()
}

/// Of a request that must have been accepted: whether it was a replay, and what was used by then.
fn accepted(decided: &Decided) -> (bool, i64) {
    match decided.as_deref() {
        Ok(
            [
                Outcome::Accepted {
                    replayed, limitation, ..
                },
            ],
        ) => (*replayed, limitation.consumed_amount),
        other => panic!("{other:?}"),
    }
}

/// What a task ends with, which must be soon.
async fn soon<T>(task: JoinHandle<T>) -> T {
    timeout(PATIENCE, task).await.expect("an end in time").unwrap()
}

/// Asks again and again until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("in time");
}

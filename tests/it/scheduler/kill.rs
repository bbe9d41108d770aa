//! Who is killed in the middle of a batch loses nothing of it.

use std::process::Stdio;
use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{Duration, sleep, timeout};

use super::{DUE, Scheduler, make_due, number, until_none_is_due};
use crate::support::database::TestDatabase;
use crate::support::gateway::PATIENCE;
use crate::support::session::{begin, until_blocked};
use crate::support::story::differences;

const SUBJECTS: u64 = 5;

/// A session that holds what the third of five due balances needs when it is settled, though not what its lease needs.
async fn in_the_way(test: &TestDatabase) -> Conn {
    let mut session = test.session().await;
    begin(&mut session).await;
    let holds = "SELECT grant_id FROM billing_entitlement_grant_balances FORCE INDEX (ix_grant_balances_state) WHERE subject_id = 3 FOR UPDATE";
    let held: Vec<u64> = session.query(holds).await.unwrap();
    assert_eq!(held.len(), 1);
    session
}

/// Waits until somebody who leases waits for a lock, and gives the id of the session. Not `but` that one.
async fn who_is_blocked(test: &TestDatabase, but: u32) -> u32 {
    let mut watcher = test.session().await;
    let looking = async {
        loop {
            let found: Option<u32> = watcher
                .exec_first(
                    "SELECT t.processlist_id FROM performance_schema.threads AS t
                       JOIN performance_schema.data_lock_waits AS w ON w.requesting_thread_id = t.thread_id
                      WHERE t.processlist_db = ? AND t.processlist_id <> ?",
                    (test.name(), but),
                )
                .await
                .unwrap();
            if let Some(session) = found {
                return session;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, looking)
        .await
        .expect("somebody comes to the third balance")
}

async fn until_gone(test: &TestDatabase, session: u32) {
    let mut watcher = test.session().await;
    let waiting = async {
        let is_there = "SELECT COUNT(*) FROM performance_schema.threads WHERE processlist_id = ?";
        while watcher.exec_first::<u64, _, _>(is_there, (session,)).await.unwrap() != Some(0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("a killed session ends");
}

/// Nothing is lost, nothing was done twice.
async fn each_was_settled_once(session: &mut Conn) {
    let settled: Vec<(u64, u64)> = session
        .query(
            "SELECT subject_id, COUNT(*) FROM billing_entitlement_settlements WHERE cause = 'grant_boundary'
              GROUP BY subject_id ORDER BY subject_id",
        )
        .await
        .unwrap();
    assert_eq!(settled, (1..=SUBJECTS).map(|subject| (subject, 1)).collect::<Vec<_>>());
    let told = "SELECT SUM(JSON_LENGTH(changes)) FROM billing_limit_changes WHERE change_source = 'boundary_recompute'";
    assert_eq!(number(session, told).await, SUBJECTS);
    assert_eq!(differences(session, None).await, [""; 0]);
}

const SETTLED: &str = "SELECT COUNT(*) FROM billing_entitlement_settlements WHERE cause = 'grant_boundary'";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_killed_in_the_middle_of_a_batch_leaves_all_of_it_due() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, SUBJECTS).await;
    let mut holder = in_the_way(&test).await;
    let mut leasing = test.session().await;
    let killed = leasing.id();
    let batch = tokio::spawn(async move { leasing.query_drop("CALL entitlement_lease_due_v1(100)").await });
    until_blocked(&test, killed).await;
    // It has all five, and has settled two of them.
    let free = "SELECT COUNT(*) FROM (SELECT subject_id FROM billing_entitlement_balances FORCE INDEX (ix_balances_due)
                                       WHERE due_at <= UTC_TIMESTAMP(3) FOR UPDATE SKIP LOCKED) AS f";
    assert_eq!(number(&mut session, free).await, 0);
    session.query_drop(format!("KILL CONNECTION {killed}")).await.unwrap();
    assert!(batch.await.unwrap().is_err());
    until_gone(&test, killed).await;
    assert_eq!(number(&mut session, DUE).await, SUBJECTS);
    assert_eq!(number(&mut session, SETTLED).await, 0);

    holder.query_drop("ROLLBACK").await.unwrap();
    let lease: (u64, u64, u64) = session
        .query_first::<mysql_async::Row, _>("CALL entitlement_lease_due_v1(100)")
        .await
        .unwrap()
        .map(|row| {
            (
                row.get("leased").unwrap(),
                row.get("settled").unwrap(),
                row.get("failed").unwrap(),
            )
        })
        .unwrap();
    assert_eq!(lease, (SUBJECTS, SUBJECTS, 0));
    each_was_settled_once(&mut session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_whose_session_is_killed_in_the_middle_of_a_batch_does_it_again() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, SUBJECTS).await;
    let mut holder = in_the_way(&test).await;
    let settled = Arc::new(Notify::new());
    let scheduler = Scheduler::start(&test, settled.clone()).await;
    let killed = who_is_blocked(&test, 0).await;
    session.query_drop(format!("KILL CONNECTION {killed}")).await.unwrap();
    until_gone(&test, killed).await;
    // By itself, in another session, and from the beginning.
    who_is_blocked(&test, killed).await;
    assert_eq!(number(&mut session, DUE).await, SUBJECTS);
    assert_eq!(number(&mut session, SETTLED).await, 0);
    holder.query_drop("ROLLBACK").await.unwrap();
    until_none_is_due(&mut session, &settled).await;
    scheduler.stop().await;
    each_was_settled_once(&mut session).await;
}

/// A gateway as a process of its own.
fn gateway(test: &TestDatabase) -> Child {
    Command::new(env!("CARGO_BIN_EXE_consumable"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            &test.gateway_url(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_killed_in_the_middle_of_a_batch_loses_nothing() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, SUBJECTS).await;
    let mut holder = in_the_way(&test).await;
    let mut first = gateway(&test);
    let orphan = who_is_blocked(&test, 0).await;
    // SIGKILL. Its session still waits in the server, which does not know yet that nobody will hear the answer.
    first.kill().await.unwrap();
    assert_eq!(number(&mut session, DUE).await, SUBJECTS);
    assert_eq!(number(&mut session, SETTLED).await, 0);

    // The next one comes while the orphan still holds the batch, and takes what that leaves.
    let _second = gateway(&test);
    holder.query_drop("ROLLBACK").await.unwrap();
    until_gone(&test, orphan).await;
    let waiting = async {
        while number(&mut session, DUE).await > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("all is settled in time");
    each_was_settled_once(&mut session).await;
}

//! Sessions that wait for each other, or end each other.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::database::TestDatabase;

/// Waits until the server says that the session with this connection id waits for a row lock.
pub async fn until_blocked(database: &TestDatabase, connection: u32) {
    let mut watcher = database.session().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let waiting: u64 = watcher
            .exec_first(
                "SELECT COUNT(*) FROM performance_schema.data_lock_waits AS w
                   JOIN performance_schema.threads AS t ON t.thread_id = w.requesting_thread_id
                  WHERE t.processlist_id = ?",
                (connection,),
            )
            .await
            .unwrap()
            .unwrap();
        if waiting > 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "session {connection} never waited for a lock"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Begins a transaction in a session that stays open, at READ COMMITTED as the gateway's.
pub async fn begin(session: &mut Conn) {
    session
        .query_drop("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await
        .unwrap();
    session.query_drop("START TRANSACTION").await.unwrap();
}

/// Ends all sessions of a database but the one that does it.
pub async fn cut_others(session: &mut Conn) {
    let others: Vec<u64> = session
        .query("SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE PROCESSLIST_DB = DATABASE() AND PROCESSLIST_ID <> CONNECTION_ID()")
        .await
        .unwrap();
    for other in others {
        // It may have ended by itself.
        let _ = session.query_drop(format!("KILL {other}")).await;
    }
}

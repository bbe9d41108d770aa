//! All connections between gateway and database are cut, again and again.

use mysql_async::prelude::Queryable;

use super::gateway::Gateway;
use super::load::Load;
use super::server::{ACCOUNT, Server};

async fn cut(times: usize) {
    let server = Server::start().await;
    let gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &["ai.credits"]);
    let mut session = server.session().await;
    let mut connections = 0;
    for _ in 0..times {
        load.more(20).await;
        let theirs = "SELECT processlist_id FROM performance_schema.threads WHERE processlist_user = ?";
        for connection in session.exec::<u64, _, _>(theirs, (ACCOUNT,)).await.unwrap() {
            // One that has ended by itself meanwhile is no error of anybody.
            connections += u32::from(session.query_drop(format!("KILL {connection}")).await.is_ok());
        }
    }
    load.all_are_answered().await;
    let count = load.end(&server).await;
    assert_eq!(count.cut, 0, "a gateway answers whatever becomes of its connections");
    let beside = format!(
        "{connections} connections, {} requests told to come again",
        count.refusals
    );
    count.tell("all connections to the database cut", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing() {
    cut(20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn connections_cut_two_hundred_times_lose_nothing() {
    cut(200).await;
}

//! `kill -9` of the database server in the middle of load.

use super::gateway::Gateway;
use super::load::Load;
use super::server::Server;
use super::{Outage, RELAXED, strict_if_idle};

async fn killed(times: usize, outage: Outage) {
    let mut server = Server::start().await;
    let gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &["ai.credits"]);
    let mut figures = outage;
    for _ in 0..times {
        load.more(200).await;
        server.kill().await;
        figures.while_away(&gateway, &load).await;
        server.start_again().await;
        figures.is_back(&gateway, &load).await;
    }
    let count = load.end(&server).await;
    assert_eq!(count.cut, 0, "a gateway answers whatever becomes of its database");
    count.tell("kill -9 of mysqld", times, &figures.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing() {
    killed(2, RELAXED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_server_killed_ten_times_loses_nothing() {
    killed(10, strict_if_idle()).await;
}

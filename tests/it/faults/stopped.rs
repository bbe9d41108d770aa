//! A database server that stops answering, with all its connections open, and goes on later: SIGSTOP and SIGCONT.

use rustix::process::Signal;

use super::gateway::Gateway;
use super::load::Load;
use super::server::Server;
use super::{Outage, RELAXED, strict_if_idle};

async fn stopped(times: usize, mut outage: Outage) {
    let server = Server::start().await;
    let gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &["ai.credits"]);
    for _ in 0..times {
        load.more(200).await;
        server.signal(Signal::STOP);
        outage.while_away(&gateway, &load).await;
        server.signal(Signal::CONT);
        outage.is_back(&gateway, &load).await;
    }
    let count = load.end(&server).await;
    assert_eq!(count.cut, 0, "a gateway answers whatever becomes of its database");
    count.tell("SIGSTOP of mysqld, later SIGCONT", times, &outage.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_loses_nothing() {
    stopped(1, RELAXED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_server_stopped_ten_times_loses_nothing() {
    stopped(10, strict_if_idle()).await;
}

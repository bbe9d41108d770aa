//! `kill -9` of the gateway in the middle of load. The next one listens elsewhere, as another process of a cluster does.

use super::gateway::Gateway;
use super::load::Load;
use super::server::Server;

async fn killed(times: usize) {
    let server = Server::start().await;
    let mut gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &["ai.credits"]);
    for _ in 0..times {
        load.more(200).await;
        gateway.kill();
        gateway = Gateway::start(&server).await;
        load.moved(0, &gateway.url);
        load.all_are_answered().await;
    }
    let count = load.end(&server).await;
    assert!(count.cut > 0, "it was in the middle of requests");
    count.tell("kill -9 of the gateway", times, &format!("{} requests cut", count.cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_loses_nothing() {
    killed(2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_gateway_killed_ten_times_loses_nothing() {
    killed(10).await;
}

//! Database server and gateway are killed in turn, while many read what is committed.

use super::gateway::Gateway;
use super::load::Load;
use super::readers::Readers;
use super::server::Server;

async fn restarts(times: usize, count: usize) {
    let mut server = Server::start().await;
    let mut gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 16, &["ai.credits"]);
    let readers = Readers::start(&server, &load.targets(), count).await;
    for _ in 0..times {
        load.more(200).await;
        server.kill().await;
        server.start_again().await;
        load.more(200).await;
        gateway.kill();
        gateway = Gateway::start(&server).await;
        load.moved(0, &gateway.url);
        load.all_are_answered().await;
    }
    let counted = load.end(&server).await;
    let streams: usize = readers.streams().iter().sum();
    let changes = readers.end(&server).await;
    assert!(streams > count, "readers came again");
    let beside =
        format!("{changes} changes, each told once and in order to all of {count} readers, who had {streams} streams");
    counted.tell("kill -9 of mysqld, then of the gateway, with readers", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_miss_nothing_when_all_restarts() {
    restarts(1, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn readers_miss_nothing_when_all_restarts_five_times() {
    restarts(5, 200).await;
}

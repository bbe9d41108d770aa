//! No connection is left: those of the server are others', or those of the gateway wait for locks.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;

use super::gateway::Gateway;
use super::load::Load;
use super::server::{ACCOUNT, Server};
use super::{Outage, RELAXED, strict_if_idle};

/// Sessions of the server beside one that an administrator always has.
const FEW: usize = 30;

/// Requests that want the same lock: many times the gateway's connections.
const CROWD: usize = 64;

/// Takes all connections of the server, those of the gateway too.
async fn take_all(server: &Server, session: &mut Conn) -> Vec<Conn> {
    session
        .query_drop(format!("SET GLOBAL max_connections = {FEW}"))
        .await
        .unwrap();
    let mut taken = Vec::new();
    while taken.len() < FEW - 1 {
        let theirs = "SELECT processlist_id FROM performance_schema.threads WHERE processlist_user = ?";
        let mut others: Vec<u32> = session.exec(theirs, (ACCOUNT,)).await.unwrap();
        others.retain(|connection| taken.iter().all(|one: &Conn| one.id() != *connection));
        for connection in others {
            // It may have ended by itself.
            let _ = session.query_drop(format!("KILL {connection}")).await;
        }
        // As the gateway, as an administrator would get the place that is kept for him.
        while let Ok(one) = server.session_of_gateway().await {
            taken.push(one);
        }
    }
    taken
}

async fn server_has_none(server: &Server, times: usize, mut outage: Outage) {
    let gateway = Gateway::start(server).await;
    let load = Load::start(server, &[&gateway.url], 32, &["ai.credits"]);
    let mut session = server.session().await;
    for _ in 0..times {
        load.more(200).await;
        let taken = take_all(server, &mut session).await;
        outage.while_away(&gateway, &load).await;
        for one in taken {
            one.disconnect().await.unwrap();
        }
        let as_before = "SET GLOBAL max_connections = 400";
        session.query_drop(as_before).await.unwrap();
        outage.is_back(&gateway, &load).await;
    }
    let count = load.end(server).await;
    assert_eq!(count.cut, 0, "a gateway answers whatever becomes of its database");
    count.tell("no connection left at the server", times, &outage.to_string());
}

async fn gateway_has_none(server: &Server, times: usize, outage: Outage) {
    let gateway = Gateway::start(server).await;
    let load = Load::start(server, &[&gateway.url], 32, &["ai.credits"]);
    let mut holder = server.session().await;
    let mut back = Duration::ZERO;
    for time in 0..times {
        load.more(200).await;
        holder.query_drop("START TRANSACTION").await.unwrap();
        let lock = "SELECT id FROM billable_entities WHERE id = 1 FOR UPDATE";
        holder.query_drop(lock).await.unwrap();
        let balance =
            "SELECT subject_id FROM billing_entitlement_balances FORCE INDEX (PRIMARY) WHERE subject_id = 1 FOR UPDATE";
        holder.query_drop(balance).await.unwrap();
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| {
                let hold = gateway
                    .client
                    .post(format!("{}/api/billing/holds", gateway.url))
                    .bearer_auth(server.service)
                    .header("X-Workspace-Slug", "w0")
                    .header("Idempotency-Key", format!("crowd-{time}-{number}"))
                    .json(&json!({"limitationCode": "ai.credits", "amount": 1, "ttlSeconds": 600}));
                tokio::spawn(hold.send())
            })
            .collect();
        load.refused(1).await;
        holder.query_drop("ROLLBACK").await.unwrap();
        back = back.max(load.all_are_answered().await);
        assert!(back < outage.back_within, "back after {back:?}");
        for one in crowd {
            let answer = one.await.unwrap().unwrap();
            let status = answer.status().as_u16();
            assert!(status == 201 || status == 503, "{}", answer.text().await.unwrap());
        }
    }
    let count = load.end(server).await;
    assert_eq!(count.cut, 0);
    let beside = format!("{} requests told to come again, back within {back:.2?}", count.refusals);
    count.tell("no connection left at the gateway", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_connections_nothing_is_lost() {
    let server = Server::start().await;
    server_has_none(&server, 1, RELAXED).await;
    gateway_has_none(&server, 1, RELAXED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn without_connections_ten_times_nothing_is_lost() {
    let server = Server::start().await;
    server_has_none(&server, 10, strict_if_idle()).await;
    gateway_has_none(&server, 10, strict_if_idle()).await;
}

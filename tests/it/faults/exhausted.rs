//! No connection is left: those of the server are others', or those of the gateway wait for locks.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::json;

use super::gateway::Gateway;
use super::load::Load;
use super::server::{ACCOUNT, Server};
use super::{Outage, RELAXED, strict_if_idle};

/// Sessions of the server beside one that an administrator always has.
const FEW: usize = 30;

/// Requests that want the same lock: many times the gateway's connections.
const CROWD: usize = 64;

/// Not 0 when as many of them wait for it as may.
const WAITING: &str = "SELECT COUNT(DISTINCT REQUESTING_THREAD_ID) >= 12 FROM performance_schema.data_lock_waits";

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

/// A session forgets a lock on what a subject has, and a crowd that wants it takes every connection that it can get.
async fn gateway_has_none(server: &Server, times: usize) {
    let gateway = Gateway::start(server).await;
    let load = Load::start(server, &[&gateway.url], 32, &["ai.credits"]);
    let mut holder = server.session().await;
    let crowded = "CALL billing_put_entity_v1('workspace', 'crowded', 'crowded', NULL, NULL, NULL)";
    let crowded: Row = holder.query_first(crowded).await.unwrap().unwrap();
    let crowded: u64 = crowded.get("id").unwrap();
    let grant = "CALL entitlement_grant_v1(?, 'ai.credits', 1000, 'promo', NULL, NULL, NULL, 'crowd', 'test', 'test')";
    holder.exec_drop(grant, (crowded,)).await.unwrap();
    let mut held = 0;
    for time in 0..times {
        holder.query_drop("START TRANSACTION").await.unwrap();
        let balance =
            "SELECT subject_id FROM billing_entitlement_balances FORCE INDEX (PRIMARY) WHERE subject_id = ? FOR UPDATE";
        holder.exec_drop(balance, (crowded,)).await.unwrap();
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| {
                let hold = gateway
                    .client
                    .post(format!("{}/api/billing/holds", gateway.url))
                    .bearer_auth(server.service)
                    .header("X-Workspace-Slug", "crowded")
                    .header("Idempotency-Key", format!("crowd-{time}-{number}"))
                    .json(&json!({"limitationCode": "ai.credits", "amount": 1, "ttlSeconds": 600}));
                tokio::spawn(hold.send())
            })
            .collect();
        server.until("a crowd that waits", WAITING).await;
        // Uses go on, and whoever only asks is told.
        load.more(200).await;
        for path in ["/api/billing/limitations?workspaceSlug=crowded", "/readyz"] {
            let answer = gateway.get(path).bearer_auth(server.service).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
        holder.query_drop("ROLLBACK").await.unwrap();
        for one in crowd {
            let answer = one.await.unwrap().unwrap();
            let status = answer.status().as_u16();
            assert!(status == 201 || status == 503, "{}", answer.text().await.unwrap());
            held += usize::from(status == 201);
        }
    }
    let count = load.end(server).await;
    assert_eq!((count.cut, count.refusals), (0, 0), "nobody but the crowd waits");
    let crowd = times * CROWD;
    let beside =
        format!("0 requests told to come again; of the crowd of {crowd} {held} were served, the others told so");
    count.tell("no connection left at the gateway", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_connections_nothing_is_lost() {
    let server = Server::start().await;
    server_has_none(&server, 1, RELAXED).await;
    gateway_has_none(&server, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn without_connections_ten_times_nothing_is_lost() {
    let server = Server::start().await;
    server_has_none(&server, 10, strict_if_idle()).await;
    gateway_has_none(&server, 10).await;
}

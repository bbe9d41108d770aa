//! Lanes behind the gateway: a full one, and the end.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use super::{blocked, lock, soon, until};
use crate::support::gateway::{TestGateway, answer};

fn use_of(key: &str) -> Value {
    json!({"limitationCode": "ai.credits", "usageEventKey": key})
}

/// How many uses wait.
async fn depth(gateway: &TestGateway) -> u32 {
    let metrics = gateway.request(Method::GET, "/metrics").send().await.unwrap();
    let text = metrics.text().await.unwrap();
    let depth = text
        .lines()
        .find_map(|line| line.strip_prefix("consumable_lane_depth_requests "));
    depth.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_says_when_to_come_again_and_serves_others() {
    let gateway = Arc::new(TestGateway::start().await);
    let acme = gateway.acme().await;
    gateway.grant(acme, "ai.credits", 10).await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let other = other["billableEntity"]["id"].as_u64().unwrap();
    gateway.grant(other, "ai.credits", 10).await;

    let mut session = gateway.test.session().await;
    let mut holder = gateway.test.session().await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    lock(&mut holder, acme).await;
    let under_way = tokio::spawn(gateway.consume(&use_of("under-way")).send());
    until(async || !blocked(&mut session).await.is_empty()).await;
    let batches: Vec<_> = (0..9)
        .map(|batch| {
            let uses: Vec<Value> = (0..1_000)
                .map(|number| {
                    let mut one = use_of(&format!("{batch}-{number}"));
                    one["billableEntityId"] = acme.into();
                    one
                })
                .collect();
            let batch = gateway.as_service(Method::POST, "/api/billing/consume/batch");
            tokio::spawn(batch.json(&json!({"requests": uses})).send())
        })
        .collect();
    until(async || depth(&gateway).await == 8_192).await;

    let response = gateway.consume(&use_of("one-too-many")).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "OVERLOADED");
    let beside = gateway
        .request(Method::POST, &format!("/api/billing/consume?billableEntityId={other}"))
        .bearer_auth(&gateway.service)
        .json(&use_of("beside"));
    assert_eq!(answer(beside).await.0, 200);
    // Whoever goes takes back what waits.
    for batch in batches {
        batch.abort();
    }
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(soon(under_way).await.unwrap().status(), 200);
    until(async || depth(&gateway).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_end_is_answered() {
    let mut gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    gateway.grant(acme, "ai.credits", 100).await;
    let mut session = gateway.test.session().await;
    let mut holder = gateway.test.session().await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    lock(&mut holder, acme).await;
    let mut asked = vec![tokio::spawn(gateway.consume(&use_of("under-way")).send())];
    until(async || !blocked(&mut session).await.is_empty()).await;
    asked.extend((0..20).map(|number| tokio::spawn(gateway.consume(&use_of(&number.to_string())).send())));
    until(async || depth(&gateway).await == 20).await;

    let stopping = gateway.stop();
    until(async || tokio::net::TcpStream::connect(gateway.address()).await.is_err()).await;
    assert!(!stopping.is_finished());
    holder.query_drop("ROLLBACK").await.unwrap();
    for one in asked {
        assert_eq!(soon(one).await.unwrap().status(), 200);
    }
    soon(stopping).await;
}

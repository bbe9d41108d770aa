//! Workspace tokens: who makes them, what they open, and for how long.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::database::TestDatabase;
use crate::support::gateway::{Events, TOKEN_SECRET, TestGateway, answer, refusal, without_instants};

const MINT: &str = "/api/billing/workspace-tokens";
const EVENTS: &str = "/api/realtime/events?topic=workspace_billing_limits";
const MANAGE: &str = "workspace.billing.manage";

/// A gateway with the workspaces `acme` and `other`, and their billable entities.
async fn gateway() -> (TestGateway, u64, u64) {
    let gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    (gateway, acme, other["billableEntity"]["id"].as_u64().unwrap())
}

fn mint(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway
        .request(Method::POST, MINT)
        .bearer_auth(&gateway.service)
        .json(body)
}

fn as_user(gateway: &TestGateway, token: &str, method: Method, path: &str) -> RequestBuilder {
    gateway.request(method, path).bearer_auth(token)
}

fn sample() -> Value {
    json!({"workspaceSlug": "acme", "userId": "user-1", "permissions": [MANAGE], "surface": "app"})
}

#[tokio::test]
async fn a_service_makes_tokens_and_nobody_else_does() {
    let (gateway, ..) = gateway().await;
    for (ttl, seconds) in [(Value::Null, 900), (json!(1), 1), (json!(86_400), 86_400)] {
        let mut body = sample();
        body["ttlSeconds"] = ttl;
        let before = Utc::now();
        let (status, answer) = answer(mint(&gateway, &body)).await;
        assert_eq!(status, 201, "{answer}");
        let expires_at: DateTime<Utc> = answer["expiresAt"].as_str().unwrap().parse().unwrap();
        let ttl = TimeDelta::seconds(seconds);
        assert!(
            before + ttl - TimeDelta::seconds(1) < expires_at && expires_at <= Utc::now() + ttl,
            "{expires_at}"
        );
        assert_eq!(answer["token"].as_str().unwrap().split('.').count(), 3);
    }
    let token = gateway.token("acme", "admin", &[MANAGE], 900).await;
    let again = as_user(&gateway, &token, Method::POST, MINT).json(&sample());
    assert_eq!(refusal(again).await, (403, "FORBIDDEN".into(), vec![]));
    assert_eq!(
        refusal(gateway.request(Method::POST, MINT).json(&sample())).await.0,
        401
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_token_asked_for_is_named() {
    let (gateway, ..) = gateway().await;
    for (field, value, named) in [
        ("workspaceSlug", Value::Null, "workspaceSlug"),
        ("workspaceSlug", json!("s".repeat(65)), "workspaceSlug"),
        ("userId", Value::Null, "userId"),
        ("userId", json!(""), "userId"),
        ("userId", json!("u".repeat(129)), "userId"),
        ("permissions", json!("all"), "permissions"),
        ("permissions", json!(vec!["p"; 65]), "permissions"),
        ("permissions", json!(["p", "two words"]), "permissions[1]"),
        ("permissions", json!(["p".repeat(65)]), "permissions[0]"),
        ("surface", Value::Null, "surface"),
        ("surface", json!("moon"), "surface"),
        ("ttlSeconds", json!(0), "ttlSeconds"),
        ("ttlSeconds", json!(86_401), "ttlSeconds"),
        ("ttlSeconds", json!(1.5), "ttlSeconds"),
        ("role", json!("admin"), "role"),
    ] {
        let mut body = sample();
        body[field] = value;
        let refused = refusal(mint(&gateway, &body)).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec![named.into()]), "{body}");
    }
    let mut body = sample();
    body["workspaceSlug"] = json!("nobody");
    assert_eq!(
        refusal(mint(&gateway, &body)).await,
        (404, "SUBJECT_NOT_FOUND".into(), vec![])
    );
    // The largest that is allowed still fits a header.
    let mut body = sample();
    body["userId"] = json!("\u{1f600}".repeat(128));
    body["permissions"] = json!(vec!["p".repeat(64); 64]);
    let (_, minted) = answer(mint(&gateway, &body)).await;
    let read = as_user(
        &gateway,
        minted["token"].as_str().unwrap(),
        Method::GET,
        "/api/billing/limitations",
    );
    assert_eq!(answer(read).await.0, 200);
}

#[tokio::test]
async fn a_token_reads_its_own_workspace_and_nothing_else() {
    let (gateway, acme, other) = gateway().await;
    let token = gateway.token("acme", "admin", &[MANAGE], 900).await;
    let read = |path: &str| as_user(&gateway, &token, Method::GET, path);
    let limitations = "/api/billing/limitations";
    let (status, body) = answer(read(limitations)).await;
    assert_eq!((status, &body["billableEntity"]["id"]), (200, &json!(acme)));
    for own in [
        read(limitations).header("X-Workspace-Slug", "acme"),
        read(limitations).header("X-Billable-Entity-Id", acme),
        read(&format!("{limitations}?billableEntityId={acme}")),
    ] {
        let (status, again) = answer(own).await;
        assert_eq!((status, without_instants(again)), (200, without_instants(body.clone())));
    }
    let mut bodies = Vec::new();
    for of_others in [
        read(limitations).header("X-Workspace-Slug", "other"),
        read(limitations).header("X-Workspace-Slug", "nobody"),
        read(limitations).header("X-Billable-Entity-Id", other),
        read(limitations).header("X-Billable-Entity-Id", 99),
        read(&format!("{limitations}?billableEntityId={other}")),
        read(&format!("{limitations}?workspaceSlug=other")),
        read(&format!("{EVENTS}&surface=app&workspaceSlug=other")),
    ] {
        let response = of_others.send().await.unwrap();
        assert_eq!(response.status(), 403);
        bodies.push(response.text().await.unwrap());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "nobody hears what there is elsewhere: {bodies:?}");

    let body = json!({});
    for (method, path) in [
        (Method::PUT, "/api/billing/entities/workspace/acme"),
        (Method::POST, "/api/billing/consume"),
        (Method::POST, "/api/billing/consume/batch"),
        (Method::POST, "/api/billing/check"),
        (Method::POST, "/api/billing/check/batch"),
        (Method::POST, "/api/billing/holds"),
        (Method::GET, "/api/billing/holds/1"),
        (Method::POST, "/api/billing/holds/1/commit"),
        (Method::POST, "/api/billing/holds/1/release"),
        (Method::PUT, "/api/billing/resources/projects"),
        (Method::POST, "/api/billing/limits/refresh"),
        (Method::POST, "/api/console/billing/grants"),
        (Method::POST, "/api/console/billing/grants/1/revoke"),
    ] {
        let request = as_user(&gateway, &token, method.clone(), path).json(&body);
        assert_eq!(
            refusal(request).await,
            (403, "FORBIDDEN".into(), vec![]),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn what_is_no_valid_token_is_answered_alike() {
    let (gateway, ..) = gateway().await;
    let token = gateway.token("acme", "app", &[], 900).await;
    let short = gateway.token("acme", "app", &[], 1).await;
    let ended = async {
        while answer(as_user(&gateway, &short, Method::GET, "/api/billing/limitations"))
            .await
            .0
            == 200
        {}
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    let url = gateway.test.gateway_url();
    let secret = "another secret of 32 bytes or more";
    let elsewhere = TestGateway::with_secrets(TestDatabase::empty().await, &url, &[secret], &[]).await;
    let foreign = elsewhere.token("acme", "app", &[], 900).await;
    let mut bodies = Vec::new();
    let (cut, loud) = (&token[..token.len() - 2], token.to_uppercase());
    for wrong in [short.as_str(), &foreign, cut, &loud, "a.b.c", "x"] {
        let request = as_user(&gateway, wrong, Method::GET, "/api/billing/limitations");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{wrong}");
        bodies.push(response.text().await.unwrap());
    }
    let nobody = gateway
        .request(Method::GET, "/api/billing/limitations")
        .send()
        .await
        .unwrap();
    bodies.push(nobody.text().await.unwrap());
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    // Elsewhere than in the header only where a browser cannot set one.
    let by_query = format!("/api/billing/limitations?access_token={token}");
    assert_eq!(refusal(gateway.request(Method::GET, &by_query)).await.0, 401);
}

#[tokio::test]
async fn secrets_change_while_tokens_hold() {
    let (gateway, ..) = gateway().await;
    let before = gateway.token("acme", "app", &[], 900).await;
    let next = "the next secret of the gateways of tests";
    let url = gateway.test.gateway_url();
    let both = TestGateway::with_secrets(TestDatabase::empty().await, &url, &[next, TOKEN_SECRET], &[]).await;
    let only_next = TestGateway::with_secrets(TestDatabase::empty().await, &url, &[next], &[]).await;
    let after = both.token("acme", "app", &[], 900).await;
    for (gateway, token, status) in [
        (&both, &before, 200),
        (&both, &after, 200),
        (&only_next, &after, 200),
        (&only_next, &before, 401),
        (&gateway, &after, 401),
    ] {
        let read = as_user(gateway, token, Method::GET, "/api/billing/limitations");
        assert_eq!(answer(read).await.0, status);
    }
}

#[tokio::test]
async fn without_a_secret_there_are_no_tokens_and_that_is_told() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let gateway = TestGateway::with_secrets(test, &url, &[], &[]).await;
    gateway.acme().await;
    let response = mint(&gateway, &sample()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "TOKENS_NOT_CONFIGURED");
    assert!(body["detail"].as_str().unwrap().contains("CONSUMABLE_TOKEN_SECRET"));
}

#[tokio::test]
async fn each_surface_is_watched_by_whom_it_is_for() {
    let (gateway, acme, _) = gateway().await;
    for (surface, permissions, app, admin) in [
        ("app", vec![], 200, 403),
        ("app", vec![MANAGE], 200, 403),
        ("admin", vec![], 200, 403),
        ("admin", vec!["workspace.billing.read"], 200, 403),
        ("admin", vec![MANAGE], 200, 200),
    ] {
        let token = gateway.token("acme", surface, &permissions, 900).await;
        for (watched, expected) in [("app", app), ("admin", admin)] {
            let path = format!("{EVENTS}&surface={watched}");
            let by_header = as_user(&gateway, &token, Method::GET, &path).send().await.unwrap();
            let by_query = gateway.request(Method::GET, &format!("{path}&access_token={token}"));
            let statuses = (
                by_header.status().as_u16(),
                by_query.send().await.unwrap().status().as_u16(),
            );
            assert_eq!(statuses, (expected, expected), "{surface} {permissions:?} {watched}");
        }
    }
    // The token's workspace is the one that is heard.
    let token = gateway.token("acme", "app", &[], 900).await;
    let path = format!("{EVENTS}&surface=app&access_token={token}");
    let mut events = Events::new(gateway.request(Method::GET, &path).send().await.unwrap());
    events.next().await.unwrap();
    gateway.grant(acme, "ai.credits", 1).await;
    assert!(events.next().await.unwrap().data.contains("\"workspaceSlug\":\"acme\""));
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_by() {
    let (gateway, acme, _) = gateway().await;
    let token = gateway.token("acme", "app", &[], 3).await;
    let path = format!("{EVENTS}&surface=app&access_token={token}");
    let begun = Instant::now();
    let mut events = Events::new(gateway.request(Method::GET, &path).send().await.unwrap());
    let mut last = events.next().await.unwrap().id;
    while let Some(frame) = events.next().await {
        last = frame.id;
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(refusal(gateway.request(Method::GET, &path)).await.0, 401);
    // The client comes with a new one, and has missed nothing.
    gateway.grant(acme, "ai.credits", 1).await;
    let token = gateway.token("acme", "app", &[], 900).await;
    let again = as_user(&gateway, &token, Method::GET, &format!("{EVENTS}&surface=app")).header("Last-Event-ID", last);
    let mut events = Events::new(again.send().await.unwrap());
    assert!(events.next().await.unwrap().data.contains("ai.credits"));
}

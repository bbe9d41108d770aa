//! `/api/realtime/events`: all that is committed, once, from wherever a reader resumes.

mod resync;

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{Events, Frame, TestGateway, answer, refusal};

const UPDATED: &str = "workspace.billing.limits.updated";

/// A grant made by a DBA.
async fn grant_by_hand(session: &mut Conn, code: &str, key: &str) {
    let call = "CALL entitlement_grant_v1(1, ?, 7, 'promo', NULL, NULL, NULL, ?, 'by hand', 'dba')";
    session.exec_drop(call, (code, key)).await.unwrap();
}

/// Reads on until a frame has this id.
async fn ids_up_to(events: &mut Events, last: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.last().map(String::as_str) != Some(last) {
        ids.push(events.next().await.unwrap().id);
    }
    ids
}

#[tokio::test]
async fn what_a_dba_commits_arrives_within_a_second() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let response = gateway
        .as_service(
            Method::GET,
            "/api/realtime/events?topic=workspace_billing_limits&surface=app",
        )
        .send()
        .await
        .unwrap();
    for (header, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[header], value);
    }
    let mut events = Events::new(response);
    assert_eq!(
        events.next().await.unwrap(),
        Frame {
            id: "0".into(),
            ..Frame::default()
        }
    );

    let mut dba = gateway.test.session().await;
    grant_by_hand(&mut dba, "ai.credits", "one").await;
    let committed = Instant::now();
    let frame = events.next().await.unwrap();
    assert!(
        committed.elapsed() < Duration::from_secs(1),
        "{:?}",
        committed.elapsed()
    );
    assert_eq!((frame.id.as_str(), frame.event.as_str()), ("1", UPDATED));
    let mut data: Value = serde_json::from_str(&frame.data).unwrap();
    assert!(data["changedAt"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        data,
        json!({"workspaceId": 1, "workspaceSlug": "acme", "changedCodes": ["ai.credits"], "changeSource": "manual_refresh", "changedAt": null})
    );
}

#[tokio::test]
async fn each_kind_of_write_is_told_and_a_replay_is_not() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();
    gateway.grant(entity, "ai.credits", 10).await;
    gateway.grant(entity, "annuity.calculations.monthly", 10).await;
    let body =
        json!({"usageEventKey": "k", "items": [{"capability": "annuity.calculate"}, {"limitationCode": "ai.credits"}]});
    for _ in 0..3 {
        assert_eq!(answer(gateway.consume(&body)).await.0, 200);
    }
    let refresh = gateway.as_admin(Method::POST, "/api/billing/limits/refresh");
    assert_eq!(answer(refresh).await.0, 200);
    let mut told = Vec::new();
    for _ in 0..4 {
        let frame = events.next().await.unwrap();
        let data: Value = serde_json::from_str(&frame.data).unwrap();
        told.push((data["changeSource"].clone(), data["changedCodes"].clone()));
    }
    let both = json!(["ai.credits", "annuity.calculations.monthly"]);
    assert_eq!(
        told,
        [
            (json!("manual_refresh"), json!(["ai.credits"])),
            (json!("manual_refresh"), json!(["annuity.calculations.monthly"])),
            (json!("consumption"), both.clone()),
            (json!("manual_refresh"), both),
        ]
    );
}

#[tokio::test]
async fn a_workspace_hears_its_own_changes_only() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();
    gateway
        .grant(other["billableEntity"]["id"].as_u64().unwrap(), "ai.credits", 1)
        .await;
    gateway.grant(1, "ai.credits", 1).await;
    assert_eq!(events.next().await.unwrap().id, "2");
    // Nor does it hear them when it resumes.
    assert_eq!(gateway.listen(Some("0")).await.next().await.unwrap().id, "2");
}

#[tokio::test]
async fn a_definition_that_is_made_or_edited_is_told_to_everybody() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let other = gateway.request(
        Method::GET,
        "/api/realtime/events?topic=workspace_billing_limits&surface=app&workspaceSlug=other",
    );
    let other = other.bearer_auth(&gateway.service).send().await.unwrap();
    let mut readers = [("acme", gateway.listen(None).await), ("other", Events::new(other))];
    for (_, events) in &mut readers {
        events.next().await.unwrap();
    }
    let definitions = "/api/console/billing/entitlement-definitions";
    let write = async |method: Method, path: &str, key: &str, version: u32, body: &Value| {
        let request = gateway.as_admin(method, path).header("Idempotency-Key", key);
        answer(request.header("If-Match", format!("\"{version}\"")).json(body)).await
    };
    let make = json!({"code": "seats.max", "name": "Seats", "entitlementType": "capacity", "unit": "seat"});
    let (status, made) = write(Method::POST, definitions, "make", 0, &make).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("{definitions}/{}", made["definition"]["id"]);
    let lock = json!({"enforcementMode": "hard_lock_resource", "lockLabel": "seats_locked"});
    // Again with its key, and again with another, which changes nothing.
    for (key, version) in [("edit", 1), ("edit", 1), ("again", 2)] {
        let (status, edited) = write(Method::PATCH, &path, key, version, &lock).await;
        assert_eq!((status, &edited["definition"]["version"]), (200, &json!(2)), "{edited}");
    }
    let wrong = json!({"lockLabel": "none"});
    assert_eq!(write(Method::PATCH, &path, "wrong", 2, &wrong).await.0, 400);
    gateway.grant(1, "ai.credits", 1).await;
    for (slug, events) in &mut readers {
        for id in ["1", "2"] {
            let frame = events.next().await.unwrap();
            let data: Value = serde_json::from_str(&frame.data).unwrap();
            assert_eq!((frame.id.as_str(), frame.event.as_str()), (id, UPDATED));
            assert_eq!(
                (&data["workspaceSlug"], &data["changedCodes"], &data["changeSource"]),
                (&json!(slug), &json!(["seats.max"]), &json!("manual_refresh"))
            );
        }
    }
    assert_eq!(readers[0].1.next().await.unwrap().id, "3");
    // And to who was away.
    assert_eq!(
        ids_up_to(&mut gateway.listen(Some("0")).await, "3").await,
        ["1", "2", "3"]
    );
}

#[tokio::test]
async fn a_reader_that_resumes_misses_nothing_and_gets_nothing_twice() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut writer = gateway.test.session().await;
    // Readers come and go while changes are written without a pause.
    let writing = tokio::spawn(async move {
        for number in 0..150 {
            grant_by_hand(&mut writer, "ai.credits", &format!("grant-{number}")).await;
        }
    });
    let mut heard = Vec::new();
    let mut last = "0".to_owned();
    while heard.len() < 150 {
        let mut events = gateway.listen(Some(&last)).await;
        for _ in 0..7.min(150 - heard.len()) {
            let frame = events.next().await.unwrap();
            assert_eq!(frame.event, UPDATED);
            last = frame.id;
            heard.push(last.parse::<u64>().unwrap());
        }
    }
    writing.await.unwrap();
    assert_eq!(heard, (1..=150).collect::<Vec<_>>());
    let by_query = "/api/realtime/events?topic=workspace_billing_limits&surface=app&lastEventId=148";
    let response = gateway.as_service(Method::GET, by_query).send().await.unwrap();
    assert_eq!(ids_up_to(&mut Events::new(response), "150").await, ["149", "150"]);
}

#[tokio::test]
async fn commits_in_another_order_than_their_ids_are_all_told() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();

    let mut first = gateway.test.session().await;
    first
        .query_drop(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; \
             CALL entitlement_grant_in_tx_v1(1, 'ai.credits', 5, 'promo', NULL, NULL, NULL, 'operator', NULL, NULL, 'operator:a', 'a', 'dba', @g, @r)",
        )
        .await
        .unwrap();
    let mut second = gateway.test.session().await;
    grant_by_hand(&mut second, "annuity.calculations.monthly", "b").await;
    let told_of_second = events.next().await.unwrap();
    assert!(told_of_second.data.contains("annuity"));
    first.query_drop("COMMIT").await.unwrap();
    let told_of_first = events.next().await.unwrap();
    assert!(told_of_first.data.contains("ai.credits"));
    let sequence = |frame: &Frame| frame.id.parse::<u64>().unwrap();
    assert!(sequence(&told_of_first) > sequence(&told_of_second));
    let insert_order: Vec<u64> = second
        .query("SELECT sequence_no FROM billing_limit_changes ORDER BY id")
        .await
        .unwrap();
    assert_eq!(insert_order, [sequence(&told_of_first), sequence(&told_of_second)]);

    grant_by_hand(&mut second, "ai.credits", "c").await;
    let third = events.next().await.unwrap();
    let all = [told_of_second, told_of_first, third];
    for from in 0..=all.len() {
        let id = if from == 0 { "0" } else { &all[from - 1].id };
        let mut again = gateway.listen(Some(id)).await;
        for expected in &all[from..] {
            assert_eq!(again.next().await.as_ref(), Some(expected));
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_question_is_named() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let lonely = gateway
        .as_service(Method::PUT, "/api/billing/entities/user/lonely")
        .json(&json!({}));
    assert_eq!(answer(lonely).await.0, 201);
    for (query, field) in [
        ("surface=app", "topic"),
        ("topic=weather&surface=app", "topic"),
        ("topic=workspace_billing_limits", "surface"),
        ("topic=workspace_billing_limits&surface=moon", "surface"),
    ] {
        let ask = gateway.as_service(Method::GET, &format!("/api/realtime/events?{query}"));
        assert_eq!(
            refusal(ask).await,
            (400, "VALIDATION_FAILED".into(), vec![field.into()]),
            "{query}"
        );
    }
    let path = "/api/realtime/events?topic=workspace_billing_limits&surface=app";
    let of = |id: &str| {
        gateway
            .request(Method::GET, path)
            .bearer_auth(&gateway.service)
            .header("X-Billable-Entity-Id", id)
    };
    assert_eq!(
        refusal(of("2")).await,
        (400, "VALIDATION_FAILED".into(), vec!["billableEntityId".into()])
    );
    assert_eq!(refusal(of("99")).await, (404, "SUBJECT_NOT_FOUND".into(), vec![]));
}

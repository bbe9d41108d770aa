//! Uses that are accepted, and their replays.

use reqwest::Method;
use serde_json::{Value, json};

use super::{credits, use_of};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

#[tokio::test]
async fn a_use_is_booked_once_and_its_replay_gives_the_first_answer() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;

    let body = json!({"limitationCode": "ai.credits", "amount": 60, "usageEventKey": "order-1", "reasonCode": "chat",
                      "occurredAt": "2026-01-01T00:00:00.5+00:00", "metadata": {"model": "m"}});
    let (status, first) = answer(gateway.consume(&body)).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        without_instants(first.clone()),
        json!({
            "outcome": "accepted", "replayed": false, "warning": null,
            "consumptions": [{"limitationCode": "ai.credits", "amount": 60, "usageEventKey": "order-1", "reasonCode": "chat",
                              "sequenceNo": 1, "occurredAt": "now", "postedAt": "now"}],
            "limitations": [credits(100, 60)],
        })
    );
    assert_eq!(first["consumptions"][0]["occurredAt"], "2026-01-01T00:00:00.500Z");

    // Also when nothing is left by now.
    assert_eq!(answer(gateway.consume(&use_of(40, "order-2"))).await.0, 200);
    let (status, mut again) = answer(gateway.consume(&body)).await;
    assert_eq!((status, again["replayed"].take()), (200, json!(true)));
    again["replayed"] = false.into();
    assert_eq!(again, first);

    let conflict = gateway.consume(&use_of(59, "order-1"));
    assert_eq!(refusal(conflict).await, (409, "IDEMPOTENCY_CONFLICT".into(), vec![]));
}

#[tokio::test]
async fn the_key_is_the_bodys_else_a_headers() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let keyless = json!({"limitationCode": "ai.credits"});
    let request = |body: &Value, headers: &[(&'static str, &str)]| {
        let mut request = gateway.consume(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    };
    for (request, key) in [
        (request(&use_of(1, "body"), &[("Idempotency-Key", "header")]), "body"),
        (
            request(&keyless, &[("Idempotency-Key", "header"), ("X-Command-Id", "command")]),
            "header",
        ),
        (request(&keyless, &[("X-Command-Id", "command")]), "command"),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(
            (status, &body["consumptions"][0]["usageEventKey"]),
            (200, &json!(key)),
            "{body}"
        );
        assert_eq!(body["replayed"], false);
    }
    let refused = refusal(gateway.consume(&keyless)).await;
    assert_eq!(
        refused,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["usageEventKey".into()])
    );
    let refused = refusal(request(&keyless, &[("Idempotency-Key", &"k".repeat(129))])).await;
    assert_eq!(
        refused,
        (400, "VALIDATION_FAILED".into(), vec!["idempotencyKey".into()])
    );
}

#[tokio::test]
async fn several_items_are_booked_together_or_not_at_all() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    gateway.grant(entity, "annuity.calculations.monthly", 1).await;
    let both = |amount: u64, key: &str| json!({"usageEventKey": key, "items": [{"limitationCode": "ai.credits", "amount": amount}, {"capability": "annuity.calculate"}]});
    let (status, body) = answer(gateway.consume(&both(5, "one"))).await;
    assert_eq!(status, 200, "{body}");
    let used: Vec<_> = body["consumptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["limitationCode"], &one["amount"], &one["reasonCode"]))
        .collect();
    assert_eq!(
        used,
        [
            (&json!("ai.credits"), &json!(5), &Value::Null),
            (
                &json!("annuity.calculations.monthly"),
                &json!(1),
                &json!("annuity.calculate")
            )
        ]
    );
    assert_eq!(body["limitations"].as_array().unwrap().len(), 2);

    let response = gateway.consume(&both(5, "two")).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["details"]["retryAfterSeconds"], retry_after);
    let details = json!({
        "limitationCode": "annuity.calculations.monthly", "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 1,
        "limit": 1, "used": 1, "remaining": 0, "interval": "month", "enforcement": "hard_deny", "windowEndAt": "now",
        "retryAfterSeconds": retry_after,
    });
    assert_eq!(without_instants(body["details"].clone()), details);

    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(without_instants(body["limitations"][0].clone()), credits(100, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_race_take_what_there_is_and_no_more() {
    let gateway = std::sync::Arc::new(TestGateway::start().await);
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let clients = (0..32).map(|client| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for number in (client..200).step_by(32) {
                statuses.push(answer(gateway.consume(&use_of(1, &format!("use-{number}")))).await.0);
            }
            statuses
        })
    });
    let mut statuses = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        statuses.extend(client.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 100], [429; 100]].concat());
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(without_instants(body["limitations"][0].clone()), credits(100, 100));
}

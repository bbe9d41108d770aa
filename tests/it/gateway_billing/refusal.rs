//! Uses that are refused, and what is said of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::use_of;
use crate::support::gateway::{TestGateway, answer, refusal};

const CONSUME: &str = "/api/billing/consume";

#[tokio::test]
async fn a_refusal_says_all_there_is_to_say() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    assert_eq!(answer(gateway.consume(&use_of(60, "one"))).await.0, 200);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let response = gateway.consume(&use_of(41, "two")).send().await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(!response.headers().contains_key("retry-after"), "time does not help");
        bodies.push(response.text().await.unwrap());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(
        serde_json::from_str::<Value>(&bodies[0]).unwrap(),
        json!({
            "type": "urn:consumable:error:billing-limit-exceeded", "title": "The limit does not leave room for this use",
            "status": 429, "detail": "ai.credits does not leave room for this use", "code": "BILLING_LIMIT_EXCEEDED",
            "details": {
                "limitationCode": "ai.credits", "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 41,
                "limit": 100, "used": 60, "remaining": 40, "interval": null, "enforcement": "hard_deny", "windowEndAt": null,
                "retryAfterSeconds": null,
            },
        })
    );
    // A refusal is not stored: the same key may succeed later.
    gateway.grant(entity, "ai.credits", 1).await;
    assert_eq!(answer(gateway.consume(&use_of(41, "two"))).await.0, 200);
    // A subject that was never granted a code has 0 of it.
    let (status, body) =
        answer(gateway.consume(&json!({"capability": "annuity.calculate", "usageEventKey": "k"}))).await;
    assert_eq!((status, &body["details"]["limit"]), (429, &json!(0)));
}

#[tokio::test]
async fn what_is_wrong_with_a_use_is_named() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let with = |field: &str, value: Value| {
        let mut body = use_of(1, "k");
        body[field] = value;
        body
    };
    let items = |items: Value| json!({"usageEventKey": "k", "items": items});
    let item = json!({"limitationCode": "ai.credits"});
    for (body, status, code, field) in [
        (with("amount", json!(0)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(-1)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(1.5)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!("1")), 400, "VALIDATION_FAILED", "amount"),
        (
            with("amount", json!(9_007_199_254_740_992_u64)),
            400,
            "VALIDATION_FAILED",
            "amount",
        ),
        (with("amount", json!(u64::MAX)), 400, "VALIDATION_FAILED", "amount"),
        (
            with("usageEventKey", json!("")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("two words")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("k".repeat(129))),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("k".repeat(300))),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!(7)),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("capability", json!("annuity.calculate")),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            json!({"usageEventKey": "k"}),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            with("limitationCode", json!("c".repeat(65))),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            with("reasonCode", json!("no reason")),
            400,
            "VALIDATION_FAILED",
            "reasonCode",
        ),
        (
            with("reasonCode", json!("r".repeat(129))),
            400,
            "VALIDATION_FAILED",
            "reasonCode",
        ),
        (
            with("occurredAt", json!("yesterday")),
            400,
            "VALIDATION_FAILED",
            "occurredAt",
        ),
        (with("metadata", json!([1])), 400, "VALIDATION_FAILED", "metadata"),
        (
            with("metadata", json!({"a": "b".repeat(3000)})),
            400,
            "VALIDATION_FAILED",
            "metadata",
        ),
        (
            with("metadata", json!({"k".repeat(70_000): 1})),
            400,
            "VALIDATION_FAILED",
            "metadata",
        ),
        (with("colour", json!(1)), 400, "VALIDATION_FAILED", "colour"),
        (with("items", json!([item])), 400, "VALIDATION_FAILED", "items"),
        (items(json!([])), 400, "VALIDATION_FAILED", "items"),
        (items(json!(vec![&item; 101])), 400, "VALIDATION_FAILED", "items"),
        (items(json!([["ai.credits"]])), 400, "VALIDATION_FAILED", "items[0]"),
        (
            items(json!([item, {"limitationCode": "ai.credits"}])),
            400,
            "VALIDATION_FAILED",
            "items[0]",
        ),
        (
            items(json!([item, {"capability": "annuity.calculate", "amount": 0}])),
            400,
            "VALIDATION_FAILED",
            "items[1].amount",
        ),
        (
            items(json!([item, {"amount": true}])),
            400,
            "VALIDATION_FAILED",
            "items[1].amount",
        ),
        (
            items(json!([{"limitationCode": "ai.credits", "usageEventKey": "k"}])),
            400,
            "VALIDATION_FAILED",
            "items[0].usageEventKey",
        ),
        (
            json!({"usageEventKey": "k", "capability": "fly"}),
            404,
            "CAPABILITY_NOT_FOUND",
            "",
        ),
        (
            with("limitationCode", json!("no.such")),
            404,
            "DEFINITION_NOT_FOUND",
            "",
        ),
        (with("limitationCode", json!("wörks")), 404, "DEFINITION_NOT_FOUND", ""),
        (
            with("limitationCode", json!("workspace.access")),
            422,
            "NOT_CONSUMABLE",
            "",
        ),
        (
            with("occurredAt", json!("2199-01-01T00:00:00Z")),
            422,
            "OCCURRED_AT_OUTSIDE_WINDOW",
            "",
        ),
    ] {
        let fields = if field.is_empty() {
            vec![]
        } else {
            vec![field.to_owned()]
        };
        let refused = refusal(gateway.consume(&body)).await;
        let short: String = body.to_string().chars().take(200).collect();
        assert_eq!(refused, (status, code.to_owned(), fields), "{short}");
    }
    let mut session = gateway.test.session().await;
    mysql_async::prelude::Queryable::query_drop(
        &mut session,
        "UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'ai.credits'",
    )
    .await
    .unwrap();
    assert_eq!(refusal(gateway.consume(&use_of(1, "k"))).await.1, "DEFINITION_INACTIVE");
    let nobody = gateway
        .request(Method::POST, CONSUME)
        .bearer_auth(&gateway.service)
        .header("X-Billable-Entity-Id", "99");
    assert_eq!(
        refusal(nobody.json(&use_of(1, "k"))).await,
        (404, "SUBJECT_NOT_FOUND".into(), vec![])
    );
}

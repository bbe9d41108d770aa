//! Grants by hand, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const GRANTS: &str = "/api/console/billing/grants";

#[tokio::test]
async fn a_grant_is_made_once() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let body = json!({"billableEntityId": entity, "code": "ai.credits", "amount": 100, "kind": "promo", "priority": 5,
                      "effectiveAt": "2026-01-01T00:00:00Z", "expiresAt": "2199-01-01T00:00:00Z", "reason": "Welcome"});
    let post = |body: &Value, key: &str| {
        gateway
            .as_admin(Method::POST, GRANTS)
            .header("Idempotency-Key", key)
            .json(body)
    };
    let (status, first) = answer(post(&body, "one")).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(
        without_instants(first["grant"].clone()),
        json!({
            "id": 1, "billableEntityId": 1, "code": "ai.credits", "kind": "promo", "amount": 100, "priority": 5,
            "effectiveAt": "now", "expiresAt": "2199-01-01T00:00:00.000Z",
            "revokedAt": null, "state": "active", "givenAmount": 0, "remainingAmount": 100, "source": "operator",
            "planAssignmentId": null, "purchaseId": null, "reason": "Welcome", "createdBy": "key:2 admin", "createdAt": "now",
        })
    );
    assert_eq!(first["grant"]["expiresAt"], "2199-01-01T00:00:00.000Z");
    assert_eq!(first["limitation"]["availableAmount"], 100);
    assert_eq!(first["limitation"]["nextChangeAt"], "2199-01-01T00:00:00.000Z");

    assert_eq!(answer(post(&body, "one")).await, (200, first));
    let mut other = body.clone();
    other["amount"] = 101.into();
    assert_eq!(
        refusal(post(&other, "one")).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_grant_is_named() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let body =
        json!({"billableEntityId": entity, "code": "ai.credits", "amount": 100, "kind": "promo", "reason": "Welcome"});
    let post = |body: &Value| {
        gateway
            .as_admin(Method::POST, GRANTS)
            .header("Idempotency-Key", "key")
            .json(body)
    };
    for (field, value, named) in [
        ("billableEntityId", Value::Null, "billableEntityId"),
        ("billableEntityId", json!("1"), "billableEntityId"),
        ("code", Value::Null, "code"),
        ("code", json!("c".repeat(65)), "code"),
        ("amount", Value::Null, "amount"),
        ("amount", json!(0), "amount"),
        ("amount", json!(0.5), "amount"),
        ("kind", Value::Null, "kind"),
        ("kind", json!("plan_base"), "kind"),
        ("kind", json!("k".repeat(33)), "kind"),
        ("effectiveAt", json!("soon"), "effectiveAt"),
        ("expiresAt", json!("2020-01-01T00:00:00Z"), "expiresAt"),
        ("priority", json!(256), "priority"),
        ("priority", json!(70_000), "priority"),
        ("reason", Value::Null, "reason"),
        ("reason", json!(" "), "reason"),
        ("reason", json!("r".repeat(256)), "reason"),
        ("createdBy", json!("me"), "createdBy"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let refused = refusal(post(&body)).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec![named.into()]), "{body}");
    }
    for (field, value, code) in [
        ("billableEntityId", json!(99), "SUBJECT_NOT_FOUND"),
        ("code", json!("no.such"), "DEFINITION_NOT_FOUND"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        assert_eq!(refusal(post(&body)).await, (404, code.into(), vec![]));
    }
    let keyless = gateway.as_admin(Method::POST, GRANTS).json(&body);
    assert_eq!(
        refusal(keyless).await,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["idempotencyKey".into()])
    );
    let bad_key = gateway
        .as_admin(Method::POST, GRANTS)
        .header("Idempotency-Key", "two words")
        .json(&body);
    assert_eq!(
        refusal(bad_key).await,
        (400, "VALIDATION_FAILED".into(), vec!["idempotencyKey".into()])
    );
}

#[tokio::test]
async fn a_grant_is_revoked_once() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    gateway.grant(entity, "ai.credits", 50).await;
    let revoke = |id: &str, key: &str| {
        let path = format!("{GRANTS}/{id}/revoke");
        gateway
            .as_admin(Method::POST, &path)
            .header("Idempotency-Key", key)
            .json(&json!({"reason": "Mistake"}))
    };
    let (status, first) = answer(revoke("1", "one")).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        (&first["grant"]["state"], &first["grant"]["remainingAmount"]),
        (&json!("ended"), &json!(0))
    );
    assert!(first["grant"]["revokedAt"].is_string());
    assert_eq!(first["limitation"]["availableAmount"], 50);
    assert_eq!(answer(revoke("1", "one")).await, (200, first));

    for (request, status, code) in [
        (revoke("1", "two"), 409, "GRANT_ENDED"),
        (revoke("2", "one"), 409, "IDEMPOTENCY_CONFLICT"),
        (revoke("99", "three"), 404, "GRANT_NOT_FOUND"),
        (revoke("x", "three"), 404, "NOT_FOUND"),
    ] {
        assert_eq!(refusal(request).await, (status, code.into(), vec![]));
    }
    let keyless = gateway.as_admin(Method::POST, "/api/console/billing/grants/2/revoke");
    assert_eq!(
        refusal(keyless.json(&json!({"reason": "x"}))).await.1,
        "IDEMPOTENCY_KEY_REQUIRED"
    );
    let mute = gateway
        .as_admin(Method::POST, "/api/console/billing/grants/2/revoke")
        .header("Idempotency-Key", "four");
    assert_eq!(
        refusal(mute.json(&json!({}))).await,
        (400, "VALIDATION_FAILED".into(), vec!["reason".into()])
    );
}

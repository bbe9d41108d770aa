//! Amounts that are set aside.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::credits;
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const HOLDS: &str = "/api/billing/holds";

fn make(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway.as_service(Method::POST, HOLDS).json(body)
}

fn commit(gateway: &TestGateway, id: u64, body: &Value) -> RequestBuilder {
    gateway
        .as_service(Method::POST, &format!("{HOLDS}/{id}/commit"))
        .json(body)
}

fn release(gateway: &TestGateway, id: u64) -> RequestBuilder {
    gateway.as_service(Method::POST, &format!("{HOLDS}/{id}/release"))
}

fn find(gateway: &TestGateway, id: u64) -> RequestBuilder {
    gateway.as_service(Method::GET, &format!("{HOLDS}/{id}"))
}

fn hold_of(amount: u64, key: &str) -> Value {
    json!({"limitationCode": "ai.credits", "amount": amount, "usageEventKey": key})
}

/// What a hold has become, as the answers tell it.
fn told(body: &Value) -> (&str, &Value, i64, i64, i64) {
    let limitation = |field: &str| body["limitation"][field].as_i64().unwrap();
    (
        body["hold"]["status"].as_str().unwrap(),
        &body["hold"]["committedAmount"],
        limitation("consumedAmount"),
        limitation("heldAmount"),
        limitation("availableAmount"),
    )
}

#[tokio::test]
async fn what_is_held_is_used_or_given_back() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;

    let body = json!({"limitationCode": "ai.credits", "amount": 60, "ttlSeconds": 600, "usageEventKey": "job-1", "reasonCode": "chat",
                      "metadata": {"model": "m"}});
    let (status, made) = answer(make(&gateway, &body)).await;
    assert_eq!(status, 201, "{made}");
    let mut limitation = credits(100, 0);
    limitation["heldAmount"] = 60.into();
    limitation["availableAmount"] = 40.into();
    limitation["nextChangeAt"] = "now".into();
    assert_eq!(
        without_instants(made.clone()),
        json!({
            "hold": {"id": 1, "billableEntityId": 1, "limitationCode": "ai.credits", "amount": 60, "status": "pending",
                     "usageEventKey": "job-1", "reasonCode": "chat", "createdAt": "now", "expiresAt": "now",
                     "committedAmount": null, "resolvedAt": null},
            "limitation": limitation,
        })
    );
    assert_eq!(answer(make(&gateway, &body)).await, (200, made.clone()));
    assert_eq!(answer(find(&gateway, 1)).await.1["hold"], made["hold"]);

    // Part of it becomes a use, the rest returns.
    let (status, committed) = answer(commit(&gateway, 1, &json!({"amount": 25}))).await;
    assert_eq!((status, told(&committed)), (200, ("committed", &json!(25), 25, 0, 75)));
    assert_eq!(
        answer(commit(&gateway, 1, &json!({"amount": 25}))).await,
        (200, committed)
    );
    // The first answer stays what it was.
    assert_eq!(answer(make(&gateway, &body)).await, (200, made));
    assert_eq!(
        told(&answer(find(&gateway, 1)).await.1),
        ("committed", &json!(25), 25, 0, 75)
    );

    let (status, second) = answer(make(&gateway, &hold_of(75, "job-2"))).await;
    assert_eq!((status, told(&second)), (201, ("pending", &Value::Null, 25, 75, 0)));
    let (status, released) = answer(release(&gateway, 2)).await;
    assert_eq!((status, told(&released)), (200, ("released", &json!(0), 25, 0, 75)));
    assert_eq!(answer(release(&gateway, 2)).await, (200, released));

    // Without an amount it is all that is held; the key may be a header's.
    let keyless = json!({"capability": "annuity.calculate", "amount": 2});
    gateway.grant(entity, "annuity.calculations.monthly", 2).await;
    let request = make(&gateway, &keyless).header("Idempotency-Key", "job-3");
    assert_eq!(answer(request).await.0, 201);
    let (status, committed) = answer(commit(&gateway, 3, &json!({}))).await;
    assert_eq!((status, told(&committed)), (200, ("committed", &json!(2), 2, 0, 0)));
}

#[tokio::test]
async fn a_hold_for_which_there_is_no_room_is_refused() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    assert_eq!(answer(make(&gateway, &hold_of(60, "one"))).await.0, 201);
    let (status, body) = answer(make(&gateway, &hold_of(41, "two"))).await;
    assert_eq!((status, &body["code"]), (429, &json!("BILLING_LIMIT_EXCEEDED")));
    assert_eq!(
        body["details"],
        json!({
            "limitationCode": "ai.credits", "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 41,
            "limit": 100, "used": 60, "remaining": 40, "interval": null, "enforcement": "hard_deny", "windowEndAt": null,
            "retryAfterSeconds": null,
        })
    );
    // What was never granted has no room either.
    let none = json!({"limitationCode": "annuity.calculations.monthly", "amount": 1, "usageEventKey": "k"});
    assert_eq!(
        refusal(make(&gateway, &none)).await,
        (429, "BILLING_LIMIT_EXCEEDED".into(), vec![])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_hold_is_named() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let with = |field: &str, value: Value| {
        let mut body = hold_of(1, "k");
        body[field] = value;
        body
    };
    for (body, status, code, field) in [
        (with("amount", Value::Null), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(0)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(1.5)), 400, "VALIDATION_FAILED", "amount"),
        (with("ttlSeconds", json!(0)), 400, "VALIDATION_FAILED", "ttlSeconds"),
        (
            with("ttlSeconds", json!(86_401)),
            400,
            "VALIDATION_FAILED",
            "ttlSeconds",
        ),
        (
            with("ttlSeconds", json!(1_u64 << 40)),
            400,
            "VALIDATION_FAILED",
            "ttlSeconds",
        ),
        (
            with("usageEventKey", json!("two words")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", Value::Null),
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
            "usageEventKey",
        ),
        (
            with("reasonCode", json!("no reason")),
            400,
            "VALIDATION_FAILED",
            "reasonCode",
        ),
        (with("metadata", json!([1])), 400, "VALIDATION_FAILED", "metadata"),
        (
            with("metadata", json!({"a": "b".repeat(3000)})),
            400,
            "VALIDATION_FAILED",
            "metadata",
        ),
        (
            with("capability", json!("annuity.calculate")),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            with("limitationCode", Value::Null),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (with("colour", json!(1)), 400, "VALIDATION_FAILED", "colour"),
        (
            with("limitationCode", json!("no.such")),
            404,
            "DEFINITION_NOT_FOUND",
            "",
        ),
        (
            json!({"capability": "fly", "amount": 1, "usageEventKey": "k"}),
            404,
            "CAPABILITY_NOT_FOUND",
            "",
        ),
        (
            with("limitationCode", json!("workspace.access")),
            422,
            "NOT_CONSUMABLE",
            "",
        ),
    ] {
        let fields: Vec<_> = [field]
            .iter()
            .filter(|field| !field.is_empty())
            .map(|field| (*field).to_owned())
            .collect();
        assert_eq!(
            refusal(make(&gateway, &body)).await,
            (status, code.to_owned(), fields),
            "{body}"
        );
    }
    assert_eq!(answer(make(&gateway, &hold_of(10, "k"))).await.0, 201);
    let none = Vec::<String>::new();
    let conflict = refusal(make(&gateway, &hold_of(11, "k"))).await;
    assert_eq!(conflict, (409, "IDEMPOTENCY_CONFLICT".into(), none.clone()));
    let more = refusal(commit(&gateway, 1, &json!({"amount": 11}))).await;
    assert_eq!(more, (409, "HOLD_AMOUNT_EXCEEDED".into(), none.clone()));
    for (body, field) in [
        (json!({"amount": 0}), "amount"),
        (json!({"amount": "1"}), "amount"),
        (json!({"ttl": 1}), "ttl"),
    ] {
        let wrong = refusal(commit(&gateway, 1, &body)).await;
        assert_eq!(wrong, (400, "VALIDATION_FAILED".into(), vec![field.into()]));
    }
    assert_eq!(answer(release(&gateway, 1)).await.0, 200);
    let resolved = refusal(commit(&gateway, 1, &json!({}))).await;
    assert_eq!(resolved, (409, "HOLD_ALREADY_RESOLVED".into(), none.clone()));
    for request in [find(&gateway, 9), release(&gateway, 9), commit(&gateway, 9, &json!({}))] {
        assert_eq!(refusal(request).await, (404, "HOLD_NOT_FOUND".into(), none.clone()));
    }
    for (method, path, allowed) in [
        (Method::GET, HOLDS.to_owned(), "POST"),
        (Method::POST, format!("{HOLDS}/1"), "GET"),
        (Method::GET, format!("{HOLDS}/1/commit"), "POST"),
        (Method::PUT, format!("{HOLDS}/1/release"), "POST"),
    ] {
        let response = gateway.as_service(method, &path).send().await.unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["allow"].to_str().unwrap()
            ),
            (405, allowed),
            "{path}"
        );
    }
    let nobody = gateway.request(Method::GET, &format!("{HOLDS}/1"));
    assert_eq!(refusal(nobody).await.0, 401);
}

#[tokio::test]
async fn an_expired_hold_is_neither_used_nor_given_back() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let mut events = gateway.listen(None).await;
    let body = json!({"limitationCode": "ai.credits", "amount": 60, "ttlSeconds": 1, "usageEventKey": "job"});
    assert_eq!(answer(make(&gateway, &body)).await.0, 201);
    // The scheduler tells when it is over; nobody reads in between.
    loop {
        if events.next().await.unwrap().data.contains("boundary_recompute") {
            break;
        }
    }
    let (_, found) = answer(find(&gateway, 1)).await;
    assert_eq!(told(&found), ("expired", &Value::Null, 0, 0, 100));
    for request in [commit(&gateway, 1, &json!({})), release(&gateway, 1)] {
        assert_eq!(refusal(request).await, (409, "HOLD_EXPIRED".into(), vec![]));
    }
}

//! What the rules refuse.

use mysql_async::prelude::Queryable;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::is_told;
use crate::support::gateway::{TestGateway, answer};
use crate::support::shop::Event;
use crate::support::stripe::signature;

/// A request of an operator, with a key of its own.
fn operator(gateway: &TestGateway, path: &str, key: &str, body: &Value) -> RequestBuilder {
    gateway
        .as_admin(Method::POST, &format!("/api/console/billing/{path}"))
        .header("Idempotency-Key", key)
        .json(body)
}

/// An edit of something, of the version that its tag names.
fn edit(gateway: &TestGateway, path: &str, tag: &str, body: &Value) -> RequestBuilder {
    gateway
        .as_admin(Method::PATCH, &format!("/api/console/billing/{path}"))
        .header("Idempotency-Key", format!("edit-{path}-{tag}"))
        .header("If-Match", tag)
        .json(body)
}

async fn is_done(request: RequestBuilder) -> Value {
    let (status, body) = answer(request).await;
    assert!(status == 200 || status == 201, "{body}");
    body
}

#[tokio::test]
async fn uses() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    gateway.grant(entity, "projects.max", 2).await;
    let consume = |body: Value| gateway.consume(&body);
    let of =
        |code: &str, amount: i64, key: &str| json!({"limitationCode": code, "amount": amount, "usageEventKey": key});

    is_told("VALIDATION_FAILED", consume(of("ai.credits", 0, "order-1"))).await;
    is_told(
        "IDEMPOTENCY_KEY_REQUIRED",
        consume(json!({"limitationCode": "ai.credits"})),
    )
    .await;
    let nobody = gateway
        .request(Method::GET, "/api/billing/limitations?workspaceSlug=nobody")
        .bearer_auth(&gateway.service);
    is_told("SUBJECT_NOT_FOUND", nobody).await;
    is_told("DEFINITION_NOT_FOUND", consume(of("no.such", 1, "order-1"))).await;
    let capability = json!({"capability": "no.such", "usageEventKey": "order-1"});
    is_told("CAPABILITY_NOT_FOUND", consume(capability)).await;
    is_told("NOT_CONSUMABLE", consume(of("workspace.access", 1, "order-1"))).await;
    let mut early = of("ai.credits", 1, "order-1");
    early["occurredAt"] = json!("2199-01-01T00:00:00.000Z");
    is_told("OCCURRED_AT_OUTSIDE_WINDOW", consume(early)).await;
    is_told("BILLING_LIMIT_EXCEEDED", consume(of("ai.credits", 101, "order-1"))).await;
    is_told("BILLING_CAPACITY_LOCKED", consume(of("projects.max", 3, "order-1"))).await;
    is_done(consume(of("ai.credits", 1, "order-1"))).await;
    is_told("IDEMPOTENCY_CONFLICT", consume(of("ai.credits", 2, "order-1"))).await;
}

#[tokio::test]
async fn holds() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let hold = |key: &str, seconds: u32| {
        let body = json!({"limitationCode": "ai.credits", "amount": 10, "ttlSeconds": seconds, "usageEventKey": key});
        gateway.as_service(Method::POST, "/api/billing/holds").json(&body)
    };
    let commit = |hold: &Value, amount: i64| {
        let path = format!("/api/billing/holds/{}/commit", hold["hold"]["id"]);
        gateway.as_service(Method::POST, &path).json(&json!({"amount": amount}))
    };
    is_told(
        "HOLD_NOT_FOUND",
        gateway.as_service(Method::GET, "/api/billing/holds/999"),
    )
    .await;
    let mut events = gateway.listen(None).await;
    let short = is_done(hold("short", 1)).await;
    // The scheduler tells when it is over.
    while !events.next().await.unwrap().data.contains("boundary_recompute") {}
    is_told("HOLD_EXPIRED", commit(&short, 1)).await;
    let long = is_done(hold("long", 600)).await;
    is_told("HOLD_AMOUNT_EXCEEDED", commit(&long, 11)).await;
    let path = format!("/api/billing/holds/{}/release", long["hold"]["id"]);
    is_done(gateway.as_service(Method::POST, &path)).await;
    is_told("HOLD_ALREADY_RESOLVED", commit(&long, 10)).await;
}

#[tokio::test]
async fn what_operators_do() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let operator = |path: &str, key: &str, body: Value| operator(&gateway, path, key, &body);
    let reason = || json!({"reason": "A mistake"});
    is_told("GRANT_NOT_FOUND", operator("grants/999/revoke", "1", reason())).await;
    is_told(
        "ASSIGNMENT_NOT_FOUND",
        operator("plan-assignments/999/cancel", "2", json!({})),
    )
    .await;
    is_told("PURCHASE_NOT_FOUND", operator("purchases/999/void", "3", reason())).await;
    is_told("EVENT_NOT_FOUND", operator("events/999/replay", "4", json!({}))).await;
    is_told(
        "PLAN_NOT_FOUND",
        gateway.as_admin(Method::GET, "/api/console/billing/plans/999"),
    )
    .await;
    is_told(
        "PRODUCT_NOT_FOUND",
        gateway.as_admin(Method::GET, "/api/console/billing/products/999"),
    )
    .await;

    let grant = gateway.grant(entity, "ai.credits", 10).await;
    let path = format!("grants/{}/revoke", grant["grant"]["id"]);
    is_done(operator(&path, "5", reason())).await;
    is_told("GRANT_ENDED", operator(&path, "6", reason())).await;

    let plan = |code: &str| json!({"code": code, "name": "A plan", "providerPriceIds": ["price_a"]});
    let made = is_done(operator("plans", "7", plan("a"))).await;
    is_told(
        "CODE_TAKEN",
        operator("plans", "8", json!({"code": "a", "name": "Another"})),
    )
    .await;
    is_told("PRICE_TAKEN", operator("plans", "9", plan("b"))).await;
    let unknown = json!({"code": "c", "name": "C", "entitlements": [{"code": "no.such", "valueJson": {"amount": 1}}]});
    is_told("UNKNOWN_ENTITLEMENT_CODE", operator("plans", "10", unknown)).await;
    let path = format!("plans/{}", made["plan"]["id"]);
    is_told(
        "VERSION_CONFLICT",
        edit(&gateway, &path, "\"99\"", &json!({"name": "New"})),
    )
    .await;
    is_done(operator(&format!("{path}/archive"), "11", json!({}))).await;
    let assign = json!({"billableEntityId": entity, "planCode": "a"});
    is_told("PLAN_ARCHIVED", operator("plan-assignments", "12", assign)).await;

    let path = "/api/console/billing/entitlement-definitions";
    let definitions = is_done(gateway.as_admin(Method::GET, path)).await;
    let definitions = definitions["entries"].as_array().unwrap();
    let credits = definitions.iter().find(|entry| entry["code"] == "ai.credits").unwrap();
    let path = format!("entitlement-definitions/{}", credits["id"]);
    is_done(edit(&gateway, &path, "*", &json!({"isActive": false}))).await;
    let use_of = json!({"limitationCode": "ai.credits", "usageEventKey": "order-1"});
    is_told("DEFINITION_INACTIVE", gateway.consume(&use_of)).await;
}

#[tokio::test]
async fn what_providers_say() {
    let (gateway, entity) = TestGateway::with_shop().await;
    let taken = gateway
        .as_service(Method::PUT, "/api/billing/entities/workspace/other")
        .json(&json!({"providerCustomerId": "cus_acme"}));
    is_told("PROVIDER_CUSTOMER_TAKEN", taken).await;
    let inactive = "UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'shop.seats'";
    gateway.test.session().await.query_drop(inactive).await.unwrap();
    let body = Event::current("checkout.session.completed").now().body();
    let event = gateway.webhook(Some(&signature(body.as_bytes())), body);
    is_told("EVENT_NOT_APPLIED", event).await;
    assert_eq!(gateway.available(entity).await, [0, 0, 0]);
}

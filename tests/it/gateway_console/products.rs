//! Products, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const PRODUCTS: &str = "/api/console/billing/products";

#[tokio::test]
async fn a_product_is_made_edited_and_archived() {
    let gateway = TestGateway::start().await;
    let make = || {
        gateway.as_admin(Method::POST, PRODUCTS).header("Idempotency-Key", "one").json(&json!({
            "code": "pack", "name": "Pack", "providerPriceIds": ["price_pack"],
            "entitlements": [
                {"code": "projects.max", "amount": 3, "grantKind": "timeboxed_addon", "durationDays": 60},
                {"code": "ai.credits", "amount": 500, "grantKind": "one_off_topup", "durationDays": null, "metadataJson": {"shelf": [1, null]}},
            ],
        }))
    };
    let (status, first) = answer(make()).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(
        without_instants(first.clone()),
        json!({"product": {
            "id": 1, "code": "pack", "name": "Pack", "archivedAt": null, "version": 1, "providerPriceIds": ["price_pack"],
            "entitlements": [
                {"code": "ai.credits", "amount": 500, "grantKind": "one_off_topup", "metadataJson": {"shelf": [1, null]}},
                {"code": "projects.max", "amount": 3, "grantKind": "timeboxed_addon", "durationDays": 60},
            ],
            "createdAt": "now", "updatedAt": "now",
        }})
    );
    assert_eq!(answer(make()).await, (200, first.clone()));
    let patch = |if_match: &str, key: &str, body: &Value| {
        gateway
            .as_admin(Method::PATCH, &format!("{PRODUCTS}/1"))
            .header("Idempotency-Key", key)
            .header("If-Match", if_match)
            .json(body)
    };
    let same = json!({"entitlements": first["product"]["entitlements"]});
    assert_eq!(answer(patch("\"1\"", "two", &same)).await, (200, first.clone()));
    let (status, body) = answer(patch(
        "\"1\"",
        "three",
        &json!({"archived": true, "providerPriceIds": []}),
    ))
    .await;
    assert_eq!((status, &body["product"]["version"]), (200, &json!(2)));
    assert!(body["product"]["archivedAt"].is_string(), "{body}");
    assert_eq!(
        refusal(patch("\"1\"", "four", &json!({"archived": false}))).await,
        (412, "VERSION_CONFLICT".into(), vec![])
    );
    let get = |path: &str| gateway.as_admin(Method::GET, path);
    assert_eq!(answer(get(&format!("{PRODUCTS}/1"))).await, (200, body.clone()));
    assert_eq!(
        answer(get(PRODUCTS)).await,
        (200, json!({"entries": [body["product"]], "nextCursor": null}))
    );
    assert_eq!(
        refusal(get(&format!("{PRODUCTS}/2"))).await,
        (404, "PRODUCT_NOT_FOUND".into(), vec![])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_product_is_named() {
    let gateway = TestGateway::start().await;
    let post = |body: &Value| {
        gateway
            .as_admin(Method::POST, PRODUCTS)
            .header("Idempotency-Key", "key")
            .json(body)
    };
    let body = json!({"code": "pack", "name": "Pack", "entitlements": [
        {"code": "ai.credits", "amount": 1.5, "grantKind": "timeboxed_addon"},
        {"code": "projects.max", "amount": 1, "grantKind": "one_off_topup", "durationDays": 9},
    ]});
    let (status, problem) = answer(post(&body)).await;
    assert_eq!(status, 400);
    assert_eq!(
        problem["fieldErrors"],
        json!({
            "entitlements[0].amount": "must be a whole number from 1 to 9007199254740991",
            "entitlements[0].durationDays": "is required with timeboxed_addon",
            "entitlements[1].durationDays": "may be given with timeboxed_addon only",
        })
    );
    let deep = format!("{{\"code\": {}{}}}", "[".repeat(60), "]".repeat(60));
    let deep = gateway
        .as_admin(Method::POST, PRODUCTS)
        .header("Idempotency-Key", "key")
        .header("Content-Type", "application/json")
        .body(deep);
    assert_eq!(
        refusal(deep).await,
        (400, "VALIDATION_FAILED".into(), vec!["body".into()])
    );
}

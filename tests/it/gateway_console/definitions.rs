//! Definitions, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const DEFINITIONS: &str = "/api/console/billing/entitlement-definitions";

#[tokio::test]
async fn a_definition_is_made_edited_and_put_out_of_use() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let make = || {
        gateway
            .as_admin(Method::POST, DEFINITIONS)
            .header("Idempotency-Key", "one")
            .json(
                &json!({"code": "seats.max", "name": "Seats", "entitlementType": "capacity", "unit": "seat",
                          "resourceCode": "seats", "metadata": {"icon": null}}),
            )
    };
    let (status, first) = answer(make()).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(
        without_instants(first.clone()),
        json!({"definition": {
            "id": 5, "code": "seats.max", "name": "Seats", "description": null, "entitlementType": "capacity", "unit": "seat", "scale": 0,
            "windowInterval": null, "windowAnchor": null, "aggregationMode": "sum", "enforcementMode": "hard_deny", "lockLabel": null,
            "resourceCode": "seats", "isActive": true, "metadata": {"icon": null}, "version": 1, "createdAt": "now", "updatedAt": "now",
        }})
    );
    assert_eq!(answer(make()).await, (200, first));
    gateway.grant(entity, "seats.max", 5).await;

    let patch = |if_match: &str, key: &str, body: &Value| {
        gateway
            .as_admin(Method::PATCH, &format!("{DEFINITIONS}/5"))
            .header("Idempotency-Key", key)
            .header("If-Match", if_match)
            .json(body)
    };
    let lock = json!({"enforcementMode": "hard_lock_resource", "lockLabel": "seats_locked", "metadata": null});
    let (status, body) = answer(patch("\"1\"", "two", &lock)).await;
    assert_eq!(
        (status, &body["definition"]["version"], &body["definition"]["metadata"]),
        (200, &json!(2), &Value::Null)
    );
    // The edit counts at once.
    let count = gateway
        .as_service(Method::PUT, "/api/billing/resources/seats")
        .json(&json!({"count": 6}));
    let (_, counted) = answer(count).await;
    assert_eq!(counted["limitation"]["lockState"], "seats_locked", "{counted}");

    let (status, body) = answer(patch("\"2\"", "three", &json!({"isActive": false}))).await;
    assert_eq!((status, &body["definition"]["isActive"]), (200, &json!(false)));
    let consume = gateway.consume(&json!({"limitationCode": "seats.max", "usageEventKey": "x"}));
    assert_eq!(refusal(consume).await, (422, "DEFINITION_INACTIVE".into(), vec![]));

    let get = |path: &str| gateway.as_admin(Method::GET, path);
    assert_eq!(answer(get(&format!("{DEFINITIONS}/5"))).await, (200, body.clone()));
    let (_, list) = answer(get(DEFINITIONS)).await;
    assert_eq!(
        (list["entries"].as_array().unwrap().len(), &list["entries"][4]),
        (5, &body["definition"])
    );
    assert_eq!(
        refusal(get(&format!("{DEFINITIONS}/99"))).await,
        (404, "DEFINITION_NOT_FOUND".into(), vec![])
    );
}

#[tokio::test]
async fn what_a_definition_cannot_be_is_named() {
    let gateway = TestGateway::start().await;
    let post = |body: &Value| {
        gateway
            .as_admin(Method::POST, DEFINITIONS)
            .header("Idempotency-Key", "key")
            .json(body)
    };
    let (status, problem) = answer(post(
        &json!({"code": "a b", "entitlementType": "metered_quota", "isActive": 1}),
    ))
    .await;
    assert_eq!(status, 400);
    assert_eq!(
        problem["fieldErrors"],
        json!({
            "code": "must be 1 to 64 of a-z, 0-9, _ and . between parts, a letter first",
            "name": "is required",
            "unit": "is required",
            "windowInterval": "is required for a metered_quota",
            "isActive": "must be true or false",
        })
    );
    let taken = json!({"code": "projects.max", "name": "x", "entitlementType": "balance", "unit": "x"});
    assert_eq!(
        refusal(post(&taken)).await,
        (409, "CODE_TAKEN".into(), vec!["code".into()])
    );
    let fixed = gateway
        .as_admin(Method::PATCH, &format!("{DEFINITIONS}/1"))
        .header("Idempotency-Key", "fixed")
        .header("If-Match", "*")
        .json(&json!({"entitlementType": "balance", "resourceCode": null, "name": "New"}));
    assert_eq!(
        refusal(fixed).await,
        (
            400,
            "VALIDATION_FAILED".into(),
            vec!["entitlementType".into(), "resourceCode".into()]
        )
    );
}

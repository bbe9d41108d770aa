//! `/api/console/billing/plan-assignments` over HTTP.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal};
use crate::support::plan::{Template, plan};
use crate::support::story::differences;

const ASSIGNMENTS: &str = "/api/console/billing/plan-assignments";

/// A gateway with the plans `small` and `large`, and the entity of acme.
async fn with_plans() -> (TestGateway, u64) {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut session = gateway.test.session().await;
    plan(&mut session, "small", &[Template::of("ai.credits", 10)]).await;
    plan(&mut session, "large", &[Template::of("ai.credits", 20)]).await;
    (gateway, entity)
}

fn post(gateway: &TestGateway, path: &str, key: &str, body: &Value) -> RequestBuilder {
    gateway
        .as_admin(Method::POST, path)
        .header("Idempotency-Key", key)
        .json(body)
}

#[tokio::test]
async fn a_plan_is_assigned_once() {
    let (gateway, entity) = with_plans().await;
    let body = json!({"billableEntityId": entity, "planCode": "small", "quantity": 3,
                      "periodStartAt": "2026-03-01T00:00:00Z", "periodEndAt": "2199-04-01T00:00:00+01:00"});
    let (status, first) = answer(post(&gateway, ASSIGNMENTS, "one", &body)).await;
    assert_eq!(status, 201, "{first}");
    let mut assignment = first["assignment"].clone();
    for instant in ["effectiveAt", "createdAt"] {
        assert!(assignment[instant].is_string());
        assignment[instant] = "now".into();
    }
    assert!(assignment["createdBy"].is_string());
    assignment["createdBy"] = "caller".into();
    assert_eq!(
        assignment,
        json!({"id": 1, "billableEntityId": entity, "planCode": "small", "planName": "small", "quantity": 3, "status": "current",
               "effectiveAt": "now", "endedAt": null, "periodStartAt": "2026-03-01T00:00:00.000Z", "periodEndAt": "2199-03-31T23:00:00.000Z",
               "providerSubscriptionId": null, "failureCount": 0, "lastFailure": null, "retryAt": null, "createdBy": "caller", "createdAt": "now"})
    );
    let limitations = first["limitations"].as_array().unwrap();
    assert_eq!(
        (
            limitations.len(),
            &limitations[0]["code"],
            &limitations[0]["availableAmount"]
        ),
        (1, &json!("ai.credits"), &json!(30))
    );

    assert_eq!(
        answer(post(&gateway, ASSIGNMENTS, "one", &body)).await,
        (200, first.clone())
    );
    // Another request for what is so already is a renewal.
    let (status, renewed) = answer(post(&gateway, ASSIGNMENTS, "two", &body)).await;
    assert_eq!((status, &renewed["assignment"]), (200, &first["assignment"]));
    let mut other = body.clone();
    other["quantity"] = 4.into();
    assert_eq!(
        refusal(post(&gateway, ASSIGNMENTS, "one", &other)).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, entity).await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_an_assignment_is_named() {
    let (gateway, entity) = with_plans().await;
    let body = json!({"billableEntityId": entity, "planCode": "small"});
    for (field, value, named) in [
        ("billableEntityId", Value::Null, "billableEntityId"),
        ("billableEntityId", json!("1"), "billableEntityId"),
        ("planCode", Value::Null, "planCode"),
        ("planCode", json!("p".repeat(65)), "planCode"),
        ("quantity", json!(0), "quantity"),
        ("quantity", json!(-1), "quantity"),
        ("quantity", json!(1_000_001), "quantity"),
        ("effectiveAt", json!("soon"), "effectiveAt"),
        ("periodStartAt", json!("2026-03-01T00:00:00Z"), "periodEndAt"),
        ("periodEndAt", json!("2026-03-01T00:00:00Z"), "periodEndAt"),
        ("createdBy", json!("me"), "createdBy"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let refused = refusal(post(&gateway, ASSIGNMENTS, "key", &body)).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec![named.into()]), "{body}");
    }
    for (field, value, code) in [
        ("billableEntityId", json!(99), "SUBJECT_NOT_FOUND"),
        ("planCode", json!("no.such"), "PLAN_NOT_FOUND"),
        ("planCode", json!("größer"), "PLAN_NOT_FOUND"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        assert_eq!(
            refusal(post(&gateway, ASSIGNMENTS, "key", &body)).await,
            (404, code.into(), vec![])
        );
    }
    let archive = "UPDATE billing_plans SET archived_at = UTC_TIMESTAMP(3) WHERE code = 'large'";
    mysql_async::prelude::Queryable::query_drop(&mut gateway.test.session().await, archive)
        .await
        .unwrap();
    let archived = json!({"billableEntityId": entity, "planCode": "large"});
    assert_eq!(
        refusal(post(&gateway, ASSIGNMENTS, "key", &archived)).await,
        (409, "PLAN_ARCHIVED".into(), vec![])
    );

    let keyless = gateway.as_admin(Method::POST, ASSIGNMENTS).json(&body);
    assert_eq!(
        refusal(keyless).await,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["idempotencyKey".into()])
    );
    let keyless = gateway.as_admin(Method::POST, &format!("{ASSIGNMENTS}/1/cancel"));
    assert_eq!(refusal(keyless).await.1, "IDEMPOTENCY_KEY_REQUIRED");
    for (method, path) in [
        (Method::POST, ASSIGNMENTS.to_owned()),
        (Method::GET, ASSIGNMENTS.to_owned()),
        (Method::POST, format!("{ASSIGNMENTS}/1/cancel")),
    ] {
        let service = gateway
            .as_service(method.clone(), &path)
            .header("Idempotency-Key", "key")
            .json(&body);
        assert_eq!(refusal(service).await.1, "FORBIDDEN");
        assert_eq!(
            refusal(gateway.request(method, &path).json(&body)).await.1,
            "UNAUTHENTICATED"
        );
    }
    let deleted = gateway.as_admin(Method::DELETE, ASSIGNMENTS).send().await.unwrap();
    assert_eq!(
        (deleted.status().as_u16(), &deleted.headers()["allow"]),
        (405, &"GET, POST".parse().unwrap())
    );
    // No refusal used the key up.
    assert_eq!(answer(post(&gateway, ASSIGNMENTS, "key", &body)).await.0, 201);
}

#[tokio::test]
async fn a_plan_is_ended_and_a_change_is_cancelled() {
    let (gateway, entity) = with_plans().await;
    let small = json!({"billableEntityId": entity, "planCode": "small"});
    let later = json!({"billableEntityId": entity, "planCode": "large", "effectiveAt": "2199-01-01T00:00:00Z"});
    assert_eq!(answer(post(&gateway, ASSIGNMENTS, "one", &small)).await.0, 201);
    let (status, planned) = answer(post(&gateway, ASSIGNMENTS, "two", &later)).await;
    assert_eq!(
        (
            status,
            &planned["assignment"]["status"],
            &planned["limitations"][0]["availableAmount"]
        ),
        (201, &json!("scheduled"), &json!(10))
    );
    let cancel = |id: &str, key: &str| {
        gateway
            .as_admin(Method::POST, &format!("{ASSIGNMENTS}/{id}/cancel"))
            .header("Idempotency-Key", key)
    };
    for (id, key, ended, available) in [
        ("2", "three", "cancelled", 10),
        ("1", "four", "ended", 0),
        ("1", "five", "ended", 0),
        ("1", "four", "ended", 0),
    ] {
        let (status, body) = answer(cancel(id, key)).await;
        assert_eq!((status, &body["assignment"]["status"]), (200, &json!(ended)), "{body}");
        assert!(body["assignment"]["endedAt"].is_string());
        assert_eq!(body["limitations"][0]["availableAmount"], available);
    }
    assert_eq!(
        refusal(cancel("99", "six")).await,
        (404, "ASSIGNMENT_NOT_FOUND".into(), vec![])
    );
    assert_eq!(
        refusal(cancel("2", "four")).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
    assert_eq!(refusal(cancel("x", "six")).await, (404, "NOT_FOUND".into(), vec![]));
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, entity).await, [""; 0]);
}

#[tokio::test]
async fn assignments_are_listed_newest_first() {
    let (gateway, entity) = with_plans().await;
    for number in 1..=3 {
        let body = json!({"billableEntityId": entity, "planCode": "small", "quantity": number});
        assert_eq!(
            answer(post(&gateway, ASSIGNMENTS, &format!("key-{number}"), &body))
                .await
                .0,
            201
        );
    }
    let list = async |query: &str| answer(gateway.as_admin(Method::GET, &format!("{ASSIGNMENTS}?{query}"))).await;
    let quantities = |body: &Value| -> Vec<u64> {
        body["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["quantity"].as_u64().unwrap())
            .collect()
    };
    let (status, page) = list(&format!("billableEntityId={entity}&limit=2")).await;
    assert_eq!((status, quantities(&page)), (200, vec![3, 2]), "{page}");
    let cursor = page["nextCursor"].as_str().unwrap();
    let (_, page) = list(&format!("billableEntityId={entity}&limit=2&cursor={cursor}")).await;
    assert_eq!((quantities(&page), &page["nextCursor"]), (vec![1], &Value::Null));
    assert_eq!(quantities(&list("").await.1), [3, 2, 1]);
    for (query, status, code) in [
        ("billableEntityId=99", 404, "SUBJECT_NOT_FOUND"),
        ("billableEntityId=acme", 400, "VALIDATION_FAILED"),
        ("billableEntityId=%2B1", 400, "VALIDATION_FAILED"),
        ("limit=0", 400, "VALIDATION_FAILED"),
        ("cursor=x", 400, "VALIDATION_FAILED"),
    ] {
        let refused = refusal(gateway.as_admin(Method::GET, &format!("{ASSIGNMENTS}?{query}"))).await;
        assert_eq!((refused.0, refused.1.as_str()), (status, code), "{query}");
    }
}

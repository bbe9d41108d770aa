//! What a use would be answered.

use std::time::Instant;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{credits, use_of};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const CHECK: &str = "/api/billing/check";
const BATCH: &str = "/api/billing/check/batch";

fn check(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway.as_service(Method::POST, CHECK).json(body)
}

fn batch(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway.as_service(Method::POST, BATCH).json(body)
}

#[tokio::test]
async fn a_check_answers_what_a_use_would_be_answered() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    gateway.grant(entity, "annuity.calculations.monthly", 1).await;
    assert_eq!(answer(gateway.consume(&use_of(60, "one"))).await.0, 200);

    let (status, body) = answer(check(&gateway, &json!({"limitationCode": "ai.credits", "amount": 40}))).await;
    assert_eq!(
        (status, without_instants(body)),
        (
            200,
            json!({"allowed": true, "refusedBy": null, "reason": null, "limitations": [credits(100, 60)]})
        )
    );
    let (status, body) = answer(check(&gateway, &json!({"limitationCode": "ai.credits", "amount": 41}))).await;
    assert_eq!(
        (status, without_instants(body)),
        (
            200,
            json!({"allowed": false, "refusedBy": "ai.credits", "reason": "BILLING_LIMIT_EXCEEDED", "limitations": [credits(100, 60)]})
        )
    );
    // All or nothing: the first that would refuse is named.
    let items = json!({"items": [{"capability": "annuity.calculate"}, {"limitationCode": "ai.credits", "amount": 41}, {"capability": "projects.create"}]});
    let (_, body) = answer(check(&gateway, &items)).await;
    assert_eq!(
        (&body["allowed"], &body["refusedBy"]),
        (&json!(false), &json!("ai.credits"))
    );
    assert_eq!(body["limitations"].as_array().unwrap().len(), 3);
    // Nothing was written: what was allowed still is.
    assert_eq!(answer(gateway.consume(&use_of(40, "two"))).await.0, 200);
}

#[tokio::test]
async fn a_count_of_the_callers_own_counts() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 3).await;
    for (count, allowed, reason) in [
        (0, true, Value::Null),
        (2, true, Value::Null),
        (3, false, json!("BILLING_CAPACITY_LOCKED")),
    ] {
        let body = json!({"capability": "projects.create", "currentCount": count});
        let (status, body) = answer(check(&gateway, &body)).await;
        assert_eq!(
            (status, &body["allowed"], &body["reason"]),
            (200, &json!(allowed), &reason),
            "{count}"
        );
        assert_eq!(body["limitations"][0]["consumedAmount"], count);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_check_is_named() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let item = json!({"limitationCode": "ai.credits"});
    for (body, status, code, field) in [
        (json!({}), 400, "VALIDATION_FAILED", "limitationCode"),
        (
            json!({"limitationCode": "ai.credits", "amount": 0}),
            400,
            "VALIDATION_FAILED",
            "amount",
        ),
        (
            json!({"limitationCode": "ai.credits", "amount": i64::MAX}),
            400,
            "VALIDATION_FAILED",
            "amount",
        ),
        (
            json!({"limitationCode": "ai.credits", "amount": "1"}),
            400,
            "VALIDATION_FAILED",
            "amount",
        ),
        (
            json!({"limitationCode": "projects.max", "currentCount": -1}),
            400,
            "VALIDATION_FAILED",
            "currentCount",
        ),
        (
            json!({"limitationCode": "ai.credits", "capability": "annuity.calculate"}),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            json!({"limitationCode": "ai.credits", "usageEventKey": "k"}),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (json!({"items": []}), 400, "VALIDATION_FAILED", "items"),
        (json!({"items": vec![&item; 101]}), 400, "VALIDATION_FAILED", "items"),
        (json!({"items": [item], "amount": 1}), 400, "VALIDATION_FAILED", "items"),
        (json!({"items": [item, item]}), 400, "VALIDATION_FAILED", "items[0]"),
        (
            json!({"items": [item, {"limitationCode": "projects.max", "currentCount": 1_u64 << 53}]}),
            400,
            "VALIDATION_FAILED",
            "items[1].currentCount",
        ),
        (json!({"capability": "fly"}), 404, "CAPABILITY_NOT_FOUND", ""),
        (json!({"limitationCode": "no.such"}), 404, "DEFINITION_NOT_FOUND", ""),
        (json!({"limitationCode": "workspace.access"}), 422, "NOT_CONSUMABLE", ""),
    ] {
        let fields: Vec<_> = [field]
            .iter()
            .filter(|field| !field.is_empty())
            .map(|field| (*field).to_owned())
            .collect();
        let short: String = body.to_string().chars().take(200).collect();
        assert_eq!(
            refusal(check(&gateway, &body)).await,
            (status, code.to_owned(), fields),
            "{short}"
        );
    }
    let nobody = gateway
        .request(Method::POST, CHECK)
        .bearer_auth(&gateway.service)
        .header("X-Billable-Entity-Id", "99");
    assert_eq!(
        refusal(nobody.json(&item)).await,
        (404, "SUBJECT_NOT_FOUND".into(), vec![])
    );
}

#[tokio::test]
async fn many_subjects_and_codes_are_checked_at_once() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let body = json!({"billableEntityIds": [1, 99], "codes": ["projects.max", "ai.credits", "no.such"], "amount": 100});
    let (status, body) = answer(batch(&gateway, &body)).await;
    let pair = |entity: u64, code: &str, available: u64| json!({"billableEntityId": entity, "code": code, "allowed": available > 0, "availableAmount": available});
    assert_eq!(
        (status, body),
        (
            200,
            json!({"results": [
                pair(1, "projects.max", 0), pair(1, "ai.credits", 100), pair(1, "no.such", 0),
                pair(99, "projects.max", 0), pair(99, "ai.credits", 0), pair(99, "no.such", 0),
            ]})
        )
    );

    let ids: Vec<u64> = (1..=100).collect();
    let codes = vec!["ai.credits"; 100];
    let begun = Instant::now();
    let (status, body) = answer(batch(&gateway, &json!({"billableEntityIds": ids, "codes": codes}))).await;
    println!("100 x 100 checked within {:?}", begun.elapsed());
    assert_eq!((status, body["results"].as_array().unwrap().len()), (200, 10_000));

    let many = vec![1; 101];
    for (body, field) in [
        (json!({"codes": ["ai.credits"]}), "billableEntityIds"),
        (json!({"billableEntityIds": [1]}), "codes"),
        (
            json!({"billableEntityIds": [], "codes": ["ai.credits"]}),
            "billableEntityIds",
        ),
        (
            json!({"billableEntityIds": many, "codes": ["ai.credits"]}),
            "billableEntityIds",
        ),
        (json!({"billableEntityIds": [1], "codes": vec!["c"; 101]}), "codes"),
        (
            json!({"billableEntityIds": [1], "codes": ["ai.credits"], "amount": 0}),
            "amount",
        ),
        (
            json!({"billableEntityIds": ["1"], "codes": ["ai.credits"]}),
            "billableEntityIds[0]",
        ),
        (json!({"billableEntityIds": [1], "codes": ["c".repeat(65)]}), "codes[0]"),
    ] {
        let refused = refusal(batch(&gateway, &body)).await;
        let short: String = body.to_string().chars().take(200).collect();
        assert_eq!(
            refused,
            (400, "VALIDATION_FAILED".into(), vec![field.into()]),
            "{short}"
        );
    }
}

//! `POST /api/billing/consume/batch`: many uses in one call, each answered on its own.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{credits, use_of};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};
use crate::support::story::differences;

const BATCH: &str = "/api/billing/consume/batch";

fn batch(gateway: &TestGateway, requests: &Value) -> RequestBuilder {
    gateway
        .request(Method::POST, BATCH)
        .bearer_auth(&gateway.service)
        .json(&json!({"requests": requests}))
}

/// The results of a batch, which is answered as a whole.
async fn results(gateway: &TestGateway, requests: &Value) -> Vec<Value> {
    let (status, mut body) = answer(batch(gateway, requests)).await;
    assert_eq!(status, 200, "{body}");
    match body["results"].take() {
        Value::Array(results) => results,
        other => panic!("{other}"),
    }
}

/// A use by the billable entity's id.
fn of_entity(id: u64, amount: u64, key: &str) -> Value {
    let mut request = use_of(amount, key);
    request["billableEntityId"] = id.into();
    request
}

#[tokio::test]
async fn each_request_of_a_batch_is_answered_as_it_would_be_alone() {
    let gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let other = other["billableEntity"]["id"].as_u64().unwrap();
    gateway.grant(acme, "ai.credits", 100).await;
    gateway.grant(other, "ai.credits", 100).await;

    let mut by_slug = use_of(10, "slug");
    by_slug["workspaceSlug"] = json!("other");
    let requests = json!([
        of_entity(acme, 60, "one"),
        by_slug,
        of_entity(acme, 60, "too-much"),
        of_entity(acme, 60, "one"),
        {"billableEntityId": acme, "usageEventKey": "items", "items": [{"limitationCode": "ai.credits"}, {"capability": "projects.create"}]},
        of_entity(acme, 40, "rest"),
    ]);
    let results = results(&gateway, &requests).await;
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 429, 200, 409, 200]);
    let accepted = json!({
        "status": 200, "outcome": "accepted", "replayed": false, "warning": null,
        "consumptions": [{"limitationCode": "ai.credits", "amount": 60, "usageEventKey": "one", "reasonCode": null, "sequenceNo": 1,
                          "occurredAt": "now", "postedAt": "now"}],
        "limitations": [credits(100, 60)],
    });
    assert_eq!(without_instants(results[0].clone()), accepted);
    let mut replayed = accepted.clone();
    replayed["replayed"] = true.into();
    assert_eq!(without_instants(results[3].clone()), replayed);
    assert_eq!(without_instants(results[1]["limitations"][0].clone()), credits(100, 10));
    assert_eq!(
        without_instants(results[5]["limitations"][0].clone()),
        credits(100, 100)
    );

    // A refusal is the very problem that one request gets.
    assert_eq!(results[2]["details"]["requestedAmount"], 60);
    assert_eq!(results[2]["details"]["remaining"], 40);
    let alone = json!({"usageEventKey": "items", "items": [{"limitationCode": "ai.credits"}, {"capability": "projects.create"}]});
    let (status, alone) = answer(gateway.consume(&alone)).await;
    assert_eq!(
        (status, alone["code"].as_str()),
        (429, Some("BILLING_LIMIT_EXCEEDED")),
        "now nothing is left of either"
    );
    assert_eq!(results[4]["code"], "BILLING_CAPACITY_LOCKED");

    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, None).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_with_one_request_stops_no_other() {
    let gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    gateway.grant(acme, "ai.credits", 100).await;
    let but = |field: &str, value: Value| {
        let mut request = of_entity(acme, 1, "wrong");
        request[field] = value;
        request
    };
    let cases = [
        (
            but("billableEntityId", Value::Null),
            400,
            "SUBJECT_REQUIRED",
            "billableEntityId",
        ),
        (
            but("billableEntityId", json!("1")),
            400,
            "VALIDATION_FAILED",
            "billableEntityId",
        ),
        (but("billableEntityId", json!(99)), 404, "SUBJECT_NOT_FOUND", ""),
        (
            json!({"workspaceSlug": "nobody", "limitationCode": "ai.credits", "usageEventKey": "k"}),
            404,
            "SUBJECT_NOT_FOUND",
            "",
        ),
        (
            json!({"workspaceSlug": "s".repeat(65), "usageEventKey": "k"}),
            400,
            "VALIDATION_FAILED",
            "workspaceSlug",
        ),
        (
            json!({"workspaceSlug": 7, "usageEventKey": "k"}),
            400,
            "VALIDATION_FAILED",
            "workspaceSlug",
        ),
        (
            but("usageEventKey", Value::Null),
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
            "usageEventKey",
        ),
        (
            but("usageEventKey", json!("two words")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (but("amount", json!(0)), 400, "VALIDATION_FAILED", "amount"),
        (but("amount", json!("1")), 400, "VALIDATION_FAILED", "amount"),
        (but("amount", json!(0.5)), 400, "VALIDATION_FAILED", "amount"),
        (but("colour", json!(1)), 400, "VALIDATION_FAILED", "colour"),
        (but("limitationCode", json!("no.such")), 404, "DEFINITION_NOT_FOUND", ""),
        (
            but("limitationCode", json!("workspace.access")),
            422,
            "NOT_CONSUMABLE",
            "",
        ),
        (but("items", json!([])), 400, "VALIDATION_FAILED", "items"),
        (
            json!({"billableEntityId": acme, "usageEventKey": "k", "items": []}),
            400,
            "VALIDATION_FAILED",
            "items",
        ),
        (
            json!({"billableEntityId": acme, "usageEventKey": "k", "items": [{"amount": true}]}),
            400,
            "VALIDATION_FAILED",
            "items[0].amount",
        ),
    ];
    // A good request before, between and behind them.
    let mut requests = Vec::new();
    for (number, (wrong, ..)) in cases.iter().enumerate() {
        requests.push(of_entity(acme, 1, &format!("good-{number}")));
        requests.push(wrong.clone());
    }
    requests.push(of_entity(acme, 1, "last"));
    let results = results(&gateway, &json!(requests)).await;
    assert_eq!(results.len(), requests.len());
    for (result, request) in results.iter().zip(&requests).step_by(2) {
        assert_eq!(
            (&result["status"], &result["outcome"]),
            (&json!(200), &json!("accepted")),
            "{request}"
        );
        assert_eq!(result["consumptions"][0]["usageEventKey"], request["usageEventKey"]);
    }
    for ((request, status, code, field), result) in cases.iter().zip(results.iter().skip(1).step_by(2)) {
        assert_eq!(
            (&result["status"], &result["code"]),
            (&json!(status), &json!(code)),
            "{request} {result}"
        );
        let slug = code.to_lowercase().replace('_', "-");
        assert_eq!(result["type"], format!("urn:consumable:error:{slug}"));
        let fields: Vec<_> = result["fieldErrors"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, _)| field.clone())
            .collect();
        let expected: Vec<_> = Some(*field).filter(|field| !field.is_empty()).into_iter().collect();
        assert_eq!(fields, expected, "{request} {result}");
    }
    // The key of the call names the batch, not its requests.
    let keyed = batch(&gateway, &json!([but("usageEventKey", Value::Null)])).header("Idempotency-Key", "batch");
    assert_eq!(answer(keyed).await.1["results"][0]["code"], "IDEMPOTENCY_KEY_REQUIRED");
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, acme).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_as_a_whole() {
    let gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    let too_many = Value::from(vec![of_entity(acme, 1, "k"); 1_001]);
    for (requests, field) in [
        (json!([]), "requests"),
        (too_many, "requests"),
        (json!({}), "requests"),
        (Value::Null, "requests"),
        (json!([of_entity(acme, 1, "k"), 7]), "requests[1]"),
        (json!([[1]]), "requests[0]"),
    ] {
        assert_eq!(
            refusal(batch(&gateway, &requests)).await,
            (400, "VALIDATION_FAILED".into(), vec![field.into()])
        );
    }
    let nobody = gateway.request(Method::POST, BATCH).json(&json!({"requests": []}));
    assert_eq!(refusal(nobody).await.0, 401);
}

#[tokio::test]
async fn a_thousand_requests_of_many_subjects_are_decided_in_one_call() {
    let gateway = TestGateway::start().await;
    for number in 0..20 {
        let path = format!("/api/billing/entities/workspace/w-{number}");
        let put = gateway
            .as_service(Method::PUT, &path)
            .json(&json!({"workspaceSlug": format!("w-{number}")}));
        let entity = answer(put).await.1["billableEntity"]["id"].as_u64().unwrap();
        gateway.grant(entity, "ai.credits", 50).await;
    }
    let requests: Vec<Value> = (0..1_000)
        .map(|number| {
            let mut request = use_of(1, &format!("use-{number}"));
            request["workspaceSlug"] = format!("w-{}", number % 20).into();
            request
        })
        .collect();
    let results = results(&gateway, &json!(requests)).await;
    assert_eq!(results.len(), 1_000);
    for (result, request) in results.iter().zip(&requests) {
        assert_eq!(result["status"], 200, "{result}");
        assert_eq!(result["consumptions"][0]["usageEventKey"], request["usageEventKey"]);
    }
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, None).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_more_than_there_is_those_that_come_first_are_accepted() {
    let gateway = TestGateway::start().await;
    let acme = gateway.acme().await;
    gateway.grant(acme, "ai.credits", 250).await;
    let requests: Vec<Value> = (0..300)
        .map(|number| of_entity(acme, 1, &format!("use-{number}")))
        .collect();
    let first = results(&gateway, &json!(requests)).await;
    let statuses: Vec<_> = first.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [[200; 250].as_slice(), &[429; 50]].concat());
    // All of it again: the same answers.
    let again = results(&gateway, &json!(requests)).await;
    for (again, first) in again.iter().zip(first).take(250) {
        assert_eq!(
            (&again["replayed"], &again["consumptions"]),
            (&json!(true), &first["consumptions"])
        );
    }
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, acme).await, Vec::<String>::new());
}

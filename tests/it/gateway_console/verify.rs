//! `POST /api/console/billing/verify`: the numbers against the ledger, a page of subjects at a time.

use mysql_async::prelude::Queryable;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal};

const VERIFY: &str = "/api/console/billing/verify";

fn verify(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway.as_admin(Method::POST, VERIFY).json(body)
}

#[tokio::test]
async fn a_number_that_is_not_the_ledgers_is_found_on_its_page() {
    let gateway = TestGateway::start().await;
    let none = json!({"checkedSubjects": 0, "lastId": null, "highestId": null, "differences": []});
    assert_eq!(answer(verify(&gateway, &json!({}))).await, (200, none));

    for name in ["one", "two", "three"] {
        let put = gateway.as_service(Method::PUT, &format!("/api/billing/entities/workspace/{name}"));
        let (_, body) = answer(put.json(&json!({}))).await;
        gateway
            .grant(body["billableEntity"]["id"].as_u64().unwrap(), "ai.credits", 10)
            .await;
    }
    let all = json!({"checkedSubjects": 3, "lastId": 3, "highestId": 3, "differences": []});
    assert_eq!(answer(verify(&gateway, &json!({}))).await, (200, all));

    let mut session = gateway.test.session().await;
    let spoil = "UPDATE billing_entitlement_balances SET granted_amount = 9 WHERE subject_id = 2";
    session.query_drop(spoil).await.unwrap();
    let mut found = Vec::new();
    let mut after = Value::Null;
    loop {
        let (status, body) = answer(verify(&gateway, &json!({"afterId": after, "limit": 1}))).await;
        assert_eq!((status, &body["highestId"]), (200, &json!(3)), "{body}");
        if body["lastId"].is_null() {
            assert_eq!(body["checkedSubjects"], 0);
            break;
        }
        found.push(json!([body["lastId"], body["differences"]]));
        after = body["lastId"].clone();
    }
    let difference = json!({"billableEntityId": 2, "code": "ai.credits", "what": "granted", "number": null, "projected": 9, "ledger": 10});
    assert_eq!(found, [json!([1, []]), json!([2, [difference]]), json!([3, []])]);
}

#[tokio::test]
async fn who_comes_while_another_one_verifies_waits_for_his_turn() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 10).await;
    let body = json!({});
    let (one, other) = tokio::join!(answer(verify(&gateway, &body)), answer(verify(&gateway, &body)));
    assert_eq!((one.0, &one), (200, &other));
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let gateway = TestGateway::start().await;
    for (body, field) in [
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 1001}), "limit"),
        (json!({"afterId": "x"}), "afterId"),
        (json!({"all": true}), "all"),
    ] {
        assert_eq!(
            refusal(verify(&gateway, &body)).await,
            (400, "VALIDATION_FAILED".into(), vec![field.into()])
        );
    }
    let beyond = json!({"afterId": u64::MAX});
    assert_eq!(answer(verify(&gateway, &beyond)).await.0, 200);
    let as_service = gateway.as_service(Method::POST, VERIFY).json(&json!({}));
    assert_eq!(refusal(as_service).await.0, 403);
    assert_eq!(
        refusal(gateway.request(Method::POST, VERIFY).json(&json!({}))).await.0,
        401
    );
}

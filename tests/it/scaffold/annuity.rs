//! `/api/annuityCalculator` and `/api/history`: work that a quota meters.

use mysql_async::prelude::Queryable;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{is_proven, limitation, send};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const QUOTA: &str = "annuity.calculations.monthly";

async fn with_calculations(amount: u64) -> TestGateway {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, QUOTA, amount).await;
    gateway
}

/// The row of the tables for 5 %, ten periods.
fn sample() -> Value {
    json!({"payment": 1, "annualRate": 0.05, "years": 10, "paymentsPerYear": 1, "mode": "pv", "timing": "ordinary"})
}

/// The sample with one field changed.
fn but(field: &str, value: Value) -> Value {
    let mut body = sample();
    body[field] = value;
    body
}

fn calculate(gateway: &TestGateway, key: &str, body: &Value) -> RequestBuilder {
    send(gateway, Method::POST, "/api/annuityCalculator", key, body)
}

async fn used(gateway: &TestGateway) -> Value {
    limitation(gateway, QUOTA).await["consumedAmount"].clone()
}

#[tokio::test]
async fn a_calculation_is_kept_and_paid_for_once() {
    let gateway = with_calculations(2).await;
    let (status, first) = answer(calculate(&gateway, "one", &sample())).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(
        without_instants(first["calculation"].clone()),
        json!({"id": 1, "payment": "1", "annualRate": "0.05", "years": 10, "paymentsPerYear": 1, "mode": "pv", "timing": "ordinary",
               "result": "7.7217349292", "createdAt": "now"})
    );
    assert_eq!(
        (&first["limitation"]["code"], &first["limitation"]["consumedAmount"]),
        (&json!(QUOTA), &json!(1))
    );

    // The same numbers, written in another way, are the same request.
    let as_text = json!({"payment": "1.00", "annualRate": "5e-2", "years": 10, "paymentsPerYear": 1, "mode": "pv", "timing": "ordinary"});
    assert_eq!(answer(calculate(&gateway, "one", &as_text)).await, (200, first.clone()));
    let other = calculate(&gateway, "one", &but("mode", json!("fv")));
    assert_eq!(refusal(other).await, (409, "IDEMPOTENCY_CONFLICT".into(), vec![]));

    let (_, second) = answer(calculate(&gateway, "two", &but("mode", json!("fv")))).await;
    assert_eq!(second["calculation"]["result"], "12.5778925355");
    // Also when nothing is left by now.
    assert_eq!(
        answer(calculate(&gateway, "one", &sample())).await,
        (200, first.clone())
    );

    let history = async |query: &str| answer(gateway.as_service(Method::GET, &format!("/api/history?{query}"))).await;
    let (calculations, both) = (json!([second["calculation"], first["calculation"]]), history("").await);
    assert_eq!(both, (200, json!({"entries": calculations, "nextCursor": null})));
    assert_eq!(
        history("limit=1").await.1,
        json!({"entries": [second["calculation"]], "nextCursor": "2"})
    );
    assert_eq!(
        history("limit=1&cursor=2").await.1,
        json!({"entries": [first["calculation"]], "nextCursor": null})
    );
    is_proven(&gateway).await;
}

#[tokio::test]
async fn a_used_up_quota_is_told_with_the_time_that_helps() {
    let gateway = with_calculations(1).await;
    assert_eq!(answer(calculate(&gateway, "one", &sample())).await.0, 201);
    let response = calculate(&gateway, "two", &sample()).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        without_instants(body["details"].clone()),
        json!({"limitationCode": QUOTA, "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 1, "limit": 1, "used": 1,
               "remaining": 0, "interval": "month", "enforcement": "hard_deny", "windowEndAt": "now", "retryAfterSeconds": retry_after})
    );
    let (_, history) = answer(gateway.as_service(Method::GET, "/api/history")).await;
    assert_eq!(history["entries"].as_array().unwrap().len(), 1);
    is_proven(&gateway).await;
}

#[tokio::test]
async fn a_history_that_cannot_be_written_leaves_no_use() {
    let gateway = with_calculations(2).await;
    let mut session = gateway.test.session().await;
    let broken = "ALTER TABLE scaffold_annuity_calculations ADD CONSTRAINT ck_test CHECK (result < 0)";
    session.query_drop(broken).await.unwrap();
    assert_eq!(
        refusal(calculate(&gateway, "one", &sample())).await,
        (500, "INTERNAL".into(), vec![])
    );
    assert_eq!(used(&gateway).await, 0);
    let mended = "ALTER TABLE scaffold_annuity_calculations DROP CONSTRAINT ck_test";
    session.query_drop(mended).await.unwrap();
    assert_eq!(answer(calculate(&gateway, "one", &sample())).await.0, 201);
    assert_eq!(used(&gateway).await, 1);
    is_proven(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_calculation_sent_many_times_at_once_is_one() {
    let gateway = std::sync::Arc::new(with_calculations(5).await);
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move { answer(calculate(&gateway, "same", &sample())).await })
        })
        .collect();
    let mut statuses = Vec::new();
    for racer in racers {
        let (status, body) = racer.await.unwrap();
        assert_eq!(
            (&body["calculation"]["id"], &body["limitation"]["consumedAmount"]),
            (&json!(1), &json!(1))
        );
        statuses.push(status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 7].as_slice(), &[201]].concat());
    is_proven(&gateway).await;
}

#[tokio::test]
async fn each_kind_of_annuity_is_calculated() {
    let gateway = with_calculations(100).await;
    for (field, value, expected) in [
        ("timing", json!("due"), "8.1078216756"),
        ("annualRate", json!(0), "10.0000000000"),
        ("annualRate", json!("0.0"), "10.0000000000"),
        ("annualRate", json!("1e-7"), "9.9999945000"),
        ("paymentsPerYear", json!(12), "94.2813503282"),
        ("years", json!(100), "19.8479102000"),
    ] {
        let body = but(field, value);
        let (status, answer) = answer(calculate(&gateway, &body.to_string().replace(' ', ""), &body)).await;
        assert_eq!(
            (status, &answer["calculation"]["result"]),
            (201, &json!(expected)),
            "{body}"
        );
    }
    // Digits that a float would lose are kept.
    let exact = r#"{"payment": 99999999999.0123456789, "annualRate": 0, "years": 1, "paymentsPerYear": 1, "mode": "pv", "timing": "ordinary"}"#;
    let request = gateway
        .as_service(Method::POST, "/api/annuityCalculator")
        .header("Idempotency-Key", "exact")
        .header("Content-Type", "application/json")
        .body(exact);
    let (_, body) = answer(request).await;
    assert_eq!(body["calculation"]["result"], "99999999999.0123456789");
    is_proven(&gateway).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_calculation_is_named_and_costs_nothing() {
    let gateway = with_calculations(5).await;
    for (field, value) in [
        ("payment", Value::Null),
        ("payment", json!(0)),
        ("payment", json!(-1)),
        ("payment", json!("1000000000000")),
        ("payment", json!("0.00000000001")),
        ("payment", json!("12,50")),
        ("payment", json!("")),
        ("payment", json!("NaN")),
        ("payment", json!([1])),
        ("payment", json!("1e400")),
        ("annualRate", json!("1.0000000001")),
        ("annualRate", json!(-0.01)),
        ("annualRate", json!("5 %")),
        ("years", json!(0)),
        ("years", json!(101)),
        ("years", json!(1.5)),
        ("paymentsPerYear", json!(3)),
        ("paymentsPerYear", json!(0)),
        ("mode", json!("PV")),
        ("mode", Value::Null),
        ("timing", json!("late")),
        ("colour", json!(1)),
    ] {
        let body = but(field, value);
        let refused = refusal(calculate(&gateway, "k", &body)).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec![field.into()]), "{body}");
    }
    let mut too_large = but("annualRate", json!(1));
    too_large["years"] = json!(100);
    too_large["mode"] = json!("fv");
    assert_eq!(refusal(calculate(&gateway, "k", &too_large)).await.2, ["payment"]);
    let keyless = gateway
        .as_service(Method::POST, "/api/annuityCalculator")
        .json(&sample());
    assert_eq!(
        refusal(keyless).await,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["idempotencyKey".into()])
    );
    assert_eq!(
        refusal(calculate(&gateway, "two words", &sample())).await.2,
        ["idempotencyKey"]
    );
    assert_eq!(
        refusal(gateway.as_service(Method::GET, "/api/annuityCalculator"))
            .await
            .0,
        405
    );
    assert_eq!(refusal(gateway.as_service(Method::POST, "/api/history")).await.0, 405);
    assert_eq!(used(&gateway).await, 0);
}

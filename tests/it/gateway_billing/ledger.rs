//! What was recorded of a limit, and how it stood over time.

use reqwest::Method;
use serde_json::{Value, json};

use super::use_of;
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const LEDGER: &str = "/api/billing/limitations/ai.credits/ledger";
const HISTORY: &str = "/api/billing/limitations/ai.credits/history";

async fn page(gateway: &TestGateway, query: &str) -> Value {
    let (status, body) = answer(gateway.as_service(Method::GET, &format!("{LEDGER}{query}"))).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn the_ledger_tells_all_kinds_of_entries_in_the_words_of_the_domain() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    assert_eq!(page(&gateway, "").await, json!({"entries": [], "nextCursor": null}));
    let grant = gateway.grant(entity, "ai.credits", 100).await["grant"]["id"].clone();
    let mut with_more = use_of(30, "one");
    with_more["metadata"] = json!({"model": "large"});
    with_more["reasonCode"] = json!("drawing");
    assert_eq!(answer(gateway.consume(&with_more)).await.0, 200);
    let hold = json!({"limitationCode": "ai.credits", "amount": 20, "usageEventKey": "two", "metadata": {"a": 1}});
    let (_, held) = answer(gateway.as_service(Method::POST, "/api/billing/holds").json(&hold)).await;
    let hold_id = held["hold"]["id"].clone();
    let commit = gateway.as_service(Method::POST, &format!("/api/billing/holds/{hold_id}/commit"));
    assert_eq!(answer(commit.json(&json!({"amount": 5}))).await.0, 200);
    let revoke = gateway
        .as_admin(Method::POST, &format!("/api/console/billing/grants/{grant}/revoke"))
        .header("Idempotency-Key", "revoke")
        .json(&json!({"reason": "over"}));
    assert_eq!(answer(revoke).await.0, 200);

    let whole = page(&gateway, "").await;
    assert_eq!(whole["nextCursor"], Value::Null);
    let lifetime = json!("1970-01-01T00:00:00.000Z");
    let end = json!("9999-12-31T23:59:59.999Z");
    let entries = without_instants(whole["entries"].clone());
    let settlement = |segment_no: u32, cause: &str, closed: i64, granted: i64, gave: Value| {
        json!({"at": "now", "kind": "settlement", "segmentNo": segment_no, "cause": cause, "recordedAt": "now", "closedAmount": closed,
               "closedAllotmentGave": 0, "closedGrantsGave": closed, "overagePaid": 0, "windowStartAt": lifetime, "windowEndAt": end,
               "grantedAmount": granted, "consumedAmount": 0, "gave": gave})
    };
    let by_kind = |kind: &str| -> Vec<Value> {
        let entries = entries.as_array().unwrap().iter();
        entries.filter(|entry| entry["kind"] == kind).cloned().collect()
    };
    assert_eq!(
        by_kind("settlement"),
        [
            settlement(3, "revocation", 35, 0, json!([{"grantId": grant, "amount": 35}])),
            settlement(2, "grant", 0, 100, json!([])),
            settlement(1, "opened", 0, 0, json!([])),
        ]
    );
    let signature = |entry: &Value| entry["createdBy"].as_str().unwrap().to_owned();
    let (grants, revocations) = (by_kind("grant"), by_kind("revocation"));
    assert!(signature(&grants[0]).starts_with("key:") && signature(&revocations[0]) == signature(&grants[0]));
    assert_eq!(
        grants,
        [
            json!({"at": "now", "kind": "grant", "grantId": grant, "grantKind": "promo", "amount": 100, "priority": 100, "effectiveAt": "now", "expiresAt": null,
                "source": "operator", "planAssignmentId": null, "purchaseId": null, "reason": "test", "createdBy": signature(&grants[0])})
        ]
    );
    assert_eq!(
        revocations,
        [
            json!({"at": "now", "kind": "revocation", "grantId": grant, "revokedAt": "now", "reason": "over", "createdBy": signature(&revocations[0])})
        ]
    );
    assert_eq!(
        by_kind("consumption"),
        [
            json!({"at": "now", "kind": "consumption", "amount": 5, "usageEventKey": format!("hold {hold_id}"), "sequenceNo": 2, "reasonCode": null, "occurredAt": "now",
                   "metadata": {"a": 1}, "consumedAmount": 35, "heldAmount": 0, "availableAmount": 65}),
            json!({"at": "now", "kind": "consumption", "amount": 30, "usageEventKey": "one", "sequenceNo": 1, "reasonCode": "drawing", "occurredAt": "now",
                   "metadata": {"model": "large"}, "consumedAmount": 30, "heldAmount": 0, "availableAmount": 70}),
        ]
    );
    assert_eq!(
        by_kind("hold"),
        [
            json!({"at": "now", "kind": "hold", "holdId": hold_id, "amount": 20, "usageEventKey": "two", "reasonCode": null, "expiresAt": "now", "metadata": {"a": 1},
                "consumedAmount": 30, "heldAmount": 20, "availableAmount": 50})
        ]
    );
    assert_eq!(
        by_kind("hold_resolution"),
        [
            json!({"at": "now", "kind": "hold_resolution", "holdId": hold_id, "resolution": "committed", "amount": 5,
                "consumedAmount": 35, "heldAmount": 0, "availableAmount": 65})
        ]
    );

    // The same by pages.
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let body = page(&gateway, &query).await;
        paged.extend(body["entries"].as_array().unwrap().clone());
        match body["nextCursor"].as_str() {
            Some(cursor) => query = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(Value::from(paged), whole["entries"]);
}

#[tokio::test]
async fn a_count_has_a_ledger_and_a_history() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 3).await;
    let recount = gateway.as_service(Method::PUT, "/api/billing/resources/projects");
    assert_eq!(answer(recount.json(&json!({"count": 2}))).await.0, 200);
    let path = "/api/billing/limitations/projects.max/ledger?limit=1";
    let (_, body) = answer(gateway.as_service(Method::GET, path)).await;
    assert_eq!(
        without_instants(body["entries"][0].clone()),
        json!({"at": "now", "kind": "count_change", "changeKind": "repair_recount", "amount": 2, "usageEventKey": null, "reasonCode": null,
               "occurredAt": "now", "metadata": null, "consumedAmount": 2, "heldAmount": 0, "availableAmount": 1})
    );
    let path = "/api/billing/limitations/projects.max/history?step=hour";
    let (status, body) = answer(gateway.as_service(Method::GET, path)).await;
    assert_eq!(
        (
            status,
            &body["code"],
            &body["step"],
            body["points"].as_array().unwrap().len()
        ),
        (200, &json!("projects.max"), &json!("hour"), 24)
    );
    // The entity is younger than any full hour, or at least than the one before the last.
    assert_eq!(
        without_instants(body["points"][0].clone()),
        json!({"at": "now", "granted": 0, "consumed": 0, "available": 0})
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_page_or_a_chart_is_named() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    for (path, status, code, field) in [
        (format!("{LEDGER}?limit=0"), 400, "VALIDATION_FAILED", "limit"),
        (format!("{LEDGER}?limit=201"), 400, "VALIDATION_FAILED", "limit"),
        (format!("{LEDGER}?cursor=x"), 400, "VALIDATION_FAILED", "cursor"),
        (
            format!("{LEDGER}?cursor={}", "1".repeat(500)),
            400,
            "VALIDATION_FAILED",
            "cursor",
        ),
        (format!("{HISTORY}?step=week"), 400, "VALIDATION_FAILED", "step"),
        (
            format!("{HISTORY}?step={}", "hour".repeat(9)),
            400,
            "VALIDATION_FAILED",
            "step",
        ),
        (format!("{HISTORY}?from=yesterday"), 400, "VALIDATION_FAILED", "from"),
        (format!("{HISTORY}?to=1"), 400, "VALIDATION_FAILED", "to"),
        (
            format!("{HISTORY}?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z"),
            400,
            "VALIDATION_FAILED",
            "from",
        ),
        (
            format!("{HISTORY}?from=1970-01-01T00:00:00Z&to=9999-12-31T23:59:59.999Z"),
            400,
            "VALIDATION_FAILED",
            "to",
        ),
        (
            "/api/billing/limitations/no.such/ledger".into(),
            404,
            "DEFINITION_NOT_FOUND",
            "",
        ),
        (
            "/api/billing/limitations/no.such/history".into(),
            404,
            "DEFINITION_NOT_FOUND",
            "",
        ),
        (
            "/api/billing/limitations/%ff/ledger".into(),
            400,
            "VALIDATION_FAILED",
            "code",
        ),
        (
            format!("/api/billing/limitations/{}/history", "c".repeat(65)),
            400,
            "VALIDATION_FAILED",
            "code",
        ),
    ] {
        let fields: Vec<String> = [field]
            .iter()
            .filter(|field| !field.is_empty())
            .map(|&field| field.into())
            .collect();
        let refused = refusal(gateway.as_service(Method::GET, &path)).await;
        assert_eq!(refused, (status, code.to_owned(), fields), "{path}");
    }
    // The ends of time.
    for query in [
        "?to=1970-01-01T00:00:00Z",
        "?step=hour&from=9999-12-31T23:30:00Z&to=9999-12-31T23:59:59.999Z",
    ] {
        let (status, body) = answer(gateway.as_service(Method::GET, &format!("{HISTORY}{query}"))).await;
        assert_eq!(status, 200, "{query}: {body}");
    }
    for path in [LEDGER, HISTORY] {
        let unknown = gateway
            .request(Method::GET, path)
            .bearer_auth(&gateway.service)
            .header("X-Billable-Entity-Id", "99");
        assert_eq!(refusal(unknown).await, (404, "SUBJECT_NOT_FOUND".into(), vec![]));
        let nobody = gateway.request(Method::GET, path).bearer_auth(&gateway.service);
        assert_eq!(refusal(nobody).await.1, "SUBJECT_REQUIRED");
        assert_eq!(
            refusal(gateway.as_service(Method::POST, path)).await.1,
            "METHOD_NOT_ALLOWED"
        );
    }
}

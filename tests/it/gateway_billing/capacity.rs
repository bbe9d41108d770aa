//! Counts of a resource, and caps.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const PROJECTS: &str = "/api/billing/resources/projects";

fn recount(gateway: &TestGateway, count: &Value) -> RequestBuilder {
    gateway.as_service(Method::PUT, PROJECTS).json(&json!({"count": count}))
}

#[tokio::test]
async fn a_recount_says_what_is_used() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 3).await;
    let (status, body) = answer(recount(&gateway, &json!(2))).await;
    let limitation = json!({
        "code": "projects.max", "name": "Projects", "entitlementType": "capacity", "enforcementMode": "hard_lock_resource",
        "unit": "project", "scale": 0, "windowInterval": null, "windowAnchor": null, "grantedAmount": 3, "consumedAmount": 2,
        "heldAmount": 0, "effectiveAmount": 1, "availableAmount": 1, "hardLimitAmount": 3, "overLimit": false, "lockState": "none",
        "nextChangeAt": null, "windowStartAt": "1970-01-01T00:00:00.000Z", "windowEndAt": "9999-12-31T23:59:59.999Z",
        "lastRecomputedAt": "now",
    });
    assert_eq!(
        (status, without_instants(body.clone())),
        (200, json!({"limitation": limitation}))
    );
    assert_eq!(answer(recount(&gateway, &json!(2))).await, (200, body));

    // More than is allowed: the resource is locked, and told so.
    let (_, body) = answer(recount(&gateway, &json!(5))).await;
    let limitation = &body["limitation"];
    assert_eq!(
        (
            &limitation["overLimit"],
            &limitation["lockState"],
            &limitation["availableAmount"]
        ),
        (&json!(true), &json!("projects_locked_over_cap"), &json!(0))
    );
}

#[tokio::test]
async fn a_full_capacity_says_how_much_must_go() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 3).await;
    let create = |amount: u64| json!({"capability": "projects.create", "amount": amount, "usageEventKey": "k"});
    let hold = |body: &Value| gateway.as_service(Method::POST, "/api/billing/holds").json(body);
    for (count, lock_state, over_by) in [(3, "none", 2), (5, "projects_locked_over_cap", 4)] {
        assert_eq!(answer(recount(&gateway, &json!(count))).await.0, 200);
        for (request, what) in [(gateway.consume(&create(2)), "use"), (hold(&create(2)), "hold")] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 409);
            assert!(!response.headers().contains_key("retry-after"), "time does not help");
            let body: Value = response.json().await.unwrap();
            assert_eq!(
                body,
                json!({
                    "type": "urn:consumable:error:billing-capacity-locked", "title": "The capacity does not leave room for this",
                    "status": 409, "detail": format!("projects.max does not leave room for this {what}"), "code": "BILLING_CAPACITY_LOCKED",
                    "details": {"limitationCode": "projects.max", "used": count, "cap": 3, "overBy": over_by,
                                "lockState": lock_state, "requiredReduction": over_by},
                })
            );
        }
    }
    // With as many gone as it said, it fits.
    assert_eq!(answer(recount(&gateway, &json!(1))).await.0, 200);
    let (status, body) = answer(gateway.consume(&create(2))).await;
    assert_eq!(
        (status, &body["limitations"][0]["availableAmount"]),
        (200, &json!(0)),
        "{body}"
    );
    // What is held is used, too.
    assert_eq!(answer(recount(&gateway, &json!(0))).await.0, 200);
    let held = json!({"capability": "projects.create", "amount": 2, "usageEventKey": "held"});
    assert_eq!(answer(hold(&held)).await.0, 201);
    let (status, body) =
        answer(gateway.consume(&json!({"capability": "projects.create", "amount": 2, "usageEventKey": "more"}))).await;
    assert_eq!(
        (status, &body["details"]["used"], &body["details"]["overBy"]),
        (409, &json!(2), &json!(1)),
        "{body}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_recount_is_named() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    for count in [
        Value::Null,
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(1_u64 << 53),
        json!(u64::MAX),
    ] {
        let refused = refusal(recount(&gateway, &count)).await;
        assert_eq!(
            refused,
            (400, "VALIDATION_FAILED".into(), vec!["count".into()]),
            "{count}"
        );
    }
    for (path, status, code, fields) in [
        ("/api/billing/resources/castles", 404, "DEFINITION_NOT_FOUND", vec![]),
        (
            "/api/billing/resources/%ff",
            400,
            "VALIDATION_FAILED",
            vec!["resourceCode".to_owned()],
        ),
        (
            &format!("/api/billing/resources/{}", "r".repeat(65)),
            400,
            "VALIDATION_FAILED",
            vec!["resourceCode".to_owned()],
        ),
    ] {
        let refused = refusal(gateway.as_service(Method::PUT, path).json(&json!({"count": 1}))).await;
        assert_eq!(refused, (status, code.to_owned(), fields), "{path}");
    }
    let nobody = gateway.request(Method::PUT, PROJECTS).bearer_auth(&gateway.service);
    assert_eq!(refusal(nobody.json(&json!({"count": 1}))).await.1, "SUBJECT_REQUIRED");
    let unknown = gateway
        .request(Method::PUT, PROJECTS)
        .bearer_auth(&gateway.service)
        .header("X-Billable-Entity-Id", "99");
    assert_eq!(
        refusal(unknown.json(&json!({"count": 1}))).await,
        (404, "SUBJECT_NOT_FOUND".into(), vec![])
    );
}

fn release(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway
        .as_service(Method::POST, &format!("{PROJECTS}/release"))
        .json(body)
}

#[tokio::test]
async fn what_was_taken_is_given_back_once() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 3).await;
    let create = json!({"capability": "projects.create", "amount": 3, "usageEventKey": "create"});
    assert_eq!(answer(gateway.consume(&create)).await.0, 200);
    // The same again gives back nothing more.
    let given = json!({"amount": 2, "usageEventKey": "gone"});
    for _ in 0..2 {
        let (status, body) = answer(release(&gateway, &given)).await;
        let limitation = &body["limitation"];
        assert_eq!(
            (
                status,
                &limitation["code"],
                &limitation["consumedAmount"],
                &limitation["availableAmount"]
            ),
            (200, &json!("projects.max"), &json!(1), &json!(2)),
            "{body}"
        );
    }
    let other = json!({"amount": 1, "usageEventKey": "gone"});
    assert_eq!(
        refusal(release(&gateway, &other)).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
    // The key may stand in the header.
    let by_header = release(&gateway, &json!({"amount": 1})).header("Idempotency-Key", "last");
    let (status, body) = answer(by_header).await;
    assert_eq!(
        (status, &body["limitation"]["consumedAmount"]),
        (200, &json!(0)),
        "{body}"
    );

    for (body, code, field) in [
        (json!({"amount": 1}), "IDEMPOTENCY_KEY_REQUIRED", "usageEventKey"),
        (
            json!({"amount": 1, "usageEventKey": "two words"}),
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (json!({"usageEventKey": "k"}), "VALIDATION_FAILED", "amount"),
        (
            json!({"amount": 0, "usageEventKey": "k"}),
            "VALIDATION_FAILED",
            "amount",
        ),
        (
            json!({"amount": -1, "usageEventKey": "k"}),
            "VALIDATION_FAILED",
            "amount",
        ),
        // There are not so many.
        (
            json!({"amount": 1, "usageEventKey": "k"}),
            "VALIDATION_FAILED",
            "amount",
        ),
        (
            json!({"amount": 1, "usageEventKey": "k", "colour": 1}),
            "VALIDATION_FAILED",
            "colour",
        ),
    ] {
        let refused = refusal(release(&gateway, &body)).await;
        assert_eq!(refused, (400, code.to_owned(), vec![field.to_owned()]), "{body}");
    }
    let castles = gateway.as_service(Method::POST, "/api/billing/resources/castles/release");
    assert_eq!(
        refusal(castles.json(&given)).await,
        (404, "DEFINITION_NOT_FOUND".into(), vec![])
    );
    let mut session = gateway.test.session().await;
    let found = crate::support::story::differences(&mut session, entity).await;
    assert_eq!(found, [""; 0]);
}

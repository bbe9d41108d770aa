//! How the engine does, over HTTP: what is due, set aside, late, over a limit, planned and installed.

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};
use crate::support::plan::{Template, plan};

/// The entries of a list of the console.
async fn entries(gateway: &TestGateway, list: &str) -> Value {
    let path = format!("/api/console/billing/{list}");
    let (status, mut body) = answer(gateway.as_admin(Method::GET, &path)).await;
    assert_eq!((status, &body["nextCursor"]), (200, &Value::Null), "{body}");
    body["entries"].take()
}

#[tokio::test]
async fn what_is_due_late_and_set_aside_is_listed() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    for list in ["due", "failing", "late", "over-limit", "plan-changes"] {
        assert_eq!(entries(&gateway, list).await, json!([]), "{list}");
    }
    // One that ended half an hour ago, and one that will end.
    let mut session = gateway.test.session().await;
    for statement in [
        "SET timestamp = UNIX_TIMESTAMP() - 3600".to_owned(),
        format!(
            "CALL entitlement_grant_v1({entity}, 'ai.credits', 100, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 1800 SECOND, NULL, 'past', 'test', 'test')"
        ),
        "SET timestamp = DEFAULT".to_owned(),
        format!(
            "CALL entitlement_grant_v1({entity}, 'ai.credits', 50, 'promo', NULL, '2199-01-01', NULL, 'to-come', 'test', 'test')"
        ),
    ] {
        session.query_drop(statement).await.unwrap();
    }
    let late = entries(&gateway, "late").await;
    assert_eq!(late.as_array().unwrap().len(), 1, "{late}");
    assert!(late[0]["lateMilliseconds"].as_i64().unwrap() >= 1_800_000, "{late}");
    assert_eq!(
        (
            &late[0]["billableEntityId"],
            &late[0]["entityRef"],
            &late[0]["code"],
            &late[0]["cause"]
        ),
        (
            &entity.into(),
            &json!("acme"),
            &json!("ai.credits"),
            &json!("grant_boundary")
        )
    );
    let due = json!({
        "billableEntityId": entity, "entityRef": "acme", "code": "ai.credits", "nextChangeAt": "2199-01-01T00:00:00.000Z",
        "dueAt": "2199-01-01T00:00:00.000Z", "isDue": false, "failureCount": 0, "lastFailure": null, "retryAt": null,
    });
    assert_eq!(entries(&gateway, "due").await, json!([due]));
    assert_eq!(entries(&gateway, "failing").await, json!([]));

    let aside = format!(
        "UPDATE billing_entitlement_balances SET failure_count = 3, last_failure = 'Poison', retry_at = '2199-02-01' WHERE subject_id = {entity}"
    );
    session.query_drop(aside).await.unwrap();
    assert_eq!(
        entries(&gateway, "failing").await,
        json!([{
            "billableEntityId": entity, "entityRef": "acme", "code": "ai.credits", "failureCount": 3, "lastFailure": "Poison",
            "nextChangeAt": "2199-01-01T00:00:00.000Z", "retryAt": "2199-02-01T00:00:00.000Z",
        }])
    );
    let due = entries(&gateway, "due").await;
    assert_eq!(
        (&due[0]["dueAt"], &due[0]["lastFailure"]),
        (&json!("2199-02-01T00:00:00.000Z"), &json!("Poison"))
    );
}

#[tokio::test]
async fn who_is_over_and_what_is_planned_is_listed() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 5).await;
    let count = gateway
        .as_service(Method::PUT, "/api/billing/resources/projects")
        .json(&json!({"count": 7}));
    assert_eq!(answer(count).await.0, 200);
    assert_eq!(
        entries(&gateway, "over-limit").await,
        json!([{
            "billableEntityId": entity, "entityRef": "acme", "code": "projects.max", "grantedAmount": 5, "consumedAmount": 7, "heldAmount": 0,
            "effectiveAmount": -2, "nextChangeAt": null,
        }])
    );
    let mut session = gateway.test.session().await;
    plan(&mut session, "small", &[Template::of("ai.credits", 10)]).await;
    let assign = gateway
        .as_admin(Method::POST, "/api/console/billing/plan-assignments")
        .header("Idempotency-Key", "later")
        .json(&json!({"billableEntityId": entity, "planCode": "small", "quantity": 2, "effectiveAt": "2199-01-01T00:00:00Z"}));
    assert_eq!(answer(assign).await.0, 201);
    assert_eq!(
        entries(&gateway, "plan-changes").await,
        json!([{
            "assignmentId": 1, "billableEntityId": entity, "entityRef": "acme", "planCode": "small", "quantity": 2,
            "effectiveAt": "2199-01-01T00:00:00.000Z", "dueAt": "2199-01-01T00:00:00.000Z", "isDue": false, "failureCount": 0, "lastFailure": null,
            "retryAt": null,
        }])
    );
}

#[tokio::test]
async fn grants_are_listed_with_what_is_left_of_them() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let used = json!({"limitationCode": "ai.credits", "amount": 30, "usageEventKey": "k"});
    assert_eq!(answer(gateway.consume(&used)).await.0, 200);
    gateway.grant(entity, "ai.credits", 50).await;
    let list = format!("grants?billableEntityId={entity}");
    assert_eq!(
        without_instants(entries(&gateway, &list).await),
        json!([
            {"id": 1, "code": "ai.credits", "kind": "promo", "state": "active", "priority": 100, "effectiveAt": "now",
             "endsAt": null, "amount": 100, "givenAmount": 30, "remainingAmount": 70},
            {"id": 2, "code": "ai.credits", "kind": "promo", "state": "active", "priority": 100, "effectiveAt": "now",
             "endsAt": null, "amount": 50, "givenAmount": 0, "remainingAmount": 50},
        ])
    );
    for (query, status, field) in [
        ("", 400, "billableEntityId"),
        ("?billableEntityId=x", 400, "billableEntityId"),
    ] {
        let refused = refusal(gateway.as_admin(Method::GET, &format!("/api/console/billing/grants{query}"))).await;
        assert_eq!(refused, (status, "VALIDATION_FAILED".into(), vec![field.into()]));
    }
}

#[tokio::test]
async fn a_procedure_that_was_edited_by_hand_is_told() {
    let gateway = TestGateway::start().await;
    let path = "/api/console/billing/procedures";
    let (status, body) = answer(gateway.as_admin(Method::GET, path)).await;
    assert_eq!((status, &body["differences"]), (200, &json!([])), "{body}");
    let installed = body["entries"].as_array().unwrap();
    let one = installed
        .iter()
        .find(|entry| entry["procedure"] == "operator_due_v1")
        .unwrap();
    assert_eq!(one["releaseVersion"], body["release"]);
    assert_eq!(one["contentSha256"].as_str().unwrap().len(), 64);

    let mut session = gateway.test.session().await;
    let edit = "ALTER PROCEDURE operator_due_v1 COMMENT 'By hand'";
    session.query_drop(edit).await.unwrap();
    // And one that somebody made anew under his own name.
    session.query_drop("DROP PROCEDURE operator_late_v1").await.unwrap();
    let anew = "CREATE PROCEDURE operator_late_v1(p_limit INT) SELECT 'nothing is ever late'";
    session.query_drop(anew).await.unwrap();
    let (_, body) = answer(gateway.as_admin(Method::GET, path)).await;
    let line = |name: &str| format!("edited     {name}: changed by hand since it was installed");
    assert_eq!(
        body["differences"],
        json!([line("operator_due_v1"), line("operator_late_v1")]),
        "{body}"
    );
}

#[tokio::test]
async fn only_operators_look() {
    let gateway = TestGateway::start().await;
    for list in [
        "due",
        "failing",
        "late",
        "over-limit",
        "plan-changes",
        "procedures",
        "grants?billableEntityId=1",
    ] {
        let path = format!("/api/console/billing/{list}");
        assert_eq!(refusal(gateway.as_service(Method::GET, &path)).await.0, 403, "{list}");
        assert_eq!(refusal(gateway.request(Method::GET, &path)).await.0, 401, "{list}");
        assert_eq!(refusal(gateway.as_admin(Method::DELETE, &path)).await.0, 405, "{list}");
    }
    for list in ["due", "failing", "late", "over-limit", "plan-changes"] {
        for limit in ["0", "201", "x"] {
            let path = format!("/api/console/billing/{list}?limit={limit}");
            let refused = refusal(gateway.as_admin(Method::GET, &path)).await;
            assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec!["limit".into()]));
        }
    }
}

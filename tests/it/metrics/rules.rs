//! What is counted of what the procedures answer: denials, locks, and what a read refreshed.

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;

use super::{scrape, until};
use crate::support::gateway::{TestGateway, answer};
use crate::support::told::{lock_changes, lock_differences};

#[tokio::test]
async fn what_is_denied_is_counted_by_its_code() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 5).await;
    let denied = async |code: &str| {
        let name = format!("entitlement_denial_total{{code=\"{code}\"}}");
        scrape(&gateway).await[&name].clone()
    };
    let too_much = json!({"limitationCode": "ai.credits", "amount": 6, "usageEventKey": "k"});
    assert_eq!(answer(gateway.consume(&too_much)).await.0, 429);
    assert_eq!(denied("BILLING_LIMIT_EXCEEDED").await, "1");
    let check = |body| gateway.as_service(Method::POST, "/api/billing/check").json(&body);
    let (status, body) = answer(check(json!({"limitationCode": "ai.credits", "amount": 6}))).await;
    assert_eq!((status, &body["allowed"]), (200, &json!(false)));
    assert_eq!(denied("BILLING_LIMIT_EXCEEDED").await, "2");
    assert_eq!(
        answer(check(json!({"limitationCode": "ai.credits", "amount": 5})))
            .await
            .0,
        200
    );
    // In a batch, each that is refused, though the batch is answered.
    let batch = json!({"requests": [
        {"workspaceSlug": "acme", "limitationCode": "ai.credits", "amount": 6, "usageEventKey": "a"},
        {"workspaceSlug": "acme", "limitationCode": "ai.credits", "amount": 5, "usageEventKey": "b"},
        {"workspaceSlug": "nobody", "limitationCode": "ai.credits", "usageEventKey": "c"},
    ]});
    let batch = gateway
        .as_service(Method::POST, "/api/billing/consume/batch")
        .json(&batch);
    assert_eq!(answer(batch).await.0, 200);
    assert_eq!(denied("BILLING_LIMIT_EXCEEDED").await, "3");
    assert_eq!(denied("SUBJECT_NOT_FOUND").await, "1");
    assert_eq!(answer(gateway.request(Method::POST, "/api/billing/check")).await.0, 401);
    assert_eq!(denied("UNAUTHENTICATED").await, "1");
    assert_eq!(
        scrape(&gateway).await["entitlement_enforcement_duration_seconds_count{operation=\"check\"}"],
        "2"
    );
}

#[tokio::test]
async fn locks_that_come_and_go_are_counted_wherever_they_do() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut dba = gateway.test.session().await;
    let recount = async |count: u64| {
        let recount = gateway.as_service(Method::PUT, "/api/billing/resources/projects");
        let (status, body) = answer(recount.json(&json!({"count": count}))).await;
        assert_eq!(status, 200, "{body}");
        body["limitation"]["lockState"].as_str().unwrap().to_owned()
    };
    let revoke = async |granted: &serde_json::Value, key: &str| {
        let path = format!("/api/console/billing/grants/{}/revoke", granted["grant"]["id"]);
        let revoke = gateway.as_admin(Method::POST, &path).header("Idempotency-Key", key);
        let (status, body) = answer(revoke.json(&json!({"reason": "test"}))).await;
        assert_eq!(status, 200, "{body}");
    };
    let counted = async || {
        until(&gateway, "the database is asked again", |scrape| {
            scrape.contains_key("entitlement_lock_state_transition_total")
        })
        .await["entitlement_lock_state_transition_total"]
            .clone()
    };
    assert_eq!(counted().await, "0");
    let granted = gateway.grant(entity, "projects.max", 3).await;
    // A count that does not lock, one that does, one that stays locked, and less than the limit again.
    let states = [recount(3).await, recount(4).await, recount(5).await, recount(1).await];
    assert!(
        states[1] != "none" && states[1] == states[2] && states[0] == "none" && states[3] == "none",
        "{states:?}"
    );
    // The end of a grant locks; to give back unlocks.
    revoke(&granted, "one").await;
    let give_back = gateway.as_service(Method::POST, "/api/billing/resources/projects/release");
    let give_back = give_back.json(&json!({"amount": 1, "usageEventKey": "gone"}));
    assert_eq!(answer(give_back).await.0, 200);
    // A state is switched on, and off.
    let access = gateway.grant(entity, "workspace.access", 1).await;
    revoke(&access, "two").await;
    let told = lock_changes(&mut dba).await;
    let label = states[1].as_str();
    let expected = [
        ("projects.max", label),
        ("projects.max", "none"),
        ("projects.max", label),
        ("projects.max", "none"),
        ("workspace.access", "none"),
        ("workspace.access", "workspace_expired"),
    ];
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(code, state)| (code.as_str(), state.as_str()))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(lock_differences(&mut dba).await, [""; 0]);
    until(&gateway, "all are counted", |scrape| {
        scrape["entitlement_lock_state_transition_total"] == "6"
    })
    .await;
}

#[tokio::test]
async fn a_read_that_finds_something_due_says_so() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut dba = gateway.test.session().await;
    // Due, and nobody but a reader settles it: the scheduler is told that it failed just now.
    let due = async |dba: &mut mysql_async::Conn, minutes: u32| {
        for statement in [
            "SET timestamp = UNIX_TIMESTAMP() - 3600".to_owned(),
            "START TRANSACTION".to_owned(),
            format!(
                "CALL entitlement_grant_in_tx_v1({entity}, 'ai.credits', 100, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL {minutes} MINUTE, NULL, 'operator', \
                                                 NULL, NULL, 'until-{minutes}', 'test', 'test', @grant, @replayed)"
            ),
            format!(
                "UPDATE billing_entitlement_balances SET failure_count = 1, retry_at = UTC_TIMESTAMP(3) + INTERVAL 2 HOUR WHERE subject_id = {entity}"
            ),
            "COMMIT".to_owned(),
            "SET timestamp = DEFAULT".to_owned(),
        ] {
            dba.query_drop(statement).await.unwrap();
        }
    };
    let refreshed = async || scrape(&gateway).await["entitlement_stale_balance_refresh_total"].clone();
    due(&mut dba, 20).await;
    let limitations = || gateway.as_service(Method::GET, "/api/billing/limitations");
    assert_eq!(answer(limitations()).await.0, 200);
    assert_eq!(refreshed().await, "1");
    assert_eq!(answer(limitations()).await.0, 200);
    assert_eq!(refreshed().await, "1");
    due(&mut dba, 30).await;
    let check = json!({"limitationCode": "ai.credits"});
    let check = gateway.as_service(Method::POST, "/api/billing/check").json(&check);
    assert_eq!(answer(check).await.0, 200);
    assert_eq!(refreshed().await, "2");
    due(&mut dba, 40).await;
    let batch = json!({"billableEntityIds": [entity], "codes": ["ai.credits"]});
    let batch = gateway
        .as_service(Method::POST, "/api/billing/check/batch")
        .json(&batch);
    assert_eq!(answer(batch).await.0, 200);
    assert_eq!(refreshed().await, "3");
    assert_eq!(crate::support::story::differences(&mut dba, entity).await, [""; 0]);
}

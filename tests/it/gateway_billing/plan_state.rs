//! `GET /api/billing/plan-state` over HTTP.

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};
use crate::support::plan::{Template, plan};

const STATE: &str = "/api/billing/plan-state";

#[tokio::test]
async fn the_plan_before_it_and_after_it_and_those_there_are() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut session = gateway.test.session().await;
    let (_, nothing) = answer(gateway.as_service(Method::GET, STATE)).await;
    assert_eq!(
        nothing,
        json!({"currentPlan": null, "nextPlanChange": null, "availablePlans": [], "history": []})
    );

    let bonus = Template {
        kind: "plan_bonus",
        ..Template::of("ai.credits", 5).paid().days(30)
    };
    plan(
        &mut session,
        "small",
        &[bonus, Template::of("projects.max", 3), Template::of("ai.credits", 10)],
    )
    .await;
    plan(&mut session, "empty", &[]).await;
    plan(&mut session, "old", &[Template::of("ai.credits", 1)]).await;
    for (code, at, key) in [
        ("old", None, "a"),
        ("small", None, "b"),
        ("small", Some("2198-01-01"), "c"),
        ("empty", Some("2199-01-01"), "d"),
    ] {
        let call = "CALL billing_assign_plan_v1(?, ?, 2, ?, NULL, NULL, ?, 'dba')";
        session.exec_drop(call, (entity, code, at, key)).await.unwrap();
    }
    session
        .query_drop("UPDATE billing_plans SET archived_at = UTC_TIMESTAMP(3) WHERE code = 'old'")
        .await
        .unwrap();

    let (status, state) = answer(gateway.as_service(Method::GET, STATE)).await;
    let assignment = |id: u64, code: &str, status: &str, effective: &str, ended: Value| {
        json!({"assignmentId": id, "planCode": code, "planName": code, "quantity": 2, "status": status, "effectiveAt": effective,
               "endedAt": ended, "periodStartAt": null, "periodEndAt": null})
    };
    let entitlement = |code: &str,
                       name: &str,
                       unit: &str,
                       kind: &str,
                       amount: u64,
                       policies: [&str; 2],
                       days: Value| {
        json!({"code": code, "name": name, "unit": unit, "scale": 0, "windowInterval": null, "grantKind": kind, "amount": amount,
               "effectivePolicy": policies[0], "durationPolicy": policies[1], "durationDays": days})
    };
    let whole = ["on_assignment_current", "while_current"];
    let next = &state["nextPlanChange"]["effectiveAt"];
    assert_eq!(next, "2199-01-01T00:00:00.000Z");
    let names: Vec<(String, String)> = session
        .query("SELECT name, unit FROM billing_entitlement_definitions WHERE code IN ('ai.credits', 'projects.max') ORDER BY code")
        .await
        .unwrap();
    let [(credits, credit), (projects, project)] = &names[..] else {
        panic!("{names:?}")
    };
    assert_eq!(
        (status, without_instants(state.clone())),
        (
            200,
            without_instants(json!({
                "currentPlan": assignment(2, "small", "current", "now", Value::Null),
                "nextPlanChange": assignment(4, "empty", "scheduled", "2199-01-01T00:00:00.000Z", Value::Null),
                "availablePlans": [
                    {"planCode": "empty", "planName": "empty", "isCurrent": false, "entitlements": []},
                    {"planCode": "small", "planName": "small", "isCurrent": true, "entitlements": [
                        entitlement("ai.credits", credits, credit, "plan_base", 10, whole, Value::Null),
                        entitlement("ai.credits", credits, credit, "plan_bonus", 5, ["on_period_paid", "fixed_duration"], json!(30)),
                        entitlement("projects.max", projects, project, "plan_base", 3, whole, Value::Null),
                    ]},
                ],
                "history": [
                    assignment(3, "small", "cancelled", "2198-01-01T00:00:00.000Z", json!("now")),
                    assignment(1, "old", "ended", "now", json!("now")),
                ],
            }))
        )
    );
}

#[tokio::test]
async fn a_plan_state_wants_a_caller_and_a_subject() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    assert_eq!(refusal(gateway.request(Method::GET, STATE)).await.1, "UNAUTHENTICATED");
    let nobody = gateway.request(Method::GET, STATE).bearer_auth(&gateway.service);
    assert_eq!(refusal(nobody).await.1, "SUBJECT_REQUIRED");
    let unknown = gateway
        .request(Method::GET, STATE)
        .bearer_auth(&gateway.service)
        .header("X-Billable-Entity-Id", "99");
    assert_eq!(refusal(unknown).await, (404, "SUBJECT_NOT_FOUND".into(), vec![]));
    assert_eq!(refusal(gateway.as_service(Method::POST, STATE)).await.0, 405);
}

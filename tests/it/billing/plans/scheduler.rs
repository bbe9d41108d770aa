//! Plans that become current though nobody asks.

use chrono::{DateTime, NaiveDateTime, Utc};
use consumable::procedures::billing::apply_due_assignments;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use reqwest::Method;

use crate::support::gateway::{Events, TestGateway, answer};
use crate::support::plan::{Assign, Template, plan};
use crate::support::story::{CODE, Story, define, definition, differences};

async fn next_plan_grant(events: &mut Events) -> Value {
    loop {
        let frame = events.next().await.unwrap();
        if frame.data.contains("plan_grant") {
            return serde_json::from_str(&frame.data).unwrap();
        }
    }
}

#[tokio::test]
async fn a_plan_that_becomes_current_is_pushed() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut session = gateway.test.session().await;
    plan(&mut session, "small", &[Template::of("ai.credits", 10)]).await;
    plan(&mut session, "large", &[Template::of("ai.credits", 20)]).await;
    let mut events = gateway.listen(None).await;
    // By another writer than this gateway, whose scheduler hears of it nevertheless, a day before its next tick.
    let now: (String,) = session
        .query_first("SELECT CAST(UTC_TIMESTAMP(3) + INTERVAL 1500000 MICROSECOND AS CHAR)")
        .await
        .unwrap()
        .unwrap();
    let instant: DateTime<Utc> = NaiveDateTime::parse_from_str(&now.0, "%Y-%m-%d %H:%M:%S%.f")
        .unwrap()
        .and_utc();
    for (code, at) in [("small", None), ("large", Some(&now.0))] {
        let call = "CALL billing_assign_plan_v1(?, ?, NULL, ?, NULL, NULL, ?, 'dba')";
        session.exec_drop(call, (entity, code, at, code)).await.unwrap();
    }
    // The grant of the first plan; then the end of that, and the grant of the next one.
    for _ in 0..3 {
        let data = next_plan_grant(&mut events).await;
        assert_eq!(data["changedCodes"], json!(["ai.credits"]));
    }
    println!(
        "pushed {} ms after its instant",
        (Utc::now() - instant).num_milliseconds()
    );
    assert!(Utc::now() >= instant);
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(body["limitations"][0]["grantedAmount"], 20);
    let (_, state) = answer(gateway.as_service(Method::GET, "/api/billing/plan-state")).await;
    assert_eq!(
        (&state["currentPlan"]["planCode"], &state["nextPlanChange"]),
        (&json!("large"), &Value::Null)
    );
    assert_eq!(differences(&mut session, entity).await, [""; 0]);
}

#[tokio::test]
async fn a_change_that_cannot_be_made_is_set_aside() {
    let mut story = Story::of(definition::MONTHLY).await;
    define(&mut story.session, "story.second", definition::BALANCE).await;
    story
        .session
        .query_drop("SET timestamp = UNIX_TIMESTAMP() - 3600")
        .await
        .unwrap();
    story.plan("good", &[Template::of(CODE, 10)]).await;
    story
        .plan("bad", &[Template::of(CODE, 20), Template::of("story.second", 1)])
        .await;
    let first = story.subject;
    for (name, to) in [("one", "good"), ("two", "bad"), ("three", "good")] {
        story.subject = story.new_subject(name).await;
        story.assign(Assign::to("good").times(5)).await;
        let call = format!(
            "CALL billing_assign_plan_in_tx_v1({}, (SELECT id FROM billing_plans WHERE code = '{to}'), 1, UTC_TIMESTAMP(3) + INTERVAL 1800 SECOND, \
             NULL, NULL, NULL, '{name}', 'story', @assignment_id, @changed)",
            story.subject
        );
        story.in_transaction(&call).await.unwrap();
    }
    let off = "UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'story.second'";
    story.session.query_drop(off).await.unwrap();
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();

    let database = story.database.connect().await;
    let applied = apply_due_assignments(&database, 100).await.unwrap();
    assert_eq!((applied.applied, applied.failed), (2, 1));
    assert!(
        applied
            .wait_milliseconds
            .is_some_and(|wait| (110_000..=120_000).contains(&wait)),
        "{applied:?}"
    );
    let (failures, failure, aside): (u32, String, i64) = story
        .session
        .query_first("SELECT failure_count, last_failure, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), retry_at) FROM billing_plan_assignments WHERE status = 'scheduled'")
        .await
        .unwrap()
        .unwrap();
    assert!(
        failures == 1 && failure.starts_with("DEFINITION_INACTIVE: ") && (110..=120).contains(&aside),
        "{failure} {aside}"
    );
    let shown: Vec<mysql_async::Row> = story.session.query("CALL operator_plan_changes_v1(10)").await.unwrap();
    let shown: (String, u32, bool) = (
        shown[0].get("plan_code").unwrap(),
        shown[0].get("failure_count").unwrap(),
        shown[0].get("is_due").unwrap(),
    );
    assert_eq!(shown, ("bad".to_owned(), 1, false));
    story.subject = first + 2;
    story.says("granted 50").await;

    // Nothing of it stays, it stands in nobody's way, and it is tried again later and later.
    for (count, delay) in [(2, 240), (3, 480)] {
        let sooner = "UPDATE billing_plan_assignments SET retry_at = UTC_TIMESTAMP(3) WHERE status = 'scheduled'";
        story.session.query_drop(sooner).await.unwrap();
        assert_eq!(apply_due_assignments(&database, 100).await.unwrap().failed, 1);
        let aside = "SELECT failure_count, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), retry_at) FROM billing_plan_assignments WHERE status = 'scheduled'";
        let (failures, seconds): (u32, i64) = story.session.query_first(aside).await.unwrap().unwrap();
        assert!(
            failures == count && (delay - 10..=delay).contains(&seconds),
            "{failures} {seconds}"
        );
    }
    story
        .session
        .query_drop("UPDATE billing_entitlement_definitions SET is_active = TRUE")
        .await
        .unwrap();
    story
        .session
        .query_drop("UPDATE billing_plan_assignments SET retry_at = UTC_TIMESTAMP(3) WHERE status = 'scheduled'")
        .await
        .unwrap();
    let applied = apply_due_assignments(&database, 100).await.unwrap();
    assert_eq!(
        (applied.applied, applied.failed, applied.wait_milliseconds),
        (1, 0, None)
    );
    story.says("granted 20").await;
    let clean = "SELECT COUNT(*) FROM billing_plan_assignments WHERE failure_count > 0 OR last_failure IS NOT NULL OR retry_at IS NOT NULL";
    assert_eq!(story.session.query_first::<u64, _>(clean).await.unwrap(), Some(0));
    story.end().await;
}

//! From plan to plan, and from period to period.

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Grant, LOCKED, Story, define, definition};

#[tokio::test]
async fn m5_a_downgrade_in_a_window_gives_nothing_back() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("large", &[Template::of(CODE, 5000)]).await;
    story.plan("small", &[Template::of(CODE, 1000)]).await;
    story.assign(Assign::to("large")).await;
    story.consume(3000).await;
    story.at("2026-03-10 00:00:00.000").await;
    story.assign(Assign::to("small")).await;
    story
        .says("granted 1000, consumed 3000, effective -2000, available 0, over 1")
        .await;
    story.grant(Grant::of("topup", 500)).await;
    story
        .says("granted 1500, consumed 3000, effective -1500, available 500")
        .await;
    story.consume(500).await;
    story.is_refused(1).await;
    story.at("2026-04-01 00:00:00.000").await;
    story.says("granted 1000, consumed 0, available 1000").await;
    story.end().await;
}

#[tokio::test]
async fn m6_an_upgrade_in_a_window_is_no_fresh_one() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("small", &[Template::of(CODE, 1000)]).await;
    story.plan("large", &[Template::of(CODE, 5000)]).await;
    story.assign(Assign::to("small")).await;
    story.consume(800).await;
    story.assign(Assign::to("large")).await;
    story.says("granted 5000, consumed 800, available 4200").await;
    // There and back again is no way to more.
    story.assign(Assign::to("small")).await;
    story.says("granted 1000, consumed 800, available 200").await;
    story.end().await;
}

#[tokio::test]
async fn a_quantity_is_a_change_and_multiplies() {
    let mut story = Story::of(definition::MONTHLY).await;
    define(&mut story.session, "story.open", definition::STATE).await;
    story
        .plan("seats", &[Template::of(CODE, 100), Template::of("story.open", 1)])
        .await;
    let (one, _) = story.assign(Assign::to("seats")).await;
    story.consume(90).await;
    let (three, changed) = story.assign(Assign::to("seats").times(3)).await;
    assert!(changed && one != three);
    story.says("granted 300, consumed 90, available 210").await;
    assert_eq!(
        story.grants().await[2..],
        [
            "story.limit plan_base 300: 2026-03-01 00:00:00.000 .. never",
            "story.open plan_base 1: 2026-03-01 00:00:00.000 .. never",
        ]
    );
    assert_eq!(story.assign(Assign::to("seats").times(3)).await, (three, false));
    story.assign(Assign::to("seats").times(2)).await;
    story.says("granted 200, consumed 90, available 110").await;
    story.plan("huge", &[Template::of(CODE, 9_007_199_254_740_991)]).await;
    assert_eq!(
        story.try_assign(Assign::to("huge").times(2)).await,
        Err("VALIDATION_FAILED".to_owned())
    );
    story.says("granted 200, consumed 90, available 110").await;
    story.end().await;
}

#[tokio::test]
async fn a_state_is_off_when_the_plan_ends() {
    let mut story = Story::of(definition::STATE).await;
    story.plan("pro", &[Template::of(CODE, 1)]).await;
    let (assignment, _) = story.assign(Assign::to("pro").by("sub_1")).await;
    story.says("granted 1, lock none").await;
    // Another subscription to the same plan is another assignment: the end of the first one must not end it.
    let (other, changed) = story.assign(Assign::to("pro").by("sub_2")).await;
    assert!(changed);
    assert!(!story.end_plan(assignment).await);
    story.says("granted 1, lock none").await;
    assert!(story.end_plan(other).await);
    story.says(&format!("granted 0, lock {LOCKED}")).await;
    story.end().await;
}

#[tokio::test]
async fn a_renewal_leaves_grants_as_they_are() {
    let mut story = Story::of(definition::BALANCE).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    let renewal = Assign::to("pro").by("sub_1");
    let (assignment, _) = story
        .assign(renewal.period("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000"))
        .await;
    story.consume(60).await;
    story.at("2026-04-01 00:00:01.000").await;
    let told = renewal.period("2026-04-01 00:00:00.000", "2026-05-01 00:00:00.000");
    assert_eq!(story.assign(told).await, (assignment, false));
    story.says("granted 100, consumed 60, available 40").await;
    // Late news of March does not bring it back, and neither does a renewal without a period.
    let late = renewal.period("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000");
    assert_eq!(story.assign(late).await, (assignment, false));
    assert_eq!(story.assign(renewal).await, (assignment, false));
    assert_eq!(
        period(&mut story, assignment).await,
        "2026-04-01 00:00:00.000 2026-05-01 00:00:00.000"
    );
    assert_eq!(story.grants().await.len(), 1);
    // A plan that takes nobody new keeps whom it has.
    story
        .session
        .query_drop("UPDATE billing_plans SET archived_at = UTC_TIMESTAMP(3)")
        .await
        .unwrap();
    assert_eq!(story.assign(renewal).await, (assignment, false));
    story.end().await;
}

async fn period(story: &mut Story, assignment: u64) -> String {
    let query = "SELECT CONCAT(period_start_at, ' ', period_end_at) FROM billing_plan_assignments WHERE id = ?";
    story.session.exec_first(query, (assignment,)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_period_that_is_over_grants_nothing() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .plan(
            "pro",
            &[
                Template::of(CODE, 10).period(),
                Template {
                    kind: "plan_bonus",
                    ..Template::of(CODE, 5).paid().days(20)
                },
            ],
        )
        .await;
    story.at("2026-04-10 00:00:00.000").await;
    let (assignment, _) = story
        .assign(Assign::to("pro").period("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000"))
        .await;
    story
        .pay(assignment, "2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000")
        .await;
    assert_eq!(story.grants().await, [""; 0]);
    // One that is still to come is granted, from its start on; one that has begun, from now on and with its own end.
    story
        .pay(assignment, "2026-05-01 00:00:00.000", "2026-06-01 00:00:00.000")
        .await;
    story
        .pay(assignment, "2026-04-01 00:00:00.000", "2026-05-01 00:00:00.000")
        .await;
    assert_eq!(
        story.grants().await,
        [
            "story.limit plan_base 10: 2026-05-01 00:00:00.000 .. 2026-06-01 00:00:00.000",
            "story.limit plan_bonus 5: 2026-05-01 00:00:00.000 .. 2026-05-21 00:00:00.000",
            "story.limit plan_base 10: 2026-04-10 00:00:00.000 .. 2026-05-01 00:00:00.000",
            "story.limit plan_bonus 5: 2026-04-10 00:00:00.000 .. 2026-04-21 00:00:00.000",
        ]
    );
    assert_eq!(
        period(&mut story, assignment).await,
        "2026-05-01 00:00:00.000 2026-06-01 00:00:00.000"
    );
    story.end().await;
}

#[tokio::test]
async fn what_was_paid_for_an_ended_plan_is_granted_but_not_what_ends_with_it() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .plan(
            "pro",
            &[
                Template::of(CODE, 10).paid(),
                Template {
                    kind: "plan_bonus",
                    ..Template::of(CODE, 5).paid().period()
                },
            ],
        )
        .await;
    let (assignment, _) = story.assign(Assign::to("pro")).await;
    story.end_plan(assignment).await;
    story
        .pay(assignment, "2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000")
        .await;
    assert_eq!(
        story.grants().await,
        ["story.limit plan_bonus 5: 2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000"]
    );
    story.end().await;
}

#[tokio::test]
async fn a_purchase_knows_what_its_payment_granted() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .plan(
            "pro",
            &[
                Template::of(CODE, 10).paid().period(),
                Template {
                    kind: "plan_bonus",
                    ..Template::of(CODE, 5).period()
                },
            ],
        )
        .await;
    let (assignment, _) = story.assign(Assign::to("pro").times(2)).await;
    let purchase = format!(
        "INSERT INTO billing_purchases (subject_id, provider, provider_payment_id, status, currency, paid_minor_units, purchased_at, created_at)
         VALUES ({}, 'stripe', 'in_1', 'paid', 'eur', 100, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
        story.subject
    );
    story.session.query_drop(purchase).await.unwrap();
    let pay = format!("CALL billing_pay_period_in_tx_v1({assignment}, '2026-03-01', '2026-04-01', 1, 'story')");
    for _ in 0..2 {
        story.in_transaction(&pay).await.unwrap();
    }
    // The bonus would have been there without the payment.
    let rows: Vec<(u64, u64, i64)> = story
        .session
        .query("SELECT grant_id, first_grant_id, bought_amount FROM billing_purchase_grants WHERE purchase_id = 1")
        .await
        .unwrap();
    assert_eq!(rows, [(1, 1, 20)]);
    story.says("granted 30, available 30").await;
    story.end().await;
}

#[tokio::test]
async fn readers_hear_of_a_plan() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("small", &[Template::of(CODE, 10)]).await;
    story.plan("large", &[Template::of(CODE, 20)]).await;
    story.assign(Assign::to("small")).await;
    story.assign(Assign::to("large")).await;
    let rows: Vec<Row> = story
        .session
        .query("SELECT change_source, changes FROM billing_limit_changes ORDER BY id")
        .await
        .unwrap();
    let sources: Vec<String> = rows.iter().map(|row| row.get("change_source").unwrap()).collect();
    // Granted; revoked and granted.
    assert_eq!(sources, ["plan_grant"; 3]);
    story.end().await;
}

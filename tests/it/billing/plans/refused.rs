//! What is wrong with a change of plan.

use mysql_async::prelude::Queryable;

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Story, define, definition};

#[tokio::test]
async fn what_is_wrong_with_a_change_is_named() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 10)]).await;
    let subject = story.subject;
    for (arguments, problem) in [
        (
            format!("{subject}, 1, 0, NULL, NULL, NULL, NULL, 'k', 'me'"),
            "VALIDATION_FAILED: quantity",
        ),
        (
            format!("{subject}, 1, 1000001, NULL, NULL, NULL, NULL, 'k', 'me'"),
            "VALIDATION_FAILED: quantity",
        ),
        (
            format!("{subject}, 1, 1, NULL, '2026-03-01', NULL, NULL, 'k', 'me'"),
            "VALIDATION_FAILED: periodEndAt",
        ),
        (
            format!("{subject}, 1, 1, NULL, NULL, '2026-03-01', NULL, 'k', 'me'"),
            "VALIDATION_FAILED: periodEndAt",
        ),
        (
            format!("{subject}, 1, 1, NULL, '2026-03-01', '2026-03-01', NULL, 'k', 'me'"),
            "VALIDATION_FAILED: periodEndAt",
        ),
        (
            format!("{subject}, 1, 1, NULL, NULL, NULL, 'a b', 'k', 'me'"),
            "VALIDATION_FAILED: providerSubscriptionId",
        ),
        (
            format!("{subject}, 1, 1, NULL, NULL, NULL, NULL, '', 'me'"),
            "VALIDATION_FAILED: dedupeKey",
        ),
        (
            format!("{subject}, 1, 1, NULL, NULL, NULL, NULL, 'k', ''"),
            "VALIDATION_FAILED: createdBy",
        ),
        (
            format!("{subject}, 99, 1, NULL, NULL, NULL, NULL, 'k', 'me'"),
            "PLAN_NOT_FOUND",
        ),
        (
            "99, 1, 1, NULL, NULL, NULL, NULL, 'k', 'me'".to_owned(),
            "SUBJECT_NOT_FOUND",
        ),
    ] {
        let call = format!("CALL billing_assign_plan_in_tx_v1({arguments}, @assignment_id, @changed)");
        refuses(&mut story, &call, problem).await;
    }
    for (call, problem) in [
        (
            "billing_end_assignment_in_tx_v1(99, 'me', @changed)",
            "ASSIGNMENT_NOT_FOUND",
        ),
        (
            "billing_end_assignment_in_tx_v1(99, '', @changed)",
            "VALIDATION_FAILED: createdBy",
        ),
        (
            "billing_pay_period_in_tx_v1(99, '2026-03-01', '2026-04-01', NULL, 'me')",
            "ASSIGNMENT_NOT_FOUND",
        ),
        (
            "billing_pay_period_in_tx_v1(99, NULL, '2026-04-01', NULL, 'me')",
            "VALIDATION_FAILED: periodStartAt",
        ),
        (
            "billing_pay_period_in_tx_v1(99, '2026-03-01', '2026-03-01', NULL, 'me')",
            "VALIDATION_FAILED: periodEndAt",
        ),
        (
            "billing_pay_period_in_tx_v1(99, '2026-03-01', NULL, NULL, 'me')",
            "VALIDATION_FAILED: periodEndAt",
        ),
        (
            "billing_pay_period_in_tx_v1(99, '2026-03-01', '2026-04-01', NULL, NULL)",
            "VALIDATION_FAILED: createdBy",
        ),
    ] {
        refuses(&mut story, &format!("CALL {call}"), problem).await;
    }
    assert_eq!(story.assignments().await, [""; 0]);
    story.end().await;
}

async fn refuses(story: &mut Story, call: &str, problem: &str) {
    let Err(mysql_async::Error::Server(error)) = story.session.query_drop(call).await else {
        panic!("{call} was not refused");
    };
    assert!(error.message.starts_with(problem), "{call}: {}", error.message);
}

#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let mut story = Story::of(definition::MONTHLY).await;
    define(&mut story.session, "story.second", definition::BALANCE).await;
    story.plan("small", &[Template::of(CODE, 10)]).await;
    story
        .plan("large", &[Template::of(CODE, 20), Template::of("story.second", 1)])
        .await;
    story.assign(Assign::to("small")).await;
    story
        .session
        .query_drop("UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'story.second'")
        .await
        .unwrap();
    assert_eq!(
        story.try_assign(Assign::to("large")).await,
        Err("DEFINITION_INACTIVE".to_owned())
    );
    assert_eq!(
        story.assignments().await,
        ["small 1 current 2026-03-01 00:00:00.000 .. "]
    );
    story.says("granted 10").await;
    story.end().await;
}

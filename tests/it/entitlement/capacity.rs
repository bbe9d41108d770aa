//! Capacities, which count, and states, which are on or off.

use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::support::story::{CODE, Grant, LOCKED, Story, define, definition};

#[tokio::test]
async fn a_use_of_a_capacity_moves_the_count() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    story.grant(Grant::of("topup", 2)).await;
    story.says("granted 5, consumed 0, available 5, next never").await;
    story.consume(4).await;
    story
        .says("granted 5, consumed 4, effective 1, available 1, over 0, lock none")
        .await;
    let count: i64 = story
        .session
        .query_first("SELECT resource_count FROM billing_resource_snapshots")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(count, 4);
    story.end().await;
}

#[tokio::test]
async fn a_refusal_says_by_how_much() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    story.consume(2).await;
    let request = json!([{"subjectId": story.subject, "usageEventKey": "three", "items": [{"limitationCode": CODE, "amount": 3}]}]);
    let (problem, over_by): (String, i64) = {
        let row: mysql_async::Row = story
            .session
            .exec_first("CALL entitlement_consume_v1(?)", (request.to_string(),))
            .await
            .unwrap()
            .unwrap();
        (row.get("problem").unwrap(), row.get("over_by_amount").unwrap())
    };
    assert!(problem.starts_with("BILLING_CAPACITY_LOCKED: "), "{problem}");
    assert_eq!(over_by, 2);
    story.says("consumed 2, available 1").await;
    story.end().await;
}

#[tokio::test]
async fn a_cap_that_falls_below_the_count_locks() {
    let mut story = Story::of(definition::CAPACITY).await;
    let large = story.grant(Grant::of("plan_base", 5)).await;
    story
        .grant(Grant::of("addon_timeboxed", 1).expires("2026-03-10 00:00:00.000"))
        .await;
    story.consume(6).await;
    story.at("2026-03-09 23:59:59.999").await;
    story
        .says("granted 6, over 0, lock none, next 2026-03-10 00:00:00.000")
        .await;
    story.at("2026-03-10 00:00:00.000").await;
    let locked = format!("granted 5, consumed 6, effective -1, available 0, over 1, lock {LOCKED}, next never");
    story.says(&locked).await;
    story.is_refused(1).await;
    story.revoke(large).await;
    story.says("granted 0, consumed 6, over 1").await;
    story.grant(Grant::of("plan_base", 7)).await;
    story
        .says("granted 7, consumed 6, available 1, over 0, lock none")
        .await;
    story.end().await;
}

#[tokio::test]
async fn a_use_of_a_capacity_again_gives_the_first_answer() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    let one = |amount: i64| json!([{"subjectId": 1, "usageEventKey": "one", "items": [{"limitationCode": CODE, "amount": amount}]}]);
    assert_eq!(story.subject, 1);
    let first = story.consume_all(&one(2)).await.remove(0);
    story.consume(1).await;
    let again = story.consume_all(&one(2)).await.remove(0);
    assert!(again.replayed);
    assert_eq!((&again.outcome, again.figures), (&first.outcome, first.figures));
    let other = story.consume_all(&one(1)).await.remove(0);
    assert!(other.problem.unwrap().starts_with("IDEMPOTENCY_CONFLICT: "));
    story.says("consumed 3, available 0").await;
    story.end().await;
}

#[tokio::test]
async fn a_recount_is_the_truth_whatever_was_counted_before() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    story.consume(3).await;
    for (count, expected) in [
        (1, "consumed 1, available 2, over 0"),
        (4, "consumed 4, available 0, over 1"),
        (0, "consumed 0, available 3, over 0"),
    ] {
        story
            .session
            .exec_drop("CALL entitlement_recount_v1(?, ?, ?)", (story.subject, CODE, count))
            .await
            .unwrap();
        story.says(expected).await;
    }
    story.end().await;
}

#[tokio::test]
async fn what_was_taken_is_given_back_once_and_never_more() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    story.consume(3).await;
    let give_back = "CALL entitlement_give_back_v1(?, ?, ?, ?)";
    for _ in 0..2 {
        let call = (story.subject, CODE, 2, "back-1");
        story.session.exec_drop(give_back, call).await.unwrap();
        story.says("consumed 1, available 2").await;
    }
    for (amount, key, problem) in [
        (1, "back-1", "IDEMPOTENCY_CONFLICT"),
        // The key of a use is a key of the same count.
        (1, "use-2", "IDEMPOTENCY_CONFLICT"),
        (2, "back-2", "VALIDATION_FAILED: amount: there are not so many"),
        (0, "back-2", "VALIDATION_FAILED: amount"),
        (1, "two words", "VALIDATION_FAILED: usageEventKey"),
    ] {
        let call = (story.subject, CODE, amount, key);
        let refused = story.session.exec_drop(give_back, call).await.unwrap_err();
        assert!(refused.to_string().contains(problem), "{refused} instead of {problem}");
    }
    story.says("consumed 1, available 2").await;
    story.consume(2).await;
    story.is_refused(1).await;
    story.end().await;
}

#[tokio::test]
async fn a_check_is_by_the_callers_own_count_and_writes_nothing() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    for (count, allowed) in [
        (json!(2), true),
        (json!(3), false),
        (json!(-1), false),
        (json!("x"), false),
    ] {
        let items = json!([{"limitationCode": CODE, "currentCount": count}]).to_string();
        let row: mysql_async::Row = story
            .session
            .exec_first("CALL entitlement_check_v1(?, ?)", (story.subject, items))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.get::<bool, _>("allowed"), Some(allowed), "{count}");
    }
    story.says("consumed 0, available 3").await;
    story.end().await;
}

#[tokio::test]
async fn a_capacity_and_credits_are_used_together_or_not_at_all() {
    let mut story = Story::of(definition::CAPACITY).await;
    define(&mut story.session, "story.credits", definition::BALANCE).await;
    story.grant(Grant::of("plan_base", 2)).await;
    let subject = story.subject;
    story
        .session
        .query_drop(format!(
            "CALL entitlement_grant_v1({subject}, 'story.credits', 10, 'promo', NULL, NULL, NULL, 'credits', 'because', NULL)"
        ))
        .await
        .unwrap();
    let both = |key: &str, count: i64, credits: i64| {
        json!([{"subjectId": subject, "usageEventKey": key, "items": [
            {"limitationCode": CODE, "amount": count}, {"limitationCode": "story.credits", "amount": credits}]}])
    };
    // Each item of a refused request says its own limit: places of 2, credits of 10.
    for (key, count, credits, refused) in [("credits", 1, 11, "story.credits"), ("places", 3, 1, CODE)] {
        let answers = story.consume_all(&both(key, count, credits)).await;
        for (answer, figures) in answers.iter().zip([(2, 0, 2), (10, 0, 10)]) {
            assert_eq!(
                (answer.outcome.as_str(), answer.refused_code.as_deref()),
                ("refused", Some(refused))
            );
            assert_eq!(answer.figures, figures, "{key}");
        }
        story.says("consumed 0, available 2").await;
    }
    let answers = story.consume_all(&both("fits", 2, 10)).await;
    let figures: Vec<_> = answers.iter().map(|answer| answer.figures).collect();
    assert_eq!(figures, [(2, 2, 0), (10, 10, 0)]);
    story.end().await;
}

#[tokio::test]
async fn a_state_is_on_while_any_grant_is() {
    let mut story = Story::of(definition::STATE).await;
    let off = format!("granted 0, lock {LOCKED}");
    story.says(&off).await;
    let first = story.grant(Grant::of("plan_base", 7)).await;
    story.says("granted 1, lock none").await;
    story
        .grant(Grant::of("promo", 1).expires("2026-03-10 00:00:00.000"))
        .await;
    story.revoke(first).await;
    story.at("2026-03-09 23:59:59.999").await;
    story.says("granted 1, lock none, next 2026-03-10 00:00:00.000").await;
    story.at("2026-03-10 00:00:00.000").await;
    story.says(&off).await;
    let answer = story.try_consume(1).await;
    assert!(answer.problem.unwrap().starts_with("NOT_CONSUMABLE: "));
    assert_eq!(story.try_hold("hold", 1, 1).await.unwrap_err(), "NOT_CONSUMABLE");
    story.end().await;
}

#[tokio::test]
async fn a_billing_period_is_clamped_at_the_months_end_and_does_not_drift() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story
        .session
        .query_drop("UPDATE billable_entities SET billing_anchor_at = '2026-01-31 10:00:00.000'")
        .await
        .unwrap();
    story.grant(Grant::of("plan_base", 100)).await;
    story
        .says("window 2026-02-28 10:00:00.000, next 2026-03-31 10:00:00.000")
        .await;
    for (end, next) in [
        ("2026-03-31 10:00:00.000", "2026-04-30 10:00:00.000"),
        ("2026-04-30 10:00:00.000", "2026-05-31 10:00:00.000"),
    ] {
        story.consume(60).await;
        story.at(&end.replace("10:00:00.000", "09:59:59.999")).await;
        story.says("consumed 60, available 40").await;
        story.at(end).await;
        story
            .says(&format!("consumed 0, available 100, window {end}, next {next}"))
            .await;
    }
    story.end().await;
}

//! `entitlement_grant_v1`, `entitlement_revoke_v1` and their inner forms.

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use crate::support::story::{CODE, Grant, Story, definition, projections};

/// `entitlement_grant_v1` by position, with what a test says otherwise.
async fn grant(story: &mut Story, changed: &[(usize, Value)]) -> Result<Option<Row>, mysql_async::Error> {
    let mut arguments: Vec<Value> = vec![
        story.subject.into(),
        CODE.into(),
        10.into(),
        "promo".into(),
        Value::NULL,
        Value::NULL,
        Value::NULL,
        "key-1".into(),
        "because".into(),
        Value::NULL,
    ];
    for (place, value) in changed {
        arguments[*place] = value.clone();
    }
    story
        .session
        .exec_first("CALL entitlement_grant_v1(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", arguments)
        .await
}

#[tokio::test]
async fn the_same_key_makes_one_grant() {
    let mut story = Story::of(definition::BALANCE).await;
    let first = grant(&mut story, &[]).await.unwrap().unwrap();
    story.at("2026-03-02 00:00:00.000").await;
    let again = grant(&mut story, &[]).await.unwrap().unwrap();
    assert_eq!(
        (first.get::<u64, _>("id"), first.get::<bool, _>("replayed")),
        (again.get("id"), Some(false))
    );
    assert_eq!(again.get::<bool, _>("replayed"), Some(true));
    story.says("granted 10, available 10").await;
    let conflict = grant(&mut story, &[(2, 11.into())]).await.unwrap_err();
    assert!(conflict.to_string().contains("IDEMPOTENCY_CONFLICT"), "{conflict}");
    let other = story.new_subject("other").await;
    let conflict = grant(&mut story, &[(0, other.into())]).await.unwrap_err();
    assert!(conflict.to_string().contains("IDEMPOTENCY_CONFLICT"), "{conflict}");
    story.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_grant_is_said_and_nothing_is_written() {
    let mut story = Story::of(definition::BALANCE).await;
    let before = projections(&mut story.session).await;
    let cases: [(usize, Value, &str); 14] = [
        (0, 999.into(), "SUBJECT_NOT_FOUND"),
        (1, "no.such".into(), "DEFINITION_NOT_FOUND"),
        (2, 0.into(), "VALIDATION_FAILED: amount"),
        (2, (-5).into(), "VALIDATION_FAILED: amount"),
        (2, 9_007_199_254_740_992_i64.into(), "VALIDATION_FAILED: amount"),
        (3, "plan_base".into(), "VALIDATION_FAILED: kind"),
        (3, "gift".into(), "VALIDATION_FAILED: kind"),
        (5, "2026-03-01 00:00:00.000".into(), "VALIDATION_FAILED: expiresAt"),
        (5, "2025-03-01 00:00:00.000".into(), "VALIDATION_FAILED: expiresAt"),
        (6, 256.into(), "VALIDATION_FAILED: priority"),
        (6, (-1).into(), "VALIDATION_FAILED: priority"),
        (7, Value::NULL, "IDEMPOTENCY_KEY_REQUIRED"),
        (7, "two words".into(), "VALIDATION_FAILED: idempotencyKey"),
        (8, " ".into(), "VALIDATION_FAILED: reason"),
    ];
    for (place, value, problem) in cases {
        let refused = grant(&mut story, &[(place, value.clone())]).await.unwrap_err();
        assert!(
            refused.to_string().contains(problem),
            "{value:?}: {refused} instead of {problem}"
        );
    }
    assert_eq!(projections(&mut story.session).await, before);
    story.end().await;
}

#[tokio::test]
async fn all_grants_of_a_limit_together_stay_a_whole_number_that_everybody_can_hold() {
    let mut story = Story::of(definition::BALANCE).await;
    grant(&mut story, &[(2, 9_007_199_254_740_991_i64.into())])
        .await
        .unwrap();
    let refused = grant(&mut story, &[(2, 1.into()), (7, "key-2".into())])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("VALIDATION_FAILED: amount"), "{refused}");
    story.says("granted 9007199254740991, available 9007199254740991").await;
    story.end().await;
}

#[tokio::test]
async fn a_grant_is_ended_once() {
    let mut story = Story::of(definition::BALANCE).await;
    let id = story.grant(Grant::of("topup", 10)).await;
    let expired = story
        .grant(Grant::of("topup", 10).expires("2026-03-02 00:00:00.000"))
        .await;
    let revoke = "CALL entitlement_revoke_v1(?, ?, 'because', NULL)";
    let first: Row = story.session.exec_first(revoke, (id, "key-1")).await.unwrap().unwrap();
    let again: Row = story.session.exec_first(revoke, (id, "key-1")).await.unwrap().unwrap();
    assert_eq!(
        (first.get::<bool, _>("replayed"), again.get::<bool, _>("replayed")),
        (Some(false), Some(true))
    );
    assert_eq!(first.get::<Value, _>("revoked_at"), again.get::<Value, _>("revoked_at"));
    story.at("2026-03-02 00:00:00.000").await;
    for (grant, key, problem) in [
        (id, "key-2", "GRANT_ENDED"),
        (expired, "key-3", "GRANT_ENDED"),
        (expired, "key-1", "IDEMPOTENCY_CONFLICT"),
        (999, "key-4", "GRANT_NOT_FOUND"),
    ] {
        let refused = story.session.exec_drop(revoke, (grant, key)).await.unwrap_err();
        assert!(refused.to_string().contains(problem), "{refused} instead of {problem}");
    }
    story.end().await;
}

#[tokio::test]
async fn a_revocation_may_lie_ahead() {
    let mut story = Story::of(definition::BALANCE).await;
    let id = story.grant(Grant::of("topup", 10)).await;
    let mut tx = story.session.start_transaction(Default::default()).await.unwrap();
    tx.exec_drop(
        "CALL entitlement_revoke_in_tx_v1(?, '2026-03-05 00:00:00.000', 'key', NULL, 'me', @replayed)",
        (id,),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    story
        .says("granted 10, available 10, next 2026-03-05 00:00:00.000")
        .await;
    story.at("2026-03-05 00:00:00.000").await;
    story.says("granted 0, available 0, next never").await;
    story.end().await;
}

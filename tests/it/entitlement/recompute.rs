//! `entitlement_recompute_v1`: the ledger alone makes the projections.

use mysql_async::prelude::Queryable;

use crate::support::story::{Grant, Story, definition, projections};

#[tokio::test]
async fn what_was_lost_or_spoilt_is_rebuilt_from_the_ledger() {
    let mut story = Story::of(definition::SOFT_MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    let once = story.grant(Grant::of("topup", 50)).await;
    let ended = story
        .grant(Grant::of("promo", 5).expires("2026-03-10 00:00:00.000"))
        .await;
    story
        .grant(Grant::of("topup", 7).effective("2026-06-01 00:00:00.000"))
        .await;
    story.consume(120).await;
    story.at("2026-04-02 00:00:00.000").await;
    story.consume(110).await;
    story.revoke(once).await;
    story.consume(30).await;
    let healthy = projections(&mut story.session).await;
    let subject = story.subject;
    for spoil in [
        "DELETE FROM billing_entitlement_grant_balances".to_owned(),
        "DELETE FROM billing_entitlement_balances WHERE history_no = 0".to_owned(),
        "UPDATE billing_entitlement_balances SET segment_consumed_amount = 1, granted_amount = 1, next_change_at = NULL WHERE history_no = 0".to_owned(),
        format!("UPDATE billing_entitlement_grant_balances SET given_amount = 0, grant_state = 'active' WHERE grant_id = {ended}"),
    ] {
        story.session.query_drop(&spoil).await.unwrap();
        assert_ne!(projections(&mut story.session).await, healthy, "{spoil}");
        story.session.exec_drop("CALL entitlement_recompute_v1(?)", (subject,)).await.unwrap();
        assert_eq!(projections(&mut story.session).await, healthy, "{spoil}");
    }
    story.end().await;
}

#[tokio::test]
async fn a_subject_that_is_not_there_is_said() {
    let mut story = Story::of(definition::BALANCE).await;
    for call in [
        "CALL entitlement_recompute_v1(999)",
        "CALL entitlement_limitations_v1(999, NULL, FALSE)",
    ] {
        let refused = story.session.query_drop(call).await.unwrap_err();
        assert!(refused.to_string().contains("SUBJECT_NOT_FOUND"), "{refused}");
    }
    story.end().await;
}

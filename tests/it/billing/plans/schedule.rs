//! Changes that are planned for an instant.

use mysql_async::prelude::Queryable;

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Story, definition};

#[tokio::test]
async fn a_change_is_scheduled_replaced_and_cancelled() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("small", &[Template::of(CODE, 10)]).await;
    story.plan("large", &[Template::of(CODE, 20)]).await;
    story.assign(Assign::to("large")).await;
    let (first, changed) = story.assign(Assign::to("small").at("2026-04-01 00:00:00.000")).await;
    assert!(changed);
    story.says("granted 20").await;
    let (second, _) = story
        .assign(Assign::to("small").times(2).at("2026-05-01 00:00:00.000"))
        .await;
    assert!(!story.end_plan(first).await);
    let planned = [
        "large 1 current 2026-03-01 00:00:00.000 .. ",
        "small 1 cancelled 2026-04-01 00:00:00.000 .. 2026-03-01 00:00:00.000",
    ];
    assert_eq!(story.assignments().await[..2], planned);
    assert_eq!(
        story.assignments().await[2],
        "small 2 scheduled 2026-05-01 00:00:00.000 .. "
    );
    // A renewal is no change: what is planned stays planned.
    story.assign(Assign::to("large")).await;
    assert_eq!(
        story.assignments().await[2],
        "small 2 scheduled 2026-05-01 00:00:00.000 .. "
    );
    assert!(story.end_plan(second).await);
    assert!(!story.end_plan(second).await);
    assert_eq!(
        story.assignments().await[2],
        "small 2 cancelled 2026-05-01 00:00:00.000 .. 2026-03-01 00:00:00.000"
    );
    // A change now makes what was planned before it stale.
    story.assign(Assign::to("small").at("2026-04-01 00:00:00.000")).await;
    story.assign(Assign::to("small").times(3)).await;
    assert_eq!(
        story.assignments().await[3],
        "small 1 cancelled 2026-04-01 00:00:00.000 .. 2026-03-01 00:00:00.000"
    );
    story.says("granted 30").await;
    story.end().await;
}

#[tokio::test]
async fn the_same_key_again_is_the_first_assignment_and_applies_it_when_its_time_has_come() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("small", &[Template::of(CODE, 10)]).await;
    story.plan("large", &[Template::of(CODE, 20)]).await;
    let now = Assign::to("large").key("operator:now");
    let (first, _) = story.assign(now).await;
    assert_eq!(story.assign(now).await, (first, false));
    let later = Assign::to("small").at("2026-04-01 00:00:00.000").key("operator:later");
    let (second, _) = story.assign(later).await;
    assert_eq!(story.assign(later).await, (second, false));
    let conflict = Err("IDEMPOTENCY_CONFLICT".to_owned());
    assert_eq!(
        story.try_assign(Assign::to("large").key("operator:later")).await,
        conflict
    );
    assert_eq!(story.try_assign(later.times(2)).await, conflict);
    story.at("2026-03-31 23:59:59.999").await;
    assert_eq!(story.assign(later).await, (second, false));
    story.says("granted 20").await;
    story.at("2026-04-01 00:00:00.000").await;
    assert_eq!(story.assign(later).await, (second, true));
    assert_eq!(story.assign(later).await, (second, false));
    story.says("granted 10").await;
    // The first key is the first assignment still, which is over.
    assert_eq!(story.assign(now).await, (first, false));
    story.says("granted 10").await;
    assert_eq!(
        story.assignments().await,
        [
            "large 1 ended 2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000",
            "small 1 current 2026-04-01 00:00:00.000 .. ",
        ]
    );
    let subject = story.subject;
    story.subject = story.new_subject("another").await;
    assert_eq!(story.try_assign(later).await, conflict);
    story.subject = subject;
    story.end().await;
}

#[tokio::test]
async fn what_is_due_and_has_come_true_already_is_cancelled() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("small", &[Template::of(CODE, 10)]).await;
    let (current, _) = story.assign(Assign::to("small")).await;
    let later = Assign::to("small").at("2026-04-01 00:00:00.000").key("operator:later");
    story.assign(later).await;
    story.at("2026-04-01 00:00:00.000").await;
    assert_eq!(story.assign(later).await, (current, false));
    assert_eq!(
        story.assignments().await[1],
        "small 1 cancelled 2026-04-01 00:00:00.000 .. 2026-04-01 00:00:00.000"
    );
    assert_eq!(story.grants().await.len(), 1);
    story.end().await;
}

#[tokio::test]
async fn an_archived_plan_takes_nobody_new() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("old", &[Template::of(CODE, 10)]).await;
    story.plan("new", &[Template::of(CODE, 20)]).await;
    story.assign(Assign::to("new")).await;
    let planned = Assign::to("old").at("2026-04-01 00:00:00.000").key("operator:planned");
    story.assign(planned).await;
    story
        .session
        .query_drop("UPDATE billing_plans SET archived_at = UTC_TIMESTAMP(3) WHERE code = 'old'")
        .await
        .unwrap();
    let refused = Err("PLAN_ARCHIVED".to_owned());
    assert_eq!(story.try_assign(Assign::to("old")).await, refused);
    assert_eq!(
        story.try_assign(Assign::to("old").at("2026-05-01 00:00:00.000")).await,
        refused
    );
    // What was promised before is kept.
    story.at("2026-04-01 00:00:00.000").await;
    assert!(story.assign(planned).await.1);
    story.says("granted 10").await;
    story.end().await;
}

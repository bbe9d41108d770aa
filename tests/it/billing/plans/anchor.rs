//! The billing anchor: from where a subject's billing periods are counted.

use mysql_async::prelude::Queryable;

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Story, definition};

async fn anchor(story: &mut Story) -> Option<String> {
    let query = "SELECT CAST(billing_anchor_at AS CHAR) FROM billable_entities WHERE id = ?";
    story
        .session
        .exec_first(query, (story.subject,))
        .await
        .unwrap()
        .unwrap()
}

/// Ended windows: start, end, granted, consumed.
async fn history(story: &mut Story) -> Vec<String> {
    let query = "SELECT CONCAT(window_start_at, ' .. ', window_end_at, ': ', granted_amount, ' ', consumed_amount)
                   FROM billing_entitlement_balances WHERE subject_id = ? AND history_no > 0 ORDER BY definition_id, history_no";
    story.session.exec(query, (story.subject,)).await.unwrap()
}

/// 31 January, 28 February, 31 March: each period begins on the grid, and nothing moves.
#[tokio::test]
async fn a_months_end_is_on_the_grid() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    let pro = Assign::to("pro").by("sub_1");
    story.at("2026-01-31 10:00:05.000").await;
    let (assignment, _) = story
        .assign(pro.period("2026-01-31 10:00:00.000", "2026-02-28 10:00:00.000"))
        .await;
    assert_eq!(anchor(&mut story).await.unwrap(), "2026-01-31 10:00:00.000");
    story
        .says("granted 100, window 2026-01-31 10:00:00.000, next 2026-02-28 10:00:00.000")
        .await;
    story.consume(70).await;
    for (now, start, end) in [
        (
            "2026-02-28 10:00:03.000",
            "2026-02-28 10:00:00.000",
            "2026-03-31 10:00:00.000",
        ),
        (
            "2026-03-31 10:00:00.000",
            "2026-03-31 10:00:00.000",
            "2026-04-30 10:00:00.000",
        ),
        (
            "2026-04-30 10:00:00.000",
            "2026-04-30 10:00:00.000",
            "2026-05-31 10:00:00.000",
        ),
    ] {
        story.at(now).await;
        assert_eq!(story.assign(pro.period(start, end)).await, (assignment, false));
        story.pay(assignment, start, end).await;
        assert_eq!(anchor(&mut story).await.unwrap(), "2026-01-31 10:00:00.000");
        story.says(&format!("consumed 0, window {start}, next {end}")).await;
        story.consume(10).await;
    }
    assert_eq!(
        history(&mut story).await,
        [
            "2026-01-31 10:00:00.000 .. 2026-02-28 10:00:00.000: 100 70",
            "2026-02-28 10:00:00.000 .. 2026-03-31 10:00:00.000: 100 10",
            "2026-03-31 10:00:00.000 .. 2026-04-30 10:00:00.000: 100 10",
        ]
    );
    assert_eq!(story.grants().await.len(), 1);
    story.end().await;
}

/// A subject that used something before it had a plan: its window ends when the first period is told, and stays as history.
#[tokio::test]
async fn the_first_period_ends_the_window_that_was_open() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("free", &[Template::of(CODE, 10)]).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    story.assign(Assign::to("free")).await;
    assert_eq!(anchor(&mut story).await, None);
    story.consume(7).await;
    story
        .says("granted 10, consumed 7, window 2026-03-01 00:00:00.000")
        .await;
    story.at("2026-03-20 00:00:03.000").await;
    story
        .assign(Assign::to("pro").period("2026-03-20 00:00:00.000", "2026-04-20 00:00:00.000"))
        .await;
    story
        .says("granted 100, consumed 0, window 2026-03-20 00:00:00.000, next 2026-04-20 00:00:00.000")
        .await;
    assert_eq!(
        history(&mut story).await,
        ["2026-03-01 00:00:00.000 .. 2026-03-20 00:00:03.000: 10 7"]
    );
    story.consume(40).await;
    story.at("2026-04-20 00:00:00.000").await;
    story
        .says("granted 100, consumed 0, next 2026-05-20 00:00:00.000")
        .await;
    assert_eq!(
        history(&mut story).await[1],
        "2026-03-20 00:00:00.000 .. 2026-04-20 00:00:00.000: 100 40"
    );
    story.end().await;
}

/// The anchor moves after a window has ended that nobody has looked at: that one is settled by the old grid.
#[tokio::test]
async fn what_was_due_is_settled_by_the_old_grid() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    let pro = Assign::to("pro").by("sub_1");
    story
        .assign(pro.period("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000"))
        .await;
    story.consume(60).await;
    story.at("2026-04-10 12:00:00.000").await;
    let (assignment, changed) = story
        .assign(pro.period("2026-04-10 12:00:00.000", "2026-05-10 12:00:00.000"))
        .await;
    assert!(!changed);
    assert_eq!(
        history(&mut story).await,
        [
            "2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000: 100 60",
            "2026-04-01 00:00:00.000 .. 2026-04-10 12:00:00.000: 100 0",
        ]
    );
    story.consume(20).await;
    // Again at the same instant: the window keeps a millisecond.
    story
        .pay(assignment, "2026-04-10 13:00:00.000", "2026-05-10 13:00:00.000")
        .await;
    assert_eq!(
        history(&mut story).await[2],
        "2026-04-10 12:00:00.000 .. 2026-04-10 12:00:00.001: 100 20"
    );
    story
        .says("granted 100, consumed 0, window 2026-03-10 13:00:00.000, next 2026-04-10 13:00:00.000")
        .await;
    story.end().await;
}

/// A top-up carries its rest over a moved anchor, a hold goes on, and use that nothing covered ends with its window.
#[tokio::test]
async fn a_moved_anchor_is_a_windows_end_like_any_other() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    let pro = Assign::to("pro").by("sub_1");
    story
        .assign(pro.period("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000"))
        .await;
    let topup = story.grant(crate::support::story::Grant::of("topup", 50)).await;
    story.consume(120).await;
    let hold = story.hold(10, 3_600).await;
    story.at("2026-03-01 00:30:00.000").await;
    story
        .assign(pro.period("2026-03-01 00:30:00.000", "2026-04-01 00:30:00.000"))
        .await;
    assert_eq!(story.gave(topup).await, 20);
    story
        .says("granted 130, consumed 0, held 10, available 120, window 2026-03-01 00:30:00.000")
        .await;
    story.commit(hold, 10).await.unwrap();
    story.says("granted 130, consumed 10, held 0, available 120").await;
    story.end().await;
}

/// Limits by the calendar, and limits of other subjects, do not go by this anchor.
#[tokio::test]
async fn other_windows_stay() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    story.assign(Assign::to("pro").by("sub_1")).await;
    story.consume(30).await;
    story.at("2026-03-15 00:00:00.000").await;
    story
        .assign(
            Assign::to("pro")
                .by("sub_1")
                .period("2026-03-15 00:00:00.000", "2026-04-15 00:00:00.000"),
        )
        .await;
    assert_eq!(anchor(&mut story).await.unwrap(), "2026-03-15 00:00:00.000");
    assert_eq!(history(&mut story).await, [""; 0]);
    story
        .says("granted 100, consumed 30, window 2026-03-01 00:00:00.000")
        .await;
    story.end().await;
}

/// Late news of an earlier period does not take the anchor back.
#[tokio::test]
async fn an_earlier_period_moves_nothing() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 100)]).await;
    let pro = Assign::to("pro").by("sub_1");
    story.at("2026-03-20 00:00:00.000").await;
    let (assignment, _) = story
        .assign(pro.period("2026-03-20 00:00:00.000", "2026-04-20 00:00:00.000"))
        .await;
    story.consume(30).await;
    story
        .assign(pro.period("2026-02-25 00:00:00.000", "2026-03-25 00:00:00.000"))
        .await;
    story
        .pay(assignment, "2026-02-25 00:00:00.000", "2026-03-25 00:00:00.000")
        .await;
    assert_eq!(anchor(&mut story).await.unwrap(), "2026-03-20 00:00:00.000");
    story.says("granted 100, consumed 30").await;
    story.end().await;
}

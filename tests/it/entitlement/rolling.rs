//! Rolling windows: a use comes back when its interval has passed.

use crate::support::story::{Grant, Story, definition};

#[tokio::test]
async fn a_use_comes_back_exactly_after_the_interval() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    story.says("granted 100, consumed 0, available 100, next never").await;
    story.at("2026-03-01 12:00:00.500").await;
    story.consume(60).await;
    story
        .says("consumed 60, available 40, next 2026-03-02 12:00:00.500")
        .await;
    story.is_refused(41).await;
    story.at("2026-03-02 12:00:00.499").await;
    story.says("consumed 60, available 40").await;
    story.at("2026-03-02 12:00:00.500").await;
    // Nobody read it before.
    story.consume(100).await;
    story
        .says("consumed 100, available 0, next 2026-03-03 12:00:00.500")
        .await;
    story.end().await;
}

#[tokio::test]
async fn uses_come_back_one_by_one() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    for hour in ["01", "02", "03"] {
        story.at(&format!("2026-03-01 {hour}:00:00.000")).await;
        story.consume(10).await;
    }
    for (at, expected) in [
        ("2026-03-02 00:59:59.999", "consumed 30, next 2026-03-02 01:00:00.000"),
        ("2026-03-02 01:00:00.000", "consumed 20, next 2026-03-02 02:00:00.000"),
        ("2026-03-02 02:59:59.999", "consumed 10, next 2026-03-02 03:00:00.000"),
        ("2026-03-02 03:00:00.000", "consumed 0, next never"),
    ] {
        story.at(at).await;
        story.says(expected).await;
    }
    story.end().await;
}

#[tokio::test]
async fn after_a_long_sleep_all_uses_are_back() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    for minute in 10..40 {
        story.at(&format!("2026-03-01 00:{minute}:00.000")).await;
        story.consume(3).await;
    }
    story.at("2027-03-01 00:00:00.000").await;
    story.says("granted 100, consumed 0, available 100, next never").await;
    story.end().await;
}

#[tokio::test]
async fn grants_of_every_kind_count_whole() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 10)).await;
    story.grant(Grant::of("topup", 20)).await;
    let promo = story.grant(Grant::of("promo", 30)).await;
    story.consume(60).await;
    story.says("granted 60, consumed 60, available 0, over 0").await;
    // A top-up is not used up here: it raises the limit for as long as it lasts.
    story.revoke(promo).await;
    story
        .says("granted 30, consumed 60, effective -30, available 0, over 1, next 2026-03-02 00:00:00.000")
        .await;
    story.at("2026-03-02 00:00:00.000").await;
    story
        .says("granted 30, consumed 0, available 30, over 0, next never")
        .await;
    story.end().await;
}

#[tokio::test]
async fn of_max_only_the_largest_grant_counts() {
    let mut story = Story::of(definition::ROLLING_DAY_MAX).await;
    story.grant(Grant::of("plan_base", 10)).await;
    story.grant(Grant::of("topup", 30)).await;
    story.consume(25).await;
    story.says("granted 30, consumed 25, available 5").await;
    story.end().await;
}

#[tokio::test]
async fn a_committed_hold_comes_back_an_interval_after_the_commit() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    let hold = story.hold(30, 3600).await;
    story
        .says("consumed 0, held 30, available 70, next 2026-03-01 01:00:00.000")
        .await;
    story.at("2026-03-01 00:30:00.000").await;
    story.commit(hold, 20).await.unwrap();
    story
        .says("consumed 20, held 0, available 80, next 2026-03-02 00:30:00.000")
        .await;
    story.at("2026-03-02 00:30:00.000").await;
    story.says("consumed 0, next never").await;
    story.end().await;
}

#[tokio::test]
async fn where_a_month_is_clamped_uses_come_back_in_their_order() {
    // A month after the 29th at 18:00 is 28 February at 18:00; after the 30th at 10:00, 28 February at 10:00.
    let mut story = Story::of(definition::ROLLING_MONTH).await;
    story.at("2027-01-29 18:00:00.000").await;
    story.grant(Grant::of("plan_base", 100)).await;
    story.consume(10).await;
    story.at("2027-01-30 10:00:00.000").await;
    story.consume(20).await;
    story.says("consumed 30, next 2027-02-28 18:00:00.000").await;
    story.at("2027-02-28 10:00:00.000").await;
    story.says("consumed 30, next 2027-02-28 18:00:00.000").await;
    story.at("2027-02-28 18:00:00.000").await;
    story.says("consumed 0, next never").await;
    story.end().await;
}

//! The story tables of `docs/domain.md`, section 5, line by line.

use crate::support::story::{Grant, Story, definition};

#[tokio::test]
async fn b1_a_grant_that_ends_takes_its_rest_with_it() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .grant(Grant::of("topup", 100).expires("2026-03-31 00:00:00.000"))
        .await;
    story.consume(80).await;
    story.at("2026-03-30 23:59:59.999").await;
    story.says("granted 100, consumed 80, available 20").await;
    story.at("2026-03-31 00:00:00.000").await;
    story.says("granted 0, consumed 0, available 0").await;
    story.grant(Grant::of("topup", 100)).await;
    story.says("granted 100, consumed 0, available 100").await;
    story.end().await;
}

#[tokio::test]
async fn b2_equal_grants_burn_in_the_order_of_their_making() {
    let mut story = Story::of(definition::BALANCE).await;
    let first = story.grant(Grant::of("topup", 100)).await;
    let second = story.grant(Grant::of("topup", 100)).await;
    story.consume(120).await;
    story.says("granted 200, consumed 120, available 80").await;
    // What each gave is written at the next settlement: revoking the second shows that 80 of it were left.
    story.revoke(second).await;
    assert_eq!((story.gave(first).await, story.gave(second).await), (100, 20));
    story.says("granted 100, consumed 100, available 0").await;
    story.end().await;
}

#[tokio::test]
async fn b2_priority_goes_first() {
    let mut story = Story::of(definition::BALANCE).await;
    let later = story.grant(Grant::of("topup", 100).priority(2)).await;
    let sooner = story.grant(Grant::of("topup", 100).priority(1)).await;
    story.consume(120).await;
    story.revoke(later).await;
    assert_eq!((story.gave(sooner).await, story.gave(later).await), (100, 20));
    story.says("granted 100, consumed 100, available 0").await;
    story.end().await;
}

#[tokio::test]
async fn b3_of_the_same_priority_what_expires_goes_first() {
    let mut story = Story::of(definition::BALANCE).await;
    let lasting = story.grant(Grant::of("topup", 100)).await;
    let expiring = story
        .grant(Grant::of("topup", 100).expires("2026-03-31 00:00:00.000"))
        .await;
    story.consume(120).await;
    story.says("granted 200, consumed 120, available 80").await;
    story.at("2026-03-31 00:00:00.000").await;
    story.says("granted 100, consumed 20, available 80").await;
    assert_eq!((story.gave(expiring).await, story.gave(lasting).await), (100, 20));
    story.end().await;
}

#[tokio::test]
async fn b4_what_comes_later_pays_open_overage() {
    let mut story = Story::of(definition::SOFT_BALANCE).await;
    story.consume(50).await;
    story
        .says("granted 0, consumed 50, effective -50, available 0, over 1")
        .await;
    let grant = story.grant(Grant::of("topup", 120)).await;
    story.says("granted 120, consumed 50, available 70, over 0").await;
    assert_eq!(story.gave(grant).await, 50);
    story.end().await;
}

#[tokio::test]
async fn b5_a_revocation_takes_the_rest_and_history_keeps_the_use() {
    let mut story = Story::of(definition::BALANCE).await;
    let grant = story.grant(Grant::of("topup", 100)).await;
    story.consume(60).await;
    story.revoke(grant).await;
    story.says("granted 0, consumed 0, available 0").await;
    assert_eq!(story.gave(grant).await, 60);
    story.end().await;
}

#[tokio::test]
async fn b6_a_grant_counts_exactly_from_its_instant() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .grant(Grant::of("topup", 100).effective("2026-03-06 00:00:00.000"))
        .await;
    story.says("granted 0, available 0, next 2026-03-06 00:00:00.000").await;
    story.at("2026-03-05 23:59:59.999").await;
    story.says("granted 0, available 0").await;
    story.is_refused(1).await;
    story.at("2026-03-06 00:00:00.000").await;
    story.says("granted 100, available 100, next never").await;
    story.end().await;
}

#[tokio::test]
async fn b7_a_grant_that_expires_at_the_instant_of_the_read_is_not_active() {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .grant(Grant::of("topup", 100).expires("2026-03-02 00:00:00.000"))
        .await;
    story.at("2026-03-01 23:59:59.999").await;
    story
        .says("granted 100, available 100, next 2026-03-02 00:00:00.000")
        .await;
    story.at("2026-03-02 00:00:00.000").await;
    story.is_refused(1).await;
    story.says("granted 0, available 0, next never").await;
    story.end().await;
}

#[tokio::test]
async fn m1_a_plan_gives_its_amount_in_a_month() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.consume(120).await;
    story
        .says("granted 1000, consumed 120, effective 880, available 880, next 2026-04-01 00:00:00.000")
        .await;
    story.end().await;
}

#[tokio::test]
async fn m2_the_next_month_begins_anew_and_the_old_row_stays() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.consume(120).await;
    story.at("2026-04-01 00:00:00.000").await;
    story
        .says("granted 1000, consumed 0, available 1000, window 2026-04-01 00:00:00.000")
        .await;
    assert_eq!(history(&mut story).await, [("2026-03-01".into(), 1000, 120)]);
    // Later grants and rebuilding leave an ended window as it was.
    story.grant(Grant::of("topup", 5)).await;
    assert_eq!(history(&mut story).await, [("2026-03-01".into(), 1000, 120)]);
    story.end().await;
}

#[tokio::test]
async fn m3_an_add_on_that_ends_within_the_month_leaves_the_use_over_the_limit() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    // 60 days from 20 January.
    story
        .grant(
            Grant::of("addon_timeboxed", 500)
                .effective("2026-01-20 00:00:00.000")
                .expires("2026-03-21 00:00:00.000"),
        )
        .await;
    story.consume(1200).await;
    story.says("granted 1500, consumed 1200, available 300, over 0").await;
    story.at("2026-03-21 00:00:00.000").await;
    story.says("granted 1000, consumed 1200, available 0, over 1").await;
    story.is_refused(1).await;
    story.at("2026-04-01 00:00:00.000").await;
    story.says("granted 1000, consumed 0, available 1000, over 0").await;
    story.end().await;
}

#[tokio::test]
async fn m4_a_top_up_is_used_up_once_across_months() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.grant(Grant::of("topup", 500)).await;
    story.consume(1200).await;
    story.says("granted 1500, consumed 1200, available 300").await;
    story.at("2026-04-01 00:00:00.000").await;
    story.says("granted 1300, consumed 0, available 1300").await;
    story.consume(1300).await;
    story.is_refused(1).await;
    story.at("2026-05-01 00:00:00.000").await;
    story.says("granted 1000, consumed 0, available 1000").await;
    story.end().await;
}

#[tokio::test]
async fn m5_a_downgrade_gives_nothing_back_and_leaves_top_ups_untouched() {
    let mut story = Story::of(definition::MONTHLY).await;
    let large = story.grant(Grant::of("plan_base", 5000)).await;
    story.consume(3000).await;
    story.revoke(large).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.says("granted 1000, consumed 3000, available 0, over 1").await;
    story.grant(Grant::of("topup", 500)).await;
    story
        .says("granted 1500, consumed 3000, effective -1500, available 500, over 1")
        .await;
    story.consume(500).await;
    story.is_refused(1).await;
    story.at("2026-04-01 00:00:00.000").await;
    story.says("granted 1000, consumed 0, available 1000, over 0").await;
    story.end().await;
}

#[tokio::test]
async fn m6_an_upgrade_counts_what_was_used() {
    let mut story = Story::of(definition::MONTHLY).await;
    let small = story.grant(Grant::of("plan_base", 1000)).await;
    story.consume(800).await;
    story.revoke(small).await;
    story.grant(Grant::of("plan_base", 5000)).await;
    story.says("granted 5000, consumed 800, available 4200").await;
    story.end().await;
}

#[tokio::test]
async fn m7_an_upgrade_pays_open_overage() {
    let mut story = Story::of(definition::SOFT_MONTHLY).await;
    let small = story.grant(Grant::of("plan_base", 100)).await;
    story.consume(120).await;
    story.says("granted 100, consumed 120, available 0, over 1").await;
    story.revoke(small).await;
    story.grant(Grant::of("plan_base", 200)).await;
    story.says("granted 200, consumed 120, available 80, over 0").await;
    story.end().await;
}

#[tokio::test]
async fn m8_a_use_counts_in_the_month_of_its_millisecond() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.at("2026-03-31 23:59:59.999").await;
    story.consume(7).await;
    story.at("2026-04-01 00:00:00.000").await;
    story.consume(5).await;
    story.says("granted 1000, consumed 5, available 995").await;
    assert_eq!(history(&mut story).await, [("2026-03-01".into(), 1000, 7)]);
    story.end().await;
}

#[tokio::test]
async fn a_use_is_paid_by_the_grants_of_its_own_time() {
    // The second grant is burnt first, but it was not there yet when the first 60 were used; all in one millisecond.
    let mut story = Story::of(definition::BALANCE).await;
    let first = story.grant(Grant::of("topup", 100)).await;
    story.consume(60).await;
    let second = story
        .grant(Grant::of("topup", 100).priority(1).effective("2026-02-01 00:00:00.000"))
        .await;
    story.consume(30).await;
    story.revoke(second).await;
    assert_eq!((story.gave(first).await, story.gave(second).await), (60, 30));
    story.says("granted 100, consumed 60, available 40").await;
    story.end().await;
}

#[tokio::test]
async fn a_subject_that_slept_for_a_year_is_brought_to_today_in_one_step() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 1000)).await;
    story.consume(120).await;
    story.at("2027-03-15 12:00:00.000").await;
    story
        .says("granted 1000, consumed 0, window 2027-03-01 00:00:00.000, next 2027-04-01 00:00:00.000")
        .await;
    assert_eq!(history(&mut story).await, [("2026-03-01".into(), 1000, 120)]);
    story.end().await;
}

#[tokio::test]
async fn boundaries_that_passed_at_once_are_taken_in_order() {
    let mut story = Story::of(definition::SOFT_MONTHLY).await;
    story
        .grant(Grant::of("plan_base", 100).expires("2026-03-10 00:00:00.000"))
        .await;
    story.consume(130).await;
    // The top-up of 5 March pays the overage of 30 before it ends on the 7th; the one of May finds nothing to pay.
    let march = story
        .grant(
            Grant::of("topup", 50)
                .effective("2026-03-05 00:00:00.000")
                .expires("2026-03-07 00:00:00.000"),
        )
        .await;
    let may = story
        .grant(Grant::of("topup", 50).effective("2026-05-05 00:00:00.000"))
        .await;
    story.at("2026-06-01 00:00:00.000").await;
    story
        .says("granted 50, consumed 0, available 50, over 0, window 2026-06-01 00:00:00.000")
        .await;
    assert_eq!((story.gave(march).await, story.gave(may).await), (30, 0));
    // April had nothing due and left no row; May had a grant that began.
    assert_eq!(
        history(&mut story).await,
        [("2026-03-01".into(), 0, 100), ("2026-05-01".into(), 50, 0)]
    );
    story.end().await;
}

#[tokio::test]
async fn of_max_only_the_largest_allotment_counts() {
    let mut story = Story::of(definition::MONTHLY_MAX).await;
    story.grant(Grant::of("plan_base", 100)).await;
    let large = story.grant(Grant::of("plan_bonus", 300)).await;
    story.consume(200).await;
    story.says("granted 300, consumed 200, available 100").await;
    story.revoke(large).await;
    story.says("granted 100, consumed 200, available 0, over 1").await;
    story.end().await;
}

#[tokio::test]
async fn days_weeks_and_years_end_where_the_calendar_says() {
    for (definition, end, next) in [
        (definition::DAILY, "2026-03-02 00:00:00.000", "2026-03-03 00:00:00.000"),
        // 1 March 2026 is a Sunday.
        (definition::WEEKLY, "2026-03-02 00:00:00.000", "2026-03-09 00:00:00.000"),
        (definition::YEARLY, "2027-01-01 00:00:00.000", "2028-01-01 00:00:00.000"),
    ] {
        let mut story = Story::of(definition).await;
        story.grant(Grant::of("plan_base", 10)).await;
        story.consume(4).await;
        story.says(&format!("consumed 4, next {end}")).await;
        story.at(end).await;
        story.says(&format!("consumed 0, window {end}, next {next}")).await;
        story.end().await;
    }
}

/// Start, granted and consumed of the windows that have ended.
async fn history(story: &mut Story) -> Vec<(String, i64, i64)> {
    use mysql_async::prelude::Queryable;
    story
        .session
        .query(
            "SELECT DATE_FORMAT(window_start_at, '%Y-%m-%d'), granted_amount, consumed_amount
                  FROM billing_entitlement_balances WHERE history_no > 0 ORDER BY history_no",
        )
        .await
        .unwrap()
}

//! Stories told as charts: the hour before, at and after each boundary.

use super::Deed::{self, Commit, Hold, Nothing, Recount, Revoke, Use};
use super::{chart, grant, is_as_it_was_said, told};
use crate::support::story::{Story, definition};

/// The points of a chart at the hour before, at and after each boundary.
async fn says(story: &mut Story, around: &[(&str, &str, &str)], expected: &[(&str, &str)]) {
    let subject = story.subject;
    let mut drawn = Vec::new();
    for (from, to, step) in around {
        drawn.extend(chart(&mut story.session, subject, from, to, step).await);
    }
    let drawn: Vec<_> = drawn
        .iter()
        .map(|(at, figures)| (at.as_str(), figures.as_str()))
        .collect();
    assert_eq!(drawn, expected);
}

#[tokio::test]
async fn m1_and_m2_a_month_and_the_next() {
    let deeds = [
        ("2026-03-01 05:00:00.000", grant("plan_base", 1000)),
        ("2026-03-10 10:30:00.000", Use(120)),
        ("2026-04-01 01:30:00.000", Nothing),
    ];
    let (mut story, _) = told(definition::MONTHLY, &deeds, "hour", false).await;
    let around = [
        ("2026-03-01 04:00:00.000", "2026-03-01 06:00:00.001", "hour"),
        ("2026-03-10 10:00:00.000", "2026-03-10 12:00:00.000", "hour"),
        ("2026-03-31 23:00:00.000", "2026-04-01 01:00:00.001", "hour"),
    ];
    let expected = [
        ("03-01 04", "0 0 0"),
        ("03-01 05", "1000 0 1000"),
        ("03-01 06", "1000 0 1000"),
        ("03-10 10", "1000 0 1000"),
        ("03-10 11", "1000 120 880"),
        ("03-31 23", "1000 120 880"),
        ("04-01 00", "1000 0 1000"),
        ("04-01 01", "1000 0 1000"),
    ];
    says(&mut story, &around, &expected).await;
    story.end().await;
}

#[tokio::test]
async fn m3_an_add_on_that_ends() {
    let deeds = [
        ("2026-03-01 00:00:00.000", grant("plan_base", 1000)),
        (
            "2026-03-01 00:00:00.000",
            Deed::Grant("addon_timeboxed", 500, None, Some("2026-03-21 00:00:00.000")),
        ),
        ("2026-03-01 00:30:00.000", Use(1200)),
        ("2026-04-01 01:00:00.000", Nothing),
    ];
    let (mut story, _) = told(definition::MONTHLY, &deeds, "hour", false).await;
    let around = [
        ("2026-02-28 23:00:00.000", "2026-03-01 02:00:00.000", "hour"),
        ("2026-03-20 23:00:00.000", "2026-03-21 02:00:00.000", "hour"),
        ("2026-03-31 23:00:00.000", "2026-04-01 02:00:00.000", "hour"),
    ];
    let expected = [
        ("02-28 23", "0 0 0"),
        ("03-01 00", "1500 0 1500"),
        ("03-01 01", "1500 1200 300"),
        ("03-20 23", "1500 1200 300"),
        ("03-21 00", "1000 1200 0"),
        ("03-21 01", "1000 1200 0"),
        ("03-31 23", "1000 1200 0"),
        ("04-01 00", "1000 0 1000"),
        ("04-01 01", "1000 0 1000"),
    ];
    says(&mut story, &around, &expected).await;
    story.end().await;
}

#[tokio::test]
async fn b1_and_b5_credits_that_end() {
    let deeds = [
        (
            "2026-03-01 00:00:00.000",
            Deed::Grant("topup", 100, None, Some("2026-03-31 00:00:00.000")),
        ),
        ("2026-03-02 00:00:00.001", Use(80)),
        ("2026-03-31 01:00:00.000", grant("topup", 100)),
        ("2026-03-31 01:00:00.000", Use(60)),
        ("2026-03-31 02:59:59.999", Revoke(1)),
        ("2026-03-31 04:00:00.000", Nothing),
    ];
    let (mut story, _) = told(definition::BALANCE, &deeds, "hour", false).await;
    let around = [
        ("2026-03-02 00:00:00.000", "2026-03-02 02:00:00.000", "hour"),
        ("2026-03-30 23:00:00.000", "2026-03-31 05:00:00.000", "hour"),
    ];
    let expected = [
        ("03-02 00", "100 0 100"),
        ("03-02 01", "100 80 20"),
        ("03-30 23", "100 80 20"),
        ("03-31 00", "0 0 0"),
        ("03-31 01", "100 60 40"),
        ("03-31 02", "100 60 40"),
        ("03-31 03", "0 0 0"),
        // Later instants are not yet.
        ("03-31 04", "0 0 0"),
    ];
    says(&mut story, &around, &expected).await;
    story.end().await;
}

#[tokio::test]
async fn a_count_over_time() {
    let deeds = [
        ("2026-03-01 01:00:00.000", grant("plan_base", 5)),
        ("2026-03-01 01:30:00.000", Use(2)),
        ("2026-03-01 03:00:00.000", Hold(1, 7200)),
        ("2026-03-01 04:00:00.000", Commit(0, 1)),
        ("2026-03-01 05:30:00.000", Recount(7)),
        ("2026-03-01 05:40:00.000", Recount(6)),
        ("2026-03-01 07:00:00.000", Revoke(0)),
        ("2026-03-01 08:00:00.000", Recount(0)),
        ("2026-03-01 09:00:00.000", Nothing),
    ];
    let (mut story, _) = told(definition::CAPACITY, &deeds, "hour", false).await;
    let expected = [
        ("03-01 00", "0 0 0"),
        ("03-01 01", "5 0 5"),
        ("03-01 02", "5 2 3"),
        ("03-01 03", "5 2 2"),
        ("03-01 04", "5 3 2"),
        ("03-01 05", "5 3 2"),
        ("03-01 06", "5 6 0"),
        ("03-01 07", "0 6 0"),
        ("03-01 08", "0 0 0"),
        ("03-01 09", "0 0 0"),
    ];
    let whole = [("2026-03-01 00:00:00.000", "2026-03-02 00:00:00.000", "hour")];
    says(&mut story, &whole, &expected).await;
    // From the middle, the changes before it still count.
    let rest = [("2026-03-01 05:00:00.000", "2026-03-01 07:00:00.000", "hour")];
    says(&mut story, &rest, &expected[5..7]).await;
    story.end().await;
    is_as_it_was_said(definition::CAPACITY, &deeds, "hour").await;
}

#[tokio::test]
async fn a_rolling_quota_over_time() {
    let deeds = [
        ("2026-03-01 00:00:00.000", grant("plan_base", 100)),
        ("2026-03-01 01:00:00.000", Use(10)),
        ("2026-03-01 02:00:00.000", Use(20)),
        ("2026-03-01 02:30:00.000", Use(5)),
        ("2026-03-02 01:30:00.000", Use(1)),
        ("2026-03-03 05:00:00.000", Nothing),
    ];
    // Nobody asks between the last use and the end: all that came back meanwhile is settled at once.
    let (mut story, _) = told(definition::ROLLING_DAY, &deeds, "hour", false).await;
    let around = [
        ("2026-03-01 00:00:00.000", "2026-03-01 04:00:00.000", "hour"),
        ("2026-03-02 00:00:00.000", "2026-03-02 04:00:00.000", "hour"),
        ("2026-03-03 01:00:00.000", "2026-03-03 03:00:00.000", "hour"),
    ];
    let expected = [
        ("03-01 00", "100 0 100"),
        ("03-01 01", "100 10 90"),
        ("03-01 02", "100 30 70"),
        ("03-01 03", "100 35 65"),
        ("03-02 00", "100 35 65"),
        ("03-02 01", "100 25 75"),
        ("03-02 02", "100 6 94"),
        ("03-02 03", "100 1 99"),
        ("03-03 01", "100 1 99"),
        ("03-03 02", "100 0 100"),
    ];
    says(&mut story, &around, &expected).await;
    story.end().await;
}

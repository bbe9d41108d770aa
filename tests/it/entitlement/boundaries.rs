//! Each kind of boundary, at the millisecond before it, at it, and at the millisecond after.

use chrono::{NaiveDateTime, TimeDelta};
use mysql_async::prelude::Queryable;

use self::Deed::{At, Count, Grants, Hold, RevokesAt, Use};
use crate::support::story::{CODE, Grant, Story, define, definition, differences};

/// What is done before the boundary, from the story's first instant on.
enum Deed {
    /// The clock moves.
    At(&'static str),
    /// A grant is made.
    Grants(fn() -> Grant),
    /// The newest grant is revoked, as of an instant to come.
    RevokesAt(&'static str),
    Use(i64),
    /// An amount is held for so many seconds.
    Hold(i64, u32),
    /// The resource is counted.
    Count(i64),
}

/// A boundary: its limit and that limit's billing anchor, what is done, the instant, what the limit says a millisecond before, and what from it on.
struct Boundary(
    &'static str,
    Option<&'static str>,
    &'static [Deed],
    &'static str,
    &'static str,
    &'static str,
);

const TEN: Deed = Grants(|| Grant::of("plan_base", 10));
const WEEKLY_BILLING: &str = "'metered_quota', 'week', 'billing_period', 'sum', 'hard_deny'";
const DAILY_BILLING: &str = "'metered_quota', 'day', 'billing_period', 'sum', 'hard_deny'";
const YEARLY_BILLING: &str = "'metered_quota', 'year', 'billing_period', 'sum', 'hard_deny'";
const ROLLING_WEEK: &str = "'metered_quota', 'week', 'rolling', 'sum', 'hard_deny'";
const ROLLING_YEAR: &str = "'metered_quota', 'year', 'rolling', 'sum', 'hard_deny'";

/// The story begins on 1 March 2026, a Sunday. What is said before names the boundary as the next change, without being told to.
#[rustfmt::skip]
const BOUNDARIES: &[Boundary] = &[
    // A grant starts.
    Boundary(definition::BALANCE, None, &[Grants(|| Grant::of("topup", 100).effective("2026-03-06 07:08:09.010"))], "2026-03-06 07:08:09.010",
        "granted 0, available 0", "granted 100, available 100, next never"),
    Boundary(definition::MONTHLY, None, &[TEN, Use(4), Grants(|| Grant::of("addon_timeboxed", 5).effective("2026-03-06 00:00:00.000"))], "2026-03-06 00:00:00.000",
        "granted 10, consumed 4, available 6", "granted 15, consumed 4, available 11, next 2026-04-01 00:00:00.000"),
    Boundary(definition::ROLLING_DAY, None, &[TEN, Grants(|| Grant::of("topup", 5).effective("2026-03-06 00:00:00.000"))], "2026-03-06 00:00:00.000",
        "granted 10, available 10", "granted 15, available 15, next never"),
    Boundary(definition::CAPACITY, None, &[Count(2), Grants(|| Grant::of("plan_base", 3).effective("2026-03-06 00:00:00.000"))], "2026-03-06 00:00:00.000",
        "granted 0, consumed 2, available 0, over 1, lock story_locked", "granted 3, consumed 2, available 1, over 0, lock none, next never"),
    Boundary(definition::STATE, None, &[Grants(|| Grant::of("plan_base", 1).effective("2026-03-06 00:00:00.000"))], "2026-03-06 00:00:00.000",
        "granted 0, lock story_locked", "granted 1, lock none, next never"),
    // A grant ends.
    Boundary(definition::BALANCE, None, &[Grants(|| Grant::of("topup", 100).expires("2026-03-06 07:08:09.010")), Use(80)], "2026-03-06 07:08:09.010",
        "granted 100, consumed 80, available 20", "granted 0, consumed 0, available 0, next never"),
    Boundary(definition::MONTHLY, None, &[TEN, Grants(|| Grant::of("addon_timeboxed", 5).expires("2026-03-06 00:00:00.000")), Use(12)], "2026-03-06 00:00:00.000",
        "granted 15, consumed 12, available 3, over 0", "granted 10, consumed 12, available 0, over 1, next 2026-04-01 00:00:00.000"),
    Boundary(definition::ROLLING_DAY, None, &[TEN, Grants(|| Grant::of("topup", 5).expires("2026-03-01 12:00:00.000")), Use(12)], "2026-03-01 12:00:00.000",
        "granted 15, consumed 12, available 3, over 0", "granted 10, consumed 12, available 0, over 1, next 2026-03-02 00:00:00.000"),
    Boundary(definition::CAPACITY, None, &[Grants(|| Grant::of("plan_base", 3).expires("2026-03-06 00:00:00.000")), Count(2)], "2026-03-06 00:00:00.000",
        "granted 3, consumed 2, available 1, over 0, lock none", "granted 0, consumed 2, available 0, over 1, lock story_locked, next never"),
    Boundary(definition::STATE, None, &[Grants(|| Grant::of("plan_base", 1).expires("2026-03-06 00:00:00.000"))], "2026-03-06 00:00:00.000",
        "granted 1, lock none", "granted 0, lock story_locked, next never"),
    // A grant is revoked, as was said before.
    Boundary(definition::BALANCE, None, &[Grants(|| Grant::of("topup", 100)), Use(60), RevokesAt("2026-03-06 07:08:09.010")], "2026-03-06 07:08:09.010",
        "granted 100, consumed 60, available 40", "granted 0, consumed 0, available 0, next never"),
    Boundary(definition::STATE, None, &[Grants(|| Grant::of("plan_base", 1)), RevokesAt("2026-03-06 00:00:00.000")], "2026-03-06 00:00:00.000",
        "granted 1, lock none", "granted 0, lock story_locked, next never"),
    // A hold expires.
    Boundary(definition::BALANCE, None, &[Grants(|| Grant::of("topup", 100)), Hold(30, 900)], "2026-03-01 00:15:00.000",
        "consumed 0, held 30, available 70", "consumed 0, held 0, available 100, next never"),
    Boundary(definition::CAPACITY, None, &[Grants(|| Grant::of("plan_base", 3)), Count(2), Hold(1, 1)], "2026-03-01 00:00:01.000",
        "consumed 2, held 1, available 0", "consumed 2, held 0, available 1, next never"),
    Boundary(definition::ROLLING_DAY, None, &[TEN, Hold(10, 86_400)], "2026-03-02 00:00:00.000",
        "consumed 0, held 10, available 0", "consumed 0, held 0, available 10, next never"),
    // A window of the calendar ends.
    Boundary(definition::DAILY, None, &[TEN, Use(4)], "2026-03-02 00:00:00.000",
        "consumed 4, window 2026-03-01 00:00:00.000", "consumed 0, window 2026-03-02 00:00:00.000, next 2026-03-03 00:00:00.000"),
    Boundary(definition::WEEKLY, None, &[TEN, Use(4)], "2026-03-02 00:00:00.000",
        "consumed 4, window 2026-02-23 00:00:00.000", "consumed 0, window 2026-03-02 00:00:00.000, next 2026-03-09 00:00:00.000"),
    Boundary(definition::MONTHLY, None, &[TEN, Use(4)], "2026-04-01 00:00:00.000",
        "consumed 4, window 2026-03-01 00:00:00.000", "consumed 0, window 2026-04-01 00:00:00.000, next 2026-05-01 00:00:00.000"),
    Boundary(definition::MONTHLY, None, &[At("2027-02-10 00:00:00.000"), TEN, Use(4)], "2027-03-01 00:00:00.000",
        "consumed 4, window 2027-02-01 00:00:00.000", "consumed 0, window 2027-03-01 00:00:00.000, next 2027-04-01 00:00:00.000"),
    Boundary(definition::MONTHLY, None, &[At("2028-02-29 00:00:00.000"), TEN, Use(4)], "2028-03-01 00:00:00.000",
        "consumed 4, window 2028-02-01 00:00:00.000", "consumed 0, window 2028-03-01 00:00:00.000, next 2028-04-01 00:00:00.000"),
    Boundary(definition::YEARLY, None, &[TEN, Use(4)], "2027-01-01 00:00:00.000",
        "consumed 4, window 2026-01-01 00:00:00.000", "consumed 0, window 2027-01-01 00:00:00.000, next 2028-01-01 00:00:00.000"),
    // A billing period ends: clamped where the month is short, and never drifting from the anchor.
    Boundary(definition::BILLING_MONTHLY, Some("2026-01-31 10:00:00.001"), &[At("2026-02-01 00:00:00.000"), TEN, Use(4)], "2026-02-28 10:00:00.001",
        "consumed 4, window 2026-01-31 10:00:00.001", "consumed 0, window 2026-02-28 10:00:00.001, next 2026-03-31 10:00:00.001"),
    Boundary(definition::BILLING_MONTHLY, Some("2026-01-31 10:00:00.001"), &[TEN, Use(4)], "2026-03-31 10:00:00.001",
        "consumed 4, window 2026-02-28 10:00:00.001", "consumed 0, window 2026-03-31 10:00:00.001, next 2026-04-30 10:00:00.001"),
    Boundary(definition::BILLING_MONTHLY, Some("2026-01-31 10:00:00.001"), &[At("2026-04-01 00:00:00.000"), TEN, Use(4)], "2026-04-30 10:00:00.001",
        "consumed 4, window 2026-03-31 10:00:00.001", "consumed 0, window 2026-04-30 10:00:00.001, next 2026-05-31 10:00:00.001"),
    Boundary(definition::BILLING_MONTHLY, Some("2026-01-31 10:00:00.001"), &[At("2028-02-01 00:00:00.000"), TEN, Use(4)], "2028-02-29 10:00:00.001",
        "consumed 4, window 2028-01-31 10:00:00.001", "consumed 0, window 2028-02-29 10:00:00.001, next 2028-03-31 10:00:00.001"),
    Boundary(definition::BILLING_MONTHLY, Some("2026-01-30 00:00:00.000"), &[At("2026-02-01 00:00:00.000"), TEN, Use(4)], "2026-02-28 00:00:00.000",
        "consumed 4, window 2026-01-30 00:00:00.000", "consumed 0, window 2026-02-28 00:00:00.000, next 2026-03-30 00:00:00.000"),
    Boundary(YEARLY_BILLING, Some("2024-02-29 10:00:00.000"), &[TEN, Use(4)], "2027-02-28 10:00:00.000",
        "consumed 4, window 2026-02-28 10:00:00.000", "consumed 0, window 2027-02-28 10:00:00.000, next 2028-02-29 10:00:00.000"),
    Boundary(WEEKLY_BILLING, Some("2026-02-25 10:00:00.000"), &[TEN, Use(4)], "2026-03-04 10:00:00.000",
        "consumed 4, window 2026-02-25 10:00:00.000", "consumed 0, window 2026-03-04 10:00:00.000, next 2026-03-11 10:00:00.000"),
    Boundary(DAILY_BILLING, Some("2026-02-25 10:00:00.000"), &[TEN, Use(4)], "2026-03-01 10:00:00.000",
        "consumed 4, window 2026-02-28 10:00:00.000", "consumed 0, window 2026-03-01 10:00:00.000, next 2026-03-02 10:00:00.000"),
    // A use comes back.
    Boundary(definition::ROLLING_DAY, None, &[TEN, At("2026-03-01 12:00:00.500"), Use(4)], "2026-03-02 12:00:00.500",
        "consumed 4, available 6", "consumed 0, available 10, next never"),
    Boundary(ROLLING_WEEK, None, &[TEN, Use(4), At("2026-03-02 00:00:00.000"), Use(3)], "2026-03-08 00:00:00.000",
        "consumed 7, available 3", "consumed 3, available 7, next 2026-03-09 00:00:00.000"),
    Boundary(definition::ROLLING_MONTH, None, &[TEN, At("2026-03-31 12:00:00.000"), Use(4)], "2026-04-30 12:00:00.000",
        "consumed 4, available 6", "consumed 0, available 10, next never"),
    Boundary(definition::ROLLING_MONTH, None, &[TEN, At("2027-01-31 12:00:00.000"), Use(4)], "2027-02-28 12:00:00.000",
        "consumed 4, available 6", "consumed 0, available 10, next never"),
    Boundary(definition::ROLLING_MONTH, None, &[TEN, At("2028-01-31 12:00:00.000"), Use(4)], "2028-02-29 12:00:00.000",
        "consumed 4, available 6", "consumed 0, available 10, next never"),
    Boundary(ROLLING_YEAR, None, &[TEN, At("2028-02-29 12:00:00.000"), Use(4)], "2029-02-28 12:00:00.000",
        "consumed 4, available 6", "consumed 0, available 10, next never"),
];

#[tokio::test]
async fn every_boundary_falls_between_two_milliseconds() {
    let mut story = Story::of(definition::BALANCE).await;
    for (number, Boundary(limit, anchor, deeds, boundary, before, after)) in BOUNDARIES.iter().enumerate() {
        println!("{limit}: {boundary}");
        // The story's limit is whatever has its code.
        let rename = format!(
            "UPDATE billing_entitlement_definitions SET code = 'was.limit_{number}', resource_code = NULL WHERE code = '{CODE}'"
        );
        story.session.query_drop(rename).await.unwrap();
        define(&mut story.session, CODE, limit).await;
        // Asked at all three; and three that are asked once, by when nobody had settled anything.
        for (asking, asked) in [&[-1, 0, 1][..], &[-1], &[0], &[1]].iter().enumerate() {
            story.at("2026-03-01 00:00:00.000").await;
            story.subject = story.new_subject(&format!("subject-{number}-{asking}")).await;
            let anchored = "UPDATE billable_entities SET billing_anchor_at = ? WHERE id = ?";
            story
                .session
                .exec_drop(anchored, (anchor, story.subject))
                .await
                .unwrap();
            for deed in *deeds {
                does(&mut story, deed).await;
            }
            for beside in *asked {
                story.at(&shifted(boundary, *beside)).await;
                let said = if *beside < 0 {
                    format!("{before}, next {boundary}")
                } else {
                    (*after).to_owned()
                };
                story.says(&said).await;
            }
            let subject = story.subject;
            assert_eq!(differences(&mut story.session, subject).await, [""; 0]);
        }
    }
    story.end().await;
}

async fn does(story: &mut Story, deed: &Deed) {
    match deed {
        At(instant) => story.at(instant).await,
        Grants(grant) => drop(story.grant(grant()).await),
        RevokesAt(at) => {
            let key = story.new_key("revoke");
            let newest = "SELECT MAX(id) INTO @newest FROM billing_entitlement_grants";
            let revoke =
                format!("CALL entitlement_revoke_in_tx_v1(@newest, '{at}', '{key}', NULL, 'story', @replayed)");
            for statement in [newest, "START TRANSACTION", &revoke, "COMMIT"] {
                story.session.query_drop(statement).await.unwrap();
            }
        }
        Use(amount) => story.consume(*amount).await,
        Hold(amount, seconds) => drop(story.hold(*amount, *seconds).await),
        Count(count) => {
            let recount = "CALL entitlement_recount_v1(?, ?, ?)";
            story
                .session
                .exec_drop(recount, (story.subject, CODE, count))
                .await
                .unwrap();
        }
    }
}

/// An instant some milliseconds later.
fn shifted(instant: &str, millis: i64) -> String {
    const FORMAT: &str = "%Y-%m-%d %H:%M:%S%.3f";
    let instant = NaiveDateTime::parse_from_str(instant, FORMAT).unwrap() + TimeDelta::milliseconds(millis);
    instant.format(FORMAT).to_string()
}

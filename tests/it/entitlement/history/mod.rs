//! How a limit stood over time: the chart must say what was said at the time, whether or not anybody asked then.

mod stories;

use chrono::NaiveDateTime;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::support::story::{CODE, Grant, Story, definition};

/// A point as a line: `granted consumed available`.
type Point = (String, String);

/// The chart between two instants.
async fn chart(session: &mut Conn, subject: u64, from: &str, to: &str, step: &str) -> Vec<Point> {
    let call = "CALL entitlement_history_v1(?, ?, ?, ?, ?)";
    let rows: Vec<Row> = session.exec(call, (subject, CODE, from, to, step)).await.unwrap();
    rows.iter()
        .map(|row| point(row, row.get("point_at").unwrap()))
        .collect()
}

/// What something does in a history.
#[derive(Clone, Copy)]
enum Deed {
    Grant(&'static str, i64, Option<&'static str>, Option<&'static str>),
    Revoke(usize),
    Use(i64),
    Hold(i64, u32),
    Commit(usize, i64),
    Release(usize),
    Recount(i64),
    Nothing,
}
use Deed::{Commit, Hold, Nothing, Recount, Release, Revoke, Use};

/// A grant without bounds.
fn grant(kind: &'static str, amount: i64) -> Deed {
    Deed::Grant(kind, amount, None, None)
}

/// Tells a history, from the midnight before it to its last instant. If `asks`, somebody reads at each hour or midnight on the way, as
/// `step` says, and what he is told is given: that is the truth that a chart is compared with.
async fn told(definition: &str, deeds: &[(&'static str, Deed)], step: &str, asks: bool) -> (Story, Vec<Point>) {
    let mut story = Story::of(definition).await;
    let instant = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.3f").unwrap();
    let length = match step {
        "hour" => chrono::Duration::hours(1),
        _ => chrono::Duration::days(1),
    };
    let (mut grants, mut holds, mut said) = (Vec::new(), Vec::new(), Vec::new());
    let last = instant(deeds.last().unwrap().0);
    let mut at = instant(deeds[0].0).date().and_time(chrono::NaiveTime::MIN);
    for (when, deed) in deeds {
        // All that happens at an instant is in its point.
        while asks && at < instant(when) {
            said.push(asked(&mut story, at).await);
            at += length;
        }
        story.at(when).await;
        match *deed {
            Deed::Grant(kind, amount, effective_at, expires_at) => {
                let grant = Grant {
                    kind,
                    amount,
                    priority: None,
                    effective_at,
                    expires_at,
                };
                grants.push(story.grant(grant).await);
            }
            Revoke(index) => story.revoke(grants[index]).await,
            Use(amount) => story.consume(amount).await,
            Hold(amount, seconds) => holds.push(story.hold(amount, seconds).await),
            Commit(index, amount) => drop(story.commit(holds[index], amount).await.unwrap()),
            Release(index) => drop(story.release(holds[index]).await.unwrap()),
            Recount(count) => {
                let recount = format!("CALL entitlement_recount_v1({}, '{CODE}', {count})", story.subject);
                story.session.query_drop(recount).await.unwrap();
            }
            Nothing => (),
        }
    }
    while asks && at <= last {
        said.push(asked(&mut story, at).await);
        at += length;
    }
    story.at(deeds.last().unwrap().0).await;
    (story, said)
}

/// What the limit says at an instant.
async fn asked(story: &mut Story, at: NaiveDateTime) -> Point {
    story.at(&at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()).await;
    let row: Row = story
        .session
        .exec_first("CALL entitlement_limitations_v1(?, ?, FALSE)", (story.subject, CODE))
        .await
        .unwrap()
        .unwrap();
    point(&row, at)
}

fn point(row: &Row, at: NaiveDateTime) -> Point {
    let figure = |column: &str| row.get::<i64, _>(column).unwrap();
    let figures = format!(
        "{} {} {}",
        figure("granted_amount"),
        figure("consumed_amount"),
        figure("available_amount")
    );
    (at.format("%m-%d %H").to_string(), figures)
}

/// The chart of a history equals what was said at the time, whether somebody asked at every step or nobody ever did, also when the uses are archived.
async fn is_as_it_was_said(definition: &str, deeds: &[(&'static str, Deed)], step: &str) {
    let (mut asked, said) = told(definition, deeds, step, true).await;
    let (mut slept, _) = told(definition, deeds, step, false).await;
    assert!(said.len() > 5, "{} points", said.len());
    let (first, last) = (&deeds[0].0[..10], deeds.last().unwrap().0);
    for (story, who) in [(&mut asked, "somebody asked"), (&mut slept, "nobody asked")] {
        let subject = story.subject;
        let end = format!("{}1", &last[..last.len() - 1]);
        for archives in [false, true] {
            if archives {
                story.archive().await;
            }
            let drawn = chart(&mut story.session, subject, first, &end, step).await;
            assert_eq!(drawn, said, "{definition}, when {who}; archived: {archives}");
        }
    }
    asked.end().await;
    slept.end().await;
}

#[tokio::test]
async fn a_chart_of_hours_says_what_was_said() {
    let holds = [
        ("2026-03-01 00:10:00.000", grant("topup", 100)),
        ("2026-03-01 00:20:00.000", Hold(30, 3600 * 5)),
        ("2026-03-01 01:00:00.000", Hold(10, 3600)),
        ("2026-03-01 01:30:00.000", Use(5)),
        ("2026-03-01 02:30:00.000", Hold(7, 86_400)),
        ("2026-03-01 03:00:00.000", Commit(0, 20)),
        (
            "2026-03-01 03:30:00.000",
            Deed::Grant(
                "promo",
                50,
                Some("2026-03-01 05:00:00.000"),
                Some("2026-03-01 08:00:00.000"),
            ),
        ),
        ("2026-03-01 06:00:00.000", Release(2)),
        ("2026-03-01 06:30:00.000", Use(61)),
        ("2026-03-01 10:00:00.000", Revoke(0)),
        ("2026-03-01 11:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::BALANCE, &holds, "hour").await;
    let soft = [
        ("2026-03-01 01:10:00.000", Use(50)),
        ("2026-03-01 03:00:00.000", grant("topup", 30)),
        (
            "2026-03-01 05:00:00.000",
            Deed::Grant("promo", 90, Some("2026-03-01 06:00:00.000"), None),
        ),
        ("2026-03-01 07:00:00.000", Use(100)),
        ("2026-03-01 09:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::SOFT_BALANCE, &soft, "hour").await;
    let state = [
        (
            "2026-03-01 02:00:00.000",
            Deed::Grant("plan_base", 1, None, Some("2026-03-01 04:00:00.000")),
        ),
        ("2026-03-01 08:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::STATE, &state, "hour").await;
}

#[tokio::test]
async fn a_chart_of_days_says_what_was_said() {
    // Windows in which nothing was due leave no rows, and the plan ends at the very end of one of them.
    let quota = [
        (
            "2026-03-01 00:00:00.000",
            Deed::Grant("plan_base", 10, None, Some("2026-03-20 00:00:00.000")),
        ),
        ("2026-03-01 01:00:00.000", grant("topup", 7)),
        ("2026-03-02 01:00:00.000", Use(12)),
        ("2026-03-06 12:00:00.000", Use(4)),
        ("2026-03-10 00:00:00.000", Use(1)),
        (
            "2026-03-12 00:00:00.000",
            Deed::Grant(
                "promo",
                5,
                Some("2026-03-15 12:00:00.000"),
                Some("2026-03-17 12:00:00.000"),
            ),
        ),
        ("2026-03-25 01:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::DAILY, &quota, "day").await;
    is_as_it_was_said(definition::WEEKLY, &quota, "day").await;
    let soft = [
        ("2026-03-01 00:00:00.000", grant("plan_base", 10)),
        ("2026-03-02 01:00:00.000", Use(12)),
        ("2026-03-05 01:00:00.000", grant("topup", 5)),
        ("2026-04-10 00:00:00.000", Use(17)),
        ("2026-04-20 00:00:00.000", grant("topup", 1)),
        ("2026-06-10 00:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::SOFT_MONTHLY, &soft, "day").await;
}

#[tokio::test]
async fn what_comes_back_in_a_month_is_charted_by_the_day() {
    // A month after 29, 30 and 31 January is 28 February; the story's other months are longer, too, than the one after.
    let deeds = [
        ("2026-12-01 00:00:00.000", grant("plan_base", 100)),
        ("2027-01-28 18:00:00.000", Use(1)),
        ("2027-01-29 18:00:00.000", Use(2)),
        ("2027-01-30 00:00:00.000", Use(4)),
        ("2027-01-31 10:00:00.000", Use(8)),
        ("2027-02-01 00:00:00.000", Use(16)),
        ("2027-02-28 00:00:00.000", Use(32)),
        ("2027-04-02 00:00:00.000", Nothing),
    ];
    is_as_it_was_said(definition::ROLLING_MONTH, &deeds, "day").await;
}

#[tokio::test]
async fn the_last_thirty_days_and_hours_without_being_asked() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let subject = story.subject;
    for (at, step, count, first, last) in [
        ("2026-03-31 12:34:56.789", None, 30, "2026-03-02 00", "2026-03-31 00"),
        (
            "2026-03-31 00:00:00.000",
            Some("day"),
            30,
            "2026-03-02 00",
            "2026-03-31 00",
        ),
        (
            "2026-03-31 12:34:56.789",
            Some("hour"),
            24,
            "2026-03-30 13",
            "2026-03-31 12",
        ),
        (
            "2026-03-31 12:00:00.000",
            Some("hour"),
            24,
            "2026-03-30 13",
            "2026-03-31 12",
        ),
    ] {
        story.at(at).await;
        let rows: Vec<Row> = story
            .session
            .exec(
                "CALL entitlement_history_v1(?, ?, NULL, NULL, ?)",
                (subject, CODE, step),
            )
            .await
            .unwrap();
        let instants: Vec<_> = rows
            .iter()
            .map(|row| {
                row.get::<NaiveDateTime, _>("point_at")
                    .unwrap()
                    .format("%Y-%m-%d %H")
                    .to_string()
            })
            .collect();
        assert_eq!(instants.len(), count, "{at} {step:?}");
        assert_eq!(
            (instants[0].as_str(), instants[count - 1].as_str()),
            (first, last),
            "{at} {step:?}"
        );
    }
    // A thousand are given, all that are not after now; one more is refused.
    let thousand = chart(
        &mut story.session,
        subject,
        "2026-02-20 00:00:00.000",
        "2026-04-02 16:00:00.000",
        "hour",
    )
    .await;
    assert_eq!(thousand.len(), 24 * 39 + 13);
    let none = chart(
        &mut story.session,
        subject,
        "2026-04-02 00:00:00.000",
        "2026-04-03 00:00:00.000",
        "hour",
    )
    .await;
    assert_eq!(none, []);
    for (call, expected) in [
        (
            "'2026-02-20', '2026-04-02 16:00:00.001', 'hour'",
            "VALIDATION_FAILED: to: must be at most 1000 points after from",
        ),
        (
            "'2026-03-02', '2026-03-02', 'hour'",
            "VALIDATION_FAILED: from: must be before to",
        ),
        (
            "'2026-05-02', NULL, 'day'",
            "VALIDATION_FAILED: from: must be before to",
        ),
        ("NULL, NULL, 'week'", "VALIDATION_FAILED: step: must be hour or day"),
    ] {
        let call = format!("CALL entitlement_history_v1({subject}, '{CODE}', {call})");
        match story.session.query_drop(&call).await {
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.message, expected, "{call}"),
            other => panic!("{call}: {other:?}"),
        }
    }
    for (call, expected) in [
        (
            format!("99, '{CODE}'"),
            "SUBJECT_NOT_FOUND: no billable entity has this id",
        ),
        (
            format!("{subject}, 'no.such'"),
            "DEFINITION_NOT_FOUND: no entitlement definition has this code",
        ),
    ] {
        let call = format!("CALL entitlement_history_v1({call}, NULL, NULL, 'day')");
        match story.session.query_drop(&call).await {
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.message, expected, "{call}"),
            other => panic!("{call}: {other:?}"),
        }
    }
    story.end().await;
}

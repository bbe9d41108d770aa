//! `operator_archive_v1`: what it may move, and that every answer stays as it was. Who may move it: `accounts`.

use chrono::{Days, NaiveDate};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value as Json, json};

use crate::support::session::{begin, until_blocked};
use crate::support::story::{CODE, Grant, Story, consume, define, definition, differences, projections};

/// Limits of one subject, of each kind whose uses are in the ledger.
const CODES: [&str; 3] = [CODE, "story.monthly", "story.rolling"];

/// A subject that used each of [`CODES`] once a day for forty days, and the requests. Of the first, grants closed segments on two of the days.
async fn lived() -> (Story, Vec<Json>) {
    let mut story = Story::of(definition::BALANCE).await;
    define(&mut story.session, CODES[1], definition::SOFT_MONTHLY).await;
    define(&mut story.session, CODES[2], definition::ROLLING_DAY).await;
    story.grant(Grant::of("topup", 1_000)).await;
    let rolling =
        "CALL entitlement_grant_v1(?, 'story.rolling', 50, 'promo', NULL, NULL, NULL, 'rolling', 'Story', 'story')";
    story.session.exec_drop(rolling, (story.subject,)).await.unwrap();
    let mut requests = Vec::new();
    for day in 0..40 {
        let date = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap() + Days::new(day);
        story.at(&format!("{date} 10:00:00.000")).await;
        let items: Json = CODES
            .iter()
            .map(|code| json!({"limitationCode": code, "amount": day % 5 + 1}))
            .collect();
        let request = json!({"subjectId": story.subject, "usageEventKey": format!("day-{day}"), "items": items});
        for answer in story.consume_all(&json!([request])).await {
            assert_eq!((answer.outcome.as_str(), answer.replayed), ("accepted", false));
        }
        requests.push(request);
        if day == 10 || day == 25 {
            story.grant(Grant::of("topup", 50)).await;
        }
    }
    story.at("2026-04-10 12:00:00.000").await;
    settle(&mut story).await;
    (story, requests)
}

async fn settle(story: &mut Story) {
    let settle = "CALL entitlement_settle_v1(?)";
    story.session.exec_drop(settle, (story.subject,)).await.unwrap();
}

/// All result sets of a call, as text.
async fn text(session: &mut Conn, call: &str) -> Vec<String> {
    let mut sets = session.query_iter(call).await.unwrap();
    let mut lines = Vec::new();
    while !sets.is_empty() {
        let rows: Vec<Row> = sets.collect().await.unwrap();
        lines.extend(rows.into_iter().map(|row| {
            let values = row.unwrap();
            values
                .iter()
                .map(|value| value.as_sql(true))
                .collect::<Vec<_>>()
                .join(" ")
        }));
    }
    sets.drop_result().await.unwrap();
    lines
}

/// Everything that is answered about the subject: pages of its ledgers, charts, limitations, replays alone and together, conflicts, the proof.
async fn answers(story: &mut Story, requests: &[Json]) -> Vec<String> {
    let subject = story.subject;
    let session = &mut story.session;
    let mut said = Vec::new();
    for code in CODES {
        for limit in [7, 200] {
            let mut cursor = Some("NULL".to_owned());
            while let Some(from) = cursor {
                let page = text(
                    session,
                    &format!("CALL entitlement_ledger_v1({subject}, '{code}', {from}, {limit})"),
                )
                .await;
                cursor = (page[0] != "NULL").then(|| page[0].clone());
                said.extend(page);
            }
        }
        for call in [
            format!("CALL entitlement_history_v1({subject}, '{code}', '2026-03-01', NULL, 'day')"),
            format!("CALL entitlement_history_v1({subject}, '{code}', '2026-03-05', NULL, 'hour')"),
        ] {
            said.extend(text(session, &call).await);
        }
    }
    said.extend(
        text(
            session,
            &format!("CALL entitlement_limitations_v1({subject}, NULL, FALSE)"),
        )
        .await,
    );
    let mut other = requests.to_vec();
    for request in &mut other {
        request["items"][0]["amount"] = json!(17);
    }
    // One of the items of a request that had three: known, and not the same.
    let mut parts = requests.to_vec();
    for request in &mut parts {
        request["items"] = json!([request["items"][1]]);
    }
    let mut calls: Vec<Json> = requests.iter().map(|request| json!([request])).collect();
    calls.push(requests.into());
    calls.push(other.into());
    calls.push(parts.into());
    for call in calls {
        said.extend(text(session, &format!("CALL entitlement_consume_v1('{call}')")).await);
    }
    said.extend(text(session, &format!("CALL entitlement_verify_v1({subject})")).await);
    said
}

/// Archives the story's subject in batches; how many uses went.
async fn archive(story: &mut Story, before: &str, limit: u32) -> u64 {
    let (mut moved, mut first) = (0, Some(story.subject));
    while let Some(from) = first {
        let row: (u64, Option<u64>, Option<u64>) = story
            .session
            .exec_first(
                "CALL operator_archive_v1(?, ?, ?, ?)",
                (before, limit, from, story.subject),
            )
            .await
            .unwrap()
            .unwrap();
        moved += row.0;
        first = row.1;
    }
    moved
}

/// Of each of [`CODES`], how far it is archived, and how many uses the ledger and the archive have.
async fn places(story: &mut Story) -> Vec<(u64, u64, u64)> {
    story
        .session
        .exec(
            "SELECT b.archived_sequence_no,
                    (SELECT COUNT(*) FROM billing_entitlement_consumptions AS c WHERE c.subject_id = b.subject_id AND c.definition_id = b.definition_id),
                    (SELECT COUNT(*) FROM billing_entitlement_consumption_archive AS a WHERE a.subject_id = b.subject_id AND a.definition_id = b.definition_id)
               FROM billing_entitlement_balances AS b
              WHERE b.subject_id = ? AND b.history_no = 0 ORDER BY b.definition_id",
            (story.subject,),
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn every_answer_stays_as_it_was() {
    let (mut story, requests) = lived().await;
    let before = answers(&mut story, &requests).await;
    let replayed = before
        .iter()
        .filter(|line| line.contains("'accepted' '1' NULL"))
        .count();
    assert_eq!(replayed, 2 * 3 * requests.len(), "replays, of which the test is");

    // Part of it first: a segment is in both tables.
    let half = "CALL operator_archive_v1('2026-04-05', 19, ?, ?)";
    let subject = story.subject;
    story.session.exec_drop(half, (subject, subject)).await.unwrap();
    assert_eq!(places(&mut story).await[0], (19, 21, 19));
    assert_eq!(answers(&mut story, &requests).await, before);

    assert_eq!(archive(&mut story, "2026-04-05", 7).await, 26 + 31 + 34 - 19);
    // Up to the last grant; up to the month's end; what had come back by then.
    assert_eq!(places(&mut story).await, [(26, 14, 26), (31, 9, 31), (34, 6, 34)]);
    assert_eq!(answers(&mut story, &requests).await, before);
    assert_eq!(archive(&mut story, "2026-04-05", 7).await, 0);

    // A rebuild finds in the archive how far it goes, also where the balance is lost.
    let projected = projections(&mut story.session).await;
    for lose in [
        "DO ?",
        "DELETE FROM billing_entitlement_balances WHERE subject_id = ? AND history_no = 0",
    ] {
        story.session.exec_drop(lose, (subject,)).await.unwrap();
        let rebuild = "CALL entitlement_recompute_v1(?)";
        story.session.exec_drop(rebuild, (subject,)).await.unwrap();
        assert_eq!(projections(&mut story.session).await, projected);
    }
    // And life goes on, also where all uses of a rolling quota are archived.
    assert_eq!(archive(&mut story, "2026-04-10 12:00:00", 1_000).await, 6);
    let new = json!([{"subjectId": subject, "usageEventKey": "new", "items": requests[0]["items"]}, requests[0]]);
    let said: Vec<_> = story
        .consume_all(&new)
        .await
        .iter()
        .map(|answer| answer.replayed)
        .collect();
    assert_eq!(said, [false, false, false, true, true, true]);
    story.at("2026-05-20 00:00:00.000").await;
    settle(&mut story).await;
    assert_eq!(archive(&mut story, "2026-05-20", 1_000).await, 9 + 1 + 1);
    story.end().await;
}

#[tokio::test]
async fn what_may_go_is_closed_and_has_come_back() {
    let mut story = Story::of(definition::ROLLING_DAY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    for hour in ["01", "02", "03"] {
        story.at(&format!("2026-03-01 {hour}:00:00.000")).await;
        story.consume(10).await;
    }
    // Closes the segment, but nothing has come back.
    story.at("2026-03-01 04:00:00.000").await;
    story.grant(Grant::of("plan_bonus", 1)).await;
    assert_eq!(archive(&mut story, "2026-03-01 04:00:00", 1_000).await, 0);
    story.at("2026-03-02 02:00:00.000").await;
    settle(&mut story).await;
    // The segment ended at four; at an earlier instant it was open.
    assert_eq!(archive(&mut story, "2026-03-01 03:59:59.999", 1_000).await, 0);
    assert_eq!(archive(&mut story, "2026-03-01 04:00:00", 1).await, 2);
    assert_eq!(places(&mut story).await, [(2, 1, 2)]);

    for (before, limit, field) in [
        ("NULL", "1", "before"),
        ("'2026-03-02 02:00:00.001'", "1", "before"),
        ("'2026-03-02'", "0", "limit"),
        ("'2026-03-02'", "10001", "limit"),
        ("'2026-03-02'", "NULL", "limit"),
    ] {
        let call = format!("CALL operator_archive_v1({before}, {limit}, NULL, NULL)");
        let error = story.session.query_drop(&call).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("VALIDATION_FAILED: {field}: ")),
            "{call}: {error}"
        );
    }
    story.end().await;
}

#[tokio::test]
async fn subject_after_subject_is_walked() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut subjects = vec![story.subject];
    for name in ["second", "third"] {
        subjects.push(story.new_subject(name).await);
    }
    for subject in &subjects {
        story.subject = *subject;
        story.grant(Grant::of("topup", 10)).await;
        for _ in 0..2 {
            story.consume(1).await;
        }
        story.grant(Grant::of("topup", 10)).await;
    }
    let mut walked = Vec::new();
    let mut first = None;
    loop {
        let (moved, next, last): (u64, Option<u64>, u64) = story
            .session
            .exec_first("CALL operator_archive_v1('2026-03-01', 3, ?, NULL)", (first,))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(last, subjects[2]);
        walked.push((moved, next));
        first = next;
        if next.is_none() {
            break;
        }
    }
    // The second is half done after three; the third fills a call to its end, which the last one has to find out.
    assert_eq!(walked, [(3, Some(subjects[1])), (3, Some(subjects[2])), (0, None)]);
    assert_eq!(differences(&mut story.session, None).await, [""; 0]);
    story.end().await;
}

/// Who asks for a key while its use is being moved finds it where it went.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_waits_for_the_move_is_a_replay() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let subject = story.subject;
    let request = |key: &str| json!([{"subjectId": subject, "usageEventKey": key, "items": [{"limitationCode": CODE, "amount": 1}]}]);
    for key in ["first", "second"] {
        let answer = story.consume_all(&request(key)).await.remove(0);
        assert_eq!((answer.outcome.as_str(), answer.replayed), ("accepted", false));
    }
    story.grant(Grant::of("topup", 100)).await;

    // The move has the balance's lock and waits for one of its uses.
    let mut holder = story.database.session().await;
    begin(&mut holder).await;
    let hold = "SELECT amount FROM billing_entitlement_consumptions WHERE usage_event_key = 'second' FOR UPDATE";
    holder.query_drop(hold).await.unwrap();
    let mut mover = story.database.session().await;
    let mover_id = mover.id();
    let moving = tokio::spawn(async move {
        let call = "CALL operator_archive_v1(UTC_TIMESTAMP(3), 1000, NULL, NULL)";
        let moved: (u64, Option<u64>, u64) = mover.query_first(call).await.unwrap().unwrap();
        moved.0
    });
    until_blocked(&story.database, mover_id).await;
    let mut asker = story.database.session().await;
    let asker_id = asker.id();
    let asked = request("first");
    let asking = tokio::spawn(async move { consume(&mut asker, &asked).await.remove(0) });
    until_blocked(&story.database, asker_id).await;
    holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(moving.await.unwrap(), 2);
    let answer = asking.await.unwrap();
    assert_eq!((answer.replayed, answer.sequence_no), (true, Some(1)));
    story.end().await;
}

/// A move locks rows of its own subject only: neighbours in every index are in the midst of a use.
#[tokio::test]
async fn nobody_waits_for_his_neighbours_move() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut subjects = vec![story.subject];
    for name in ["middle", "after"] {
        subjects.push(story.new_subject(name).await);
    }
    for subject in &subjects {
        story.subject = *subject;
        story.grant(Grant::of("topup", 10)).await;
        story.consume(1).await;
        story.grant(Grant::of("topup", 10)).await;
    }
    let mut neighbour = story.database.session().await;
    begin(&mut neighbour).await;
    for subject in [subjects[0], subjects[2]] {
        let uses = json!([{"subjectId": subject, "usageEventKey": "meanwhile", "items": [{"limitationCode": CODE, "amount": 1}]}]);
        let consume = "CALL entitlement_consume_in_tx_v1(?, @not_accepted)";
        neighbour.exec_drop(consume, (uses.to_string(),)).await.unwrap();
        let lock = "SELECT amount FROM billing_entitlement_consumptions WHERE subject_id = ? FOR UPDATE";
        neighbour.exec_drop(lock, (subject,)).await.unwrap();
    }
    story.subject = subjects[1];
    story
        .session
        .query_drop("SET innodb_lock_wait_timeout = 1")
        .await
        .unwrap();
    assert_eq!(archive(&mut story, "2026-03-01", 1_000).await, 1);
    neighbour.query_drop("COMMIT").await.unwrap();
    story.end().await;
}

//! The page of a limit's ledger.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

use crate::support::story::{CODE, Grant, Story, definition};

/// An entry as a line: its kind, and what matters of it.
fn line(row: &Row) -> String {
    let text = |column: &str| {
        let value: Option<String> = row.get(column).unwrap();
        value.unwrap_or_default()
    };
    let number = |column: &str| {
        let value: Option<i64> = row.get(column).unwrap();
        value.map_or_else(String::new, |value| value.to_string())
    };
    let kind = text("kind");
    let what = match kind.as_str() {
        "grant" => format!("{} of {}", number("grant_id"), number("amount")),
        "revocation" => number("grant_id"),
        "settlement" => format!("{} {}", number("segment_no"), text("cause")),
        "hold_resolution" => format!("{} {}", text("resolution"), number("amount")),
        _ => format!("{} of {}", text("usage_event_key"), number("amount")),
    };
    format!("{kind} {what}")
}

/// A page: its lines, and the next one's cursor.
async fn page(session: &mut Conn, subject: u64, cursor: Option<&str>, limit: u32) -> (Vec<String>, Option<String>) {
    let call = "CALL entitlement_ledger_v1(:subject, :code, :cursor, :limit)";
    let mut sets = session
        .exec_iter(
            call,
            params! {"subject" => subject, "code" => CODE, "cursor" => cursor, "limit" => limit},
        )
        .await
        .unwrap();
    let heads: Vec<(Option<String>,)> = sets.collect().await.unwrap();
    let rows: Vec<Row> = sets.collect().await.unwrap();
    sets.drop_result().await.unwrap();
    (rows.iter().map(line).collect(), heads[0].0.clone())
}

async fn all(session: &mut Conn, subject: u64, limit: u32) -> Vec<String> {
    let (mut lines, mut cursor) = page(session, subject, None, limit).await;
    while let Some(next) = cursor {
        let (more, after) = page(session, subject, Some(&next), limit).await;
        assert!(!more.is_empty(), "a page that was promised");
        lines.extend(more);
        cursor = after;
    }
    lines
}

/// Grants, uses, holds, a revocation and the clock's boundaries, one second apart.
async fn told() -> Story {
    let mut story = Story::of(definition::BALANCE).await;
    story
        .grant(Grant::of("topup", 100).expires("2026-03-02 00:00:00.000"))
        .await;
    story.at("2026-03-01 00:00:01.000").await;
    story.consume(30).await;
    story.at("2026-03-01 00:00:02.000").await;
    let lasting = story.grant(Grant::of("promo", 50)).await;
    story.at("2026-03-01 00:00:03.000").await;
    let committed = story.hold(20, 60).await;
    story.at("2026-03-01 00:00:04.000").await;
    story.commit(committed, 15).await.unwrap();
    story.at("2026-03-01 00:00:05.000").await;
    let released = story.hold(5, 60).await;
    story.at("2026-03-01 00:00:06.000").await;
    story.release(released).await.unwrap();
    story.at("2026-03-01 00:00:07.000").await;
    story.hold(1, 60).await;
    story.at("2026-03-02 00:00:01.000").await;
    story.consume(10).await;
    story.at("2026-03-02 00:00:02.000").await;
    story.revoke(lasting).await;
    story
}

const TOLD: [&str; 18] = [
    "settlement 6 revocation",
    "revocation 2",
    "consumption use-7 of 10",
    "settlement 5 grant_boundary",
    "settlement 4 hold_expiry",
    "hold hold-6 of 1",
    "hold_resolution released 0",
    "hold hold-5 of 5",
    "hold_resolution committed 15",
    "consumption hold 1 of 15",
    "hold hold-4 of 20",
    "settlement 3 grant",
    "grant 2 of 50",
    "consumption use-2 of 30",
    "settlement 2 grant",
    "settlement 1 opened",
    "grant 1 of 100",
    "",
];

#[tokio::test]
async fn the_newest_comes_first_whatever_its_kind() {
    let mut story = told().await;
    let told: Vec<_> = TOLD.iter().filter(|line| !line.is_empty()).copied().collect();
    let subject = story.subject;
    for limit in [1, 2, 3, 7, 16, 17, 200] {
        assert_eq!(all(&mut story.session, subject, limit).await, told, "{limit} a page");
    }
    story.end().await;
}

#[tokio::test]
async fn new_rows_shift_no_later_page() {
    let mut story = told().await;
    let subject = story.subject;
    let before = all(&mut story.session, subject, 200).await;
    let (first, cursor) = page(&mut story.session, subject, None, 4).await;
    let cursor = cursor.unwrap();
    let (second, _) = page(&mut story.session, subject, Some(&cursor), 4).await;
    // Of every kind, also of those that the first page had none of.
    story.at("2026-03-02 00:01:00.000").await;
    let grant = story.grant(Grant::of("promo", 9)).await;
    story.consume(3).await;
    let hold = story.hold(1, 60).await;
    story.release(hold).await.unwrap();
    story.revoke(grant).await;
    assert_eq!(page(&mut story.session, subject, Some(&cursor), 4).await.0, second);
    let (rest, end) = page(&mut story.session, subject, Some(&cursor), 200).await;
    assert_eq!((rest, end), (before[first.len()..].to_vec(), None));
    story.end().await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_nothing() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    for second in [5, 2, 9, 1, 1, 4] {
        story.at(&format!("2026-03-01 00:00:0{second}.000")).await;
        story.consume(1).await;
        story.grant(Grant::of("promo", 1)).await;
    }
    let subject = story.subject;
    let whole = all(&mut story.session, subject, 200).await;
    assert_eq!(whole.len(), 7 + 6 + 8);
    for limit in [1, 2, 5] {
        let mut paged = all(&mut story.session, subject, limit).await;
        let uses: Vec<_> = paged
            .iter()
            .filter(|line| line.starts_with("consumption"))
            .cloned()
            .collect();
        let all_uses: Vec<_> = whole
            .iter()
            .filter(|line| line.starts_with("consumption"))
            .cloned()
            .collect();
        assert_eq!(uses, all_uses);
        paged.sort_unstable();
        let mut sorted = whole.clone();
        sorted.sort_unstable();
        assert_eq!(paged, sorted, "{limit} a page");
    }
    story.end().await;
}

#[tokio::test]
async fn a_count_has_its_changes() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 5)).await;
    story.at("2026-03-01 00:00:01.000").await;
    story.consume(2).await;
    story.at("2026-03-01 00:00:02.000").await;
    let hold = story.hold(1, 60).await;
    story.at("2026-03-01 00:00:03.000").await;
    story.commit(hold, 1).await.unwrap();
    story.at("2026-03-01 00:00:04.000").await;
    let recount = format!("CALL entitlement_recount_v1({}, '{CODE}', 1)", story.subject);
    story.session.query_drop(recount).await.unwrap();
    let subject = story.subject;
    assert_eq!(
        all(&mut story.session, subject, 3).await,
        [
            "count_change  of -2",
            "hold_resolution committed 1",
            "count_change hold 1 of 1",
            "hold hold-3 of 1",
            "count_change use-2 of 2",
            "settlement 2 grant",
            "settlement 1 opened",
            "grant 1 of 5",
        ]
    );
    story.end().await;
}

#[tokio::test]
async fn a_settlement_says_what_each_grant_gave() {
    let mut story = Story::of(definition::BALANCE).await;
    let first = story.grant(Grant::of("topup", 100)).await;
    let second = story.grant(Grant::of("topup", 100)).await;
    story.at("2026-03-01 00:00:01.000").await;
    story.consume(120).await;
    story.revoke(second).await;
    let call = format!("CALL entitlement_ledger_v1({}, '{CODE}', NULL, 1)", story.subject);
    let mut sets = story.session.query_iter(call).await.unwrap();
    let _: Vec<Row> = sets.collect().await.unwrap();
    let rows: Vec<Row> = sets.collect().await.unwrap();
    sets.drop_result().await.unwrap();
    let gave: String = rows[0].get("gave").unwrap();
    let mut gave: Vec<serde_json::Value> = serde_json::from_str(&gave).unwrap();
    gave.sort_by_key(|gift| gift["grantId"].as_u64());
    assert_eq!(
        serde_json::Value::from(gave),
        serde_json::json!([{"grantId": first, "amount": 100}, {"grantId": second, "amount": 20}])
    );
    let figures: (i64, i64) = (
        rows[0].get("closed_amount").unwrap(),
        rows[0].get("closed_grants_gave").unwrap(),
    );
    assert_eq!(figures, (120, 120));
    story.end().await;
}

#[tokio::test]
async fn a_page_costs_a_page() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 5)).await;
    let subject = story.subject;
    let definition: u32 = story
        .session
        .query_first(format!(
            "SELECT id FROM billing_entitlement_definitions WHERE code = '{CODE}'"
        ))
        .await
        .unwrap()
        .unwrap();
    // A long history of each kind, beside another subject's; what the rows mean does not matter here.
    let numbers = "WITH RECURSIVE n AS (SELECT 2 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1500)";
    for statement in [
        "SET cte_max_recursion_depth = 5000, foreign_key_checks = 0".to_owned(),
        format!("INSERT INTO billing_entitlement_grants (subject_id, definition_id, grant_kind, amount, effective_at, source, dedupe_key, content_sha256, created_by, created_at) \
                 {numbers} SELECT {subject} + i % 2, {definition}, 'promo', 1, UTC_TIMESTAMP(3), 'operator', i, SHA2(i, 256), 'x', UTC_TIMESTAMP(3) FROM n").replace("SHA2(i, 256)", "UNHEX(SHA2(i, 256))"),
        format!("INSERT INTO billing_entitlement_revocations (grant_id, subject_id, definition_id, revoked_at, dedupe_key, created_by, created_at) \
                 {numbers} SELECT i, {subject} + i % 2, {definition}, UTC_TIMESTAMP(3), i, 'x', UTC_TIMESTAMP(3) FROM n"),
        format!("INSERT INTO billing_entitlement_settlements \
                 {numbers} SELECT s.subject_id, s.definition_id, n.i + 1, s.settled_at, s.cause, s.closed_amount, s.closed_allotment_gave, s.closed_grants_gave, s.overage_paid, \
                 s.window_start_at, s.window_end_at, s.granted_amount, s.consumed_amount, s.left_amount, s.allotment_amount, s.allotment_given_amount, s.overage_amount, \
                 s.returned_sequence_no, s.last_sequence_no, s.recorded_at FROM n JOIN billing_entitlement_settlements AS s ON s.segment_no = 2"),
        format!("INSERT INTO billing_entitlement_holds (subject_id, definition_id, usage_event_key, amount, status, expires_at, content_sha256, segment_no, consumed_after, left_after, held_after, created_at) \
                 {numbers} SELECT {subject} + i % 2, {definition}, i, 1, 'released', UTC_TIMESTAMP(3) + INTERVAL 1 DAY, UNHEX(SHA2(i, 256)), 1, 0, 0, 0, UTC_TIMESTAMP(3) FROM n"),
        format!("INSERT INTO billing_entitlement_hold_resolutions (hold_id, subject_id, definition_id, resolution, amount, resolved_at, segment_no, consumed_after, left_after, held_after) \
                 {numbers} SELECT i, {subject} + i % 2, {definition}, 'released', 0, UTC_TIMESTAMP(3), 1, 0, 0, 0 FROM n"),
        format!("INSERT INTO billing_entitlement_consumptions (subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, occurred_at, posted_at, consumed_after, left_after, held_after, content_sha256) \
                 {numbers} SELECT {subject} + i % 2, {definition}, SHA2(i, 256), i, 1, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 0, 0, 0, UNHEX(SHA2(i, 256)) FROM n"),
        format!("INSERT INTO billing_entitlement_consumption_archive (subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, occurred_at, posted_at, consumed_after, left_after, held_after, content_sha256, archived_at) \
                 {numbers} SELECT {subject} + i % 2, {definition}, SHA2(-i, 256), i, 1, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 0, 0, 0, UNHEX(SHA2(i, 256)), UTC_TIMESTAMP(3) FROM n"),
        format!("INSERT INTO billing_resource_changes (subject_id, definition_id, usage_event_key, change_kind, amount, occurred_at, posted_at, segment_no, consumed_after, left_after, held_after, content_sha256) \
                 {numbers} SELECT {subject} + i % 2, {definition}, i, 'consume', 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 1, 0, 0, 0, UNHEX(SHA2(i, 256)) FROM n"),
    ] {
        story.session.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    // The very text of the procedure.
    let text = include_str!("../../../sql/entitlement/entitlement_ledger_v1.sql");
    let begin = text.find("(SELECT 1 AS source").unwrap();
    let end = begin + text[begin..].find(") AS u)").unwrap();
    let mut union = text[begin..end]
        .replace("p_subject_id", &subject.to_string())
        .replace("v_definition_id", &definition.to_string());
    union = union.replace("LIMIT v_rows", "LIMIT 51");
    for before in [
        "v_grants",
        "v_revocations",
        "v_settlements",
        "v_holds",
        "v_uses",
        "v_counts",
        "v_resolutions",
    ] {
        assert!(union.contains(before), "{before}");
        union = union.replace(before, "1400");
    }

    let plan: Vec<Row> = story
        .session
        .query(format!("EXPLAIN FORMAT=TRADITIONAL {union}"))
        .await
        .unwrap();
    let tables: Vec<_> = plan
        .iter()
        .filter(|row| row.get::<Option<String>, _>("key").unwrap().is_some())
        .collect();
    let keys: Vec<String> = tables.iter().map(|row| row.get("key").unwrap()).collect();
    assert_eq!(
        keys,
        [
            "ix_grants_subject",
            "ix_revocations_subject",
            "PRIMARY",
            "ix_holds_subject",
            "uq_consumptions_sequence",
            "uq_consumption_archive_sequence",
            "ix_resource_changes_subject",
            "ix_hold_resolutions_subject",
        ]
    );
    for row in &plan {
        let extra: Option<String> = row.get("Extra").unwrap();
        assert!(!extra.clone().unwrap_or_default().contains("filesort"), "{row:?}");
    }

    // And what it says is what it does.
    story.session.query_drop("FLUSH STATUS").await.unwrap();
    let rows: Vec<Row> = story.session.query(union).await.unwrap();
    let reads: Vec<(String, u64)> = story
        .session
        .query("SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_key', 'Handler_read_next', 'Handler_read_prev', 'Handler_read_first', 'Handler_read_last')")
        .await
        .unwrap();
    let read: u64 = reads.iter().map(|(_, times)| times).sum();
    assert_eq!(rows.len(), 8 * 51);
    assert!(read <= 8 * 53, "{} rows: {reads:?}", rows.len());
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_named() {
    let mut story = Story::of(definition::BALANCE).await;
    let subject = story.subject;
    for (call, expected) in [
        (
            format!("{subject}, '{CODE}', NULL, 0"),
            "VALIDATION_FAILED: limit: must be a whole number from 1 to 200",
        ),
        (
            format!("{subject}, '{CODE}', NULL, 201"),
            "VALIDATION_FAILED: limit: must be a whole number from 1 to 200",
        ),
        (
            format!("{subject}, '{CODE}', NULL, NULL"),
            "VALIDATION_FAILED: limit: must be a whole number from 1 to 200",
        ),
        (
            format!("{subject}, '{CODE}', '7', 1"),
            "VALIDATION_FAILED: cursor: must be the nextCursor of the page before",
        ),
        (
            format!("{subject}, '{CODE}', '', 1"),
            "VALIDATION_FAILED: cursor: must be the nextCursor of the page before",
        ),
        (
            format!("{subject}, '{CODE}', '1.2.3.4.5.6.-7', 1"),
            "VALIDATION_FAILED: cursor: must be the nextCursor of the page before",
        ),
        (
            format!("{subject}, '{CODE}', '1.2.3.4.5.6.7.8', 1"),
            "VALIDATION_FAILED: cursor: must be the nextCursor of the page before",
        ),
        (
            format!("99, '{CODE}', NULL, 1"),
            "SUBJECT_NOT_FOUND: no billable entity has this id",
        ),
        (
            format!("{subject}, 'no.such', NULL, 1"),
            "DEFINITION_NOT_FOUND: no entitlement definition has this code",
        ),
    ] {
        match story
            .session
            .query_drop(format!("CALL entitlement_ledger_v1({call})"))
            .await
        {
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.message, expected, "{call}"),
            other => panic!("{call}: {other:?}"),
        }
    }
    // Nothing was ever recorded.
    assert_eq!(page(&mut story.session, subject, None, 5).await, (vec![], None));
}

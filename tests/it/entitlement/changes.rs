//! `entitlement_changes_since_v1`: every committed change once, none left out.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::json;

use crate::support::session::begin;
use crate::support::story::{CODE, Grant, Story, definition};

/// Sequence number, codes and source of what came after a point.
async fn since(session: &mut Conn, after: u64) -> Vec<(u64, String, String)> {
    let mut result = session
        .exec_iter("CALL entitlement_changes_since_v1(?, NULL, 1000)", (after,))
        .await
        .unwrap();
    let position: Vec<Row> = result.collect().await.unwrap();
    let changes: Vec<Row> = result.collect().await.unwrap();
    result.drop_result().await.unwrap();
    let last: u64 = position[0].get("last_sequence_no").unwrap();
    let changes: Vec<_> = changes
        .iter()
        .map(|row| {
            (
                row.get("sequence_no").unwrap(),
                row.get("codes").unwrap(),
                row.get("change_source").unwrap(),
            )
        })
        .collect();
    assert!(changes.iter().all(|(sequence_no, _, _)| *sequence_no <= last));
    changes
}

fn grant_in_tx(subject: u64, key: &str) -> String {
    format!(
        "CALL entitlement_grant_in_tx_v1({subject}, '{CODE}', 1, 'promo', NULL, NULL, NULL, 'operator', NULL, NULL, '{key}', NULL, 'me', @g, @r)"
    )
}

#[tokio::test]
async fn a_change_that_is_committed_late_gets_a_late_number() {
    let mut story = Story::of(definition::BALANCE).await;
    let early_id = story.new_subject("early").await;
    let late_id = story.new_subject("late").await;
    let (mut early, mut late) = (story.database.session().await, story.database.session().await);
    begin(&mut early).await;
    early.query_drop(grant_in_tx(early_id, "early")).await.unwrap();
    begin(&mut late).await;
    late.query_drop(grant_in_tx(late_id, "late")).await.unwrap();
    late.query_drop("COMMIT").await.unwrap();
    // The one that began first has the lower id, and is still open: nobody waits for it.
    let first = since(&mut story.session, 0).await;
    assert_eq!(first.len(), 1);
    early.query_drop("COMMIT").await.unwrap();
    let second = since(&mut story.session, first[0].0).await;
    assert_eq!(second.len(), 1);
    assert_eq!((first[0].0, second[0].0), (1, 2));
    let ids: Vec<u64> = story
        .session
        .query("SELECT id FROM billing_limit_changes ORDER BY sequence_no")
        .await
        .unwrap();
    assert!(
        ids[0] > ids[1],
        "the test is about ids that were committed in another order"
    );
    assert_eq!(since(&mut story.session, 0).await, [first, second].concat());
    story.end().await;
}

#[tokio::test]
async fn one_gives_numbers_while_the_other_only_reads() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 1)).await;
    let mut numbering = story.database.session().await;
    begin(&mut numbering).await;
    numbering
        .query_drop("SELECT * FROM billing_limit_change_counter FOR UPDATE")
        .await
        .unwrap();
    assert_eq!(since(&mut story.session, 0).await, []);
    numbering.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(
        since(&mut story.session, 0).await,
        [(1, format!("[\"{CODE}\"]"), "manual_refresh".into())]
    );
    story.end().await;
}

#[tokio::test]
async fn a_boundary_is_a_change_of_its_own() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 10)).await;
    story.at("2026-04-01 00:00:00.000").await;
    story.consume(1).await;
    let sources: Vec<String> = since(&mut story.session, 1)
        .await
        .into_iter()
        .map(|(_, _, source)| source)
        .collect();
    assert_eq!(sources, ["boundary_recompute", "consumption"]);
    story.end().await;
}

#[tokio::test]
async fn reading_is_bounded_and_says_how_far_it_came() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    for _ in 0..4 {
        story.consume(1).await;
    }
    let position: Row = story
        .session
        .query_first("CALL entitlement_changes_since_v1(1, NULL, 2)")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            position.get("oldest_sequence_no"),
            position.get("last_sequence_no"),
            position.get("read_to_sequence_no")
        ),
        (Some(1_u64), Some(5_u64), Some(3_u64))
    );
    let refused = story
        .session
        .query_drop("CALL entitlement_changes_since_v1(1, NULL, 0)")
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("VALIDATION_FAILED: limit"), "{refused}");
    story.end().await;
}

#[tokio::test]
async fn a_workspace_hears_of_itself_only() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let owner = story.subject;
    story.subject = story.new_subject("other").await;
    story.grant(Grant::of("topup", 100)).await;
    let both = json!([
        {"subjectId": owner, "usageEventKey": "a", "items": [{"limitationCode": CODE}]},
        {"subjectId": story.subject, "usageEventKey": "a", "items": [{"limitationCode": CODE}]},
    ]);
    story.consume_all(&both).await;
    let mut result = story
        .session
        .query_iter("CALL entitlement_changes_since_v1(0, 2, 100)")
        .await
        .unwrap();
    let _position: Vec<Row> = result.collect().await.unwrap();
    let changes: Vec<Row> = result.collect().await.unwrap();
    result.drop_result().await.unwrap();
    let heard: Vec<(u64, u64, String)> = changes
        .iter()
        .map(|row| {
            (
                row.get("sequence_no").unwrap(),
                row.get("workspace_id").unwrap(),
                row.get("workspace_slug").unwrap(),
            )
        })
        .collect();
    assert_eq!(heard, [(2, 2, "other".into()), (3, 2, "other".into())]);
    story.end().await;
}

#[tokio::test]
async fn old_changes_go_and_the_newest_stays() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story.consume(1).await;
    assert_eq!(since(&mut story.session, 0).await.len(), 2);
    story.at("2026-03-03 00:00:00.000").await;
    let deleted: u64 = story
        .session
        .query_first("CALL entitlement_prune_changes_v1(86400, 100)")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(deleted, 1);
    assert_eq!(since(&mut story.session, 0).await.len(), 1);
    story.end().await;
}

#[tokio::test]
async fn a_poll_costs_the_same_however_much_the_outbox_keeps() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut costs = Vec::new();
    for changes in [10, 990] {
        let more = format!(
            "INSERT INTO billing_limit_changes (change_source, changes, changed_at)
             SELECT 'consumption', '[]', UTC_TIMESTAMP(3) FROM information_schema.COLLATIONS AS a, information_schema.COLLATIONS AS b LIMIT {changes}"
        );
        story.session.query_drop(more).await.unwrap();
        let last: u64 = story
            .session
            .query_first("CALL entitlement_changes_since_v1(NULL, NULL, 1)")
            .await
            .unwrap()
            .map(|row: Row| row.get("last_sequence_no").unwrap())
            .unwrap();
        assert!(last >= changes);
        story.session.query_drop("FLUSH STATUS").await.unwrap();
        assert_eq!(since(&mut story.session, last).await, []);
        let reads: Vec<(String, u64)> = story
            .session
            .query("SHOW SESSION STATUS LIKE 'Handler_read%'")
            .await
            .unwrap();
        costs.push(reads);
    }
    assert_eq!(costs[0], costs[1]);
    story.end().await;
}

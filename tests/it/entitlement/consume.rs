//! `entitlement_consume_v1`: keys, several items, several requests, and what is wrong with them.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::{Value as Json, json};

use crate::support::story::{CODE, Grant, Story, answer, definition};

/// One request for one item.
fn request(story: &Story, key: &str, amount: i64) -> Json {
    json!({"subjectId": story.subject, "usageEventKey": key, "items": [{"limitationCode": CODE, "amount": amount}]})
}

async fn uses(story: &mut Story) -> u64 {
    story
        .session
        .query_first("SELECT COUNT(*) FROM billing_entitlement_consumptions")
        .await
        .unwrap()
        .unwrap()
}

async fn outbox(story: &mut Story) -> Vec<(String, String)> {
    story
        .session
        .query("SELECT change_source, CAST(changes AS CHAR) FROM billing_limit_changes ORDER BY id")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_replay_gives_the_first_answer_and_writes_nothing() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let first = request(&story, "order-1", 40);
    let rows: Vec<Row> = story
        .session
        .exec("CALL entitlement_consume_v1(?)", (json!([first]).to_string(),))
        .await
        .unwrap();
    story.consume(60).await;
    story.grant(Grant::of("topup", 7)).await;
    let (uses_before, outbox_before) = (uses(&mut story).await, outbox(&mut story).await);
    // Nothing of the first 100 is left by now, a grant came, and a day has passed: the answer is the first one's, word for word.
    story.at("2026-03-02 00:00:00.000").await;
    let again: Vec<Row> = story
        .session
        .exec("CALL entitlement_consume_v1(?)", (json!([first]).to_string(),))
        .await
        .unwrap();
    for column in rows[0].columns_ref() {
        let name = column.name_str();
        let (was, is) = (
            rows[0].get_opt::<mysql_async::Value, _>(&*name),
            again[0].get_opt::<mysql_async::Value, _>(&*name),
        );
        match &*name {
            "replayed" => assert!(!answer(&rows[0]).replayed && answer(&again[0]).replayed),
            "generated_at" => assert_ne!(was, is),
            _ => assert_eq!(was, is, "{name}"),
        }
    }
    assert_eq!(uses(&mut story).await, uses_before);
    assert_eq!(outbox(&mut story).await, outbox_before);
    story.end().await;
}

#[tokio::test]
async fn a_replay_is_answered_also_when_the_definition_is_not_active_any_more() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let requests = json!([request(&story, "order-1", 40), request(&story, "order-2", 40)]);
    story.consume_all(&json!([requests[0]])).await;
    story
        .session
        .query_drop("UPDATE billing_entitlement_definitions SET is_active = FALSE")
        .await
        .unwrap();
    let answers = story.consume_all(&requests).await;
    assert_eq!((answers[0].replayed, answers[0].figures), (true, (100, 40, 60)));
    assert_eq!(answers[1].outcome, "failed");
    assert!(answers[1].problem.as_ref().unwrap().starts_with("DEFINITION_INACTIVE"));
    story.end().await;
}

#[tokio::test]
async fn the_same_key_with_other_content_is_a_conflict() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let first = request(&story, "order-1", 40);
    story.consume_all(&json!([first])).await;
    let mut with_reason = first.clone();
    with_reason["items"][0]["reasonCode"] = json!("other");
    let mut with_metadata = first.clone();
    with_metadata["items"][0]["metadata"] = json!({"a": 1});
    for other in [request(&story, "order-1", 41), with_reason, with_metadata] {
        let answer = story.consume_all(&json!([other])).await.remove(0);
        assert_eq!(answer.outcome, "failed");
        assert!(answer.problem.unwrap().starts_with("IDEMPOTENCY_CONFLICT: "));
    }
    assert_eq!(uses(&mut story).await, 1);
    story.end().await;
}

#[tokio::test]
async fn keys_are_compared_byte_for_byte_and_belong_to_one_subject() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let other = story.new_subject("other").await;
    let owner = std::mem::replace(&mut story.subject, other);
    story.grant(Grant::of("topup", 100)).await;
    story.subject = owner;
    let mut others = request(&story, "Order-1", 1);
    others["subjectId"] = json!(other);
    let requests = json!([
        request(&story, "Order-1", 1),
        request(&story, "order-1", 1),
        request(&story, "ORDER-1", 1),
        others
    ]);
    for answer in story.consume_all(&requests).await {
        assert_eq!((answer.outcome.as_str(), answer.replayed), ("accepted", false));
    }
    assert_eq!(uses(&mut story).await, 4);
    story.end().await;
}

#[tokio::test]
async fn a_refusal_is_not_stored_and_the_same_key_may_succeed_later() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 10)).await;
    let requests = json!([request(&story, "order-1", 11)]);
    let outbox_before = outbox(&mut story).await;
    let refused = story.consume_all(&requests).await.remove(0);
    assert_eq!((refused.outcome.as_str(), refused.figures), ("refused", (10, 0, 10)));
    assert_eq!(
        refused.problem.as_deref(),
        Some("BILLING_LIMIT_EXCEEDED: story.limit does not leave room for this use")
    );
    assert_eq!(refused.refused_code.as_deref(), Some(CODE));
    assert_eq!((uses(&mut story).await, outbox(&mut story).await), (0, outbox_before));
    story.grant(Grant::of("topup", 1)).await;
    let accepted = story.consume_all(&requests).await.remove(0);
    assert_eq!(
        (accepted.outcome.as_str(), accepted.replayed, accepted.figures),
        ("accepted", false, (11, 11, 0))
    );
    story.end().await;
}

#[tokio::test]
async fn a_request_of_several_items_is_all_or_nothing_and_names_what_refused() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let mut several = request(&story, "order-1", 5);
    several["items"]
        .as_array_mut()
        .unwrap()
        .push(json!({"capability": "annuity.calculate"}));
    let refused = story.consume_all(&json!([several])).await;
    assert_eq!(refused.len(), 2);
    for item in &refused {
        assert_eq!(
            (item.outcome.as_str(), item.refused_code.as_deref()),
            ("refused", Some("annuity.calculations.monthly"))
        );
    }
    assert_eq!(uses(&mut story).await, 0);
    let mut tx = story.session.start_transaction(Default::default()).await.unwrap();
    tx.exec_drop(
        "CALL entitlement_grant_in_tx_v1(?, 'annuity.calculations.monthly', 2, 'plan_base', NULL, NULL, NULL, 'operator', NULL, NULL, 'k', NULL, 'me', @g, @r)",
        (story.subject,),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let accepted = story.consume_all(&json!([several])).await;
    assert_eq!(
        accepted.iter().map(|item| item.figures).collect::<Vec<_>>(),
        [(100, 5, 95), (2, 1, 1)]
    );
    // Part of a request is other content, although that part is the same.
    let part = story
        .consume_all(&json!([request(&story, "order-1", 5)]))
        .await
        .remove(0);
    assert!(part.problem.unwrap().starts_with("IDEMPOTENCY_CONFLICT"));
    assert!(
        story
            .consume_all(&json!([several]))
            .await
            .iter()
            .all(|item| item.replayed)
    );
    story.end().await;
}

#[tokio::test]
async fn a_capability_brings_its_amount_and_reason() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story
        .session
        .query_drop(format!(
            "INSERT INTO billing_capabilities SELECT 'story.do', id, 3, 'story.done' FROM billing_entitlement_definitions WHERE code = '{CODE}'"
        ))
        .await
        .unwrap();
    let requests = json!([
        {"subjectId": story.subject, "usageEventKey": "a", "items": [{"capability": "story.do"}]},
        {"subjectId": story.subject, "usageEventKey": "b", "items": [{"capability": "story.do", "amount": 5, "reasonCode": "mine"}]},
    ]);
    story.consume_all(&requests).await;
    let ledger: Vec<(i64, String, u64)> = story
        .session
        .query("SELECT amount, reason_code, sequence_no FROM billing_entitlement_consumptions ORDER BY sequence_no")
        .await
        .unwrap();
    assert_eq!(ledger, [(3, "story.done".into(), 1), (5, "mine".into(), 2)]);
    story.end().await;
}

#[tokio::test]
async fn requests_are_independent_and_decided_in_order_of_arrival() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 10)).await;
    let requests = json!([
        request(&story, "a", 6),
        request(&story, "b", 6),
        request(&story, "c", 4),
        request(&story, "a", 6),
        {"subjectId": story.subject, "usageEventKey": "d", "items": [{"limitationCode": "no.such"}]},
        request(&story, "e", 1),
    ]);
    let answers = story.consume_all(&requests).await;
    let told: Vec<_> = answers
        .iter()
        .map(|a| (a.outcome.as_str(), a.replayed, a.sequence_no, a.figures))
        .collect();
    assert_eq!(
        told,
        [
            ("accepted", false, Some(1), (10, 6, 4)),
            // As it stood when it was decided, not as it stood in the end.
            ("refused", false, None, (10, 6, 4)),
            ("accepted", false, Some(2), (10, 10, 0)),
            ("accepted", true, Some(1), (10, 6, 4)),
            ("failed", false, None, (0, 0, 0)),
            ("refused", false, None, (10, 10, 0)),
        ]
    );
    story.end().await;
}

#[tokio::test]
async fn a_batch_gives_what_one_by_one_gives() {
    // Two subjects with the same grants: one gets its requests in one call, the other one at a time.
    let mut story = Story::of(definition::SOFT_MONTHLY).await;
    let other = story.new_subject("other").await;
    let owner = story.subject;
    for subject in [owner, other] {
        story.subject = subject;
        story.grant(Grant::of("plan_base", 20)).await;
        story.grant(Grant::of("topup", 5)).await;
    }
    story.subject = owner;
    let batch: Vec<Json> = (1..=12)
        .map(|n| request(&story, &format!("key-{}", n % 9), n % 5 + 1))
        .collect();
    let together = story.consume_all(&json!(batch)).await;
    let mut apart = Vec::new();
    for mut single in batch {
        single["subjectId"] = json!(other);
        apart.extend(story.consume_all(&json!([single])).await);
    }
    assert_eq!(together, apart);
    story.end().await;
}

#[tokio::test]
async fn one_outbox_row_names_everything_a_call_used() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let other = story.new_subject("other").await;
    let owner = std::mem::replace(&mut story.subject, other);
    story.grant(Grant::of("topup", 100)).await;
    let others = request(&story, "a", 1);
    story.subject = owner;
    let before = outbox(&mut story).await.len();
    story
        .consume_all(&json!([
            request(&story, "a", 1),
            request(&story, "b", 1),
            others,
            request(&story, "c", 1000)
        ]))
        .await;
    let rows = outbox(&mut story).await.split_off(before);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].0, "consumption");
    let mut changes: Vec<Json> = serde_json::from_str(&rows[0].1).unwrap();
    changes.sort_by_key(|change| change["subjectId"].as_u64());
    assert_eq!(
        changes,
        [
            json!({"subjectId": owner, "codes": [CODE]}),
            json!({"subjectId": other, "codes": [CODE]})
        ]
    );
    story.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_and_nothing_is_written() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    let subject = story.subject;
    let long_key = "k".repeat(129);
    let large = json!({"text": "x".repeat(3000)});
    let item = |item: Json| json!({"subjectId": subject, "usageEventKey": "k", "items": [item]});
    let cases = [
        (
            json!({"subjectId": subject, "items": [{"limitationCode": CODE}]}),
            "IDEMPOTENCY_KEY_REQUIRED",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "two words", "items": [{"limitationCode": CODE}]}),
            "VALIDATION_FAILED: usageEventKey",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "ends\n", "items": [{"limitationCode": CODE}]}),
            "VALIDATION_FAILED: usageEventKey",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "é", "items": [{"limitationCode": CODE}]}),
            "VALIDATION_FAILED: usageEventKey",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "", "items": [{"limitationCode": CODE}]}),
            "VALIDATION_FAILED: usageEventKey",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": long_key, "items": [{"limitationCode": CODE}]}),
            "VALIDATION_FAILED: usageEventKey",
        ),
        (
            json!({"subjectId": 999, "usageEventKey": "k", "items": [{"limitationCode": CODE}]}),
            "SUBJECT_NOT_FOUND",
        ),
        (
            json!({"usageEventKey": "k", "items": [{"limitationCode": CODE}]}),
            "SUBJECT_NOT_FOUND",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "k", "items": []}),
            "VALIDATION_FAILED: items",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "k"}),
            "VALIDATION_FAILED: items",
        ),
        (item(json!({})), "VALIDATION_FAILED: items[0]"),
        (
            item(json!({"limitationCode": CODE, "capability": "annuity.calculate"})),
            "VALIDATION_FAILED: items[0]",
        ),
        (item(json!({"limitationCode": "no.such"})), "DEFINITION_NOT_FOUND"),
        (item(json!({"capability": "no.such"})), "CAPABILITY_NOT_FOUND"),
        (item(json!({"limitationCode": "workspace.access"})), "NOT_CONSUMABLE"),
        (
            item(json!({"limitationCode": CODE, "amount": 0})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "amount": -1})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "amount": 1.5})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "amount": "1"})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "amount": 9_007_199_254_740_992_u64})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "amount": 18_446_744_073_709_551_615_u64})),
            "VALIDATION_FAILED: items[0].amount",
        ),
        (
            item(json!({"limitationCode": CODE, "reasonCode": "two words"})),
            "VALIDATION_FAILED: items[0].reasonCode",
        ),
        (
            item(json!({"limitationCode": CODE, "occurredAt": "yesterday"})),
            "VALIDATION_FAILED: items[0].occurredAt",
        ),
        (
            item(json!({"limitationCode": CODE, "occurredAt": "2026-02-28 23:59:59.999"})),
            "OCCURRED_AT_OUTSIDE_WINDOW",
        ),
        (
            item(json!({"limitationCode": CODE, "occurredAt": "2026-03-01 00:05:00.001"})),
            "OCCURRED_AT_OUTSIDE_WINDOW",
        ),
        (
            item(json!({"limitationCode": CODE, "metadata": [1]})),
            "VALIDATION_FAILED: items[0].metadata",
        ),
        (
            item(json!({"limitationCode": CODE, "metadata": large})),
            "VALIDATION_FAILED: items[0].metadata",
        ),
        (
            json!({"subjectId": subject, "usageEventKey": "k", "items": [{"limitationCode": CODE}, {"limitationCode": CODE}]}),
            "VALIDATION_FAILED: items[0]",
        ),
    ];
    let requests: Vec<&Json> = cases.iter().map(|(request, _)| request).collect();
    let expected: Vec<(u64, &str)> = (1..).zip(cases.iter().map(|(_, problem)| *problem)).collect();
    let rows: Vec<Row> = story
        .session
        .exec("CALL entitlement_consume_v1(?)", (json!(requests).to_string(),))
        .await
        .unwrap();
    for (request_no, problem) in expected {
        let row = rows
            .iter()
            .find(|row| row.get::<u64, _>("request_no") == Some(request_no))
            .unwrap();
        let said = answer(row);
        assert_eq!(said.outcome, "failed", "{}", requests[request_no as usize - 1]);
        let text = said.problem.unwrap();
        assert!(text.starts_with(problem), "{text} instead of {problem}");
        assert!(text.len() < 128, "{text}");
    }
    assert_eq!(uses(&mut story).await, 0);
    story.end().await;
}

#[tokio::test]
async fn a_use_may_have_happened_earlier_in_the_window_or_up_to_five_minutes_ahead() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    story.at("2026-03-15 00:00:00.000").await;
    for (key, occurred_at) in [("a", "2026-03-01 00:00:00.000"), ("b", "2026-03-15 00:05:00.000")] {
        let mut request = request(&story, key, 1);
        request["items"][0]["occurredAt"] = json!(occurred_at);
        assert_eq!(story.consume_all(&json!([request])).await[0].outcome, "accepted");
    }
    story.end().await;
}

#[tokio::test]
async fn the_array_itself_is_bounded() {
    let mut story = Story::of(definition::BALANCE).await;
    let too_many: Vec<Json> = (0..1001).map(|n| request(&story, &n.to_string(), 1)).collect();
    for requests in [json!([]), json!({}), json!(null), json!(too_many)] {
        let refused = story
            .session
            .exec_drop("CALL entitlement_consume_v1(?)", (requests.to_string(),))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("VALIDATION_FAILED: requests"), "{refused}");
    }
    story.end().await;
}

#[tokio::test]
async fn a_subject_that_was_never_granted_a_code_has_none_of_it_and_no_row() {
    let mut story = Story::of(definition::BALANCE).await;
    story.is_refused(1).await;
    story.says("granted 0, consumed 0, available 0").await;
    let rows: u64 = story
        .session
        .query_first("SELECT COUNT(*) FROM billing_entitlement_balances")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rows, 0);
    story.end().await;
}

#[tokio::test]
async fn a_use_and_a_read_say_the_same_of_a_limit() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    story.grant(Grant::of("topup", 10)).await;
    let used: Row = story
        .session
        .exec_first(
            "CALL entitlement_consume_v1(?)",
            (json!([request(&story, "a", 70)]).to_string(),),
        )
        .await
        .unwrap()
        .unwrap();
    let read: Row = story
        .session
        .exec_first("CALL entitlement_limitations_v1(?, ?, FALSE)", (story.subject, CODE))
        .await
        .unwrap()
        .unwrap();
    for column in read.columns_ref() {
        let name = column.name_str();
        if name == "is_due" {
            // A use settles first.
            assert_eq!(read.get::<u8, _>(&*name), Some(0));
            continue;
        }
        let (used, read): (mysql_async::Value, mysql_async::Value) =
            (used.get(&*name).unwrap(), read.get(&*name).unwrap());
        assert_eq!(used, read, "{name}");
    }
    story.end().await;
}

//! Sessions against each other: written steps, counted afterwards.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::support::session::{begin, until_blocked};
use crate::support::story::{CODE, Grant, Story, consume, definition};

fn requests(subjects: &[u64], key: &str) -> serde_json::Value {
    subjects
        .iter()
        .map(|subject| json!({"subjectId": subject, "usageEventKey": key, "items": [{"limitationCode": CODE, "amount": 1}]}))
        .collect()
}

async fn consume_in_tx(session: &mut Conn, requests: &serde_json::Value) -> u64 {
    session
        .exec_drop(
            "CALL entitlement_consume_in_tx_v1(?, @not_accepted)",
            (requests.to_string(),),
        )
        .await
        .unwrap();
    session.query_first("SELECT @not_accepted").await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_clients_racing_on_a_hundred_units_take_exactly_a_hundred() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let subject = story.subject;
    let mut clients = Vec::new();
    for client in 0..32 {
        let mut session = story.database.session().await;
        clients.push(tokio::spawn(async move {
            let mut accepted = 0;
            for n in 0..10 {
                let answer = consume(&mut session, &requests(&[subject], &format!("{client}-{n}")))
                    .await
                    .remove(0);
                assert!(matches!(answer.outcome.as_str(), "accepted" | "refused"), "{answer:?}");
                accepted += u32::from(answer.outcome == "accepted");
            }
            session.disconnect().await.unwrap();
            accepted
        }));
    }
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.unwrap();
    }
    assert_eq!(accepted, 100);
    let booked: u64 = story
        .session
        .query_first("SELECT COUNT(*) FROM billing_entitlement_consumptions")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(booked, 100);
    // The clients' clock is the real one, the story's is behind it: nothing of this limit changes by the clock.
    story.says("granted 100, consumed 100, available 0").await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_once_is_one_use() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let subject = story.subject;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut session = story.database.session().await;
        clients.push(tokio::spawn(async move {
            consume(&mut session, &requests(&[subject], "order-1")).await.remove(0)
        }));
    }
    let mut first = 0;
    for client in clients {
        let answer = client.await.unwrap();
        assert_eq!((answer.outcome.as_str(), answer.figures), ("accepted", (100, 1, 99)));
        first += u32::from(!answer.replayed);
    }
    assert_eq!(first, 1);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_locked_in_one_order_whatever_the_order_of_the_items() {
    let mut story = Story::of(definition::BALANCE).await;
    let low = story.subject;
    story.grant(Grant::of("topup", 100)).await;
    let high = story.new_subject("high").await;
    story.subject = high;
    story.grant(Grant::of("topup", 100)).await;
    story.subject = low;

    let mut holder = story.database.session().await;
    begin(&mut holder).await;
    assert_eq!(consume_in_tx(&mut holder, &requests(&[low], "holder")).await, 0);
    // Names the high subject first, but must wait for the low one while it has nothing.
    let mut waiter = story.database.session().await;
    let waiter_id = waiter.id();
    let waiting = tokio::spawn(async move { consume(&mut waiter, &requests(&[high, low], "waiter")).await });
    until_blocked(&story.database, waiter_id).await;
    let mut passer = story.database.session().await;
    assert_eq!(
        consume(&mut passer, &requests(&[high], "passer")).await[0].figures,
        (100, 1, 99)
    );
    holder.query_drop("COMMIT").await.unwrap();
    let waited = waiting.await.unwrap();
    assert_eq!([waited[0].figures, waited[1].figures], [(100, 2, 98), (100, 2, 98)]);
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_goes_to_one_of_two() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 1)).await;
    let subject = story.subject;
    for (end, expected) in [("ROLLBACK", "accepted"), ("COMMIT", "refused")] {
        // A second round needs a unit again: the first round's rollback leaves one, and its waiter takes it.
        if end == "COMMIT" {
            story.grant(Grant::of("topup", 1)).await;
        }
        let mut first = story.database.session().await;
        begin(&mut first).await;
        assert_eq!(
            consume_in_tx(&mut first, &requests(&[subject], &format!("first-{end}"))).await,
            0
        );
        let mut second = story.database.session().await;
        let second_id = second.id();
        let key = format!("second-{end}");
        let waiting = tokio::spawn(async move { consume(&mut second, &requests(&[subject], &key)).await.remove(0) });
        until_blocked(&story.database, second_id).await;
        first.query_drop(end).await.unwrap();
        assert_eq!(waiting.await.unwrap().outcome, expected, "after {end}");
    }
    story.says("granted 2, consumed 2, available 0").await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_waits_for_a_use_and_pays_for_nothing_before_it() {
    let mut story = Story::of(definition::BALANCE).await;
    let old = story.grant(Grant::of("topup", 100)).await;
    let subject = story.subject;
    let mut user = story.database.session().await;
    begin(&mut user).await;
    assert_eq!(consume_in_tx(&mut user, &requests(&[subject], "use")).await, 0);
    let mut granter = story.database.session().await;
    let granter_id = granter.id();
    let granting = tokio::spawn(async move {
        // Burnt before the old one, had it been there.
        granter
            .query_drop(format!(
                "CALL entitlement_grant_v1({subject}, '{CODE}', 5, 'promo', NULL, NULL, 1, 'key', 'because', NULL)"
            ))
            .await
            .unwrap();
    });
    until_blocked(&story.database, granter_id).await;
    user.query_drop("COMMIT").await.unwrap();
    granting.await.unwrap();
    assert_eq!(story.gave(old).await, 1);
    story.says("granted 105, consumed 1, available 104").await;
    story.end().await;
}

#[tokio::test]
async fn a_caller_changes_his_own_rows_and_uses_in_one_commit() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 1)).await;
    let subject = story.subject;
    story
        .session
        .query_drop("CREATE TABLE callers_own (id INT PRIMARY KEY)")
        .await
        .unwrap();
    let mut session = story.database.session().await;
    for (id, key, expected, end) in [(1, "a", 0, "ROLLBACK"), (2, "b", 0, "COMMIT"), (3, "c", 1, "ROLLBACK")] {
        session.query_drop("START TRANSACTION").await.unwrap();
        session
            .exec_drop("INSERT INTO callers_own VALUES (?)", (id,))
            .await
            .unwrap();
        assert_eq!(consume_in_tx(&mut session, &requests(&[subject], key)).await, expected);
        session.query_drop(end).await.unwrap();
    }
    let own: Vec<u32> = session.query("SELECT id FROM callers_own").await.unwrap();
    let keys: Vec<String> = session
        .query("SELECT usage_event_key FROM billing_entitlement_consumptions")
        .await
        .unwrap();
    assert_eq!((own, keys), (vec![2], vec!["b".to_owned()]));
    story.end().await;
}

#[tokio::test]
async fn an_entry_procedure_refuses_an_open_transaction_and_leaves_it_alone() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 10)).await;
    let subject = story.subject;
    story
        .session
        .query_drop("CREATE TABLE callers_own (id INT PRIMARY KEY)")
        .await
        .unwrap();
    let mut session = story.database.session().await;
    session.query_drop("START TRANSACTION").await.unwrap();
    session.query_drop("INSERT INTO callers_own VALUES (1)").await.unwrap();
    for call in [
        format!("CALL entitlement_consume_v1('{}')", requests(&[subject], "a")),
        format!("CALL entitlement_grant_v1({subject}, '{CODE}', 5, 'promo', NULL, NULL, NULL, 'key', 'because', NULL)"),
        "CALL entitlement_revoke_v1(1, 'key', 'because', NULL)".to_owned(),
        format!("CALL entitlement_recompute_v1({subject})"),
        format!("CALL entitlement_settle_v1({subject})"),
    ] {
        let refused = session.query_drop(&call).await.unwrap_err();
        assert!(refused.to_string().contains("1568"), "{call}: {refused}");
    }
    session.query_drop("COMMIT").await.unwrap();
    let own: u64 = session
        .query_first("SELECT COUNT(*) FROM callers_own")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(own, 1);
    story.says("granted 10, consumed 0, available 10").await;
    story.end().await;
}

#[tokio::test]
async fn a_transaction_with_an_old_snapshot_decides_on_what_is_true_now() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 10)).await;
    let subject = story.subject;
    let mut old = story.database.session().await;
    old.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    old.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await
        .unwrap();
    // After the snapshot: a use, which the old transaction's snapshot does not show, and whose key it uses again.
    let mut nine = requests(&[subject], "order-1");
    nine[0]["items"][0]["amount"] = json!(9);
    story.consume_all(&nine).await;
    assert_eq!(consume_in_tx(&mut old, &nine).await, 0, "a replay");
    assert_eq!(
        consume_in_tx(&mut old, &requests(&[subject], "order-2")).await,
        0,
        "the last one"
    );
    assert_eq!(
        consume_in_tx(&mut old, &requests(&[subject], "order-3")).await,
        1,
        "none left"
    );
    old.query_drop("COMMIT").await.unwrap();
    story.says("granted 10, consumed 10, available 0").await;
    story.end().await;
}

#[tokio::test]
async fn an_open_transaction_makes_nobody_wait_but_who_uses_the_same_limit() {
    let mut story = Story::of(definition::MONTHLY).await;
    let busy = story.subject;
    story.grant(Grant::of("plan_base", 10)).await;
    let neighbour = story.new_subject("neighbour").await;
    story.subject = neighbour;
    story.grant(Grant::of("plan_base", 10)).await;
    let newcomer = story.new_subject("newcomer").await;
    // Everything that a transaction can do to a limit, with a month's end in it, and left open.
    let mut open = story.database.session().await;
    begin(&mut open).await;
    open.query_drop("SET timestamp = UNIX_TIMESTAMP('2026-04-02')")
        .await
        .unwrap();
    assert_eq!(consume_in_tx(&mut open, &requests(&[busy], "open")).await, 0);
    for call in [
        format!(
            "CALL entitlement_grant_in_tx_v1({busy}, '{CODE}', 1, 'topup', NULL, NULL, NULL, 'operator', NULL, NULL, 'open', NULL, 'me', @grant_id, @r)"
        ),
        "CALL entitlement_revoke_in_tx_v1(@grant_id, NULL, 'open', NULL, 'me', @r)".to_owned(),
    ] {
        open.query_drop(&call).await.unwrap();
    }
    // Readers see what is committed, and neighbours on both sides do all the same. A wait would end in error 1205.
    story
        .session
        .query_drop("SET innodb_lock_wait_timeout = 1")
        .await
        .unwrap();
    for subject in [neighbour, newcomer] {
        story.subject = subject;
        story.grant(Grant::of("topup", 5)).await;
        story.consume(1).await;
        let grant = story.grant(Grant::of("topup", 5)).await;
        story.revoke(grant).await;
    }
    story.at("2026-04-02 00:00:00.000").await;
    story.subject = neighbour;
    story.says("granted 15, consumed 0").await;
    story
        .session
        .query_drop("CALL entitlement_changes_since_v1(0, NULL, 1000)")
        .await
        .unwrap();
    story.at("2026-03-02 00:00:00.000").await;
    story.subject = busy;
    story.says("granted 10, consumed 0").await;
    open.query_drop("ROLLBACK").await.unwrap();
    story.at("2026-04-02 00:00:00.000").await;
    story.end().await;
}

/// A search that locks reads one row more than it finds where it looks for a range: the first of the next subject.
#[tokio::test]
async fn a_settlement_waits_for_no_row_of_a_neighbour() {
    for kind in [
        definition::BALANCE,
        definition::MONTHLY,
        definition::ROLLING_DAY,
        definition::ROLLING_MONTH,
    ] {
        let mut story = Story::of(kind).await;
        let busy = story.subject;
        let neighbour = story.new_subject("neighbour").await;
        for subject in [neighbour, busy] {
            story.subject = subject;
            story.grant(Grant::of("topup", 10)).await;
            let ending = Grant::of("topup", 10).expires("2026-03-01 12:00:00.000");
            story.grant(ending).await;
        }
        story.hold(3, 60).await;
        story.consume(1).await;
        story.consume(1).await;
        // The neighbour's first use and hold are not committed yet, so each of their index entries is locked.
        let mut neighbours = story.database.session().await;
        begin(&mut neighbours).await;
        neighbours
            .query_drop("SET timestamp = UNIX_TIMESTAMP('2026-03-01')")
            .await
            .unwrap();
        assert_eq!(
            consume_in_tx(&mut neighbours, &requests(&[neighbour], "first")).await,
            0
        );
        neighbours
            .query_drop(format!(
                "CALL entitlement_hold_in_tx_v1({neighbour}, NULL, '{CODE}', 1, 60, 'first', NULL, NULL, @definition, @hold, @replayed, @problem)"
            ))
            .await
            .unwrap();
        neighbours
            .query_drop(format!(
                "SELECT 1 FROM billing_entitlement_grant_balances AS g WHERE g.subject_id = {neighbour} FOR UPDATE"
            ))
            .await
            .unwrap();
        // A wait would end in error 1205.
        story
            .session
            .query_drop("SET innodb_lock_wait_timeout = 1")
            .await
            .unwrap();
        for at in [
            "2026-03-01 00:01:00.000",
            "2026-03-01 12:00:00.000",
            "2026-03-02 00:00:00.000",
            "2026-04-01 00:00:00.000",
        ] {
            story.at(at).await;
            story
                .session
                .query_drop(format!("CALL entitlement_settle_v1({busy})"))
                .await
                .unwrap_or_else(|error| panic!("{kind} at {at}: {error}"));
        }
        neighbours.query_drop("ROLLBACK").await.unwrap();
        story.end().await;
    }
}

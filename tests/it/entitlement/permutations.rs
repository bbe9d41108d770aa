//! Every order of the steps of two or three sessions: nothing is oversold, and no deadlock reaches a caller.

use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::support::cast::Cast;
use crate::support::story::{CODE, Grant, Story, definition, differences, projections_of};

fn uses(subjects: &[u64], key: &str, amount: i64) -> String {
    let requests: serde_json::Value = subjects
        .iter()
        .map(|subject| json!({"subjectId": subject, "usageEventKey": key, "items": [{"limitationCode": CODE, "amount": amount}]}))
        .collect();
    format!("CALL entitlement_consume_in_tx_v1('{requests}', @not_accepted)")
}

fn grants(subject: u64, amount: i64) -> String {
    format!(
        "CALL entitlement_grant_in_tx_v1({subject}, '{CODE}', {amount}, 'topup', NULL, NULL, 1, 'operator', NULL, NULL, 'later-{subject}', NULL, 'me', @grant_id, @replayed)"
    )
}

fn commits(hold: u64) -> String {
    format!("CALL entitlement_resolve_hold_in_tx_v1({hold}, 'committed', NULL, @replayed)")
}

/// The proof: rebuilding changes nothing, and verify finds nothing.
async fn proves(story: &mut Story) {
    let subject = story.subject;
    let before = projections_of(&mut story.session, &[subject]).await;
    story
        .session
        .exec_drop("CALL entitlement_recompute_v1(?)", (subject,))
        .await
        .unwrap();
    assert_eq!(projections_of(&mut story.session, &[subject]).await, before);
    assert_eq!(differences(&mut story.session, subject).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn use_and_use_and_grant() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut cast = Cast::new(&story.database).await;
    for (number, order) in Cast::orders().iter().enumerate() {
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
        story.grant(Grant::of("topup", 3)).await;
        let outcome = cast
            .plays(
                [
                    &uses(&[subject], "a", 2),
                    &uses(&[subject], "b", 2),
                    &grants(subject, 2),
                ],
                order,
            )
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        // Two uses of 2 fit if the grant came before the later one.
        let grant_goes = order.iter().position(|session| *session == 2).unwrap();
        let later_goes = [0, 1].map(|user| order.iter().position(|session| *session == user).unwrap());
        let consumed = if grant_goes < later_goes[0].max(later_goes[1]) {
            4
        } else {
            2
        };
        story
            .says(&format!("granted 5, consumed {consumed}, available {}", 5 - consumed))
            .await;
        proves(&mut story).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn use_and_use_and_the_months_end() {
    let mut story = Story::of(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    let april = "SET timestamp = UNIX_TIMESTAMP('2026-04-01 00:00:00')";
    for actor in &mut cast.actors {
        actor.does(april.to_owned(), &mut cast.watcher).await;
    }
    let definition: u32 = story
        .session
        .exec_first("SELECT id FROM billing_entitlement_definitions WHERE code = ?", (CODE,))
        .await
        .unwrap()
        .unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        story.at("2026-03-01 00:00:00.000").await;
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        story.grant(Grant::of("plan_base", 3)).await;
        story.consume(3).await;
        let settles =
            format!("CALL entitlement_settle_in_tx_v1({subject}, {definition}, UTC_TIMESTAMP(3), NULL, @boundaries)");
        let outcome = cast
            .plays([&uses(&[subject], "a", 2), &settles, &uses(&[subject], "b", 2)], order)
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        story.at("2026-04-01 00:00:00.000").await;
        story
            .says("granted 3, consumed 2, available 1, window 2026-04-01 00:00:00.000")
            .await;
        let ended: Vec<i64> = story
            .session
            .exec(
                "SELECT consumed_amount FROM billing_entitlement_balances WHERE subject_id = ? AND history_no > 0",
                (subject,),
            )
            .await
            .unwrap();
        assert_eq!(ended, [3], "{order:?}");
        proves(&mut story).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_and_the_expiry_and_another_hold() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut cast = Cast::new(&story.database).await;
    // The first decides a millisecond before the expiry, the others at it.
    for (actor, second) in cast.actors.iter_mut().zip(["59.999", "60.000", "60.000"]) {
        let clock = format!("SET timestamp = UNIX_TIMESTAMP('2026-03-01 00:14:00') + {second}");
        actor.does(clock, &mut cast.watcher).await;
    }
    let definition: u32 = story
        .session
        .exec_first("SELECT id FROM billing_entitlement_definitions WHERE code = ?", (CODE,))
        .await
        .unwrap()
        .unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        story.at("2026-03-01 00:00:00.000").await;
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        story.grant(Grant::of("topup", 100)).await;
        let hold = story.hold(30, 900).await;
        let settles =
            format!("CALL entitlement_settle_in_tx_v1({subject}, {definition}, UTC_TIMESTAMP(3), NULL, @boundaries)");
        let holds = format!(
            "CALL entitlement_hold_in_tx_v1({subject}, NULL, '{CODE}', 80, 900, 'another', NULL, NULL, @definition, @hold, @replayed, @problem)"
        );
        let outcome = cast.plays([&commits(hold), &settles, &holds], order).await;
        assert_eq!(outcome.errors[1..].concat(), [""; 0], "{order:?}");
        story.at("2026-03-01 00:15:00.000").await;
        // Whoever comes first wins: used, and the other hold is refused; or expired, and the other has the room.
        if order[0] == 0 {
            assert_eq!(outcome.errors[0], [""; 0], "{order:?}");
            story.says("granted 100, consumed 30, held 0, available 70").await;
        } else {
            assert_eq!(outcome.errors[0], ["HOLD_EXPIRED"], "{order:?}");
            story.says("granted 100, consumed 0, held 80, available 20").await;
        }
        proves(&mut story).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_of_two_subjects_in_opposite_order() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut cast = Cast::new(&story.database).await;
    for (number, order) in Cast::orders().iter().enumerate() {
        let mut subjects = Vec::new();
        for side in ["left", "right"] {
            story.subject = story.new_subject(&format!("{side}-{number}")).await;
            story.grant(Grant::of("topup", 2)).await;
            subjects.push(story.subject);
        }
        let [left, right] = subjects[..] else { unreachable!() };
        let outcome = cast
            .plays(
                [
                    &uses(&[left, right], "a", 1),
                    &uses(&[right, left], "b", 1),
                    &uses(&[left, right], "c", 1),
                ],
                order,
            )
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        for subject in subjects {
            story.subject = subject;
            story.says("granted 2, consumed 2, available 0").await;
            proves(&mut story).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_neighbours_do_to_their_own_makes_nobody_wait() {
    let mut story = Story::of(definition::BALANCE).await;
    let mut cast = Cast::new(&story.database).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        let (mut subjects, mut holds) = (Vec::new(), Vec::new());
        for side in ["left", "middle", "right"] {
            story.subject = story.new_subject(&format!("{side}-{number}")).await;
            story.grant(Grant::of("topup", 2)).await;
            subjects.push(story.subject);
            // The one in the middle has none: who looks for his holds must not come upon the next one's.
            if side != "middle" {
                holds.push(story.hold(1, 900).await);
            }
        }
        let outcome = cast
            .plays([&commits(holds[0]), &grants(subjects[1], 1), &commits(holds[1])], order)
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        assert_eq!(outcome.waits, 0, "{order:?}");
        for subject in subjects {
            story.subject = subject;
            proves(&mut story).await;
        }
    }
}

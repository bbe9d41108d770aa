//! Calls that fail as a whole: what is tried again, and who pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use consumable::error::Error;
use mysql_async::prelude::Queryable;

use super::{World, accepted, blocked, lock, soon, until, use_of, uses_of};
use crate::support::story::differences;

const CONSUME: &str = include_str!("../../../sql/entitlement/entitlement_consume_v1.sql");

#[tokio::test]
async fn what_cannot_be_decided_fails_alone() {
    let mut world = World::of(1).await;
    let sound = world.subject("sound", 10).await;
    // A grant that ended half an hour ago, in a balance whose next settlement is there already.
    let past = "SET timestamp = UNIX_TIMESTAMP() - 3600";
    world.session.query_drop(past).await.unwrap();
    let poisoned = world.subject("poisoned", 10).await;
    for statement in [
        format!(
            "CALL entitlement_grant_v1({poisoned}, 'ai.credits', 5, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 1800 SECOND, NULL, 'poison', 'test', \
                                       'test')"
        ),
        "SET timestamp = DEFAULT".to_owned(),
        format!("UPDATE billing_entitlement_balances SET segment_no = segment_no - 1 WHERE subject_id = {poisoned}"),
    ] {
        world.session.query_drop(statement).await.unwrap();
    }
    let requests = [uses_of(poisoned, "use", 3), uses_of(sound, "use", 3)].concat();
    let answers = world.wait_in_line(requests.clone()).await;
    world.run();
    let answers = soon(answers).await;
    for answer in &answers[..3] {
        assert!(
            matches!(answer, Err(Error::Internal(text)) if text.contains("Duplicate")),
            "{answer:?}"
        );
    }
    let sound_ones: Vec<_> = answers[3..].iter().map(accepted).collect();
    assert_eq!(sound_ones, [(false, 1), (false, 2), (false, 3)]);
    assert_eq!(world.calls(), [6]);

    let mend =
        format!("UPDATE billing_entitlement_balances SET segment_no = segment_no + 1 WHERE subject_id = {poisoned}");
    world.session.query_drop(mend).await.unwrap();
    // Its line moves again, and its keys are still its own.
    let again = world.lanes.consume_all(requests[..3].to_vec()).await;
    assert_eq!(
        again.iter().map(accepted).collect::<Vec<_>>(),
        [(false, 1), (false, 2), (false, 3)]
    );
    assert_eq!(differences(&mut world.session, None).await, [""; 0]);
}

#[tokio::test]
async fn who_is_locked_holds_up_himself() {
    let mut world = World::of(1).await;
    let locked = world.subject("locked", 10).await;
    let free = world.subject("free", 10).await;
    let mut holder = world.lock(locked).await;
    let first = world.wait_in_line(vec![use_of(locked, "1")]).await;
    let beside = world.wait_in_line(vec![use_of(free, "1")]).await;
    world.run();
    assert_eq!(accepted(&soon(beside).await[0]), (false, 1));
    // By now his line stands still, and the lane goes on.
    let second = world.wait_in_line(vec![use_of(locked, "2")]).await;
    for used in 2..5 {
        let answer = world.lanes.consume(use_of(free, &used.to_string())).await;
        assert_eq!(accepted(&answer), (false, used));
    }
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!(world.lanes.waiting(), 1);
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(accepted(&soon(first).await[0]), (false, 1));
    assert_eq!(accepted(&soon(second).await[0]), (false, 2));
}

#[tokio::test]
async fn a_deadlock_is_tried_again_with_the_same_keys() {
    let mut world = World::of(1).await;
    let low = world.subject("low", 100).await;
    let high = world.subject("high", 100).await;
    world.run();
    let mut uses = 0;
    // On a slow machine the lane may have taken its call apart before the circle is closed.
    loop {
        let mut other = world.test.session().await;
        // Who has written more is not the victim.
        for statement in [
            "START TRANSACTION",
            "INSERT INTO billable_entities (entity_type, entity_ref, created_at, updated_at) \
             WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
             SELECT 'weight', i, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM n",
        ] {
            other.query_drop(statement).await.unwrap();
        }
        lock(&mut other, high).await;
        uses += 1;
        let lanes = world.lanes.clone();
        let key = uses.to_string();
        let both = tokio::spawn(async move { lanes.consume_all(vec![use_of(high, &key), use_of(low, &key)]).await });
        let mut victim = Vec::new();
        until(async || {
            victim = blocked(&mut world.session).await;
            !victim.is_empty()
        })
        .await;
        lock(&mut other, low).await;
        other.query_drop("ROLLBACK").await.unwrap();
        let both: Vec<_> = soon(both).await.iter().map(accepted).collect();
        assert_eq!(both, [(false, uses), (false, uses)]);
        let deadlocks: Option<u64> = world
            .session
            .exec_first(
                "SELECT e.SUM_ERROR_RAISED FROM performance_schema.events_errors_summary_by_thread_by_error AS e
                   JOIN performance_schema.threads AS t USING (THREAD_ID) WHERE t.PROCESSLIST_ID = ? AND e.ERROR_NUMBER = 1213",
                (victim.first(),),
            )
            .await
            .unwrap();
        if deadlocks.is_some_and(|deadlocks| deadlocks > 0) {
            break;
        }
        assert!(uses < 20, "no deadlock");
    }
    assert_eq!(world.booked(low).await, u64::try_from(uses).unwrap());
}

#[tokio::test]
async fn a_lane_that_loses_its_connection_sends_the_same_keys_again() {
    let mut world = World::of(1).await;
    let subject = world.subject("acme", 10).await;
    let mut holder = world.lock(subject).await;
    world.run();
    let lanes = world.lanes.clone();
    let answers = tokio::spawn(async move { lanes.consume_all(uses_of(subject, "use", 2)).await });
    for _ in 0..2 {
        let mut victims = Vec::new();
        until(async || {
            victims = blocked(&mut world.session).await;
            !victims.is_empty()
        })
        .await;
        for victim in &victims {
            // It may have ended by itself.
            let _ = world.session.query_drop(format!("KILL {victim}")).await;
        }
        until(async || !blocked(&mut world.session).await.contains(&victims[0])).await;
    }
    holder.query_drop("ROLLBACK").await.unwrap();
    let answers: Vec<_> = soon(answers).await.iter().map(accepted).collect();
    assert_eq!(answers, [(false, 1), (false, 2)]);
    assert_eq!(world.booked(subject).await, 2);
}

#[tokio::test]
async fn a_procedure_that_is_being_replaced_is_waited_for() {
    let mut world = World::of(2).await;
    let subject = world.subject("acme", 100_000).await;
    let mut dba = world.test.session().await;
    dba.query_drop("DROP PROCEDURE entitlement_consume_v1").await.unwrap();
    let answers = world.wait_in_line(uses_of(subject, "first", 3)).await;
    world.run();
    until(async || world.lanes.waiting() == 0).await;
    dba.query_drop(CONSUME).await.unwrap();
    let first: Vec<_> = soon(answers).await.iter().map(accepted).collect();
    assert_eq!(first, [(false, 1), (false, 2), (false, 3)]);

    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let lanes = world.lanes.clone();
            tokio::spawn(async move {
                for number in 0..40 {
                    let answer = lanes.consume(use_of(subject, &format!("{caller}-{number}"))).await;
                    assert!(!accepted(&answer).0);
                }
            })
        })
        .collect();
    let mut replaced = 0;
    while !callers.iter().all(|caller| caller.is_finished()) {
        dba.query_drop("DROP PROCEDURE entitlement_consume_v1").await.unwrap();
        dba.query_drop(CONSUME).await.unwrap();
        replaced += 1;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(replaced > 0);
    assert_eq!(world.booked(subject).await, 3 + 8 * 40);
}

#[tokio::test]
async fn without_a_database_all_hear_it() {
    let mut world = World::of(1).await;
    let subject = world.subject("acme", 10).await;
    let answers = world.wait_in_line(uses_of(subject, "use", 2)).await;
    world.database.clone().disconnect().await.unwrap();
    let impatient = world.database.impatient(1);
    impatient.clone().disconnect().await.unwrap();
    let (lanes, database) = (world.lanes.clone(), world.database.clone());
    world.running = Some(tokio::spawn(async move {
        lanes.run(&database, &impatient, Arc::new(|_| ())).await;
    }));
    for answer in soon(answers).await {
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(world.booked(subject).await, 0);
}

#[tokio::test]
async fn a_lane_that_panics_goes_on() {
    let mut world = World::of(1).await;
    let subject = world.subject("acme", 10).await;
    let first = world.wait_in_line(vec![use_of(subject, "first")]).await;
    let (lanes, database, has_panicked) = (world.lanes.clone(), world.database.clone(), AtomicBool::new(false));
    world.running = Some(tokio::spawn(async move {
        let called = move |_| assert!(has_panicked.swap(true, Ordering::Relaxed), "as the test wants it");
        lanes.run(&database, &database, Arc::new(called)).await;
    }));
    assert_eq!(
        soon(first).await,
        [Err(Error::Internal("a lane lost a request".into()))]
    );
    assert_eq!(
        accepted(&world.lanes.consume(use_of(subject, "second")).await),
        (false, 1)
    );
}

//! Who goes when: what shares a call, who takes turns, who is sent away, who has gone.

use consumable::error::Error;
use futures_util::poll;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::{World, accepted, blocked, soon, until, use_of, uses_of};

/// The subjects that each committed call used something of.
async fn commits(world: &mut World) -> Vec<Vec<u64>> {
    let changes: Vec<String> = world
        .session
        .query(
            "SELECT CAST(changes AS CHAR) FROM billing_limit_changes WHERE change_source = 'consumption' ORDER BY id",
        )
        .await
        .unwrap();
    let subjects = |changes: &String| {
        let changes: Vec<Value> = serde_json::from_str(changes).unwrap();
        let mut subjects: Vec<u64> = changes.iter().map(|one| one["subjectId"].as_u64().unwrap()).collect();
        subjects.sort_unstable();
        subjects
    };
    changes.iter().map(subjects).collect()
}

#[tokio::test]
async fn who_asks_for_much_does_not_keep_others_waiting() {
    let mut world = World::of(1).await;
    let much = world.subject("much", 10_000).await;
    let little = world.subject("little", 10).await;
    let many = world.wait_in_line(uses_of(much, "use", 600)).await;
    // Comes last of all, and goes with the first call.
    let one = world.wait_in_line(vec![use_of(little, "one")]).await;
    world.run();
    assert_eq!(soon(one).await.iter().map(accepted).collect::<Vec<_>>(), [(false, 1)]);
    let many: Vec<_> = soon(many).await.iter().map(accepted).collect();
    // In the order in which they came.
    assert_eq!(many, (1..=600).map(|used| (false, used)).collect::<Vec<_>>());
    assert_eq!(world.calls(), [256, 256, 89]);
    assert_eq!(commits(&mut world).await, [vec![much, little], vec![much], vec![much]]);
}

#[tokio::test]
async fn what_comes_while_a_call_is_under_way_goes_as_the_next() {
    let mut world = World::of(1).await;
    let [first, second, third] = [
        world.subject("first", 10).await,
        world.subject("second", 10).await,
        world.subject("third", 10).await,
    ];
    let mut holder = world.lock(first).await;
    world.run();
    let lanes = world.lanes.clone();
    let under_way = tokio::spawn(async move { lanes.consume(use_of(first, "under-way")).await });
    until(async || !blocked(&mut world.session).await.is_empty()).await;
    // An idle lane calls at once.
    assert_eq!(world.calls(), [1]);
    let lanes = world.lanes.clone();
    let next = tokio::spawn(async move {
        lanes
            .consume_all(vec![use_of(second, "a"), use_of(third, "a"), use_of(second, "b")])
            .await
    });
    // If the holder were to hold it for a second, these would not wait for it.
    until(async || world.lanes.waiting() == 3 || world.calls().len() > 1).await;
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(accepted(&soon(under_way).await), (false, 1));
    let next: Vec<_> = soon(next).await.iter().map(accepted).collect();
    assert_eq!(next, [(false, 1), (false, 1), (false, 2)]);
    assert_eq!(world.calls(), [1, 3]);
}

#[tokio::test]
async fn a_subject_is_in_one_call_at_a_time() {
    let mut world = World::of(2).await;
    let held_up = world.subject("held-up", 10).await;
    let other = world.subject("other", 1_000).await;
    let mut holder = world.lock(held_up).await;
    world.run();
    let lanes = world.lanes.clone();
    let first = tokio::spawn(async move { lanes.consume(use_of(held_up, "first")).await });
    until(async || !blocked(&mut world.session).await.is_empty()).await;
    let second = world.wait_in_line(vec![use_of(held_up, "second")]).await;
    // The other lane calls for what may go, as often as it comes: little, and much.
    let answers = [
        world.lanes.consume_all(uses_of(other, "little", 2)).await,
        world.lanes.consume_all(uses_of(other, "much", 300)).await,
    ];
    let answers: Vec<_> = answers.iter().flatten().map(accepted).collect();
    assert_eq!(answers, (1..=302).map(|used| (false, used)).collect::<Vec<_>>());
    assert_eq!(world.lanes.waiting(), 1);
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(accepted(&soon(first).await), (false, 1));
    assert_eq!(accepted(&soon(second).await[0]), (false, 2));
    assert_eq!(world.calls(), [1, 2, 256, 44, 1]);
    assert_eq!(
        commits(&mut world).await.concat(),
        [other, other, other, held_up, held_up]
    );
}

#[tokio::test]
async fn whoever_finds_no_room_hears_it_at_once() {
    // No lane runs, so nothing moves.
    let world = World::of(1).await;
    let overloaded = Err(Error::Overloaded("too many uses wait for their lane".into()));
    let _hot = world.wait_in_line(uses_of(1, "use", 8_192)).await;
    assert_eq!(world.lanes.consume(use_of(1, "one-too-many")).await, overloaded);
    let _others = world
        .wait_in_line((2..8_194).map(|subject| use_of(subject, "use")).collect())
        .await;
    assert_eq!(world.lanes.consume(use_of(9_000, "no-room")).await, overloaded);
    assert_eq!(world.lanes.waiting(), 16_384);
}

#[tokio::test]
async fn whoever_goes_while_he_waits_has_asked_for_nothing() {
    let mut world = World::of(1).await;
    let subject = world.subject("acme", 10).await;
    let lanes = world.lanes.clone();
    let mut gone = Box::pin(lanes.consume(use_of(subject, "gone")));
    assert!(poll!(&mut gone).is_pending());
    let stays = world.wait_in_line(vec![use_of(subject, "stays")]).await;
    drop(gone);
    world.run();
    assert_eq!(accepted(&soon(stays).await[0]), (false, 1));
    assert_eq!((world.calls(), world.booked(subject).await), (vec![1], 1));
}

#[tokio::test]
async fn whoever_goes_after_his_call_has_begun_finds_it_booked() {
    let mut world = World::of(1).await;
    let subject = world.subject("acme", 10).await;
    let mut holder = world.lock(subject).await;
    world.run();
    let lanes = world.lanes.clone();
    let goes = tokio::spawn(async move { lanes.consume(use_of(subject, "order")).await });
    until(async || !blocked(&mut world.session).await.is_empty()).await;
    goes.abort();
    assert!(goes.await.unwrap_err().is_cancelled());
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(
        accepted(&world.lanes.consume(use_of(subject, "order")).await),
        (true, 1)
    );
    assert_eq!(world.booked(subject).await, 1);
}

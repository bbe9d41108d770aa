//! Holds: the stories H1 to H5 of `docs/domain.md`, replays, and what a hold does not do to others.

use mysql_async::prelude::Queryable;

use crate::support::hold::commit;
use crate::support::session::{begin, until_blocked};
use crate::support::story::{CODE, Grant, LOCKED, Story, definition};
use crate::support::told::lock_changes;

/// 15 minutes, the default.
const TTL: u32 = 900;

#[tokio::test]
async fn h1_a_hold_lowers_what_is_available_at_once() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story.hold(30, TTL).await;
    story
        .says("granted 100, consumed 0, held 30, effective 100, available 70, next 2026-03-01 00:15:00.000")
        .await;
    story.is_refused(71).await;
    story.consume(70).await;
    story.says("consumed 70, held 30, available 0").await;
    story.end().await;
}

#[tokio::test]
async fn h2_a_commit_of_a_part_returns_the_rest() {
    let mut story = Story::of(definition::BALANCE).await;
    let grant = story.grant(Grant::of("topup", 100)).await;
    let hold = story.hold(30, TTL).await;
    story.commit(hold, 20).await.unwrap();
    story
        .says("granted 100, consumed 20, held 0, available 80, next never")
        .await;
    story.revoke(grant).await;
    assert_eq!(story.gave(grant).await, 20);
    story.end().await;
}

#[tokio::test]
async fn h3_a_hold_counts_for_nothing_from_its_expiry_on() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let hold = story.hold(30, TTL).await;
    story.at("2026-03-01 00:14:59.999").await;
    story.says("held 30, available 70").await;
    story.is_refused(71).await;
    story.at("2026-03-01 00:15:00.000").await;
    story.says("consumed 0, held 0, available 100, next never").await;
    assert_eq!(story.commit(hold, 1).await.unwrap_err(), "HOLD_EXPIRED");
    story.consume(100).await;
    story.end().await;
}

#[tokio::test]
async fn h3_a_use_at_the_very_instant_of_the_expiry_finds_it_returned() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    let hold = story.hold(100, 1).await;
    story.at("2026-03-01 00:00:01.000").await;
    // Nobody has read or settled anything before this.
    story.consume(100).await;
    assert_eq!(story.commit(hold, 1).await.unwrap_err(), "HOLD_EXPIRED");
    story.end().await;
}

#[tokio::test]
async fn a_hold_can_be_committed_up_to_the_millisecond_before_its_expiry() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let hold = story.hold(30, 1).await;
    story.at("2026-03-01 00:00:00.999").await;
    story.commit(hold, 30).await.unwrap();
    story.says("consumed 30, held 0, available 70").await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_two_commits_at_once_are_one_use() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    // Real time for this one: a second session has its own clock.
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (first_end, second_replays) in [("COMMIT", true), ("ROLLBACK", false)] {
        let hold = story.hold(30, TTL).await;
        let mut first = story.database.session().await;
        begin(&mut first).await;
        first
            .query_drop(format!(
                "CALL entitlement_resolve_hold_in_tx_v1({hold}, 'committed', 20, @replayed)"
            ))
            .await
            .unwrap();
        let mut second = story.database.session().await;
        let second_id = second.id();
        let waiting = tokio::spawn(async move { commit(&mut second, hold, 20).await });
        until_blocked(&story.database, second_id).await;
        first.query_drop(first_end).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().replayed, second_replays, "{first_end}");
    }
    story.says("consumed 40, held 0, available 60").await;
    let uses: u64 = story
        .session
        .query_first("SELECT COUNT(*) FROM billing_entitlement_consumptions")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(uses, 2, "one for each hold");
    story.end().await;
}

#[tokio::test]
async fn h5_holds_of_a_capacity_keep_places() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.grant(Grant::of("plan_base", 3)).await;
    story.consume(2).await;
    let hold = story.hold(1, TTL).await;
    story.says("granted 3, consumed 2, held 1, available 0, over 0").await;
    let refused = story.try_hold("another", 1, TTL).await.unwrap();
    assert_eq!((refused.id, refused.over_by), (None, 1));
    assert!(refused.problem.unwrap().starts_with("BILLING_CAPACITY_LOCKED: "));
    story.commit(hold, 1).await.unwrap();
    story.says("granted 3, consumed 3, held 0, available 0, over 0").await;
    story.end().await;
}

#[tokio::test]
async fn each_call_again_gives_the_first_answer_word_for_word() {
    let mut story = Story::of(definition::MONTHLY).await;
    let grant = story.grant(Grant::of("plan_base", 100)).await;
    let made = story.try_hold("one", 30, TTL).await.unwrap();
    let committed = story.commit(made.id.unwrap(), 20).await.unwrap();
    let other = story.hold(10, TTL).await;
    let released = story.release(other).await.unwrap();
    // By now everything is different: more is used, the month is over and the grant is gone.
    story.consume(70).await;
    story.at("2026-04-02 00:00:00.000").await;
    story.revoke(grant).await;
    for (first, again) in [
        (&made, story.try_hold("one", 30, TTL).await.unwrap()),
        (&committed, story.commit(made.id.unwrap(), 20).await.unwrap()),
        (&released, story.release(other).await.unwrap()),
    ] {
        assert!(again.replayed && !first.replayed);
        assert_eq!(again.words, first.words);
    }
    story.says("granted 0, consumed 0, held 0").await;
    story.end().await;
}

#[tokio::test]
async fn another_hold_with_the_key_of_one_is_a_conflict() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story.try_hold("one", 30, TTL).await.unwrap();
    for (amount, ttl) in [(31, TTL), (30, TTL + 1)] {
        let conflict = story.try_hold("one", amount, ttl).await;
        assert_eq!(conflict.unwrap_err(), "IDEMPOTENCY_CONFLICT");
    }
    story.says("held 30, available 70").await;
    story.end().await;
}

#[tokio::test]
async fn a_refused_hold_is_not_kept_and_its_key_may_succeed_later() {
    let mut story = Story::of(definition::BALANCE).await;
    let refused = story.try_hold("one", 30, TTL).await.unwrap();
    assert!(refused.problem.unwrap().starts_with("BILLING_LIMIT_EXCEEDED: "));
    story.grant(Grant::of("topup", 100)).await;
    let made = story.try_hold("one", 30, TTL).await.unwrap();
    assert!(made.id.is_some() && !made.replayed);
    story.end().await;
}

#[tokio::test]
async fn a_hold_is_resolved_once() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    let hold = story.hold(30, TTL).await;
    assert_eq!(story.commit(hold, 31).await.unwrap_err(), "HOLD_AMOUNT_EXCEEDED");
    story.says("held 30").await;
    story.commit(hold, 20).await.unwrap();
    assert_eq!(story.commit(hold, 21).await.unwrap_err(), "HOLD_ALREADY_RESOLVED");
    assert_eq!(story.release(hold).await.unwrap_err(), "HOLD_ALREADY_RESOLVED");
    let released = story.hold(30, TTL).await;
    story.release(released).await.unwrap();
    assert_eq!(story.commit(released, 30).await.unwrap_err(), "HOLD_ALREADY_RESOLVED");
    // What was answered stays answered, also after the time that the holds would have had.
    story.at("2026-03-01 01:00:00.000").await;
    assert!(story.commit(hold, 20).await.unwrap().replayed);
    assert!(story.release(released).await.unwrap().replayed);
    story.says("consumed 20, held 0, available 80").await;
    story.end().await;
}

#[tokio::test]
async fn a_hold_made_before_the_months_end_is_used_in_the_next_month() {
    let mut story = Story::of(definition::MONTHLY).await;
    story.grant(Grant::of("plan_base", 100)).await;
    story.at("2026-03-31 23:59:59.000").await;
    let hold = story.hold(30, TTL).await;
    story.at("2026-04-01 00:00:00.000").await;
    story
        .says("consumed 0, held 30, available 70, window 2026-04-01 00:00:00.000, next 2026-04-01 00:14:59.000")
        .await;
    story.commit(hold, 30).await.unwrap();
    story
        .says("consumed 30, held 0, available 70, next 2026-05-01 00:00:00.000")
        .await;
    story.end().await;
}

#[tokio::test]
async fn a_hold_of_a_limit_that_only_warns_needs_no_grant() {
    let mut story = Story::of(definition::SOFT_BALANCE).await;
    let hold = story.hold(30, TTL).await;
    story.says("granted 0, consumed 0, held 30, available 0, over 0").await;
    story.commit(hold, 30).await.unwrap();
    story.says("consumed 30, held 0, effective -30, over 1").await;
    story.end().await;
}

#[tokio::test]
async fn what_was_held_can_be_committed_after_its_grant_has_ended() {
    // The hold was a promise, and what it was for may have happened: it is booked, and shows as overage.
    let mut story = Story::of(definition::BALANCE).await;
    story
        .grant(Grant::of("topup", 100).expires("2026-03-01 00:10:00.000"))
        .await;
    let hold = story.hold(30, TTL).await;
    story.at("2026-03-01 00:10:00.000").await;
    story.says("granted 0, held 30, available 0, over 0").await;
    story.commit(hold, 30).await.unwrap();
    story.says("granted 0, consumed 30, held 0, available 0, over 1").await;
    story.end().await;
}

#[tokio::test]
async fn what_is_committed_after_its_grant_has_ended_may_lock_and_that_is_told() {
    for limit in [definition::CAPACITY, definition::LOCKING_MONTHLY] {
        let mut story = Story::of(limit).await;
        let told = async |story: &mut Story| -> Vec<String> {
            let told = lock_changes(&mut story.session).await;
            told.into_iter().map(|(_, state)| state).collect()
        };
        story
            .grant(Grant::of("plan_base", 3).expires("2026-03-01 00:10:00.000"))
            .await;
        let holds = [story.hold(2, TTL).await, story.hold(1, TTL).await];
        story.at("2026-03-01 00:10:00.000").await;
        story
            .says("granted 0, consumed 0, held 3, available 0, over 0, lock none")
            .await;
        assert_eq!(told(&mut story).await, [""; 0]);
        story.commit(holds[0], 2).await.unwrap();
        story
            .says("granted 0, consumed 2, held 1, over 1, lock story_locked")
            .await;
        assert_eq!(told(&mut story).await, [LOCKED]);
        // The same again, and one more, find it locked.
        assert!(story.commit(holds[0], 2).await.unwrap().replayed);
        story.commit(holds[1], 1).await.unwrap();
        story.says("consumed 3, held 0, over 1, lock story_locked").await;
        assert_eq!(told(&mut story).await, [LOCKED]);
        story.grant(Grant::of("plan_base", 3)).await;
        story
            .says("granted 3, consumed 3, available 0, over 0, lock none")
            .await;
        assert_eq!(told(&mut story).await, [LOCKED, "none"]);
        story.end().await;
    }
}

#[tokio::test]
async fn an_open_transaction_leaves_the_holds_of_others_alone() {
    let mut story = Story::of(definition::BALANCE).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    let busy = story.subject;
    story.grant(Grant::of("topup", 10)).await;
    // The holds of the next subject stand beside this one's in the index.
    story.subject = story.new_subject("neighbour").await;
    story.grant(Grant::of("topup", 10)).await;
    let hold = story.hold(5, TTL).await;
    let mut open = story.database.session().await;
    begin(&mut open).await;
    open.query_drop(format!(
        "CALL entitlement_grant_in_tx_v1({busy}, '{CODE}', 1, 'topup', NULL, NULL, NULL, 'operator', NULL, NULL, 'open', NULL, 'me', @grant_id, @r)"
    ))
    .await
    .unwrap();
    // A wait would end in error 1205.
    story
        .session
        .query_drop("SET innodb_lock_wait_timeout = 1")
        .await
        .unwrap();
    story.commit(hold, 5).await.unwrap();
    open.query_drop("COMMIT").await.unwrap();
    story.says("consumed 5, held 0, available 5").await;
    story.end().await;
}

//! Changes of one subject's plan at once, and changes beside uses: every order of the steps ends well, and no deadlock reaches a caller.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::json;

use consumable::procedures::billing::{AssignFields, assign_plan};

use crate::support::cast::Cast;
use crate::support::plan::{Assign, Template};
use crate::support::session::{begin, until_blocked};
use crate::support::story::{CODE, Grant, Story, definition};

/// The statement without a query in it, which would lock what it reads.
fn assigns(subject: u64, plan: u32, key: &str) -> String {
    format!(
        "CALL billing_assign_plan_in_tx_v1({subject}, {plan}, 1, NULL, NULL, NULL, NULL, '{key}', 'me', @assignment_id, @changed)"
    )
}

fn uses(subject: u64, amount: i64) -> String {
    let requests =
        json!([{"subjectId": subject, "usageEventKey": "use", "items": [{"limitationCode": CODE, "amount": amount}]}]);
    format!("CALL entitlement_consume_in_tx_v1('{requests}', @not_accepted)")
}

fn grants(subject: u64) -> String {
    format!(
        "CALL entitlement_grant_in_tx_v1({subject}, '{CODE}', 2, 'topup', NULL, NULL, 1, 'operator', NULL, NULL, 'later-{subject}', NULL, 'me', @grant_id, @replayed)"
    )
}

fn holds(subject: u64) -> String {
    format!(
        "CALL entitlement_hold_in_tx_v1({subject}, NULL, '{CODE}', 1, 900, 'hold', NULL, NULL, @definition, @hold, @replayed, @problem)"
    )
}

/// Plans 1, 2 and 3 of 10, 20 and 30.
async fn three_plans(definition: &str) -> Story {
    let mut story = Story::of(definition).await;
    for (code, amount) in [("small", 10), ("large", 20), ("huge", 30)] {
        story.plan(code, &[Template::of(CODE, amount)]).await;
    }
    story
}

fn turn(order: &[usize], session: usize) -> usize {
    order.iter().position(|other| *other == session).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_and_a_use() {
    let mut story = three_plans(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        story.assign(Assign::to("small")).await;
        let (large, huge) = (format!("large-{number}"), format!("huge-{number}"));
        let outcome = cast
            .plays(
                [
                    &assigns(subject, 2, &large),
                    &assigns(subject, 3, &huge),
                    &uses(subject, 15),
                ],
                order,
            )
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        // The later change stays; the use fits if either came before it.
        let last = if turn(order, 0) < turn(order, 1) { 30 } else { 20 };
        let fits = turn(order, 2) > turn(order, 0).min(turn(order, 1));
        let consumed = if fits { 15 } else { 0 };
        story.says(&format!("granted {last}, consumed {consumed}")).await;
        is_on_one_plan(&mut story).await;
        story.proves().await;
    }
}

/// One current assignment, no scheduled one, and no grant but its own.
async fn is_on_one_plan(story: &mut Story) {
    let query = "SELECT CAST(SUM(status = 'current') AS SIGNED), CAST(SUM(status = 'scheduled') AS SIGNED),
                        (SELECT COUNT(*) FROM billing_entitlement_grants AS g
                           JOIN billing_plan_assignments AS o ON o.id = g.plan_assignment_id AND o.status <> 'current'
                           LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
                          WHERE g.subject_id = a.subject_id AND r.grant_id IS NULL)
                   FROM billing_plan_assignments AS a WHERE subject_id = ? GROUP BY subject_id";
    let found: (i64, i64, i64) = story
        .session
        .exec_first(query, (story.subject,))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_what_is_due_and_a_use() {
    let mut story = three_plans(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        story.assign(Assign::to("small")).await;
        let due = format!("due-{number}");
        let plan = format!(
            "CALL billing_assign_plan_in_tx_v1({subject}, 2, 1, UTC_TIMESTAMP(3) + INTERVAL 1 HOUR, NULL, NULL, NULL, '{due}', 'me', @assignment_id, @changed)"
        );
        story.in_transaction(&plan).await.unwrap();
        let hour = "UPDATE billing_plan_assignments SET effective_at = UTC_TIMESTAMP(3) WHERE status = 'scheduled'";
        story.session.query_drop(hour).await.unwrap();
        let now = format!("now-{number}");
        let outcome = cast
            .plays(
                [
                    &assigns(subject, 3, &now),
                    &assigns(subject, 2, &due),
                    &uses(subject, 15),
                ],
                order,
            )
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        // Whatever comes first: the change by hand is the newer wish.
        let fits = turn(order, 2) > turn(order, 0).min(turn(order, 1));
        story
            .says(&format!("granted 30, consumed {}", if fits { 15 } else { 0 }))
            .await;
        let planned = if turn(order, 1) < turn(order, 0) {
            "ended"
        } else {
            "cancelled"
        };
        assert!(story.assignments().await[1].contains(planned), "{order:?}");
        is_on_one_plan(&mut story).await;
        story.proves().await;
    }
}

/// Uses and grants write rows that belong to the subject, after they have locked a balance. None of them may lock the subject then.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_beside_what_locks_a_balance_first() {
    let mut story = three_plans(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    let april = "SET timestamp = UNIX_TIMESTAMP('2026-04-01 00:00:00')";
    for actor in &mut cast.actors {
        actor.does(april.to_owned(), &mut cast.watcher).await;
    }
    for (number, order) in Cast::orders().iter().enumerate() {
        for (beside, granted) in [(grants as fn(u64) -> String, 22), (holds, 20)] {
            story.at("2026-03-01 00:00:00.000").await;
            story.subject = story.new_subject(&format!("subject-{number}-{granted}")).await;
            let subject = story.subject;
            story.assign(Assign::to("small")).await;
            let key = format!("large-{number}-{granted}");
            // The use ends the month of March first: its row of history is the subject's too.
            let outcome = cast
                .plays([&assigns(subject, 2, &key), &uses(subject, 5), &beside(subject)], order)
                .await;
            assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
            story.at("2026-04-01 00:00:00.000").await;
            story
                .says(&format!(
                    "granted {granted}, consumed 5, window 2026-04-01 00:00:00.000"
                ))
                .await;
            story.proves().await;
        }
    }
}

/// Nobody has a balance yet: who comes first makes it, and the others find it.
#[tokio::test(flavor = "multi_thread")]
async fn first_changes_of_a_new_subject() {
    let mut story = three_plans(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        story.subject = story.new_subject(&format!("subject-{number}")).await;
        let subject = story.subject;
        let (small, large) = (format!("small-{number}"), format!("large-{number}"));
        let outcome = cast
            .plays(
                [
                    &assigns(subject, 1, &small),
                    &assigns(subject, 2, &large),
                    &grants(subject),
                ],
                order,
            )
            .await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        let last = if turn(order, 0) < turn(order, 1) { 22 } else { 12 };
        story.says(&format!("granted {last}")).await;
        is_on_one_plan(&mut story).await;
        story.proves().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_neighbours() {
    let mut story = three_plans(definition::MONTHLY).await;
    let mut cast = Cast::new(&story.database).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    for (number, order) in Cast::orders().iter().enumerate() {
        let (mut subjects, mut calls) = (Vec::new(), Vec::new());
        for side in ["left", "middle", "right"] {
            story.subject = story.new_subject(&format!("{side}-{number}")).await;
            story.assign(Assign::to("small")).await;
            subjects.push(story.subject);
            calls.push(assigns(story.subject, 2, &format!("{side}-{number}")));
        }
        let outcome = cast.plays([&calls[0], &calls[1], &calls[2]], order).await;
        assert_eq!(outcome.errors.concat(), [""; 0], "{order:?}");
        for subject in subjects {
            story.subject = subject;
            story.says("granted 20").await;
            story.proves().await;
        }
    }
}

async fn applies(session: &mut mysql_async::Conn) -> (u32, u32) {
    let row: Row = session
        .query_first("CALL billing_apply_due_assignments_v1(100)")
        .await
        .unwrap()
        .unwrap();
    (row.get("applied").unwrap(), row.get("failed").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_waits_for_no_subject_and_is_done_once() {
    let mut story = three_plans(definition::MONTHLY).await;
    story.assign(Assign::to("small")).await;
    story.assign(Assign::to("large").at("2026-04-01 00:00:00.000")).await;
    let subject = story.subject;
    let april = "SET timestamp = UNIX_TIMESTAMP('2026-04-01 00:00:00')";
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut session = story.database.session().await;
        session.query_drop(april).await.unwrap();
        others.push(session);
    }
    let [one, two, user] = &mut others[..] else {
        unreachable!()
    };

    // Somebody is at work on the subject: it is left for the next time.
    begin(user).await;
    user.query_drop(format!(
        "SELECT id FROM billable_entities WHERE id = {subject} FOR UPDATE"
    ))
    .await
    .unwrap();
    assert_eq!(applies(one).await, (0, 0));
    user.query_drop("ROLLBACK").await.unwrap();

    // The one that is at work waits for a balance; the other one, and a change by hand, come meanwhile.
    begin(user).await;
    user.query_drop(uses(subject, 3)).await.unwrap();
    let (one_id, database) = (one.id(), &story.database);
    let meanwhile = async {
        until_blocked(database, one_id).await;
        assert_eq!(applies(two).await, (0, 0));
        begin(two).await;
        let two_id = two.id();
        let by_hand = assigns(subject, 3, "by-hand");
        let changes = async {
            two.query_drop(by_hand).await.unwrap();
            two.query_drop("COMMIT").await.unwrap();
        };
        let lets_go = async {
            until_blocked(database, two_id).await;
            user.query_drop("COMMIT").await.unwrap();
        };
        tokio::join!(changes, lets_go);
    };
    let (applied, ()) = tokio::join!(applies(one), meanwhile);
    assert_eq!(applied, (1, 0));
    assert_eq!(applies(one).await, (0, 0));
    story.at("2026-04-01 00:00:00.000").await;
    let states: Vec<String> = story.assignments().await;
    assert_eq!(
        states,
        [
            "small 1 ended 2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000",
            "large 1 ended 2026-04-01 00:00:00.000 .. 2026-04-01 00:00:00.000",
            "huge 1 current 2026-04-01 00:00:00.000 .. ",
        ]
    );
    story.says("granted 30, consumed 3").await;
    is_on_one_plan(&mut story).await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_race_leave_one_plan() {
    let mut story = three_plans(definition::MONTHLY).await;
    story.session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    story.grant(Grant::of("topup", 1)).await;
    let database = story.database.connect().await;
    let subject = story.subject;
    let mut racing = Vec::new();
    for number in 0..24 {
        let database = database.clone();
        racing.push(tokio::spawn(async move {
            // Every key comes three times.
            let key = format!("race-{}", number % 8);
            let fields = AssignFields {
                subject_id: subject,
                plan_code: ["small", "large"][number % 2],
                quantity: None,
                effective_at: None,
                period_start_at: None,
                period_end_at: None,
                idempotency_key: Some(&key),
                created_by: "me",
            };
            let (assignment, _) = assign_plan(&database, fields).await.unwrap();
            (number % 8, assignment.id, assignment.made)
        }));
    }
    let mut answers = Vec::new();
    for task in racing {
        answers.push(task.await.unwrap());
    }
    for key in 0..8 {
        let mut ids: Vec<u64> = answers
            .iter()
            .filter(|answer| answer.0 == key)
            .map(|answer| answer.1)
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{answers:?}");
    }
    let made = answers.iter().filter(|answer| answer.2).count();
    assert_eq!(made, story.assignments().await.len());
    is_on_one_plan(&mut story).await;
    story.end().await;
}

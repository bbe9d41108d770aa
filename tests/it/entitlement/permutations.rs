//! Every order of the steps of two or three sessions: nothing is oversold, and no deadlock reaches a caller.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::database::TestDatabase;
use crate::support::session::begin;
use crate::support::story::{CODE, Grant, Story, definition, differences, projections_of};

/// A session that does one statement after another, and the answers.
struct Actor {
    connection: u32,
    statements: UnboundedSender<String>,
    answers: UnboundedReceiver<Result<(), String>>,
    /// Statements whose turn has come, but the session waits for a lock.
    waiting: Vec<String>,
    is_busy: bool,
    /// Codes of the errors it got.
    errors: Vec<String>,
}

impl Actor {
    async fn new(database: &TestDatabase) -> Actor {
        let mut session = database.session().await;
        let connection = session.id();
        let (statements, mut to_do) = unbounded_channel::<String>();
        let (answer, answers) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(statement) = to_do.recv().await {
                let done = if statement == "BEGIN" {
                    begin(&mut session).await;
                    Ok(())
                } else {
                    session.query_drop(statement).await.map_err(|error| code(&error))
                };
                if answer.send(done).is_err() {
                    break;
                }
            }
        });
        Actor {
            connection,
            statements,
            answers,
            waiting: Vec::new(),
            is_busy: false,
            errors: Vec::new(),
        }
    }

    /// Gives it a statement, and returns when it has done it or waits for a lock. Whether it waits.
    async fn does(&mut self, statement: String, watcher: &mut Conn) -> bool {
        if self.is_busy {
            self.waiting.push(statement);
            return true;
        }
        self.statements.send(statement).unwrap();
        self.is_busy = true;
        self.settles(watcher).await
    }

    /// Waits until it is done or waits for a lock. Whether it waits.
    async fn settles(&mut self, watcher: &mut Conn) -> bool {
        let mut asked = 0;
        while self.is_busy {
            // Most statements are done at once; only the others are worth asking the server.
            match tokio::time::timeout(Duration::from_millis(5), self.answers.recv()).await {
                Ok(answer) => {
                    self.is_busy = false;
                    self.errors.extend(answer.unwrap().err());
                }
                Err(_) if is_blocked(watcher, self.connection, asked > 100).await => return true,
                Err(_) => asked += 1,
            }
        }
        false
    }
}

fn code(error: &Error) -> String {
    match error {
        Error::Server(server) => server.message.split(':').next().unwrap().to_owned(),
        other => panic!("{other}"),
    }
}

/// Whether the server says that a session waits for a lock. The list of waits is exact, but names another thread for a lock whose
/// row that one has moved; the list of transactions has no such gap, but may be a tenth of a second old.
async fn is_blocked(watcher: &mut Conn, connection: u32, by_transaction: bool) -> bool {
    let question = if by_transaction {
        "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = ?"
    } else {
        "SELECT COUNT(*) FROM performance_schema.data_lock_waits AS w
           JOIN performance_schema.threads AS t ON t.thread_id = w.requesting_thread_id
          WHERE t.processlist_id = ?"
    };
    let waiting: u64 = watcher.exec_first(question, (connection,)).await.unwrap().unwrap();
    waiting > 0
}

/// Every order in which sessions with so many steps can take them, as numbers of sessions.
fn orders(steps: &[usize]) -> Vec<Vec<usize>> {
    if steps.iter().all(|left| *left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (session, left) in steps.iter().enumerate().filter(|(_, left)| **left > 0) {
        let mut rest = steps.to_vec();
        rest[session] = left - 1;
        for mut order in orders(&rest) {
            order.insert(0, session);
            all.push(order);
        }
    }
    all
}

/// What an order came to.
struct Outcome {
    /// Codes of the errors of each session.
    errors: Vec<Vec<String>>,
    /// Steps that had to wait for a lock.
    waits: usize,
}

/// Three sessions, each with one call in a transaction of its own. Their steps: the call, and the commit.
struct Cast {
    actors: Vec<Actor>,
    watcher: Conn,
}

impl Cast {
    async fn new(database: &TestDatabase) -> Cast {
        let mut actors = Vec::new();
        for _ in 0..3 {
            actors.push(Actor::new(database).await);
        }
        Cast {
            actors,
            watcher: database.session().await,
        }
    }

    fn orders() -> Vec<Vec<usize>> {
        let all = orders(&[2, 2, 2]);
        assert_eq!(all.len(), 90);
        all
    }

    async fn plays(&mut self, calls: [&str; 3], order: &[usize]) -> Outcome {
        let mut lines: Vec<Vec<String>> = calls
            .iter()
            .map(|call| vec!["COMMIT".to_owned(), (*call).to_owned()])
            .collect();
        for actor in &mut self.actors {
            actor.does("BEGIN".to_owned(), &mut self.watcher).await;
        }
        let mut waits = 0;
        for session in order {
            let line = lines[*session].pop().unwrap();
            waits += usize::from(self.actors[*session].does(line, &mut self.watcher).await);
            self.let_go_on().await;
        }
        // Each commit lets somebody else go on.
        while self.actors.iter().any(|actor| actor.is_busy) {
            self.let_go_on().await;
        }
        let errors = self
            .actors
            .iter_mut()
            .map(|actor| std::mem::take(&mut actor.errors))
            .collect();
        Outcome { errors, waits }
    }

    /// Whoever waited and does not any more does what has become his turn meanwhile.
    async fn let_go_on(&mut self) {
        for actor in &mut self.actors {
            while actor.is_busy && !actor.settles(&mut self.watcher).await && !actor.waiting.is_empty() {
                let next = actor.waiting.remove(0);
                actor.does(next, &mut self.watcher).await;
            }
        }
    }
}

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

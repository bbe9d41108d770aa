//! Sessions on a stage: their steps in any order, each done before the next one, or known to wait for a lock.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::database::TestDatabase;
use super::session::begin;

/// A session that does one statement after another, and the answers.
pub struct Actor {
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
    /// In a session of its own.
    pub async fn new(database: &TestDatabase) -> Actor {
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
    pub async fn does(&mut self, statement: String, watcher: &mut Conn) -> bool {
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

/// Whether the server says that a session waits for a lock. The list of waits is exact, but names another thread for a lock whose row that one has moved, be it
/// the waiting one's or not; so the session is found by its transaction's locks of tables, which nobody moves. The list of transactions may be a tenth of a
/// second old.
async fn is_blocked(watcher: &mut Conn, connection: u32, by_transaction: bool) -> bool {
    let question = if by_transaction {
        "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = ?"
    } else {
        "SELECT COUNT(*) FROM performance_schema.data_lock_waits AS w
           JOIN performance_schema.data_locks AS l ON l.engine_transaction_id = w.requesting_engine_transaction_id AND l.lock_type = 'TABLE'
           JOIN performance_schema.threads AS t ON t.thread_id = l.thread_id
          WHERE t.processlist_id = ?"
    };
    let waiting: u64 = watcher.exec_first(question, (connection,)).await.unwrap().unwrap();
    waiting > 0
}

/// Every order in which sessions with so many steps can take them, as numbers of sessions.
pub fn orders(steps: &[usize]) -> Vec<Vec<usize>> {
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
pub struct Outcome {
    /// Codes of the errors of each session.
    pub errors: Vec<Vec<String>>,
    /// By session, how many of its steps had to wait for a lock.
    pub waits: [usize; 3],
}

/// Three sessions, each with a transaction of its own.
pub struct Cast {
    pub actors: Vec<Actor>,
    pub watcher: Conn,
}

impl Cast {
    pub async fn new(database: &TestDatabase) -> Cast {
        let mut actors = Vec::new();
        for _ in 0..3 {
            actors.push(Actor::new(database).await);
        }
        Cast {
            actors,
            watcher: database.session().await,
        }
    }

    /// Every order of three sessions with one call each, and its commit.
    pub fn orders() -> Vec<Vec<usize>> {
        let all = orders(&[2, 2, 2]);
        assert_eq!(all.len(), 90);
        all
    }

    /// Plays one call of each session, and its commit.
    pub async fn calls(&mut self, calls: [&str; 3], order: &[usize]) -> Outcome {
        let [one, two, three] = calls.map(|call| [call]);
        self.plays([&one, &two, &three], order).await
    }

    /// Each begins, does its steps when their turn comes, and commits as its last.
    pub async fn plays<S: AsRef<str>>(&mut self, steps: [&[S]; 3], order: &[usize]) -> Outcome {
        let mut lines = steps.map(|steps| {
            let steps = steps.iter().map(|step| step.as_ref().to_owned());
            steps.chain(["COMMIT".to_owned()]).collect::<Vec<_>>().into_iter()
        });
        for actor in &mut self.actors {
            actor.does("BEGIN".to_owned(), &mut self.watcher).await;
        }
        let mut waits = [0; 3];
        for session in order {
            let line = lines[*session].next().unwrap();
            waits[*session] += usize::from(self.actors[*session].does(line, &mut self.watcher).await);
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

//! What people would write without the engine, on the same server: a table of balances, and a consumption table with a primary key, a
//! unique dedupe key and one secondary index.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Value};

use crate::Outcome;
use crate::measure::Worker;
use crate::uses::key;
use crate::world::{BESIDE, World};

/// Connections of those who write by hand.
const BY_HAND: u64 = 32;

/// Rows of a multi-row INSERT.
pub const ROWS: u64 = 200;

/// Makes the tables anew, with balances of so many subjects.
async fn make(world: &mut World, subjects: u64) -> Outcome<()> {
    for statement in [
        format!("DROP TABLE IF EXISTS {BESIDE}.balances, {BESIDE}.consumptions"),
        format!("CREATE TABLE {BESIDE}.balances (subject_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, available BIGINT NOT NULL, consumed BIGINT NOT NULL)"),
        format!(
            "CREATE TABLE {BESIDE}.consumptions (
               id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, subject_id BIGINT UNSIGNED NOT NULL, amount BIGINT NOT NULL,
               dedupe_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, occurred_at DATETIME(3) NOT NULL,
               UNIQUE INDEX (dedupe_key), INDEX (subject_id, occurred_at))"
        ),
        format!("INSERT INTO {BESIDE}.balances SELECT n.n, 1000000000, 0 FROM {BESIDE}.numbers AS n WHERE n.n < {subjects}"),
    ] {
        world.execute(&statement).await?;
    }
    Ok(())
}

/// A transaction written by hand: BEGIN, SELECT … FOR UPDATE, INSERT, UPDATE, COMMIT.
pub struct ByHand {
    session: Conn,
    subjects: u64,
    random: fastrand::Rng,
    worker: u64,
    number: u64,
}

impl ByHand {
    /// Makes the tables, and those who write to them.
    pub async fn all(world: &mut World, subjects: u64) -> Outcome<Vec<ByHand>> {
        make(world, subjects).await?;
        let mut all = Vec::new();
        for worker in 0..BY_HAND {
            all.push(ByHand {
                session: Conn::new(Opts::from_url(&world.url(BESIDE))?).await?,
                subjects,
                random: fastrand::Rng::with_seed(worker),
                worker,
                number: 0,
            });
        }
        Ok(all)
    }
}

impl Worker for ByHand {
    async fn once(&mut self) -> Outcome<u64> {
        let subject = self.random.u64(0..self.subjects);
        let key = key(self.worker, self.number);
        self.number += 1;
        self.session.query_drop("BEGIN").await?;
        let lock = "SELECT available FROM balances WHERE subject_id = ? FOR UPDATE";
        let available: Option<i64> = self.session.exec_first(lock, (subject,)).await?;
        if available < Some(1) {
            return Err("a subject of the baseline has nothing left".into());
        }
        let insert =
            "INSERT INTO consumptions (subject_id, amount, dedupe_key, occurred_at) VALUES (?, 1, ?, UTC_TIMESTAMP(3))";
        self.session.exec_drop(insert, (subject, key)).await?;
        let update = "UPDATE balances SET available = available - 1, consumed = consumed + 1 WHERE subject_id = ?";
        self.session.exec_drop(update, (subject,)).await?;
        self.session.query_drop("COMMIT").await?;
        Ok(1)
    }
}

/// A multi-row INSERT alone, without any rule: the ceiling of every design that keeps a row per use.
pub struct Insert {
    session: Conn,
    statement: String,
    subjects: u64,
    random: fastrand::Rng,
    worker: u64,
    number: u64,
}

impl Insert {
    /// Makes the table, and `count` who write to it.
    pub async fn all(world: &mut World, subjects: u64, count: u64) -> Outcome<Vec<Insert>> {
        make(world, subjects).await?;
        let rows = vec!["(?, 1, ?, UTC_TIMESTAMP(3))"; ROWS as usize].join(", ");
        let mut all = Vec::new();
        for worker in 0..count {
            all.push(Insert {
                session: Conn::new(Opts::from_url(&world.url(BESIDE))?).await?,
                statement: format!(
                    "INSERT INTO consumptions (subject_id, amount, dedupe_key, occurred_at) VALUES {rows}"
                ),
                subjects,
                random: fastrand::Rng::with_seed(worker),
                worker,
                number: 0,
            });
        }
        Ok(all)
    }
}

impl Worker for Insert {
    async fn once(&mut self) -> Outcome<u64> {
        let mut values = Vec::with_capacity(2 * ROWS as usize);
        for _ in 0..ROWS {
            values.push(Value::from(self.random.u64(0..self.subjects)));
            values.push(Value::from(key(self.worker, self.number)));
            self.number += 1;
        }
        self.session.exec_drop(self.statement.as_str(), values).await?;
        Ok(ROWS)
    }
}

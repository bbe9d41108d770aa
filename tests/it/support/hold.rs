//! Words of a story about holds.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::story::{CODE, Story};

impl Story {
    /// Sets an amount aside, which must be accepted, and gives the hold's id.
    pub async fn hold(&mut self, amount: i64, ttl_seconds: u32) -> u64 {
        let key = self.new_key("hold");
        let answer = self.try_hold(&key, amount, ttl_seconds).await.unwrap();
        assert_eq!(answer.problem, None, "holding {amount}");
        answer.id.unwrap()
    }

    /// Asks to set an amount aside. An error is its code.
    pub async fn try_hold(&mut self, key: &str, amount: i64, ttl_seconds: u32) -> Result<HoldAnswer, String> {
        let call = format!(
            "CALL entitlement_hold_v1({}, NULL, '{CODE}', {amount}, {ttl_seconds}, '{key}', NULL, NULL)",
            self.subject
        );
        about_hold(&mut self.session, &call).await
    }

    /// Commits an amount of a hold. An error is its code.
    pub async fn commit(&mut self, hold: u64, amount: i64) -> Result<HoldAnswer, String> {
        commit(&mut self.session, hold, amount).await
    }

    /// Releases a hold. An error is its code.
    pub async fn release(&mut self, hold: u64) -> Result<HoldAnswer, String> {
        about_hold(&mut self.session, &format!("CALL entitlement_release_hold_v1({hold})")).await
    }
}

/// An answer about a hold.
#[derive(Debug, PartialEq)]
pub struct HoldAnswer {
    /// `None`: refused.
    pub id: Option<u64>,
    /// Whether the same was asked before.
    pub replayed: bool,
    /// `CODE: text`.
    pub problem: Option<String>,
    /// Smallest units missing.
    pub over_by: i64,
    /// All the rest, but for what tells the time: a replay says the same.
    pub words: Vec<String>,
}

/// Commits an amount of a hold in a session of one's own. An error is its code.
pub async fn commit(session: &mut Conn, hold: u64, amount: i64) -> Result<HoldAnswer, String> {
    about_hold(session, &format!("CALL entitlement_commit_hold_v1({hold}, {amount})")).await
}

async fn about_hold(session: &mut Conn, call: &str) -> Result<HoldAnswer, String> {
    let row: Row = match session.query_first(call).await {
        Ok(row) => row.unwrap(),
        Err(mysql_async::Error::Server(error)) => {
            return Err(error.message.split(':').next().unwrap().to_owned());
        }
        Err(error) => panic!("{error}"),
    };
    let words = row
        .columns_ref()
        .iter()
        .map(|column| column.name_str())
        .filter(|name| !["replayed", "generated_at", "retry_after_seconds"].contains(&name.as_ref()))
        .map(|name| format!("{name} {}", row[name.as_ref()].as_sql(true)))
        .collect();
    Ok(HoldAnswer {
        id: row.get("hold_id").unwrap(),
        replayed: row.get("replayed").unwrap(),
        problem: row.get("problem").unwrap(),
        over_by: row.get("over_by_amount").unwrap(),
        words,
    })
}

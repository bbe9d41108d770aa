//! A story of `docs/domain.md`, told line by line: one subject, one limit, and a clock that the story moves.

use chrono::{DateTime, NaiveDateTime, Utc};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value, params};
use serde_json::{Value as Json, json};

use super::database::TestDatabase;
use super::timed::set_clock;
use super::told::lock_differences;

/// The definitions that stories are told about, as columns of `billing_entitlement_definitions`.
pub mod definition {
    /// Prepaid credits.
    pub const BALANCE: &str = "'balance', NULL, NULL, 'sum', 'hard_deny'";
    /// Prepaid credits that may be overdrawn.
    pub const SOFT_BALANCE: &str = "'balance', NULL, NULL, 'sum', 'soft_warn'";
    /// A quota by calendar month.
    pub const MONTHLY: &str = "'metered_quota', 'month', 'calendar_utc', 'sum', 'hard_deny'";
    /// A quota by calendar month that may be overdrawn.
    pub const SOFT_MONTHLY: &str = "'metered_quota', 'month', 'calendar_utc', 'sum', 'soft_warn'";
    /// A quota by calendar month of which only the largest grant counts.
    pub const MONTHLY_MAX: &str = "'metered_quota', 'month', 'calendar_utc', 'max', 'hard_deny'";
    /// A quota by calendar month that locks a resource where it is overdrawn all the same.
    pub const LOCKING_MONTHLY: &str = "'metered_quota', 'month', 'calendar_utc', 'sum', 'hard_lock_resource'";
    /// A quota by day.
    pub const DAILY: &str = "'metered_quota', 'day', 'calendar_utc', 'sum', 'hard_deny'";
    /// A quota by week, from Monday.
    pub const WEEKLY: &str = "'metered_quota', 'week', 'calendar_utc', 'sum', 'hard_deny'";
    /// A quota by year.
    pub const YEARLY: &str = "'metered_quota', 'year', 'calendar_utc', 'sum', 'hard_deny'";
    /// A quota by month of the subject's own billing.
    pub const BILLING_MONTHLY: &str = "'metered_quota', 'month', 'billing_period', 'sum', 'hard_deny'";
    /// A quota of the last 24 hours.
    pub const ROLLING_DAY: &str = "'metered_quota', 'day', 'rolling', 'sum', 'hard_deny'";
    /// A quota of the last 24 hours of which only the largest grant counts.
    pub const ROLLING_DAY_MAX: &str = "'metered_quota', 'day', 'rolling', 'max', 'hard_deny'";
    /// A quota of the last month.
    pub const ROLLING_MONTH: &str = "'metered_quota', 'month', 'rolling', 'sum', 'hard_deny'";
    /// How many there may be.
    pub const CAPACITY: &str = "'capacity', NULL, NULL, 'sum', 'hard_lock_resource'";
    /// On or off.
    pub const STATE: &str = "'state', NULL, NULL, 'boolean_any_true', 'hard_deny'";
}

/// A grant, with what a story says of it and defaults for the rest.
pub struct Grant {
    /// `plan_base`, `topup`, …
    pub kind: &'static str,
    /// Smallest units.
    pub amount: i64,
    /// Burn order; `None`: the default.
    pub priority: Option<u8>,
    /// `None`: now.
    pub effective_at: Option<&'static str>,
    /// `None`: never.
    pub expires_at: Option<&'static str>,
}

impl Grant {
    /// A grant that begins now and never ends.
    pub fn of(kind: &'static str, amount: i64) -> Grant {
        Grant {
            kind,
            amount,
            priority: None,
            effective_at: None,
            expires_at: None,
        }
    }

    /// The same with a place in the burn order.
    pub fn priority(self, priority: u8) -> Grant {
        Grant {
            priority: Some(priority),
            ..self
        }
    }

    /// The same from an instant on.
    pub fn effective(self, at: &'static str) -> Grant {
        Grant {
            effective_at: Some(at),
            ..self
        }
    }

    /// The same until an instant.
    pub fn expires(self, at: &'static str) -> Grant {
        Grant {
            expires_at: Some(at),
            ..self
        }
    }
}

/// One subject and one limit, in a database of their own.
pub struct Story {
    /// The story's database, for a second session.
    pub database: TestDatabase,
    /// The session whose clock the story moves.
    pub session: Conn,
    /// The subject.
    pub subject: u64,
    keys: u32,
}

/// The code of the limit that a story is about.
pub const CODE: &str = "story.limit";

/// What a story's limit shows while it is locked.
pub const LOCKED: &str = "story_locked";

/// Defines another limit. A capacity counts the resource of its own code.
pub async fn define(session: &mut Conn, code: &str, definition: &str) {
    let resource = if definition.starts_with("'capacity'") {
        format!("'{code}'")
    } else {
        "NULL".to_owned()
    };
    session
        .query_drop(format!(
            "INSERT INTO billing_entitlement_definitions
               (code, name, unit, entitlement_type, window_interval, window_anchor, aggregation_mode, enforcement_mode, lock_label, resource_code,
                created_at, updated_at)
             VALUES ('{code}', 'Story', 'thing', {definition}, '{LOCKED}', {resource}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))"
        ))
        .await
        .unwrap();
}

impl Story {
    /// Begins a story about a limit defined by one of [`definition`], on 1 March 2026.
    pub async fn of(definition: &str) -> Story {
        let database = TestDatabase::migrated().await;
        let mut session = database.session().await;
        define(&mut session, CODE, definition).await;
        let mut story = Story {
            database,
            session,
            subject: 0,
            keys: 0,
        };
        story.at("2026-03-01 00:00:00.000").await;
        story.subject = story.new_subject("story").await;
        story
    }

    /// Makes another subject.
    pub async fn new_subject(&mut self, reference: &str) -> u64 {
        let row: Row = self
            .session
            .exec_first(
                "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)",
                (reference, reference),
            )
            .await
            .unwrap()
            .unwrap();
        row.get("id").unwrap()
    }

    /// A key that the story has not used.
    pub fn new_key(&mut self, of: &str) -> String {
        self.keys += 1;
        format!("{of}-{}", self.keys)
    }

    /// Moves the clock, as a session may for itself.
    pub async fn at(&mut self, instant: &str) {
        let instant: DateTime<Utc> = NaiveDateTime::parse_from_str(instant, "%Y-%m-%d %H:%M:%S%.3f")
            .unwrap()
            .and_utc();
        self.session
            .query_drop(set_clock(instant.timestamp_millis()))
            .await
            .unwrap();
    }

    /// Makes a grant, and gives its id.
    pub async fn grant(&mut self, grant: Grant) -> u64 {
        self.keys += 1;
        let mut tx = self.session.start_transaction(Default::default()).await.unwrap();
        tx.exec_drop(
            "CALL entitlement_grant_in_tx_v1(:subject, :code, :amount, :kind, :effective, :expires, :priority,
                                             'operator', NULL, NULL, :key, NULL, 'story', @grant_id, @replayed)",
            params! {
                "subject" => self.subject, "code" => CODE, "amount" => grant.amount, "kind" => grant.kind,
                "effective" => grant.effective_at, "expires" => grant.expires_at, "priority" => grant.priority,
                "key" => format!("grant-{}", self.keys),
            },
        )
        .await
        .unwrap();
        let id = tx.query_first("SELECT @grant_id").await.unwrap().unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Ends a grant now.
    pub async fn revoke(&mut self, grant: u64) {
        self.keys += 1;
        let key = format!("revoke-{}", self.keys);
        let revoked: Option<Row> = self
            .session
            .exec_first("CALL entitlement_revoke_v1(?, ?, 'story', 'story')", (grant, key))
            .await
            .unwrap();
        assert!(revoked.is_some());
    }

    /// Uses an amount, which must be accepted.
    pub async fn consume(&mut self, amount: i64) {
        let answer = self.try_consume(amount).await;
        assert_eq!(answer.outcome, "accepted", "using {amount}: {:?}", answer.problem);
    }

    /// Asks to use an amount, which must be refused for want of room.
    pub async fn is_refused(&mut self, amount: i64) {
        let answer = self.try_consume(amount).await;
        assert_eq!(answer.outcome, "refused", "using {amount}: {:?}", answer.problem);
    }

    /// Asks to use an amount, with a key of its own.
    pub async fn try_consume(&mut self, amount: i64) -> Answer {
        self.keys += 1;
        let request = json!([{
            "subjectId": self.subject, "usageEventKey": format!("use-{}", self.keys),
            "items": [{"limitationCode": CODE, "amount": amount}],
        }]);
        self.consume_all(&request).await.remove(0)
    }

    /// Sends requests as they are.
    pub async fn consume_all(&mut self, requests: &Json) -> Vec<Answer> {
        consume(&mut self.session, requests).await
    }

    /// What the limit says now, in the words of `docs/domain.md`: `"granted 100, consumed 0, available 100"`. Words that are
    /// not there are not compared.
    pub async fn says(&mut self, expected: &str) {
        let row: Row = self
            .session
            .exec_first("CALL entitlement_limitations_v1(?, ?, FALSE)", (self.subject, CODE))
            .await
            .unwrap()
            .unwrap();
        let mut said = Vec::new();
        for part in expected.split(", ") {
            let (word, _) = part.split_once(' ').expect("a word and what it says");
            let column = match word {
                "next" => "next_change_at".to_owned(),
                "over" => "over_limit".to_owned(),
                "window" => "window_start_at".to_owned(),
                "lock" => "lock_state".to_owned(),
                amount => format!("{amount}_amount"),
            };
            let value = match row
                .get::<Value, _>(column.as_str())
                .expect("a column of the limitation")
            {
                Value::NULL => "never".to_owned(),
                Value::Int(number) => number.to_string(),
                Value::UInt(number) => number.to_string(),
                Value::Bytes(text) => String::from_utf8(text).unwrap(),
                date => mysql_async::from_value::<NaiveDateTime>(date)
                    .format("%Y-%m-%d %H:%M:%S%.3f")
                    .to_string(),
            };
            said.push(format!("{word} {value}"));
        }
        assert_eq!(said.join(", "), expected);
    }

    /// What one grant gave so far, by the settlements' own account.
    pub async fn gave(&mut self, grant: u64) -> i64 {
        self.session
            .exec_first("SELECT CAST(COALESCE(SUM(gave_amount), 0) AS SIGNED) FROM billing_entitlement_settlement_grants WHERE grant_id = ?", (grant,))
            .await
            .unwrap()
            .unwrap()
    }

    /// Moves all that may go to the archive.
    pub async fn archive(&mut self) {
        let call = "CALL operator_archive_v1(UTC_TIMESTAMP(3), 10000, :subject, :subject)";
        let subject = params! {"subject" => self.subject};
        self.session.exec_drop(call, subject).await.unwrap();
    }

    /// Ends the story: rebuilding the projections from the ledger must change nothing, and neither must it from ledger and archive.
    pub async fn end(mut self) {
        // What is due is not a difference: a rebuild settles it too.
        self.session
            .exec_drop("CALL entitlement_settle_v1(?)", (self.subject,))
            .await
            .unwrap();
        assert_eq!(lock_differences(&mut self.session).await, [""; 0]);
        for archives in [false, true] {
            if archives {
                self.archive().await;
            }
            let before = projections(&mut self.session).await;
            self.session
                .exec_drop("CALL entitlement_recompute_v1(?)", (self.subject,))
                .await
                .unwrap();
            let after = projections(&mut self.session).await;
            assert_eq!(after, before, "recompute changed something; archived: {archives}");
            assert_eq!(differences(&mut self.session, self.subject).await, [""; 0]);
        }
    }
}

/// What `entitlement_verify_v1` finds wrong with a subject; `None`: with any.
pub async fn differences(session: &mut Conn, subject: impl Into<Option<u64>>) -> Vec<String> {
    let subject = subject.into();
    let rows: Vec<Row> = session.exec("CALL entitlement_verify_v1(?)", (subject,)).await.unwrap();
    rows.iter().map(|row| format!("{row:?}")).collect()
}

/// A row of `entitlement_consume_v1`'s answer.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// `accepted`, `refused`, `failed`.
    pub outcome: String,
    /// Whether the key was seen before.
    pub replayed: bool,
    /// `CODE: text`.
    pub problem: Option<String>,
    /// The code that refused.
    pub refused_code: Option<String>,
    /// Number of the use.
    pub sequence_no: Option<u64>,
    /// Granted, consumed, available, as this use left them.
    pub figures: (i64, i64, i64),
}

/// Calls `entitlement_consume_v1`.
pub async fn consume(session: &mut Conn, requests: &Json) -> Vec<Answer> {
    let rows: Vec<Row> = session
        .exec("CALL entitlement_consume_v1(?)", (requests.to_string(),))
        .await
        .unwrap();
    rows.iter().map(answer).collect()
}

/// Reads one row of the answer.
pub fn answer(row: &Row) -> Answer {
    Answer {
        outcome: row.get("outcome").unwrap(),
        replayed: row.get("replayed").unwrap(),
        problem: row.get("problem").unwrap(),
        refused_code: row.get("refused_code").unwrap(),
        sequence_no: row.get("sequence_no").unwrap(),
        figures: (
            row.get("granted_amount").unwrap(),
            row.get("consumed_amount").unwrap(),
            row.get("available_amount").unwrap(),
        ),
    }
}

/// Every projected row of the database, for comparing.
pub async fn projections(session: &mut Conn) -> Vec<String> {
    projected(session, "TRUE").await
}

/// Every projected row of these subjects, for comparing while others work on theirs.
pub async fn projections_of(session: &mut Conn, subjects: &[u64]) -> Vec<String> {
    let ids: Vec<String> = subjects.iter().map(u64::to_string).collect();
    projected(session, &format!("subject_id IN ({})", ids.join(", "))).await
}

async fn projected(session: &mut Conn, of: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for query in [
        format!("SELECT * FROM billing_entitlement_balances WHERE {of} ORDER BY subject_id, definition_id, history_no"),
        format!("SELECT * FROM billing_entitlement_grant_balances WHERE {of} ORDER BY grant_id"),
        format!("SELECT id, status FROM billing_entitlement_holds WHERE {of} ORDER BY id"),
        format!("SELECT * FROM billing_resource_snapshots WHERE {of} ORDER BY subject_id, definition_id"),
    ] {
        let found: Vec<Row> = session.query(query).await.unwrap();
        let text = |row: Row| {
            row.unwrap()
                .iter()
                .map(|value| value.as_sql(true))
                .collect::<Vec<_>>()
                .join(" ")
        };
        rows.extend(found.into_iter().map(text));
    }
    rows
}

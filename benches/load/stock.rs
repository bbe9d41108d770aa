//! What is there before a workload begins. One subject is made by the procedures; the others are its copies, made set-based, so that
//! a million of them is a matter of a minute and every one passes `entitlement_verify_v1`.

use mysql_async::prelude::Queryable;

use crate::Outcome;
use crate::engine::{Engine, YEARLY};
use crate::uses::{CODE, EARLIER};
use crate::world::{BESIDE, NUMBERS};

/// More than any workload uses.
const PLENTY: u64 = 1_000_000_000;

/// Rows of a table that one statement makes.
const CHUNK: u64 = 50_000;

/// Subjects with ids that follow on each other.
#[derive(Clone, Copy)]
pub struct Subjects {
    pub first: u64,
    pub count: u64,
}

impl Subjects {
    /// One of them, each as often as any other.
    pub fn any(&self, random: &mut fastrand::Rng) -> u64 {
        self.first + random.u64(0..self.count)
    }
}

/// What a subject begins with.
pub struct Template {
    /// Code, kind and amount of each grant.
    grants: Vec<(&'static str, &'static str, u64)>,
    /// Made in the last year, with one use; else now, with none.
    of_last_year: bool,
}

impl Template {
    /// A grant of each of five codes.
    pub fn of_five_codes() -> Template {
        let grants = vec![
            (CODE, "topup", PLENTY),
            ("annuity.calculations.monthly", "plan_base", 1_000),
            ("projects.max", "plan_base", 100),
            ("workspace.access", "plan_base", 1),
            (YEARLY, "plan_base", 1_000),
        ];
        Template {
            grants,
            of_last_year: false,
        }
    }

    /// Grants of credits, all of them active.
    pub fn of_credits(grants: usize) -> Template {
        Template {
            grants: vec![(CODE, "topup", PLENTY); grants],
            of_last_year: false,
        }
    }

    /// A quota of a year, used a little. Of last year's, the balance is due.
    pub fn of_a_year(of_last_year: bool) -> Template {
        Template {
            grants: vec![(YEARLY, "plan_base", 1_000)],
            of_last_year,
        }
    }
}

/// A table, the column that names the subject, and what else a copy has of its own.
type Copied = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What a subject consists of.
const TABLES: [Copied; 6] = [
    (
        "billable_entities",
        "id",
        &[("entity_ref", "CONCAT('load-', t.id + k.n)")],
    ),
    (
        "billing_entitlement_grants",
        "subject_id",
        &[
            ("id", "t.id + k.n * {grants}"),
            ("dedupe_key", "CONCAT(t.dedupe_key, '-', k.n)"),
        ],
    ),
    (
        "billing_entitlement_grant_balances",
        "subject_id",
        &[("grant_id", "t.grant_id + k.n * {grants}")],
    ),
    ("billing_entitlement_balances", "subject_id", &[]),
    ("billing_entitlement_settlements", "subject_id", &[]),
    ("billing_entitlement_consumptions", "subject_id", &[]),
];

impl Engine {
    /// Makes subjects like the template.
    pub async fn subjects(&mut self, template: &Template, count: u64) -> Outcome<Subjects> {
        assert!((1..=NUMBERS).contains(&count));
        let first: Option<u64> = self
            .root
            .query_first("SELECT COALESCE(MAX(e.id), 0) + 1 FROM billable_entities AS e")
            .await?;
        let first = first.ok_or("no id")?;
        self.first_subject(template, first).await?;
        for (table, subject, own) in TABLES {
            let columns = format!(
                "SELECT column_name FROM information_schema.columns
                  WHERE table_schema = DATABASE() AND table_name = '{table}' AND generation_expression = '' ORDER BY ordinal_position"
            );
            let columns: Vec<String> = self.root.query(columns).await?;
            let values = columns
                .iter()
                .map(|column| match own.iter().find(|(name, _)| name == column) {
                    Some((_, value)) => value.replace("{grants}", &template.grants.len().to_string()),
                    None if column == subject => format!("t.{subject} + k.n"),
                    None => format!("t.{column}"),
                });
            let (columns, values) = (columns.join(", "), values.collect::<Vec<_>>().join(", "));
            let step = (CHUNK / template.grants.len() as u64).max(1);
            for from in (1..count).step_by(step as usize) {
                let to = count.min(from + step);
                self.execute(&format!(
                    "INSERT INTO {table} ({columns}) SELECT {values} FROM {BESIDE}.numbers AS k STRAIGHT_JOIN {table} AS t
                      WHERE k.n >= {from} AND k.n < {to} AND t.{subject} = {first} ORDER BY k.n"
                ))
                .await?;
            }
            self.execute(&format!("ANALYZE NO_WRITE_TO_BINLOG TABLE {table}"))
                .await?;
        }
        Ok(Subjects { first, count })
    }

    /// By the procedures.
    async fn first_subject(&mut self, template: &Template, id: u64) -> Outcome<()> {
        self.execute(&format!(
            "INSERT INTO billable_entities (id, entity_type, entity_ref, created_at, updated_at) VALUES ({id}, 'load', 'load-{id}', '2020-01-01', '2020-01-01')"
        ))
        .await?;
        if template.of_last_year {
            self.execute("SET timestamp = UNIX_TIMESTAMP(CONCAT(YEAR(UTC_TIMESTAMP()) - 1, '-07-01'))")
                .await?;
        }
        for (number, (code, kind, amount)) in template.grants.iter().enumerate() {
            self.execute("START TRANSACTION").await?;
            self.execute(&format!(
                "CALL entitlement_grant_in_tx_v1({id}, '{code}', {amount}, '{kind}', NULL, NULL, NULL, 'operator', NULL, NULL,
                                                 'load-{id}-{number}', 'load', 'load', @grant_id, @replayed)"
            ))
            .await?;
            self.execute("COMMIT").await?;
        }
        if let [(YEARLY, ..)] = template.grants[..] {
            self.execute(&format!(
                r#"CALL entitlement_consume_v1('[{{"subjectId": {id}, "usageEventKey": "0-{EARLIER}-0",
                                                   "items": [{{"limitationCode": "{YEARLY}", "amount": 3}}]}}]')"#
            ))
            .await?;
        }
        self.execute("SET timestamp = DEFAULT").await
    }

    /// Makes `each` earlier uses of credits by every one of the subjects. They are made as the procedures would have, one after the other.
    pub async fn earlier_uses(&mut self, subjects: Subjects, each: u64) -> Outcome<()> {
        assert!((1..=NUMBERS).contains(&each));
        let credits = format!(
            "b.definition_id = (SELECT d.id FROM billing_entitlement_definitions AS d WHERE d.code = '{CODE}') AND b.history_no = 0"
        );
        let last = subjects.first + subjects.count;
        for subject in (subjects.first..last).step_by((CHUNK / each).max(1) as usize) {
            let end = last.min(subject + (CHUNK / each).max(1));
            for from in (0..each).step_by(CHUNK as usize) {
                let to = each.min(from + CHUNK);
                self.execute(&format!(
                    "INSERT INTO billing_entitlement_consumptions
                       (subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, occurred_at, posted_at,
                        consumed_after, left_after, held_after, next_change_at, content_sha256)
                     SELECT b.subject_id, b.definition_id, CONCAT(LEFT(SHA2(CONCAT(b.subject_id, '/', k.n), 256), 16), '-{EARLIER}-', k.n) AS usage_event_key,
                            b.last_sequence_no + k.n + 1, b.segment_no, 1, b.settled_at, b.settled_at,
                            b.consumed_amount + k.n + 1, b.left_amount - k.n - 1, b.held_amount, b.next_change_at, UNHEX(SHA2(k.n, 256))
                       FROM billing_entitlement_balances AS b STRAIGHT_JOIN {BESIDE}.numbers AS k
                      WHERE b.subject_id >= {subject} AND b.subject_id < {end} AND {credits} AND k.n >= {from} AND k.n < {to}
                      ORDER BY b.subject_id, usage_event_key"
                ))
                .await?;
            }
        }
        self.execute(&format!(
            "UPDATE billing_entitlement_balances AS b
                SET b.segment_consumed_amount = b.segment_consumed_amount + {each}, b.last_sequence_no = b.last_sequence_no + {each}
              WHERE b.subject_id >= {} AND b.subject_id < {last} AND {credits}",
            subjects.first
        ))
        .await?;
        self.execute("ANALYZE NO_WRITE_TO_BINLOG TABLE billing_entitlement_consumptions, billing_entitlement_balances")
            .await
    }
    /// Moves all uses to the archive, in parts, as `consumable archive` does. A grant to each subject closes what they are in.
    pub async fn archive(&mut self, subjects: Subjects) -> Outcome<()> {
        for subject in subjects.first..subjects.first + subjects.count {
            self.execute(&format!(
                "CALL entitlement_grant_v1({subject}, '{CODE}', 1, 'promo', NULL, NULL, NULL, 'load-{subject}-last', 'load', 'load')"
            ))
            .await?;
        }
        let mut first = Some(subjects.first);
        while first.is_some() {
            let moved: Option<(u64, Option<u64>, u64)> = self
                .root
                .exec_first("CALL operator_archive_v1(UTC_TIMESTAMP(3), 10000, ?, NULL)", (first,))
                .await?;
            first = moved.ok_or("no answer")?.1;
        }
        Ok(())
    }
}

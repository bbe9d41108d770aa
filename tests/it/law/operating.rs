//! The example output of `docs/operating.md`: each block of SQL is run, and the block of text after it is what it gave.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::documents::must_be;
use super::read;
use crate::support::database::TestDatabase;

const PAGE: &str = "docs/operating.md";

/// Of more rows, the page shows the first three.
const SHOWN: usize = 10;

/// What the page's examples are about: the demonstration, seen at one moment, with something of each kind that operators ask for.
const SITUATION: &[&str] = &[
    "SET timestamp = UNIX_TIMESTAMP('2026-03-01 09:00:00')",
    "CALL demonstration_seed_v1()",
    "CALL entitlement_grant_v1(1, 'ai.credits', 50, 'promo', NULL, '2026-03-20', NULL, 'spring', 'Spring', 'ops')",
    r#"CALL entitlement_consume_v1('[{"subjectId": 1, "usageEventKey": "a", "items": [{"limitationCode": "ai.credits", "amount": 20},
                                                                                       {"capability": "annuity.calculate", "amount": 7}]}]')"#,
    "CALL entitlement_recount_v1(1, 'projects', 6)",
    "CALL entitlement_hold_v1(1, NULL, 'ai.credits', 5, 900, 'h', NULL, NULL)",
    "CALL billing_put_entity_v1('workspace', 'umbrella', 'umbrella', 'Umbrella', NULL, NULL)",
    "CALL entitlement_grant_v1(2, 'ai.credits', 10, 'promo', NULL, '2026-03-02', NULL, 'trial', 'Trial', 'ops')",
    "SET timestamp = UNIX_TIMESTAMP('2026-03-01 09:15:00') + 0.012",
    "CALL entitlement_lease_due_v1(100)",
    "UPDATE consumable_routines SET content_sha256 = SHA2(routine, 256), installed_at = '2026-03-01 08:00:00.000', installed_by = 'root@localhost'",
    "UPDATE billing_entitlement_balances SET failure_count = 3, last_failure = 'Check constraint is violated.', retry_at = '2026-03-02 00:08:00' WHERE subject_id = 2",
    "CALL billing_assign_plan_v1(1, 'starter', 2, '2026-04-01', NULL, NULL, 'april', 'ops')",
    "SET timestamp = UNIX_TIMESTAMP('2026-03-02 00:01:00')",
];

#[tokio::test]
async fn the_page_for_operators_shows_what_the_procedures_give() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    for statement in SITUATION {
        session.query_drop(*statement).await.unwrap();
    }
    let page = read(PAGE);
    let mut renewed = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        renewed.push_str(line);
        renewed.push('\n');
        if line != "```sql" {
            continue;
        }
        let statement: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .collect::<Vec<_>>()
            .join("\n");
        renewed.push_str(&format!(
            "{statement}\n```\n\n```text\n{}```\n",
            shown(&mut session, &statement).await
        ));
        // The output of the run before.
        assert_eq!(
            (lines.next(), lines.next()),
            (Some(""), Some("```text")),
            "after: {statement}"
        );
        lines.by_ref().take_while(|line| *line != "```").for_each(drop);
    }
    must_be(PAGE, &renewed);
}

/// The rows of a statement as the MySQL client shows them.
async fn shown(session: &mut Conn, statement: &str) -> String {
    let mut result = session.query_iter(statement).await.unwrap();
    let names: Vec<String> = result
        .columns_ref()
        .iter()
        .map(|column| column.name_str().into_owned())
        .collect();
    let rows: Vec<Row> = result.collect().await.unwrap();
    result.drop_result().await.unwrap();
    if rows.is_empty() {
        return "Empty set\n".to_owned();
    }
    let mut table = vec![names];
    let more = rows.len() > SHOWN;
    let rows = rows.into_iter().take(if more { 3 } else { SHOWN });
    table.extend(rows.map(|row| row.unwrap().into_iter().map(cell).collect()));
    let widths: Vec<usize> = (0..table[0].len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in table {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    if more {
        text.push_str("…\n");
    }
    text
}

fn cell(value: Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(text) => String::from_utf8_lossy(&text).into_owned(),
        other => other.as_sql(true).trim_matches('\'').to_owned(),
    }
}

//! The finished tables, as the server describes them.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Findings, files, read};
use crate::support::database::TestDatabase;

/// refinery's own table is not ours to shape.
const OURS: &str = "table_schema = DATABASE() AND table_name <> 'refinery_schema_history'";

#[tokio::test]
async fn every_column_and_key_keeps_the_laws() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    let mut findings = Findings::default();
    columns(&mut session, &mut findings).await;
    keys(&mut session, &mut findings).await;
    foreign_keys(&mut session, &mut findings).await;
    findings.must_be_none();
}

/// Adds a finding at the line of the table's migration that begins with `word`, or else at its first.
fn at(findings: &mut Findings, table: &str, word: &str, text: &str) {
    let file = files("migrations", &["sql"])
        .into_iter()
        .find(|file| file.ends_with(&format!("__{table}.sql")));
    let file = file.unwrap_or_else(|| panic!("no migration makes {table}"));
    let line = read(&file)
        .lines()
        .position(|line| line.split_whitespace().any(|part| part == word));
    findings.add(&file, line.map_or(1, |line| line + 1), format!("{word}: {text}"));
}

async fn columns(session: &mut Conn, findings: &mut Findings) {
    let all: Vec<(String, String, String, String, Option<String>)> = session
        .query(format!(
            "SELECT table_name, column_name, column_type, column_comment, collation_name
               FROM information_schema.columns WHERE {OURS}"
        ))
        .await
        .unwrap();
    assert!(all.len() > 200, "{} columns", all.len());
    for (table, column, kind, comment, collation) in &all {
        let mut found = |text: &str| at(findings, table, column, text);
        let is_time = kind.starts_with("datetime") || kind.starts_with("timestamp");
        if is_time != column.ends_with("_at") || (is_time && kind != "datetime(3)") {
            found("instants, and only they, are called …_at and are DATETIME(3)");
        }
        if is_time && !comment.contains("UTC") && !comment.contains("when the scheduler takes it") {
            found("the comment must say that it is UTC, and whether an end is included");
        }
        if ["float", "double", "timestamp"]
            .iter()
            .any(|word| kind.starts_with(word))
        {
            found("a float loses amounts, a timestamp ends in 2038");
        }
        let is_amount = column == "amount"
            || ["_amount", "_gave", "_paid", "_after", "_minor_units"]
                .iter()
                .any(|end| column.ends_with(end));
        if is_amount && kind != "bigint" {
            found("amounts are BIGINT, signed, so that a subtraction cannot wrap");
        }
        let ends_as_key = ["code", "_key", "slug", "_ref", "_sha256"]
            .iter()
            .any(|end| column.ends_with(end));
        if let Some(collation) = collation
            && ends_as_key
            && collation != "ascii_bin"
        {
            found("keys and codes are CHARACTER SET ascii COLLATE ascii_bin: they are compared byte for byte");
        }
    }
}

async fn keys(session: &mut Conn, findings: &mut Findings) {
    let of_text: Vec<(String, String)> = session
        .query(
            format!(
                "SELECT DISTINCT s.table_name, s.column_name
               FROM information_schema.statistics AS s
               JOIN information_schema.columns AS c USING (table_schema, table_name, column_name)
              WHERE s.{OURS} AND c.collation_name <> 'ascii_bin' AND c.data_type <> 'enum'"
            )
            .replace("AND table_name", "AND s.table_name"),
        )
        .await
        .unwrap();
    for (table, column) in &of_text {
        at(
            findings,
            table,
            column,
            "is in a key, so it must be CHARACTER SET ascii COLLATE ascii_bin",
        );
    }
    // An index named like a foreign key was made by the server, because none of ours serves it.
    let others: Vec<(String, String)> = session
        .query(format!(
            "SELECT DISTINCT table_name, index_name FROM information_schema.statistics
              WHERE {OURS} AND NOT REGEXP_LIKE(index_name, '^(PRIMARY|uq_.*|ix_.*)$', 'c')"
        ))
        .await
        .unwrap();
    for (table, index) in &others {
        at(
            findings,
            table,
            index,
            "the server made this index for the foreign key; write one, and say what else it serves",
        );
    }
    let engines: Vec<String> = session
        .query(format!(
            "SELECT table_name FROM information_schema.tables
              WHERE {OURS} AND (engine <> 'InnoDB' OR table_collation <> 'utf8mb4_0900_ai_ci' OR table_comment = '')"
        ))
        .await
        .unwrap();
    for table in &engines {
        at(
            findings,
            table,
            table,
            "must be InnoDB, utf8mb4_0900_ai_ci, with a COMMENT",
        );
    }
}

/// Without an index the server scans the child table under lock whenever a parent row goes.
async fn foreign_keys(session: &mut Conn, findings: &mut Findings) {
    let all: Vec<(String, String, String)> = session
        .query(format!(
            "SELECT table_name, constraint_name, GROUP_CONCAT(column_name ORDER BY ordinal_position)
               FROM information_schema.key_column_usage
              WHERE {OURS} AND referenced_table_name IS NOT NULL GROUP BY table_name, constraint_name"
        ))
        .await
        .unwrap();
    let indexes: Vec<(String, String)> = session
        .query(format!(
            "SELECT table_name, GROUP_CONCAT(column_name ORDER BY seq_in_index)
               FROM information_schema.statistics WHERE {OURS} GROUP BY table_name, index_name"
        ))
        .await
        .unwrap();
    assert!(!all.is_empty());
    for (table, key, columns) in &all {
        let begins = |index: &str| format!("{index},").starts_with(&format!("{columns},"));
        if !indexes.iter().any(|(of, index)| of == table && begins(index)) {
            at(findings, table, key, "no index begins with its columns");
        }
    }
}

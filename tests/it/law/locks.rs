//! Which rows a statement locks must not depend on what the optimizer thinks of a table's size: a table of few rows is
//! scanned, and a scan waits for the rows of others.

use super::Findings;
use super::procedure::{Procedure, procedures};
use super::sample::law_finds;
use super::tokens::{Kind, Token, begins, find};

/// The tables that many subjects write at once, and for each the columns that find one balance, grant or change by its primary key.
const HOT: &[(&str, &[&str])] = &[
    ("billing_entitlement_balances", &["subject_id", "definition_id"]),
    ("billing_entitlement_grant_balances", &["grant_id"]),
    (
        "billing_entitlement_consumptions",
        &["subject_id", "definition_id", "usage_event_key"],
    ),
    (
        "billing_entitlement_consumption_archive",
        &["subject_id", "definition_id", "usage_event_key"],
    ),
    ("billing_limit_changes", &["id"]),
];

#[test]
fn what_locks_a_hot_table_names_its_index() {
    let mut findings = Findings::default();
    for procedure in &procedures() {
        law(procedure, &mut findings);
    }
    findings.must_be_none();
}

/// A hot table in a statement.
struct Reference<'a> {
    table: &'a Token,
    alias: &'a str,
    depth: usize,
    names_index: bool,
    key: &'static [&'static str],
}

fn law(procedure: &Procedure, findings: &mut Findings) {
    for statement in procedure.statements(&["SELECT", "UPDATE"]) {
        let depths = depths(statement);
        let references = references(statement, &depths);
        let joins = statement.iter().any(|token| token.is_any(&["JOIN", "STRAIGHT_JOIN"]));
        for reference in references {
            let is_locked = if statement[0].is("UPDATE") {
                reference.depth == 0
            } else {
                locks(statement, &depths, &reference)
            };
            let is_found = !joins
                && reference
                    .key
                    .iter()
                    .all(|column| equals(statement, reference.alias, column));
            if is_locked && !reference.names_index && !is_found {
                findings.add(
                    &procedure.file,
                    reference.table.line,
                    format!(
                        "{} is locked, but by which index? Write FORCE INDEX, or compare its whole key",
                        reference.table.text
                    ),
                );
            }
        }
    }
    for statement in procedure.statements(&["DELETE"]) {
        // DELETE c FROM …: a join, in which each hot table is locked, and may name its index.
        if !statement[1].is("FROM") {
            for reference in references(statement, &depths(statement)) {
                if !reference.names_index {
                    let table = &reference.table.text;
                    let text = format!("{table} is locked, but by which index? Write FORCE INDEX");
                    findings.add(&procedure.file, reference.table.line, text);
                }
            }
            continue;
        }
        // Without one DELETE knows no FORCE INDEX. In the order of an index and some at a time it walks that index; else it needs the key.
        let walks = find(statement, "ORDER BY").is_some() && find(statement, "LIMIT").is_some();
        if let Some((table, key)) = hot(&statement[2])
            && !walks
            && !key.iter().all(|column| names(statement, column))
        {
            findings.add(
                &procedure.file,
                statement[2].line,
                format!("{table} is locked, but by which index? Delete by {key:?}, or ORDER BY an index with a LIMIT"),
            );
        }
    }
    for statement in procedure.statements(&["INSERT"]) {
        let table = statement.get(2).and_then(hot).map(|(table, _)| table);
        let updates = find(statement, "ON DUPLICATE KEY UPDATE").is_some();
        // A balance row is made so that there is something to lock: who loses that race must wait, and then find it.
        if let Some(table) = table
            && updates
            && table != "billing_entitlement_balances"
        {
            let text = "ON DUPLICATE KEY UPDATE locks the gap beside the key, and two that do it deadlock; look first";
            findings.add(&procedure.file, statement[2].line, text);
        }
    }
}

fn hot(token: &Token) -> Option<(&'static str, &'static [&'static str])> {
    HOT.iter().copied().find(|(table, _)| token.is(table))
}

fn depths(statement: &[Token]) -> Vec<usize> {
    let mut depth = 0_usize;
    let each = statement.iter().map(|token| {
        if token.is(")") {
            depth = depth.saturating_sub(1);
        }
        let here = depth;
        if token.is("(") {
            depth += 1;
        }
        here
    });
    each.collect()
}

fn references<'a>(statement: &'a [Token], depths: &[usize]) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    for at in 1..statement.len() {
        let Some((_, key)) = hot(&statement[at]) else {
            continue;
        };
        let is_table = statement[at - 1].is_any(&["FROM", "JOIN", "STRAIGHT_JOIN", "UPDATE"]);
        if let (true, [_, as_word, alias, rest @ ..]) = (is_table, &statement[at..]) {
            let alias = if as_word.is("AS") { alias.text.as_str() } else { "" };
            found.push(Reference {
                table: &statement[at],
                alias,
                depth: depths[at],
                names_index: begins(rest, "FORCE INDEX"),
                key,
            });
        }
    }
    found
}

/// Whether a FOR UPDATE or FOR SHARE of the statement locks the table.
fn locks(statement: &[Token], depths: &[usize], reference: &Reference) -> bool {
    (0..statement.len()).any(|at| {
        let rest = &statement[at..];
        if !begins(rest, "FOR UPDATE") && !begins(rest, "FOR SHARE") {
            return false;
        }
        if !rest.get(2).is_some_and(|token| token.is("OF")) {
            return depths[at] == reference.depth;
        }
        let names = rest[3..]
            .iter()
            .take_while(|token| token.is(",") || (token.kind == Kind::Word && !token.is_any(&["SKIP", "NOWAIT"])));
        names.into_iter().any(|token| token.is(reference.alias))
    })
}

fn equals(statement: &[Token], alias: &str, column: &str) -> bool {
    let found = format!("{alias} . {column} =");
    (0..statement.len()).any(|at| begins(&statement[at..], &found))
}

fn names(statement: &[Token], column: &str) -> bool {
    statement.iter().any(|token| token.is(column))
}

#[test]
fn a_lock_by_no_index_is_found() {
    law_finds(
        law,
        &[
            ("AS b FORCE INDEX (PRIMARY)\n", "AS b\n", "Write FORCE INDEX"),
            (
                "WHERE b.subject_id = p_id AND b.definition_id = 1 AND b.history_no = 0",
                "WHERE b.subject_id = p_id",
                "Write FORCE INDEX",
            ),
            (
                "    COMMIT;",
                "    DELETE FROM billing_limit_changes WHERE changed_at < v_id;",
                "Delete by",
            ),
            (
                "    COMMIT;",
                "    DELETE c FROM billing_limit_changes AS c JOIN billable_entities AS e ON e.id = c.id;",
                "Write FORCE INDEX",
            ),
            (
                "    COMMIT;",
                "    INSERT INTO billing_limit_changes (id) VALUES (1) ON DUPLICATE KEY UPDATE id = id;",
                "locks the gap",
            ),
        ],
    );
}

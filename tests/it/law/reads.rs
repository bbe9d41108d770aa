//! Which procedures are called on the connections that are kept for what only reads.

use super::procedure::procedures;
use super::{Findings, files, read};

/// Procedures that write, and are read all the same, and why they may be.
const READ_ALL_THE_SAME: &[(&str, &str)] = &[(
    "entitlement_changes_since_v1",
    "it waits for nobody: what somebody else numbers it only reads",
)];

/// Procedures that read, and are called with what writes, and why.
const WITH_WRITERS: &[(&str, &str)] = &[
    (
        "entitlement_limitations_v1",
        "it is called when something is due, and then it waits for the subject's rows",
    ),
    (
        "entitlement_verify_v1",
        "it takes minutes, and nobody waits for its place",
    ),
    (
        "entitlement_verify_page_v1",
        "it takes minutes, and nobody waits for its place",
    ),
    (
        "billing_export_catalogue_v1",
        "it may take long, and nobody waits for its place",
    ),
];

/// How `text` calls procedures: the line, the method's name and the procedure's.
fn calls(text: &str) -> Vec<(usize, &str, &str)> {
    let mut calls = Vec::new();
    for (at, _) in text.match_indices("_v1\"") {
        let Some(quote) = text[..at].rfind('"') else { continue };
        let procedure = &text[quote + 1..at + 3];
        // Text that mentions one.
        if procedure.contains(' ') {
            continue;
        }
        let before = text[..quote].trim_end();
        // A deadline may stand before the name.
        let Some(bracket) = before.rfind('(') else { continue };
        let dot = before[..bracket].rfind('.').map_or(0, |dot| dot + 1);
        calls.push((text[..at].lines().count(), &before[dot..bracket], procedure));
    }
    calls
}

#[test]
fn what_only_reads_has_connections_that_no_lock_takes() {
    let procedures = procedures();
    let mut findings = Findings::default();
    let mut found = 0;
    for file in files("src/procedures", &["rs"]) {
        for (line, method, name) in calls(&read(&file)) {
            let procedure = procedures.iter().find(|procedure| procedure.stem == name);
            let procedure = procedure.unwrap_or_else(|| panic!("{file}:{line}: there is no {name}"));
            let idempotency = procedure.heading("Idempotency").unwrap().text();
            let is_known = |known: &[(&str, &str)]| known.iter().any(|(known, _)| *known == name);
            let is_read = if idempotency.starts_with("reads only") {
                !is_known(WITH_WRITERS)
            } else {
                is_known(READ_ALL_THE_SAME)
            };
            found += 1;
            match (method, is_read) {
                ("read", true) => (),
                (_, true) => findings.add(&file, line, format!("{name} only reads: use Database::read")),
                ("read", false) => findings.add(
                    &file,
                    line,
                    format!(
                        "{name} may wait for locks: use Database::call, so that what only reads has its connections"
                    ),
                ),
                (_, false) => (),
            }
        }
    }
    assert!(found > 60, "{found} calls");
    findings.must_be_none();
}

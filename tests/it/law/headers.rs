//! The comment that a procedure begins with, its name and its characteristics.

use std::collections::HashSet;

use super::Findings;
use super::procedure::{HEADINGS, Procedure, procedures};
use super::sample::law_finds;
use super::tokens::{Kind, find};

/// Folders of `sql/`, each the prefix of the names in it.
const FOLDERS: [&str; 6] = [
    "access",
    "billing",
    "demonstration",
    "entitlement",
    "operator",
    "scaffold",
];

/// Procedures that run with the rights of whoever calls them, and why.
const INVOKERS: &[(&str, &str)] = &[(
    "operator_archive_v1",
    "it deletes from the ledger, which is append-only for the owner: only who was given that right may",
)];

/// A file that is longer than this wants to be two procedures.
const LINES_AT_MOST: usize = 400;

#[test]
fn every_procedure_says_what_it_is() {
    let mut findings = Findings::default();
    for procedure in &procedures() {
        if !FOLDERS.contains(&procedure.folder.as_str()) {
            findings.add(&procedure.file, 1, format!("belongs in one of {FOLDERS:?}"));
        }
        header(procedure, &mut findings);
        name(procedure, &mut findings);
        characteristics(procedure, &mut findings);
    }
    findings.must_be_none();
}

fn header(procedure: &Procedure, findings: &mut Findings) {
    let file = &procedure.file;
    if !procedure.sentence.ends_with('.') {
        findings.add(
            file,
            1,
            format!("must be `-- {}: ` and a sentence with its full stop", procedure.stem),
        );
    }
    let found: Vec<_> = procedure.headings.iter().map(|heading| heading.name.as_str()).collect();
    if found != HEADINGS {
        findings.add(
            file,
            2,
            format!("the headings are {found:?}; write {HEADINGS:?}, in this order"),
        );
    }
    for heading in procedure.headings.iter().filter(|heading| heading.text().is_empty()) {
        findings.add(
            file,
            heading.line,
            format!("{} says nothing; say `none` if it is so", heading.name),
        );
    }
    for &line in &procedure.strays {
        findings.add(
            file,
            line,
            "belongs to no heading; indent it by 13, or put it after an empty comment line below Cost",
        );
    }
    let Some(heading) = procedure.heading("Parameters") else {
        return;
    };
    let named: HashSet<String> = heading
        .words()
        .into_iter()
        .filter(|word| word.starts_with("p_"))
        .collect();
    for parameter in &procedure.parameters {
        if !named.contains(&parameter.name) {
            findings.add(
                file,
                parameter.line,
                format!("{} is not explained under Parameters", parameter.name),
            );
        }
        if !parameter.name.starts_with("p_") {
            findings.add(
                file,
                parameter.line,
                format!(
                    "call it p_{}: named like a column, it would silently win",
                    parameter.name
                ),
            );
        }
    }
    for name in named {
        if !procedure.parameters.iter().any(|parameter| parameter.name == name) {
            findings.add(file, heading.line, format!("{name} is explained, but is no parameter"));
        }
    }
}

fn name(procedure: &Procedure, findings: &mut Findings) {
    let (file, stem) = (&procedure.file, &procedure.stem);
    if find(&procedure.tokens, &format!("CREATE PROCEDURE {stem} (")) != Some(0) {
        findings.add(
            file,
            1,
            format!("the first and only statement must be CREATE PROCEDURE {stem}(…)"),
        );
    }
    if !stem.starts_with(&format!("{}_", procedure.folder)) {
        findings.add(
            file,
            1,
            format!("the name must begin with the folder's, {}_", procedure.folder),
        );
    }
    let version = stem.rsplit_once("_v").map(|(_, version)| version.parse::<u32>());
    if !matches!(version, Some(Ok(1..))) {
        findings.add(file, 1, "the name must end with its version: _v1, _v2, …");
    }
    let lines = procedure.text.lines().count();
    if lines > LINES_AT_MOST {
        findings.add(
            file,
            lines,
            format!("is longer than {LINES_AT_MOST} lines: move a part into an inner procedure"),
        );
    }
}

fn characteristics(procedure: &Procedure, findings: &mut Findings) {
    let head = &procedure.tokens[..procedure.body];
    let line = head.last().map_or(1, |token| token.line);
    let file = &procedure.file;
    let access: Vec<_> = ["MODIFIES SQL DATA", "READS SQL DATA", "NO SQL"]
        .into_iter()
        .filter(|words| find(head, words).is_some())
        .collect();
    let writes = !procedure.writes().is_empty();
    let reads = find(&procedure.tokens[procedure.body..], "FROM").is_some();
    match access.as_slice() {
        ["NO SQL"] if writes || reads => findings.add(file, line, "says NO SQL, but names a table"),
        ["READS SQL DATA"] if writes => findings.add(file, line, "says READS SQL DATA, but writes"),
        [_] => {}
        _ => findings.add(file, line, "must say one of MODIFIES SQL DATA, READS SQL DATA, NO SQL"),
    }
    let is_invokers = INVOKERS.iter().any(|(stem, _)| *stem == procedure.stem);
    if is_invokers && find(head, "SQL SECURITY INVOKER").is_none() {
        findings.add(file, line, "must say SQL SECURITY INVOKER, or be taken out of INVOKERS");
    }
    if !is_invokers && find(head, "SQL SECURITY DEFINER").is_none() {
        findings.add(
            file,
            line,
            "must say SQL SECURITY DEFINER: the gateway's account may do nothing by itself",
        );
    }
    let comment = find(head, "COMMENT").and_then(|at| head.get(at + 1));
    if !comment.is_some_and(|text| text.kind == Kind::Text && !text.text.contains('\n') && !text.text.is_empty()) {
        findings.add(
            file,
            line,
            "must have a COMMENT of one line, which SHOW PROCEDURE STATUS shows",
        );
    }
    for parameter in procedure.parameters.iter().filter(|parameter| parameter.is_out) {
        if !procedure.is_inner() && !procedure.is_helper() {
            findings.add(
                file,
                parameter.line,
                format!(
                    "{}: an entry procedure answers with rows, not with OUT parameters",
                    parameter.name
                ),
            );
        }
    }
}

#[test]
fn a_header_that_says_too_little_is_found() {
    law_finds(
        header,
        &[
            ("once.\n", "once\n", "full stop"),
            ("-- Cost         one row.\n", "", "the headings are"),
            ("Locks        the balance row.", "Locks", "Locks says nothing"),
            ("-- Results ", "-- Result without its place", "belongs to no heading"),
            (
                "-- Parameters   p_id ",
                "-- Parameters   p_it ",
                "p_id is not explained",
            ),
            ("-- Parameters   p_id ", "-- Parameters   p_it ", "p_it is explained"),
            ("IN p_id", "IN id", "call it p_id"),
        ],
    );
}

#[test]
fn a_wrong_name_is_found() {
    law_finds(
        name,
        &[
            (
                "CREATE PROCEDURE test_use_v1",
                "CREATE PROCEDURE test_use_v2",
                "must be CREATE PROCEDURE test_use_v1",
            ),
            (
                "BEGIN\n  DECLARE",
                &format!("BEGIN{}\n  DECLARE", "\n".repeat(400)),
                "is longer than 400 lines",
            ),
        ],
    );
}

#[test]
fn wrong_characteristics_are_found() {
    law_finds(
        characteristics,
        &[
            ("  MODIFIES SQL DATA\n", "", "must say one of"),
            ("MODIFIES SQL DATA", "READS SQL DATA", "but writes"),
            ("MODIFIES SQL DATA", "NO SQL", "names a table"),
            ("  SQL SECURITY DEFINER\n", "", "must say SQL SECURITY DEFINER"),
            ("COMMENT 'Uses something'", "", "must have a COMMENT"),
            ("IN p_id", "OUT p_id", "not with OUT parameters"),
        ],
    );
}

//! The rooms of `src/`, and what must be nowhere.

use super::{Findings, files, read, root};

/// Each part with the parts that it may use. An arrow that is not here runs back.
const ARROWS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("error", &[]),
    ("database", &["config", "error"]),
    ("procedures", &["config", "error", "database"]),
    ("lanes", &["config", "error", "database", "procedures"]),
    ("relay", &["config", "error", "database", "procedures", "lanes"]),
    ("scheduler", &["config", "error", "database", "procedures", "lanes"]),
    (
        "gateway",
        &["config", "error", "database", "procedures", "lanes", "relay"],
    ),
    // What the command line starts: above all parts, below main.
    (
        "serve",
        &[
            "config",
            "error",
            "database",
            "procedures",
            "lanes",
            "relay",
            "scheduler",
            "gateway",
        ],
    ),
];

/// Crates that only some parts may name.
const CRATES: &[(&str, &[&str])] = &[
    // Rows are decoded where they are typed.
    ("mysql_async", &["database", "procedures"]),
    ("refinery", &["database"]),
    ("warp", &["gateway", "serve"]),
];

/// What only SQL begins with.
const SQL: &[&str] = &[
    "CALL ",
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "DELETE FROM",
    "START TRANSACTION",
    "SET SESSION",
    "CREATE TABLE",
];

const LINES_AT_MOST: usize = 400;

/// Files that were looked at twice, and are still longer.
const LONGER: &[(&str, &str)] = &[
    (
        "tests/it/law/checks.rs",
        "one table of the rows that the tables refuse, and a row for each of their rules",
    ),
    (
        "tests/it/embedded.rs",
        "one room of the tests of the embedded server, each of which starts it",
    ),
    (
        "tests/it/entitlement/consume.rs",
        "one procedure, and the table of all that can be wrong with a request",
    ),
];

/// What names the machine that it was written on.
const MACHINES: &[&str] = &["/home/", "/root/", "/Users/", "C:\\\\"];

/// What may follow `http://` and `https://`: this machine, whichever it is, and an address that the program fills in. Anything else is
/// somebody's host, a registry's or a mirror's perhaps, which comes from the machine's own settings.
const HOSTS: &[&str] = &["127.0.0.1", "localhost", "{", "\"", " "];

/// What a line names of one machine, if it does.
fn machine(line: &str) -> Option<&str> {
    let here = root().to_str().expect("a path that can be printed");
    let path = MACHINES.iter().copied().chain([here]).find(|path| line.contains(*path));
    let host = || {
        let address = line.split_once("http://").or_else(|| line.split_once("https://"))?.1;
        (!HOSTS.iter().any(|known| address.starts_with(known))).then_some(address)
    };
    path.or_else(host)
}

/// The part that a file of `src/` belongs to.
fn part(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// Where the unit tests of a file begin: they may use what they like.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate();
    code.map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a word stands in a line, whole.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

#[test]
fn every_arrow_runs_forward() {
    let mut findings = Findings::default();
    for file in files("src", &["rs"]) {
        arrows(&file, &read(&file), &mut findings);
    }
    findings.must_be_none();
}

fn arrows(file: &str, text: &str, findings: &mut Findings) {
    let part = part(file);
    // The command line stands above all parts, outside the library.
    if ["main", "lib", "commands"].contains(&part) {
        return;
    }
    let Some((_, may_use)) = ARROWS.iter().find(|(name, _)| *name == part) else {
        findings.add(
            file,
            1,
            format!("{part} is no part of the house; give it its place in ARROWS and in src/lib.rs"),
        );
        return;
    };
    for (line, code) in code(text) {
        let used = code.split("crate::").skip(1).map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        });
        for used in used.filter(|used| !used.is_empty() && *used != part && !may_use.contains(used)) {
            findings.add(file, line, format!("{part} may not use {used}; it may use {may_use:?}"));
        }
        for (name, parts) in CRATES {
            if code.contains(&format!("{name}::")) && !parts.contains(&part) {
                findings.add(file, line, format!("{part} names {name}, which only {parts:?} may"));
            }
        }
    }
}

#[test]
fn only_the_database_speaks_sql() {
    let mut findings = Findings::default();
    for file in files("src", &["rs"]) {
        sql(&file, &read(&file), &mut findings);
    }
    findings.must_be_none();
}

fn sql(file: &str, text: &str, findings: &mut Findings) {
    if part(file) == "database" {
        return;
    }
    for (line, code) in code(text) {
        // The pieces at odd places are inside quotes, or begin there.
        for piece in code.split('"').skip(1).step_by(2) {
            if SQL.iter().any(|words| piece.trim_start().starts_with(words)) {
                findings.add(file, line, "only src/database holds SQL text; call a procedure");
            }
        }
    }
}

#[test]
fn no_amount_is_a_float() {
    let mut findings = Findings::default();
    for file in files("src", &["rs"]) {
        floats(&file, &read(&file), &mut findings);
    }
    findings.must_be_none();
}

fn floats(file: &str, text: &str, findings: &mut Findings) {
    if !["procedures", "lanes", "gateway", "relay"].contains(&part(file)) {
        return;
    }
    for (line, code) in code(text) {
        if has_word(code, "f32") || has_word(code, "f64") {
            findings.add(file, line, "a float loses amounts: use i64, and Duration for times");
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let mut findings = Findings::default();
    for folder in ["src", "tests", "benches", "build.rs"] {
        for file in files(folder, &["rs"]) {
            let lines = read(&file).lines().count();
            let is_known = LONGER.iter().any(|(known, _)| *known == file);
            if lines > LINES_AT_MOST && !is_known {
                findings.add(
                    &file,
                    lines,
                    format!("is longer than {LINES_AT_MOST} lines: look at it twice, and split it"),
                );
            }
            if lines <= LINES_AT_MOST && is_known {
                findings.add(&file, lines, "is short enough by now: take it out of LONGER");
            }
        }
    }
    findings.must_be_none();
}

#[test]
fn nothing_names_a_machine() {
    let mut findings = Findings::default();
    for path in [
        "src",
        "sql",
        "migrations",
        "tests",
        "benches",
        "docs",
        ".ci",
        "README.md",
        "Cargo.toml",
        "build.rs",
    ] {
        // This file has to name what it looks for.
        for file in files(path, &["rs", "sql", "csv", "md", "toml", "sh", "", "html", "js", "css"])
            .iter()
            .filter(|file| **file != "tests/it/law/house.rs")
        {
            for (index, line) in read(file).lines().enumerate() {
                if let Some(machine) = machine(line) {
                    let told = format!("{machine} is of one machine or host; take it from the machine's settings");
                    findings.add(file, index + 1, told);
                }
            }
        }
    }
    findings.must_be_none();
}

#[test]
fn a_file_in_the_wrong_room_is_found() {
    let said = |law: fn(&str, &str, &mut Findings), file: &str, text: &str| {
        let mut findings = Findings::default();
        law(file, text, &mut findings);
        findings.0.join("\n")
    };
    assert!(
        said(arrows, "src/database/call.rs", "use crate::gateway::Reply;").contains("database may not use gateway")
    );
    assert!(said(arrows, "src/procedures/mod.rs", "use warp::Filter;").contains("procedures names warp"));
    assert!(said(arrows, "src/gateway/mod.rs", "fn f(row: mysql_async::Row)").contains("gateway names mysql_async"));
    assert!(said(arrows, "src/cellar.rs", "").contains("no part of the house"));
    assert!(said(sql, "src/gateway/mod.rs", "let sql = \"SELECT 1\";").contains("only src/database"));
    assert!(said(floats, "src/lanes.rs", "let amount: f64 = 1.0;").contains("a float"));
    assert_eq!(
        said(
            arrows,
            "src/gateway/mod.rs",
            "// use mysql_async::Row;\nuse crate::relay::Relay;"
        ),
        ""
    );
    assert_eq!(said(floats, "src/gateway/mod.rs", "time.as_secs_f64()"), "");
}

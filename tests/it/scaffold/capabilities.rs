//! The map of capabilities: one table, and no code that names a limit.

use mysql_async::prelude::Queryable;

use crate::law::{Findings, files, read};
use crate::support::database::TestDatabase;

/// The map as every installation begins with it: capability, limit, amount, reason.
const MAP: &[(&str, &str, i64, &str)] = &[
    (
        "annuity.calculate",
        "annuity.calculations.monthly",
        1,
        "annuity.calculate",
    ),
    ("application.write", "workspace.access", 1, "application.write"),
    ("projects.create", "projects.max", 1, "project.create"),
    ("projects.unarchive", "projects.max", 1, "project.unarchive"),
];

/// The lines of a file that are code: without comments, and without unit tests.
fn code(file: &str) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate();
    let is_code = |line: &str| !["//", "--"].iter().any(|mark| line.trim_start().starts_with(mark));
    lines
        .filter(|(_, line)| is_code(line))
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

#[tokio::test]
async fn the_map_is_one_table() {
    let database = TestDatabase::migrated().await;
    let rows: Vec<(String, String, i64, String)> = database
        .session()
        .await
        .query(
            "SELECT c.capability, d.code, c.amount, c.reason_code FROM billing_capabilities AS c
               JOIN billing_entitlement_definitions AS d ON d.id = c.definition_id ORDER BY c.capability",
        )
        .await
        .unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(capability, code, amount, reason)| (capability.as_str(), code.as_str(), *amount, reason.as_str()))
        .collect();
    assert_eq!(rows, MAP);
}

#[test]
fn no_code_names_a_limit() {
    let mut findings = Findings::default();
    for folder in ["src", "sql"] {
        for file in files(folder, &["rs", "sql"]) {
            // What a plan of the demonstration grants is data.
            if file.starts_with("sql/demonstration/") {
                continue;
            }
            for (line, code) in code(&file) {
                for (_, limit, ..) in MAP.iter().filter(|(_, limit, ..)| code.contains(limit)) {
                    findings.add(
                        &file,
                        line,
                        format!("names {limit}: ask for a capability, which the map leads to it"),
                    );
                }
            }
        }
    }
    findings.must_be_none();
}

#[test]
fn each_capability_is_asked_for_in_one_room() {
    let mut findings = Findings::default();
    for folder in ["src", "sql"] {
        for file in files(folder, &["rs", "sql"]) {
            for (line, code) in code(&file) {
                for (capability, ..) in MAP.iter().filter(|(capability, ..)| code.contains(capability)) {
                    // The gate is the gateway's; what a write takes is the rule of its procedure.
                    let room = match *capability {
                        "application.write" => "src/gateway/application.rs",
                        _ => "sql/scaffold/",
                    };
                    if !file.starts_with(room) {
                        findings.add(&file, line, format!("asks for {capability}, which is {room}'s"));
                    }
                }
            }
        }
    }
    findings.must_be_none();
}

//! Documents made from the sources, so that they cannot drift. `CONSUMABLE_RENEW=1 cargo test law::documents` writes them;
//! otherwise they are compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::{env, fs};

use consumable::error::catalogue;
use mysql_async::prelude::Queryable;

use super::procedure::{Procedure, procedures};
use super::root;
use crate::support::database::TestDatabase;

/// A file must be this text, or becomes it.
pub fn must_be(path: &str, text: &str) {
    let place = root().join(path);
    if env::var_os("CONSUMABLE_RENEW").is_some() {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, text).unwrap();
        return;
    }
    let found = fs::read_to_string(&place).unwrap_or_default();
    let line = found
        .lines()
        .zip(text.lines())
        .position(|(found, wanted)| found != wanted);
    let line = line.unwrap_or(found.lines().count().min(text.lines().count())) + 1;
    assert!(
        found == text,
        "{path}:{line}: is not what the sources say; run this test with CONSUMABLE_RENEW=1 and read the difference"
    );
}

#[test]
fn the_page_of_errors_is_the_catalogue() {
    let mut page = String::from(
        "# Errors\n\n\
         Made from `sql/errors.csv`. A procedure raises the number as `MYSQL_ERRNO`, with a text that begins with the code; HTTP answers with\n\
         the status, and code and title in a problem body. How to read one: `sql/README.md`, How to read a refusal.\n\n\
         | number | SQLSTATE | code | HTTP | means |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in catalogue() {
        let state = 45000 + row.number % 1000;
        writeln!(
            page,
            "| {} | {state} | `{}` | {} | {} |",
            row.number, row.code, row.status, row.title
        )
        .unwrap();
    }
    must_be("docs/errors.md", &page);
}

#[test]
fn the_page_of_procedures_is_their_headers() {
    let mut folders: BTreeMap<String, Vec<Procedure>> = BTreeMap::new();
    for procedure in procedures() {
        folders.entry(procedure.folder.clone()).or_default().push(procedure);
    }
    let mut page = String::from(
        "# Procedures\n\n\
         Made from the headers of `sql/`, which say more: who calls it, what it locks, what it costs. The law of all of them is `sql/README.md`.\n",
    );
    for (folder, procedures) in &folders {
        let head = "| procedure | does | transaction | idempotency | errors |\n| --- | --- | --- | --- | --- |";
        writeln!(page, "\n## {folder}\n\n{head}").unwrap();
        for procedure in procedures {
            let cell = |name: &str| {
                procedure
                    .heading(name)
                    .map_or(String::new(), |heading| heading.text().replace('|', "\\|"))
            };
            let link = format!("[{0}](../{1})", procedure.stem, procedure.file);
            let (transaction, idempotency, errors) = (cell("Transaction"), cell("Idempotency"), cell("Errors"));
            writeln!(
                page,
                "| {link} | {} | {transaction} | {idempotency} | {errors} |",
                procedure.sentence
            )
            .unwrap();
        }
        for procedure in procedures {
            writeln!(page, "\n### {}\n\n```text", procedure.stem).unwrap();
            for name in ["Parameters", "Results"] {
                let lines = procedure
                    .heading(name)
                    .map_or(Vec::new(), |heading| heading.lines.clone());
                for (at, line) in lines.iter().enumerate() {
                    let name = if at == 0 { name } else { "" };
                    writeln!(page, "{name:<12}{line}").unwrap();
                }
            }
            page.push_str("```\n");
        }
    }
    must_be("docs/procedures.md", &page);
}

#[tokio::test]
async fn the_page_of_tables_is_what_the_migrations_make() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    let tables: Vec<String> = session
        .query(
            "SELECT table_name FROM information_schema.tables
              WHERE table_schema = DATABASE() AND table_name <> 'refinery_schema_history' ORDER BY table_name",
        )
        .await
        .unwrap();
    let mut page = String::from(
        "-- The finished tables as MySQL 9.7 shows them, made from migrations/, which says why. For reading: nothing runs this file.\n",
    );
    for table in &tables {
        let (_, create): (String, String) = session
            .query_first(format!("SHOW CREATE TABLE {table}"))
            .await
            .unwrap()
            .unwrap();
        // Where the counter stands is not a part of the table.
        let lines = create.lines().map(|line| match line.split_once(" AUTO_INCREMENT=") {
            Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit())),
            None => line.to_owned(),
        });
        writeln!(page, "\n{};", lines.collect::<Vec<_>>().join("\n")).unwrap();
    }
    must_be("docs/schema.sql", &page);
}

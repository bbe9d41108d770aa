//! The files of `migrations/`: what refinery's command line can run, and run again after a kill.

use std::collections::HashMap;

use super::tokens::{Kind, Token, begins, find, tokens};
use super::{Findings, bootstrap, files, read};

/// MySQL's bound on names.
const NAME_AT_MOST: usize = 64;

const PREFIXES: [(&str, &str); 5] = [
    ("PRIMARY", "pk_"),
    ("UNIQUE", "uq_"),
    ("INDEX", "ix_"),
    ("FOREIGN", "fk_"),
    ("CHECK", "ck_"),
];

#[test]
fn every_migration_is_one_statement_that_may_run_again() {
    let mut findings = Findings::default();
    let mut short_names: HashMap<String, String> = HashMap::new();
    for (index, file) in files("migrations", &["sql"]).iter().enumerate() {
        let text = read(file);
        let start = format!("migrations/V{:03}__", index + 1);
        if !file.starts_with(&start) {
            findings.add(
                file,
                1,
                format!("must begin with {start}: numbers run from 1 without gaps"),
            );
        }
        statement(file, &text, &mut findings);
        names(file, &text, &mut findings);
        comments(file, &text, &mut findings);
        if let Some(short) = short_name(&tokens(&text))
            && let Some(other) = short_names.insert(short.clone(), file.clone())
        {
            findings.add(
                file,
                1,
                format!("pk_{short} is also in {other}; each table has a short name of its own"),
            );
        }
    }
    findings.must_be_none();
}

pub fn statement(file: &str, text: &str, findings: &mut Findings) {
    let tokens = tokens(text);
    if !text.starts_with("-- ") {
        findings.add(file, 1, "begin with a comment that says what it is for");
    }
    if bootstrap::is_one(&tokens) {
        bootstrap::form(file, text, findings);
        return;
    }
    let ends: Vec<_> = tokens.iter().filter(|token| token.is(";")).collect();
    if let [_, second, ..] = ends.as_slice() {
        findings.add(
            file,
            second.line,
            "one statement per file: DDL commits by itself, and a half-failed file could not run again",
        );
    }
    if begins(&tokens, "CREATE TABLE IF NOT EXISTS") {
        let table = tokens.get(5).map_or("", |table| table.text.as_str());
        if !file.ends_with(&format!("__{table}.sql")) {
            findings.add(file, 1, format!("is called like its table: V…__{table}.sql"));
        }
        for words in ["ENGINE = InnoDB", "COLLATE utf8mb4_0900_ai_ci"] {
            if find(&tokens, words).is_none() {
                findings.add(file, 1, format!("must say {words}: a server's own default may differ"));
            }
        }
    } else if !begins(&tokens, "INSERT IGNORE INTO") && !begins(&tokens, "DROP TABLE IF EXISTS") {
        findings.add(
            file,
            1,
            "must be CREATE TABLE IF NOT EXISTS, DROP TABLE IF EXISTS or INSERT IGNORE INTO: a run killed before it was recorded runs again",
        );
    }
    for token in &tokens {
        if token.is_any(&["FLOAT", "DOUBLE", "REAL"]) {
            findings.add(
                file,
                token.line,
                format!(
                    "{} loses amounts; use BIGINT, or DECIMAL for money's quotients",
                    token.text
                ),
            );
        }
        if token.is("TIMESTAMP") {
            findings.add(
                file,
                token.line,
                "TIMESTAMP ends in 2038 and depends on the time zone; use DATETIME(3) in UTC",
            );
        }
        if token.is("CALL") {
            findings.add(
                file,
                token.line,
                "procedures come after the tables; only the bootstrap calls its own",
            );
        }
    }
}

/// The table's name in names of keys: what follows pk_.
fn short_name(tokens: &[Token]) -> Option<String> {
    tokens
        .iter()
        .find_map(|token| token.text.strip_prefix("pk_"))
        .map(str::to_owned)
}

fn names(file: &str, text: &str, findings: &mut Findings) {
    let tokens = tokens(text);
    if !begins(&tokens, "CREATE TABLE") {
        return;
    }
    let Some(short) = short_name(&tokens) else {
        findings.add(file, 1, "CONSTRAINT pk_… PRIMARY KEY is missing");
        return;
    };
    let table = tokens.get(5).map_or("", |table| table.text.as_str());
    let mut words = table.split('_');
    if !short.split('_').all(|word| words.any(|of_table| of_table == word)) {
        findings.add(
            file,
            1,
            format!("pk_{short}: the short name must be made of words of {table}, in their order"),
        );
    }
    for (at, token) in tokens.iter().enumerate() {
        let (name, kind) = match &tokens[at..] {
            [word, name, kind, ..] if word.is("CONSTRAINT") => (name, kind.text.as_str()),
            [word, name, ..] if word.is("INDEX") || word.is("KEY") && name.kind == Kind::Word => (name, "INDEX"),
            _ => continue,
        };
        let prefix = PREFIXES
            .iter()
            .find(|(of, _)| kind.eq_ignore_ascii_case(of))
            .map_or("", |(_, prefix)| *prefix);
        let named = name
            .text
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix(&short));
        if prefix.is_empty() || !named.is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            findings.add(
                file,
                token.line,
                format!("{}: must be called {prefix}{short}_…", name.text),
            );
        }
        if name.text.len() > NAME_AT_MOST {
            findings.add(
                file,
                token.line,
                format!("{} is longer than {NAME_AT_MOST} characters", name.text),
            );
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let is_named = at >= 2 && tokens[at - 2].is("CONSTRAINT");
        let needs_name = token.is_any(&["UNIQUE", "FOREIGN", "CHECK", "PRIMARY"]);
        if needs_name && !is_named {
            findings.add(
                file,
                token.line,
                format!(
                    "{} without CONSTRAINT and a name: the server would make one up",
                    token.text
                ),
            );
        }
    }
}

/// What an index serves, and what a rule over several columns catches, cannot be seen: it must be said.
fn comments(file: &str, text: &str, findings: &mut Findings) {
    let lines: Vec<&str> = text.lines().collect();
    let columns: Vec<&str> = lines.iter().filter_map(|line| column(line)).collect();
    for (at, line) in lines.iter().enumerate() {
        let line = line.trim();
        let is_said = at > 0 && lines[at - 1].trim().starts_with("-- ");
        let is_index = line.starts_with("INDEX ") || line.contains(" UNIQUE (");
        if is_index && !is_said {
            findings.add(
                file,
                at + 1,
                "a comment above must say which query it serves, or which mistake it catches",
            );
        }
        if line.starts_with("CONSTRAINT ck_") && !is_said {
            let rule: String = lines[at..]
                .iter()
                .take_while(|next| !next.starts_with(')'))
                .copied()
                .collect();
            let end = rule.find("),  ").unwrap_or(rule.len());
            let named = |column: &&&str| tokens(&rule[..end]).iter().any(|token| token.is(column));
            if columns.iter().filter(named).count() > 1 {
                findings.add(
                    file,
                    at + 1,
                    "a rule over several columns: a comment above must say which mistake it catches",
                );
            }
        }
    }
}

/// The column that a line of a CREATE TABLE defines.
fn column(line: &str) -> Option<&str> {
    let line = line.strip_prefix("  ")?;
    let (name, rest) = line.trim_start().split_once(' ')?;
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
    (is_name && rest.trim_start().starts_with(|c: char| c.is_ascii_uppercase())).then_some(name)
}

const KEEPS_ALL: &str = "\
-- Things.
CREATE TABLE IF NOT EXISTS billing_small_things (
  id     BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  CONSTRAINT pk_things PRIMARY KEY (id),
  -- Serves: the list.
  INDEX ix_things_amount (amount),
  -- Catches a thing that is more than its number.
  CONSTRAINT ck_things_amount CHECK (amount < id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci COMMENT 'things';
";

#[test]
fn a_migration_that_breaks_a_law_is_found() {
    let said = |kept: &str, broken: &str| {
        assert!(KEEPS_ALL.contains(kept), "the sample lacks {kept:?}");
        let mut findings = Findings::default();
        let text = KEEPS_ALL.replace(kept, broken);
        for law in [statement, names, comments] {
            law("migrations/V001__billing_small_things.sql", &text, &mut findings);
        }
        findings.0.join("\n")
    };
    assert_eq!(said("", ""), "", "of the sample itself");
    for (kept, broken, expected) in [
        ("-- Things.\n", "", "begin with a comment"),
        ("'things';", "'things'; DROP TABLE x;", "one statement per file"),
        (" IF NOT EXISTS", "", "must be CREATE TABLE IF NOT EXISTS"),
        ("small_things", "small_thing", "V…__billing_small_thing.sql"),
        ("ENGINE = InnoDB ", "", "ENGINE = InnoDB"),
        ("amount BIGINT", "amount DOUBLE", "loses amounts"),
        ("amount BIGINT", "amount TIMESTAMP", "ends in 2038"),
        ("pk_things", "pk_stuff", "made of words"),
        ("ix_things_amount", "amount_index", "must be called ix_things_"),
        ("CONSTRAINT ck_things_amount CHECK", "CHECK", "make one up"),
        ("ck_things_amount", "uq_things_amount", "must be called ck_things_"),
        ("  -- Serves: the list.\n", "", "which query it serves"),
        (
            "  -- Catches a thing that is more than its number.\n",
            "",
            "which mistake it catches",
        ),
    ] {
        let said = said(kept, broken);
        assert!(
            said.contains(expected),
            "{broken:?} gives {said:?}, without {expected:?}"
        );
    }
}

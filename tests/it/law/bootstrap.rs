//! The bootstrap's migrations: the only ones that make, call and drop procedures, in three forms that may all run again.

use std::collections::BTreeSet;

use super::migrations::statement;
use super::procedure::Procedure;
use super::statements;
use super::tokens::{Token, begins, tokens};
use super::{Findings, files, read};

const PREFIX: &str = "bootstrap_";

/// Whether a migration is one of these forms, or meant to be.
pub fn is_one(tokens: &[Token]) -> bool {
    begins(tokens, "DROP PROCEDURE") || begins(tokens, "CALL") || begins(tokens, "CREATE PROCEDURE")
}

/// Makes, calls or drops, and nothing else.
pub fn form(file: &str, text: &str, findings: &mut Findings) {
    let tokens = tokens(text);
    let dropped = dropped(&tokens);
    let rest = &tokens[dropped.len() * 6..];
    let mut wrong = |text: &str| findings.add(file, 1, text);
    let name = match rest {
        // Drops alone.
        [] => dropped.first().copied().unwrap_or_default(),
        [call, name, open, close, end] if call.is("CALL") && open.is("(") && close.is(")") && end.is(";") => {
            if !dropped.is_empty() {
                wrong("a file that calls does nothing else");
            }
            &name.text
        }
        [create, procedure, name, .., last] if create.is("CREATE") && procedure.is("PROCEDURE") => {
            if dropped != [name.text.as_str()] {
                wrong("a procedure is dropped in front of its CREATE, and it alone, so that the file may run again");
            }
            if !last.is("END") {
                wrong("nothing may follow the procedure's END");
            }
            if !file.ends_with(&format!("__{}.sql", name.text)) {
                wrong("is called like its procedure: V…__bootstrap_….sql");
            }
            procedure_keeps_its_laws(file, text, findings);
            &name.text
        }
        _ => {
            wrong("must be DROP PROCEDURE IF EXISTS and CREATE PROCEDURE, or CALL bootstrap_…(), or drops alone");
            return;
        }
    };
    if !name.starts_with(PREFIX) || dropped.iter().any(|name| !name.starts_with(PREFIX)) {
        findings.add(
            file,
            1,
            "only the bootstrap's own procedures, bootstrap_…, may be in migrations",
        );
    }
}

/// What a file drops before it does anything else.
fn dropped(tokens: &[Token]) -> Vec<&str> {
    let drops = tokens.chunks(6).map_while(|six| match six {
        [.., name, end] if six.len() == 6 && begins(six, "DROP PROCEDURE IF EXISTS") && end.is(";") => {
            Some(name.text.as_str())
        }
        _ => None,
    });
    drops.collect()
}

fn procedure_keeps_its_laws(file: &str, text: &str, findings: &mut Findings) {
    let procedure = Procedure::parse(file, text);
    for law in [
        statements::words,
        statements::names,
        statements::subqueries,
        statements::loops,
    ] {
        law(&procedure, findings);
    }
    for (at, called) in procedure.calls() {
        if !called.starts_with(PREFIX) {
            findings.add(
                file,
                procedure.tokens[at].line,
                format!("{called} is not there while migrations run: the procedures of sql/ come afterwards"),
            );
        }
    }
}

#[test]
fn every_procedure_of_the_bootstrap_is_gone_in_the_end() {
    let (mut made, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for file in files("migrations", &["sql"]) {
        let tokens = tokens(&read(&file));
        let dropped: BTreeSet<_> = dropped(&tokens).into_iter().map(str::to_owned).collect();
        if tokens.len() == dropped.len() * 6 {
            gone.extend(dropped);
        } else {
            made.extend(dropped);
        }
    }
    assert!(!made.is_empty());
    assert_eq!(made, gone);
}

#[test]
fn a_migration_of_no_known_form_is_found() {
    let made =
        "-- X.\nDROP PROCEDURE IF EXISTS bootstrap_x;\nCREATE PROCEDURE bootstrap_x() BEGIN CALL bootstrap_y(); END\n";
    let file = "migrations/V001__bootstrap_x.sql";
    let said = |text: &str| {
        let mut findings = Findings::default();
        statement(file, text, &mut findings);
        findings.0.join("\n")
    };
    for text in [
        made,
        "-- X.\nCALL bootstrap_x();\n",
        "-- X.\nDROP PROCEDURE IF EXISTS bootstrap_x;\nDROP PROCEDURE IF EXISTS bootstrap_y;\n",
    ] {
        assert_eq!(said(text), "", "{text}");
    }
    for (kept, broken, expected) in [
        ("DROP PROCEDURE IF EXISTS bootstrap_x;\n", "", "in front of its CREATE"),
        (" IF EXISTS", "", "must be DROP PROCEDURE IF EXISTS"),
        ("EXISTS bootstrap_x", "EXISTS bootstrap_y", "in front of its CREATE"),
        ("END\n", "END; SELECT 1\n", "nothing may follow"),
        ("CALL bootstrap_y", "CALL entitlement_settle_v1", "come afterwards"),
        ("CALL bootstrap_y()", "SET @x = 1", "user variable"),
        (
            "CREATE PROCEDURE bootstrap_x",
            "CREATE PROCEDURE x",
            "called like its procedure",
        ),
        ("-- X.\n", "", "begin with a comment"),
    ] {
        assert!(made.contains(kept), "the sample lacks {kept:?}");
        let said = said(&made.replace(kept, broken));
        assert!(
            said.contains(expected),
            "{broken:?} gives {said:?}, without {expected:?}"
        );
    }
    assert!(said("-- X.\nCALL entitlement_settle_v1();").contains("own procedures"));
    assert!(said("-- X.\nDROP PROCEDURE IF EXISTS entitlement_settle_v1;").contains("own procedures"));
    assert!(said("-- X.\nCALL bootstrap_x(); DROP TABLE billing_plans;").contains("must be"));
}

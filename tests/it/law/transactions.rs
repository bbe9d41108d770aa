//! Who begins and ends transactions, and who calls whom.

use std::collections::HashMap;

use super::Findings;
use super::procedure::{Procedure, procedures};
use super::sample::law_finds;
use super::tokens::{Token, find};

/// Inner procedures that may stand on each other. The longest way is a webhook's: event, invoice, purchase, grant, settle, draw.
const INNER_DEPTH: usize = 6;

#[test]
fn every_transaction_has_one_owner() {
    let all = procedures();
    let by_name: HashMap<&str, &Procedure> = all
        .iter()
        .map(|procedure| (procedure.stem.as_str(), procedure))
        .collect();
    let mut findings = Findings::default();
    for procedure in &all {
        let (file, said) = (&procedure.file, says(procedure));
        inner(procedure, &mut findings);
        owner(procedure, &mut findings);
        clock(procedure, &mut findings);
        for (at, name) in procedure.calls() {
            let line = procedure.tokens[at].line;
            match by_name.get(name) {
                None => findings.add(file, line, format!("calls {name}, which sql/ does not have")),
                Some(called) if called.modifies() && !procedure.modifies() => {
                    findings.add(file, line, format!("calls {name}, which writes; say MODIFIES SQL DATA"));
                }
                Some(called) if !called.is_inner() && !called.is_helper() && in_transaction(procedure, at) => {
                    findings.add(
                        file,
                        line,
                        format!("calls {name} inside a transaction, which that would commit; call its inner form"),
                    );
                }
                _ => {}
            }
        }
        if procedure.is_inner() || owns(procedure) {
            continue;
        }
        let inner_writes = procedure.calls().into_iter().filter(|(_, name)| {
            by_name
                .get(name)
                .is_some_and(|called| called.is_inner() && called.modifies())
        });
        match procedure.writes().len() + inner_writes.count() {
            0 if said.starts_with("none") || said.starts_with("needs none") => {}
            0 => findings.add(
                file,
                1,
                "writes nothing of its own: under Transaction, begin with `none`",
            ),
            1 if said.contains("one statement of its own") => {}
            1 => findings.add(
                file,
                1,
                "under Transaction, say that it is one statement of its own, or own a transaction",
            ),
            _ => findings.add(
                file,
                1,
                "writes more than once: own a transaction, or half of it may stay",
            ),
        }
    }
    for procedure in all.iter().filter(|procedure| procedure.is_inner()) {
        let depth = inner_depth(&by_name, &procedure.stem, 0);
        if depth > INNER_DEPTH {
            findings.add(
                &procedure.file,
                1,
                format!("stands on {depth} layers of inner procedures, {INNER_DEPTH} at most: nobody follows more"),
            );
        }
    }
    findings.must_be_none();
}

fn says(procedure: &Procedure) -> String {
    procedure
        .heading("Transaction")
        .map_or(String::new(), |heading| heading.text())
}

fn owns(procedure: &Procedure) -> bool {
    find(&procedure.tokens, "START TRANSACTION").is_some()
}

fn in_transaction(procedure: &Procedure, at: usize) -> bool {
    let start = find(&procedure.tokens, "START TRANSACTION");
    let commit = procedure.tokens.iter().rposition(|token| token.is("COMMIT"));
    procedure.is_inner()
        || start
            .zip(commit)
            .is_some_and(|(start, commit)| (start..commit).contains(&at))
}

fn inner_depth(all: &HashMap<&str, &Procedure>, name: &str, above: usize) -> usize {
    let called = all.get(name).filter(|procedure| procedure.is_inner());
    match called {
        Some(procedure) if above <= INNER_DEPTH => {
            let below = procedure
                .calls()
                .into_iter()
                .map(|(_, name)| inner_depth(all, name, above + 1));
            1 + below.max().unwrap_or(0)
        }
        // A ring of calls ends here too, and is then too deep.
        Some(_) => 1,
        None => 0,
    }
}

/// An inner procedure leaves the caller's transaction alone.
fn inner(procedure: &Procedure, findings: &mut Findings) {
    if !procedure.is_inner() {
        return;
    }
    let (file, said) = (&procedure.file, says(procedure));
    for statement in procedure.statements(&["START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"]) {
        findings.add(
            file,
            statement[0].line,
            format!(
                "{} ends the caller's transaction; only entry procedures may",
                statement[0].text
            ),
        );
    }
    if let Some(at) = find(&procedure.tokens, "SET TRANSACTION") {
        findings.add(file, procedure.tokens[at].line, "the isolation level is the caller's");
    }
    if !said.starts_with("needs the caller's") && !said.starts_with("reads in the caller's") {
        findings.add(
            file,
            1,
            "under Transaction, begin with `needs the caller's` or `reads in the caller's`",
        );
    }
}

/// A procedure that owns its transaction ends it in every case.
fn owner(procedure: &Procedure, findings: &mut Findings) {
    if procedure.is_inner() || !owns(procedure) {
        return;
    }
    let tokens = &procedure.tokens;
    let start = find(tokens, "START TRANSACTION").unwrap_or_default();
    let line = tokens[start].line;
    let mut needs = |part: &[Token], words: &str, why: &str| {
        if find(part, words).is_none() {
            findings.add(&procedure.file, line, format!("{words} is missing: {why}"));
        }
    };
    let before = &tokens[..start];
    // A proof reads one moment, and locks nothing: READ ONLY sees to that.
    if find(&tokens[start..], "READ ONLY").is_some() {
        needs(
            before,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "its queries would each see a moment of their own",
        );
    } else {
        needs(
            before,
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "the session's own level would lock gaps",
        );
    }
    needs(
        before,
        "EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK ; RESIGNAL ; END",
        "an error would leave the transaction open",
    );
    needs(&tokens[start..], "COMMIT", "nothing would stay");
    if !says(procedure).starts_with("owns") {
        findings.add(&procedure.file, line, "under Transaction, begin with `owns it`");
    }
}

/// An inner procedure that decides reads the clock once, when it has its lock: a clock that was read before a wait is old.
fn clock(procedure: &Procedure, findings: &mut Findings) {
    if !procedure.is_inner() {
        return;
    }
    let tokens = &procedure.tokens;
    let clocks: Vec<usize> = (0..tokens.len()).filter(|&at| tokens[at].is("UTC_TIMESTAMP")).collect();
    if let [_, second, ..] = clocks.as_slice() {
        findings.add(
            &procedure.file,
            tokens[*second].line,
            "the clock is read twice, and may say two things; read it once",
        );
    }
    let locked = find(tokens, "FOR UPDATE");
    if let (Some(first), Some(locked)) = (clocks.first(), locked)
        && *first < locked
    {
        findings.add(
            &procedure.file,
            tokens[*first].line,
            "the clock is read before the lock, and is old after waiting for it; read it after",
        );
    }
}

#[test]
fn an_owner_that_does_not_end_its_transaction_is_found() {
    law_finds(
        owner,
        &[
            (
                "ISOLATION LEVEL READ COMMITTED",
                "ISOLATION LEVEL SERIALIZABLE",
                "READ COMMITTED is missing",
            ),
            (
                "ROLLBACK; RESIGNAL;",
                "RESIGNAL;",
                "EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK",
            ),
            ("    COMMIT;\n", "", "COMMIT is missing"),
            ("Transaction  owns it.", "Transaction  none.", "begin with `owns it`"),
        ],
    );
}

/// The sample, as an inner procedure.
fn as_inner(procedure: &Procedure) -> Procedure {
    let text = procedure.text.replace("test_use_v1", "test_use_in_tx_v1");
    Procedure::parse("sql/test/test_use_in_tx_v1.sql", &text)
}

#[test]
fn an_inner_one_that_touches_the_transaction_is_found() {
    fn law(procedure: &Procedure, findings: &mut Findings) {
        // As it stands the sample is an entry procedure, which this law does not read.
        if procedure.text.contains("-- Transaction  owns it.\n") && procedure.text.contains("COMMIT;\n  END;") {
            inner(procedure, findings);
        } else {
            inner(&as_inner(procedure), findings);
        }
    }
    law_finds(
        law,
        &[
            (
                "Transaction  owns it.",
                "Transaction  needs the caller's.",
                "START ends the caller's transaction",
            ),
            (
                "Transaction  owns it.",
                "Transaction  needs the caller's.",
                "the isolation level is the caller's",
            ),
            (
                "Transaction  owns it.",
                "Transaction  its own.",
                "begin with `needs the caller's`",
            ),
        ],
    );
}

#[test]
fn a_clock_that_is_read_too_early_or_twice_is_found() {
    fn law(procedure: &Procedure, findings: &mut Findings) {
        clock(&as_inner(procedure), findings);
    }
    law_finds(
        law,
        &[
            (
                "START TRANSACTION;",
                "SET v_id = UTC_TIMESTAMP(3);",
                "read before the lock",
            ),
            (
                "    COMMIT;",
                "    SET v_id = UTC_TIMESTAMP(3), v_rounds = UTC_TIMESTAMP(3);",
                "read twice",
            ),
        ],
    );
}

//! `sql/errors.csv` is the source of every error: of its number, its SQLSTATE and the code that its text begins with.

use consumable::error::{Entry, catalogue};

use super::Findings;
use super::procedure::{Procedure, procedures};
use super::sample::law_finds;
use super::tokens::Kind;

/// MySQL cuts a SIGNAL's text off after this many characters.
const TEXT_AT_MOST: usize = 127;

#[test]
fn every_error_is_as_the_catalogue_says() {
    let mut findings = Findings::default();
    for procedure in &procedures() {
        signals(procedure, &mut findings);
        texts(procedure, &mut findings);
        header(procedure, &mut findings);
    }
    findings.must_be_none();
}

fn known(code: &str) -> Option<&'static Entry> {
    catalogue().iter().find(|row| row.code == code)
}

/// Words of capitals and `_`, such as a code is.
fn looks_like_code(word: &str) -> bool {
    word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// A SIGNAL.
struct Raised<'a> {
    /// Where in the tokens.
    at: usize,
    line: usize,
    /// SQLSTATE, number and text, unless it is of another form.
    parts: Option<[&'a str; 3]>,
}

fn raised(procedure: &Procedure) -> Vec<Raised<'_>> {
    let signals = (0..procedure.tokens.len()).filter(|&at| procedure.tokens[at].is("SIGNAL"));
    let each = signals.map(|at| {
        let parts = match &procedure.tokens[at..] {
            [_, sqlstate, state, set, errno, _, number, comma, message, _, text, ..]
                if sqlstate.is("SQLSTATE")
                    && set.is("SET")
                    && errno.is("MYSQL_ERRNO")
                    && comma.is(",")
                    && message.is("MESSAGE_TEXT")
                    && text.kind == Kind::Text =>
            {
                Some([state, number, text].map(|token| token.text.as_str()))
            }
            _ => None,
        };
        Raised {
            at,
            line: procedure.tokens[at].line,
            parts,
        }
    });
    each.collect()
}

fn signals(procedure: &Procedure, findings: &mut Findings) {
    for Raised { line, parts, .. } in raised(procedure) {
        let Some([state, number, text]) = parts else {
            findings.add(
                &procedure.file,
                line,
                "write SIGNAL SQLSTATE '45nnn' SET MYSQL_ERRNO = 52nnn, MESSAGE_TEXT = 'CODE: …'",
            );
            continue;
        };
        let (code, _) = text.split_once(": ").unwrap_or((text, ""));
        let Some(row) = known(code) else {
            findings.add(&procedure.file, line, format!("{code:?} is no code of sql/errors.csv"));
            continue;
        };
        if number != row.number.to_string() {
            findings.add(&procedure.file, line, format!("{code} has the number {}", row.number));
        }
        let sqlstate = format!("45{:03}", row.number % 1000);
        if state != sqlstate {
            findings.add(&procedure.file, line, format!("{code} has the SQLSTATE {sqlstate}"));
        }
    }
}

/// Every text that begins with a code, in a SIGNAL or in a row.
fn texts(procedure: &Procedure, findings: &mut Findings) {
    for token in procedure.tokens.iter().filter(|token| token.kind == Kind::Text) {
        let Some((code, rest)) = token.text.split_once(": ").filter(|(code, _)| looks_like_code(code)) else {
            continue;
        };
        if known(code).is_none() {
            findings.add(&procedure.file, token.line, format!("{code} is not in sql/errors.csv"));
        }
        // The first part of a CONCAT may end within the path.
        let path = rest.split(' ').next().unwrap_or_default();
        if code == "VALIDATION_FAILED" && !path.ends_with(':') && !path.ends_with('[') {
            findings.add(
                &procedure.file,
                token.line,
                "after VALIDATION_FAILED comes the path of the field and a colon",
            );
        }
        if token.text.chars().count() > TEXT_AT_MOST {
            findings.add(
                &procedure.file,
                token.line,
                format!("is longer than {TEXT_AT_MOST} characters: MySQL would cut it off"),
            );
        }
    }
}

/// The header names what the body raises, in the order in which it is checked.
fn header(procedure: &Procedure, findings: &mut Findings) {
    let Some(heading) = procedure.heading("Errors") else {
        return;
    };
    let words = heading.words();
    for word in words
        .iter()
        .filter(|word| looks_like_code(word) && known(word).is_none())
    {
        findings.add(
            &procedure.file,
            heading.line,
            format!("{word} is not in sql/errors.csv"),
        );
    }
    // What a handler raises is found out by the server, at no place of its own.
    let body = raised(procedure).into_iter().filter(|raised| {
        let before = &procedure.tokens[raised.at.saturating_sub(5)..raised.at];
        !before.iter().any(|token| token.is("HANDLER"))
    });
    let mut order: Vec<&str> = Vec::new();
    for code in body
        .filter_map(|raised| raised.parts?[2].split_once(": "))
        .map(|(code, _)| code)
    {
        if !order.contains(&code) {
            order.push(code);
        }
    }
    let refers = words
        .iter()
        .any(|word| word.contains("_v") && word.chars().any(|c| c.is_ascii_lowercase()));
    let stated: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| order.contains(word))
        .collect();
    let lacks = order.iter().any(|code| !stated.contains(code));
    if (lacks && !refers) || order.iter().filter(|code| stated.contains(code)).ne(&stated) {
        findings.add(
            &procedure.file,
            heading.line,
            format!("Errors says {stated:?} of what the body raises in this order: {order:?}"),
        );
    }
}

#[test]
fn wrong_signals_are_found() {
    law_finds(
        signals,
        &[
            ("MYSQL_ERRNO = 52101", "MYSQL_ERRNO = 52102", "has the number 52101"),
            ("SQLSTATE '45101'", "SQLSTATE '45000'", "has the SQLSTATE 45101"),
            ("'SUBJECT_NOT_FOUND: ", "'SUBJECT_MISSING: ", "is no code"),
            ("SET MYSQL_ERRNO = 52101, ", "SET ", "write SIGNAL"),
        ],
    );
}

#[test]
fn wrong_texts_are_found() {
    law_finds(
        texts,
        &[
            (
                "'VALIDATION_FAILED: id: must",
                "'VALIDATION_FAILED: must",
                "comes the path",
            ),
            ("'SUBJECT_NOT_FOUND: ", "'SUBJECT_MISSING: ", "is not in sql/errors.csv"),
            ("no billable entity", &"no billable entity ".repeat(7), "is longer than"),
        ],
    );
}

#[test]
fn a_header_with_other_errors_than_the_body_is_found() {
    law_finds(
        header,
        &[
            (
                "Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND.",
                "Errors       SUBJECT_NOT_FOUND.",
                "in this order",
            ),
            (
                "Errors       VALIDATION_FAILED, SUBJECT_NOT_FOUND.",
                "Errors       SUBJECT_NOT_FOUND, VALIDATION_FAILED.",
                "in this order",
            ),
            (
                "Errors       VALIDATION_FAILED",
                "Errors       VALIDATION_FAILED, NO_SUCH_CODE",
                "NO_SUCH_CODE is not in",
            ),
        ],
    );
}

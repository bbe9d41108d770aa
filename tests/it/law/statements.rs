//! Words and statements that no procedure may have.

use super::Findings;
use super::procedure::{Procedure, procedures};
use super::sample::law_finds;
use super::tokens::{Kind, Token, begins};

/// Words, and what is wrong with them.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["DELIMITER"], "is the command line's, the server does not know it"),
    (
        &["PREPARE", "EXECUTE", "DEALLOCATE"],
        "is dynamic SQL, which nobody can read or check beforehand",
    ),
    (
        &["FUNCTION", "TRIGGER", "EVENT"],
        "needs SUPER where binary logging is on; make it a procedure",
    ),
    (&["FLOAT", "DOUBLE", "REAL"], "loses amounts; use BIGINT"),
    (
        &[
            "NOW",
            "SYSDATE",
            "CURDATE",
            "CURTIME",
            "LOCALTIME",
            "LOCALTIMESTAMP",
            "CURRENT_TIMESTAMP",
            "CURRENT_DATE",
            "CURRENT_TIME",
        ],
        "depends on the session's time zone; use UTC_TIMESTAMP(3)",
    ),
    (
        &["UNIX_TIMESTAMP", "FROM_UNIXTIME"],
        "depends on the session's time zone; compute with UTC_TIMESTAMP(3)",
    ),
];

#[test]
fn no_procedure_has_what_is_forbidden() {
    let mut findings = Findings::default();
    for procedure in &procedures() {
        words(procedure, &mut findings);
        names(procedure, &mut findings);
        subqueries(procedure, &mut findings);
        loops(procedure, &mut findings);
        parts_of_itself(procedure, &mut findings);
    }
    findings.must_be_none();
}

pub fn words(procedure: &Procedure, findings: &mut Findings) {
    for (at, token) in procedure.tokens.iter().enumerate() {
        for (words, why) in FORBIDDEN {
            if token.is_any(words) {
                findings.add(&procedure.file, token.line, format!("{} {why}", token.text));
            }
        }
        if token.is("@") {
            findings.add(
                &procedure.file,
                token.line,
                "a user variable outlives the call in the session; declare a local one",
            );
        }
        let before = at.checked_sub(1).map(|before| &procedure.tokens[before]);
        if token.is("*") && before.is_some_and(|before| before.is_any(&["SELECT", "DISTINCT", "."])) {
            findings.add(
                &procedure.file,
                token.line,
                "name the columns: with * a new column changes the contract",
            );
        }
    }
}

pub fn names(procedure: &Procedure, findings: &mut Findings) {
    for declaration in procedure.statements(&["DECLARE"]) {
        if declaration.iter().any(|token| token.is("HANDLER")) {
            continue;
        }
        let is_cursor = declaration.iter().any(|token| token.is("CURSOR"));
        let prefix = if is_cursor { "c_" } else { "v_" };
        let mut names = &declaration[1..];
        while let [name, rest @ ..] = names {
            if !name.text.starts_with(prefix) {
                findings.add(
                    &procedure.file,
                    name.line,
                    format!(
                        "call it {prefix}{}: named like a column, it would silently win",
                        name.text
                    ),
                );
            }
            match rest {
                [comma, more @ ..] if comma.is(",") => names = more,
                _ => break,
            }
        }
    }
}

/// A query inside an expression of the procedure's own language takes locks, SELECT … INTO does not.
pub fn subqueries(procedure: &Procedure, findings: &mut Findings) {
    for statement in procedure.statements(&["SET", "IF", "ELSEIF", "WHILE", "UNTIL", "CALL", "DECLARE"]) {
        let end = match statement[0].text.to_uppercase().as_str() {
            "IF" | "ELSEIF" => "THEN",
            "WHILE" => "DO",
            // The query of a cursor is not an expression.
            "DECLARE" if statement.iter().any(|token| token.is("CURSOR") || token.is("HANDLER")) => {
                continue;
            }
            _ => ";",
        };
        let expression = statement.iter().take_while(|token| !token.is(end));
        for token in expression.filter(|token| token.is("SELECT")) {
            findings.add(
                &procedure.file,
                token.line,
                "InnoDB locks what a query reads in SET, IF, WHILE or CALL; SELECT … INTO a variable first",
            );
        }
    }
}

/// The server copies a part of a JSON variable over the variable it is a part of, and what comes out is broken.
fn parts_of_itself(procedure: &Procedure, findings: &mut Findings) {
    for at in procedure.body..procedure.tokens.len() {
        let name = &procedure.tokens[at];
        if begins(
            &procedure.tokens[at..],
            &format!("{} = JSON_EXTRACT ( {} ,", name.text, name.text),
        ) {
            findings.add(
                &procedure.file,
                name.line,
                "a JSON variable that is set to a part of itself comes out broken; use a second one",
            );
        }
    }
}

/// Finds loops that nothing can end. That the end is near is what the comment beside them and the review are for.
pub fn loops(procedure: &Procedure, findings: &mut Findings) {
    let tokens = &procedure.tokens;
    for at in procedure.body..tokens.len() {
        let ends = at > 0 && tokens[at - 1].is("END");
        let Some(kind) = ["LOOP", "WHILE", "REPEAT"]
            .into_iter()
            .find(|kind| tokens[at].is(kind) && !ends)
        else {
            continue;
        };
        // REPEAT is also a function of strings.
        if kind == "REPEAT" && tokens[at + 1].is("(") {
            continue;
        }
        let whole = &tokens[at..at + loop_length(&tokens[at..], kind)];
        let says_end = match kind {
            "LOOP" => whole.iter().any(|token| token.is("LEAVE")),
            "WHILE" => moves_its_condition(whole),
            _ => true,
        };
        if !says_end {
            findings.add(
                &procedure.file,
                tokens[at].line,
                "nothing in this loop can end it: LEAVE it, or move a variable of its condition",
            );
        }
    }
}

fn loop_length(tokens: &[Token], kind: &str) -> usize {
    let mut open = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is(kind) {
            let closes = at > 0 && tokens[at - 1].is("END");
            open = if closes { open - 1 } else { open + 1 };
            if open == 0 {
                return at;
            }
        }
    }
    tokens.len()
}

fn moves_its_condition(whole: &[Token]) -> bool {
    let condition = whole.iter().position(|token| token.is("DO")).unwrap_or(whole.len());
    let (condition, body) = whole.split_at(condition);
    let fetches = body.iter().any(|token| token.is("FETCH"));
    condition
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .any(|variable| {
            let is_set =
                |at: usize| begins(&body[at..], &format!("{} =", variable.text)) && body[at - 1].is_any(&["SET", ","]);
            (fetches && variable.text.contains("no_more")) || (1..body.len()).any(is_set)
        })
}

#[test]
fn forbidden_words_are_found() {
    law_finds(
        words,
        &[
            ("COMMIT", "PREPARE p FROM 'x'", "dynamic SQL"),
            ("COMMIT", "SET @x = 1", "user variable"),
            ("DECLARE v_id BIGINT", "DECLARE v_id DOUBLE", "loses amounts"),
            ("DEFAULT 0", "DEFAULT NOW()", "time zone"),
            ("SELECT b.subject_id", "SELECT b.*", "name the columns"),
            ("SELECT b.subject_id", "SELECT *", "name the columns"),
        ],
    );
}

#[test]
fn wrong_names_are_found() {
    law_finds(
        names,
        &[
            ("DECLARE v_id BIGINT", "DECLARE v_id, id BIGINT", "call it v_id:"),
            (
                "DECLARE v_id BIGINT",
                "DECLARE v_rows CURSOR FOR SELECT 1",
                "call it c_v_rows:",
            ),
        ],
    );
}

#[test]
fn queries_inside_expressions_are_found() {
    law_finds(
        subqueries,
        &[
            (
                "IF v_id IS NULL",
                "IF EXISTS (SELECT 1 FROM billable_entities)",
                "InnoDB locks",
            ),
            (
                "IF v_id IS NULL",
                "IF NOT EXISTS (SELECT 1 FROM billable_entities)",
                "InnoDB locks",
            ),
            (
                "SET v_rounds = v_rounds + 1",
                "SET v_rounds = (SELECT 1)",
                "InnoDB locks",
            ),
            ("DEFAULT 0", "DEFAULT (SELECT 1)", "InnoDB locks"),
        ],
    );
}

#[test]
fn a_variable_that_becomes_a_part_of_itself_is_found() {
    law_finds(
        parts_of_itself,
        &[(
            "COMMIT",
            "SET v_id = 1, v_json = JSON_EXTRACT(v_json, '$[0]')",
            "a part of itself",
        )],
    );
}

#[test]
fn endless_loops_are_found() {
    law_finds(
        loops,
        &[
            ("SET v_rounds =", "SET v_id =", "nothing in this loop can end it"),
            (
                "WHILE v_rounds < 3 DO\n      SET v_rounds = v_rounds + 1;\n    END WHILE",
                "LOOP\n SET v_rounds = 1;\n END LOOP",
                "nothing in this loop",
            ),
        ],
    );
}

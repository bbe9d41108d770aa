//! A file of `sql/`, taken apart.

use super::tokens::{Kind, Token, begins, find, tokens};
use super::{files, read};

/// The headings of a header, after the name with its sentence, in their order.
pub const HEADINGS: [&str; 8] = [
    "Called by",
    "Transaction",
    "Locks",
    "Idempotency",
    "Parameters",
    "Results",
    "Errors",
    "Cost",
];

/// Column at which the text of a heading begins, after `-- `.
const COLUMN: usize = 13;

pub struct Heading {
    pub name: String,
    pub line: usize,
    pub lines: Vec<String>,
}

impl Heading {
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Its words of letters, digits and `_`.
    pub fn words(&self) -> Vec<String> {
        let text = self.text();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.map(str::to_owned).collect()
    }
}

pub struct Parameter {
    pub name: String,
    pub is_out: bool,
    pub line: usize,
}

pub struct Procedure {
    pub file: String,
    pub text: String,
    /// The file's stem.
    pub stem: String,
    /// The file's folder.
    pub folder: String,
    /// What the first line says after the name; empty when it is not of that form.
    pub sentence: String,
    pub headings: Vec<Heading>,
    /// Lines of the header that belong to no heading.
    pub strays: Vec<usize>,
    pub tokens: Vec<Token>,
    pub parameters: Vec<Parameter>,
    /// Where the body begins in `tokens`.
    pub body: usize,
}

impl Procedure {
    pub fn parse(file: &str, text: &str) -> Procedure {
        let (folder, name) = file.rsplit_once('/').expect("a path with a folder");
        let stem = name.trim_end_matches(".sql").to_owned();
        let first = text.lines().next().unwrap_or_default();
        let sentence = first.strip_prefix(&format!("-- {stem}: ")).unwrap_or_default();
        let (headings, strays) = headings(text);
        let tokens = tokens(text);
        let body = find(&tokens, "BEGIN").unwrap_or(tokens.len());
        Procedure {
            file: file.to_owned(),
            text: text.to_owned(),
            folder: folder.trim_start_matches("sql/").to_owned(),
            sentence: sentence.to_owned(),
            headings,
            strays,
            parameters: parameters(&tokens[..body]),
            tokens,
            body,
            stem,
        }
    }

    /// Inner procedures live in the caller's transaction; all others are entry procedures.
    pub fn is_inner(&self) -> bool {
        self.stem.contains("_in_tx_")
    }

    /// A helper reads and writes no table: it is a function in the shape of a procedure.
    pub fn is_helper(&self) -> bool {
        find(&self.tokens[..self.body], "NO SQL").is_some()
    }

    pub fn modifies(&self) -> bool {
        find(&self.tokens[..self.body], "MODIFIES SQL DATA").is_some()
    }

    /// The text of a heading; empty when it is missing.
    pub fn heading(&self, name: &str) -> Option<&Heading> {
        self.headings.iter().find(|heading| heading.name == name)
    }

    /// The statements whose first word is one of `verbs`: from there to the semicolon.
    pub fn statements(&self, verbs: &[&str]) -> Vec<&[Token]> {
        let mut found = Vec::new();
        for at in self.body + 1..self.tokens.len() {
            let before = &self.tokens[at - 1];
            let in_handler = begins(&self.tokens[at.saturating_sub(2)..], "NOT FOUND")
                || before.is("SQLEXCEPTION")
                || begins(&self.tokens[at.saturating_sub(2)..], "FOR 1062");
            let starts = in_handler || before.is_any(&[";", "BEGIN", "THEN", "ELSE", "DO", "LOOP", "REPEAT"]);
            if starts && self.tokens[at].is_any(verbs) {
                let rest = &self.tokens[at..];
                let end = rest.iter().position(|token| token.is(";"));
                found.push(&rest[..end.unwrap_or(rest.len())]);
            }
        }
        found
    }

    /// The statements that change tables.
    pub fn writes(&self) -> Vec<&[Token]> {
        self.statements(&["INSERT", "UPDATE", "DELETE", "REPLACE"])
    }

    /// The procedures that it calls, each with where in `tokens`.
    pub fn calls(&self) -> Vec<(usize, &str)> {
        let called = |at: usize| match &self.tokens[at..] {
            [call, name, ..] if call.is("CALL") && name.kind == Kind::Word => Some((at, name.text.as_str())),
            _ => None,
        };
        (self.body..self.tokens.len()).filter_map(called).collect()
    }
}

/// All procedures, by path.
pub fn procedures() -> Vec<Procedure> {
    let files = files("sql", &["sql"]);
    assert!(!files.is_empty());
    files.iter().map(|file| Procedure::parse(file, &read(file))).collect()
}

fn headings(text: &str) -> (Vec<Heading>, Vec<usize>) {
    let mut found: Vec<Heading> = Vec::new();
    let mut strays = Vec::new();
    let header = text.lines().enumerate().skip(1);
    for (index, line) in header.take_while(|(_, line)| line.starts_with("--")) {
        let content = line.get(3..).unwrap_or_default();
        if content.is_empty() {
            if found.is_empty() {
                continue;
            }
            // What stands after an empty line is an essay, which has no form.
            break;
        }
        let name = content.get(..COLUMN).unwrap_or(content).trim_end();
        match found.last_mut() {
            Some(heading) if name.is_empty() => {
                heading.lines.push(content[COLUMN..].to_owned());
            }
            // Deeper than a heading, but not as deep as its text.
            Some(heading) if content.starts_with("  ") => {
                heading.lines.push(content.trim_start().to_owned());
            }
            _ if content.get(COLUMN - 2..COLUMN) == Some("  ") || content.len() < COLUMN => {
                found.push(Heading {
                    name: name.to_owned(),
                    line: index + 1,
                    lines: vec![content.get(COLUMN..).unwrap_or_default().to_owned()],
                });
            }
            _ => strays.push(index + 1),
        }
    }
    (found, strays)
}

fn parameters(head: &[Token]) -> Vec<Parameter> {
    let mut found = Vec::new();
    for pair in head.windows(2) {
        let [mode, name] = pair else { continue };
        if mode.is_any(&["IN", "OUT", "INOUT"]) && name.kind == Kind::Word {
            found.push(Parameter {
                name: name.text.clone(),
                is_out: !mode.is("IN"),
                line: name.line,
            });
        }
    }
    found
}

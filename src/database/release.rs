//! What one build of the program brings to a database: the tables and the procedures, from files.

use std::ops::Range;

use include_dir::{Dir, include_dir};
use refinery::Migration;
use sha2::{Digest, Sha256};

use crate::error::Error;

mod embedded {
    refinery::embed_migrations!("migrations");
}

static SQL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// What `migrate` brings a database to and `check` compares it with.
#[derive(Debug, Clone)]
pub struct Release {
    version: String,
    migrations: Vec<Migration>,
    routines: Vec<Routine>,
}

impl Release {
    /// The release this program was built with: its version, `migrations/` and `sql/`.
    ///
    /// # Errors
    /// [`Error::Internal`] when a file of `sql/` is not one procedure named like the file; a unit test finds that first.
    pub fn embedded() -> Result<Release, Error> {
        let routines = sql_files(&SQL)
            .into_iter()
            .map(|(path, text)| Routine::parse(&format!("sql/{path}"), text))
            .collect::<Result<Vec<_>, _>>()?;
        let migrations = embedded::migrations::runner().get_migrations().clone();
        Release::new(env!("CARGO_PKG_VERSION"), migrations, routines)
    }

    /// A release of these parts. `version` is three numbers with dots.
    ///
    /// # Errors
    /// [`Error::Internal`] when two routines bear the same name.
    pub fn new(version: &str, migrations: Vec<Migration>, mut routines: Vec<Routine>) -> Result<Release, Error> {
        routines.sort_by(|one, other| one.name().cmp(other.name()));
        if let Some(same) = routines.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            return Err(Error::Internal(format!(
                "{} and {} hold the same procedure",
                same[0].file, same[1].file
            )));
        }
        Ok(Release {
            version: version.to_owned(),
            migrations,
            routines,
        })
    }

    /// Three numbers with dots, such as 0.1.0.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The table migrations, in no order.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// The procedures, by name.
    pub fn routines(&self) -> &[Routine] {
        &self.routines
    }

    /// Whether `other` is a later version than this release. A version that is not numbers counts as 0.
    pub(super) fn is_older_than(&self, other: &str) -> bool {
        let numbers = |text: &str| {
            text.split('.')
                .map(|part| part.parse().unwrap_or(0))
                .collect::<Vec<u64>>()
        };
        numbers(&self.version) < numbers(other)
    }
}

fn sql_files(dir: &'static Dir<'static>) -> Vec<(&'static str, &'static str)> {
    let here = dir.files().filter_map(|file| {
        let path = file.path().to_str()?;
        path.ends_with(".sql")
            .then(|| (path, file.contents_utf8().unwrap_or_default()))
    });
    here.chain(dir.dirs().flat_map(sql_files)).collect()
}

/// Appended to a procedure's name to prove that a new text compiles.
pub(super) const PROBE: &str = "__probe";

/// One stored procedure: the text of one file.
#[derive(Debug, Clone)]
pub struct Routine {
    file: String,
    text: String,
    sha256: String,
    /// Where the text says `PROCEDURE`; a definer goes before it.
    keyword: usize,
    name: Range<usize>,
}

impl Routine {
    /// Reads one file. `file` is its path, for messages; the stem is the name that the text must create.
    ///
    /// # Errors
    /// [`Error::Internal`] unless the first statement is `CREATE PROCEDURE stem`, after comments only, and the name is
    /// of lower-case letters, digits and `_`, at most 57 characters (a probe's name has 7 more).
    pub fn parse(file: &str, text: &str) -> Result<Routine, Error> {
        let wrong = |what: String| Error::Internal(format!("{file}: {what}"));
        let mut words = Words { text, at: 0 };
        let create = words.next();
        let keyword = words.next();
        if ![(&create, "CREATE"), (&keyword, "PROCEDURE")]
            .iter()
            .all(|(at, word)| text[(*at).clone()].eq_ignore_ascii_case(word))
        {
            return Err(wrong(
                "the first statement is not CREATE PROCEDURE name (without a DEFINER)".into(),
            ));
        }
        let name = words.next();
        let stem = file
            .rsplit('/')
            .next()
            .and_then(|last| last.strip_suffix(".sql"))
            .unwrap_or(file);
        if &text[name.clone()] != stem {
            return Err(wrong(format!("the file creates {:?}, not {stem}", &text[name])));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() + PROBE.len() > 64 || !stem.bytes().all(plain) {
            return Err(wrong(
                "a procedure's name is of a-z, 0-9 and _, and at most 57 characters long".into(),
            ));
        }
        let sha256 = hex(&Sha256::digest(text));
        Ok(Routine {
            file: file.to_owned(),
            text: text.to_owned(),
            sha256,
            keyword: keyword.start,
            name,
        })
    }

    /// Its name, the file's stem.
    pub fn name(&self) -> &str {
        &self.text[self.name.clone()]
    }

    /// SHA-256 of the file, in lower-case hex.
    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(super) fn probe_name(&self) -> String {
        format!("{}{PROBE}", self.name())
    }

    /// The statement that creates it as `name`, owned by `definer` or else by who runs it. Its lines are the file's.
    pub(super) fn create(&self, name: &str, definer: Option<&str>) -> String {
        let owner = definer
            .map(|account| format!("DEFINER = {account} "))
            .unwrap_or_default();
        let text = &self.text;
        let (head, rest) = (&text[..self.keyword], &text[self.name.end..]);
        format!("{head}{owner}PROCEDURE {name}{rest}")
    }

    /// Says where `message` of the server arose: file, and line when the message tells one. `behind` the procedure's
    /// end, the server counts lines anew.
    pub(super) fn locate(&self, message: &str, behind: bool) -> String {
        if behind {
            return format!("{}: the procedure ends before the file does: {message}", self.file);
        }
        // The server does not count the blank lines a statement begins with.
        let skipped = self.text[..self.text.len() - self.text.trim_start().len()]
            .matches('\n')
            .count();
        let line = message
            .rsplit_once("at line ")
            .and_then(|(_, line)| line.trim().parse::<usize>().ok());
        match line {
            Some(line) => format!("{}:{}: {message}", self.file, line + skipped),
            None => format!("{}: {message}", self.file),
        }
    }
}

/// SHA-256 and the like as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Steps through the words of a statement, past blanks and comments.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    /// The place of the next word; empty at the end, or before anything that is not a word.
    fn next(&mut self) -> Range<usize> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            let end_of = |mark: &str| trimmed.find(mark).map_or(trimmed.len(), |at| at + mark.len());
            let comment = if trimmed.starts_with("--") || trimmed.starts_with('#') {
                end_of("\n")
            } else if trimmed.starts_with("/*") {
                end_of("*/")
            } else {
                0
            };
            self.at += rest.len() - trimmed.len() + comment;
            if comment == 0 {
                let word = trimmed
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(trimmed.len());
                self.at += word;
                return self.at - word..self.at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_are_procedures_named_like_their_files() {
        let release = Release::embedded().unwrap();
        assert!(!release.migrations().is_empty());
        assert_eq!(release.routines().len(), sql_files(&SQL).len());
    }

    #[test]
    fn a_text_is_taken_apart_at_its_name() {
        let text =
            "\n-- PROCEDURE no; CREATE\n/* CREATE\n x */ # y\ncreate procedure pay_v1 (IN p_x INT)\nBEGIN END;\n";
        let routine = Routine::parse("billing/pay_v1.sql", text).unwrap();
        assert_eq!(routine.name(), "pay_v1");
        assert_eq!(
            routine.create("pay_v1__probe", Some("'a'@'b'")),
            text.replace("procedure pay_v1", "DEFINER = 'a'@'b' PROCEDURE pay_v1__probe")
        );
        assert_eq!(routine.create("pay_v1", None), text.replace("procedure", "PROCEDURE"));
        assert_eq!(
            routine.locate("near 'x' at line 5", false),
            "billing/pay_v1.sql:6: near 'x' at line 5"
        );
        assert_eq!(
            routine.locate("no such variable", false),
            "billing/pay_v1.sql: no such variable"
        );
    }

    #[test]
    fn a_file_that_is_not_its_procedure_is_refused() {
        let long = "p".repeat(58);
        for (file, text) in [
            ("a.sql", "CREATE PROCEDURE b() BEGIN END"),
            ("a.sql", "CREATE FUNCTION a() RETURNS INT RETURN 1"),
            ("a.sql", "CREATE DEFINER = 'x' PROCEDURE a() BEGIN END"),
            ("a.sql", "CREATE PROCEDURE IF NOT EXISTS a() BEGIN END"),
            ("a.sql", "-- CREATE PROCEDURE a() BEGIN END"),
            ("A.sql", "CREATE PROCEDURE A() BEGIN END"),
            ("a.sql", ""),
            (&format!("{long}.sql"), &format!("CREATE PROCEDURE {long}() BEGIN END")),
        ] {
            let error = Routine::parse(file, text).unwrap_err().to_string();
            assert!(error.starts_with(file), "{error}");
        }
    }

    #[test]
    fn two_files_with_one_procedure_are_refused() {
        let routine = |file| Routine::parse(file, "CREATE PROCEDURE a() BEGIN END").unwrap();
        let error = Release::new("1.0.0", vec![], vec![routine("x/a.sql"), routine("y/a.sql")]).unwrap_err();
        assert_eq!(error.to_string(), "x/a.sql and y/a.sql hold the same procedure");
    }

    #[test]
    fn versions_compare_by_number() {
        let release = Release::new("0.9.0", vec![], vec![]).unwrap();
        assert!(release.is_older_than("0.10.0") && release.is_older_than("1.0.0"));
        assert!(!release.is_older_than("0.9.0") && !release.is_older_than("0.8.12"));
    }
}

//! The conventions of this repository, as tests. A failure names the file and the line, and says what to do.

mod bootstrap;
pub mod checks;
pub mod documents;
mod errors;
mod headers;
mod house;
mod locks;
mod migrations;
mod operating;
mod procedure;
mod readme;
mod reads;
mod sample;
mod schema;
mod statements;
mod tokens;
mod transactions;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// What breaks a law, one line each.
#[derive(Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// `text` says what is wrong at the place, and what to do.
    pub fn add(&mut self, file: &str, line: usize, text: impl Display) {
        self.0.push(format!("{file}:{line}: {text}"));
    }

    /// Ends the test.
    pub fn must_be_none(self) {
        assert!(
            self.0.is_empty(),
            "\n\n{}\n\nThe reasons are in sql/README.md.\n",
            self.0.join("\n")
        );
    }
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files under a folder or the file itself, as paths from the root, sorted. None where there is no such folder.
pub fn files(path: &str, extensions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(path)];
    while let Some(path) = open.pop() {
        if let Ok(folder) = fs::read_dir(root().join(&path)) {
            open.extend(folder.map(|entry| path.join(entry.unwrap().file_name())));
        } else if root().join(&path).is_file() {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if extensions.contains(&extension.as_ref()) {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

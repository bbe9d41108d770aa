//! The program as people call it.

use std::process::{Command, Output};

/// Runs it on a database; gives its exit code, and what it printed and said.
pub fn consumable(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_consumable"))
        .args(arguments)
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

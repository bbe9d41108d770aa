//! Folders that vanish with the test, and with the test run if that is interrupted.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Waits for the end of this process, in whatever way, and then removes what interrupted tests left. A server that is still
/// ending may add a file meanwhile, hence the repetition.
const SWEEPER: &str = r#"trap '' HUP INT QUIT TERM
read -r _
tries=300
until rm -rf -- "$1" || [ "$tries" -eq 0 ]; do tries=$((tries - 1)); sleep 0.1; done"#;

/// A fresh folder for one test.
pub fn fresh_folder() -> TempDir {
    static RUN: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (folder, _sweeper) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder for the test run").keep();
        let sweeper = Command::new("sh")
            .args(["-c", SWEEPER, "consumable-test-sweeper"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        (folder, sweeper)
    });
    tempfile::tempdir_in(folder).expect("a folder for the test")
}

//! Small disks.

use std::path::Path;
use std::process::Command;

/// The `command` with a disk of its own, of this size, at `folder`. It is mounted in the command's own namespace: it is gone when the command is, and
/// needs no root. Nothing, and a word why, where this is not permitted.
pub fn on_small_disk(command: &Command, folder: &Path, size: &str) -> Option<Command> {
    let unshare = ["--user", "--map-root-user", "--mount"];
    let mount = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@""#;
    let permitted = Command::new("unshare")
        .args(unshare)
        .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .status();
    if !permitted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting a small disk is not permitted here");
        return None;
    }
    let mut wrapped = Command::new("unshare");
    wrapped
        .args(unshare)
        .args(["sh", "-c", mount, "on-small-disk", size])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args());
    Some(wrapped)
}

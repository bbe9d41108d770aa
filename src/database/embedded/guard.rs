//! The process between us and the server. It notices our end, whatever the cause, and then ends the server.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// What becomes of the server's data when the guard ends it.
pub(super) enum Ending {
    /// The server writes everything out first.
    Orderly,
    /// The server is cut off, as its data are thrown away.
    Abrupt,
}

/// A running guard. Dropping it closes the pipe, and the guard ends the server on its own.
///
/// This is `std::process` and not tokio's, so that a server can be shared by tests that each have their own runtime.
pub(super) struct Guard {
    process: Child,
}

impl Guard {
    /// Starts a guard that waits for [`Guard::launch`] before it runs `command`. If we die first it only tidies up.
    /// `removes` is deleted at the end; `lock` stays locked until the server is gone.
    pub(super) fn prepare(
        command: &[OsString],
        ending: Ending,
        removes: Option<&Path>,
        lock: Option<File>,
    ) -> io::Result<Self> {
        let process = Command::new("sh")
            .args(["-c", include_str!("guard.sh"), "consumable-guard"])
            .arg(match ending {
                Ending::Orderly => "TERM",
                Ending::Abrupt => "KILL",
            })
            .arg(removes.unwrap_or(Path::new("")))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(lock.map_or_else(Stdio::null, Stdio::from))
            .stderr(Stdio::null())
            .current_dir("/")
            // A group of its own: Ctrl-C in the terminal reaches only us, and we decide.
            .process_group(0)
            .spawn()?;
        Ok(Self { process })
    }

    /// Lets the server start.
    pub(super) fn launch(&mut self) -> io::Result<()> {
        match &mut self.process.stdin {
            Some(pipe) => pipe.write_all(b"start\n"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// How the server ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Ends the server and returns when it is gone and everything is tidied up.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        // `wait` closes the pipe first.
        tokio::task::spawn_blocking(move || self.process.wait()).await??;
        Ok(())
    }
}

//! A data folder: who owns it, and what in it is ours.
//!
//! ```text
//! DATA/lock            held by the living owner, holds its process number
//! DATA/mysql/          everything of the server, readable by its user only; may be erased
//!     made-by-consumable   says so, and which MySQL ran here last
//!     server.lock          held by the guard and the server; outlives the owner by the seconds that they need to end
//!     data/  mysql.sock  mysql.pid  error.log
//! ```
//!
//! Both locks are the kernel's, so nothing has to be cleaned up after a process that was killed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::EmbeddedError;
use super::fetch::remove_folder;

const MARKER: &str = "made-by-consumable";

/// The guard gives the server 20 s to end, then kills it.
const EARLIER_SERVER_ENDS: Duration = Duration::from_secs(30);

/// A data folder that is ours as long as this value lives.
pub(super) struct DataFolder {
    folder: PathBuf,
    _owner: File,
}

impl DataFolder {
    /// Makes the folder if need be and becomes its owner, unless a living process is.
    pub(super) fn own(folder: &Path) -> Result<Self, EmbeddedError> {
        let folder = std::path::absolute(folder).map_err(|source| EmbeddedError::io(folder, source))?;
        let failed = |source| EmbeddedError::io(&folder, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        let path = folder.join("lock");
        let mut owner = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match owner.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(EmbeddedError::InUse { folder, process });
            }
        }
        owner
            .set_len(0)
            .and_then(|()| writeln!(owner, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { folder, _owner: owner })
    }

    /// The server's own folder, and the lock that its guard shall hold. Waits for an earlier server to end.
    pub(super) async fn server_folder(&self) -> Result<(PathBuf, File), EmbeddedError> {
        let home = self.folder.join("mysql");
        let failed = |source| EmbeddedError::io(&home, source);
        // Left behind if an earlier erasure was interrupted.
        remove_folder(&self.erased())?;
        if is_empty(&home).map_err(failed)? {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&home)
                .map_err(failed)?;
            fs::write(home.join(MARKER), "").map_err(failed)?;
        }
        self.refuse_what_is_not_ours(&home)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(home.join("server.lock"))
            .map_err(failed)?;
        self.wait_for_earlier_server(&home, &lock).await?;
        Ok((home, lock))
    }

    /// Removes the server's folder, and nothing else of the data folder.
    pub(super) async fn erase(&self) -> Result<(), EmbeddedError> {
        let (home, _lock) = self.server_folder().await?;
        // Renamed first: a half-erased folder must never be taken for a database.
        fs::rename(&home, self.erased()).map_err(|source| EmbeddedError::io(&home, source))?;
        remove_folder(&self.erased())
    }

    fn erased(&self) -> PathBuf {
        self.folder.join("mysql.erased")
    }

    fn refuse_what_is_not_ours(&self, home: &Path) -> Result<(), EmbeddedError> {
        if home.join(MARKER).is_file() {
            Ok(())
        } else {
            Err(EmbeddedError::NotOurs(home.to_path_buf()))
        }
    }

    async fn wait_for_earlier_server(&self, home: &Path, lock: &File) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + EARLIER_SERVER_ENDS;
        let mut asked = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(source)) => return Err(EmbeddedError::io(home, source)),
                Err(TryLockError::WouldBlock) => {}
            }
            let server = server_process(home);
            if Instant::now() > deadline {
                let process = server.map_or_else(String::new, |server| server.as_raw_nonzero().to_string());
                return Err(EmbeddedError::EarlierServerStays {
                    folder: self.folder.clone(),
                    process,
                });
            }
            // Its guard does the same, unless the guard was killed too.
            if let (Some(server), false) = (server, asked) {
                asked = kill_process(server, Signal::TERM).is_ok();
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The MySQL version that last ran in `home`.
pub(super) fn written_by(home: &Path) -> String {
    let version = fs::read_to_string(home.join(MARKER)).unwrap_or_default();
    if version.is_empty() {
        "of another version".to_owned()
    } else {
        version
    }
}

/// Notes which version ran in `home`.
pub(super) fn note_version(home: &Path, version: &str) -> Result<(), EmbeddedError> {
    let marker = home.join(MARKER);
    fs::write(&marker, version).map_err(|source| EmbeddedError::io(&marker, source))
}

/// The process that serves `home`, if its number is not by now another program's.
fn server_process(home: &Path) -> Option<Pid> {
    let number = fs::read_to_string(home.join("mysql.pid")).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    let home = home.to_str()?;
    String::from_utf8_lossy(&command)
        .contains(&format!("--datadir={home}/data"))
        .then(|| Pid::from_raw(number))?
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

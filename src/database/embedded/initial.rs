//! An empty database to begin with.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fetch::{PrivateCopy, lock, remove_folder};
use super::guard::{Ending, Guard};
use super::log::ErrorLog;
use super::progress::Stage;
use super::server::server;
use super::{EmbeddedError, Progress, ServerProgram};

/// Initialising takes some five seconds on a small machine; on a slow disk it may take much longer.
const INITIALISES_WITHIN: Duration = Duration::from_secs(300);

/// Makes an empty database in `home/name`, which does not exist before it is complete.
pub(super) async fn initialise(
    program: &ServerProgram,
    home: &Path,
    name: &str,
    lock: Option<File>,
    progress: Progress,
) -> Result<(), EmbeddedError> {
    let stage = Stage::spinner(progress, "Preparing the database (first start only)");
    let failed = |source| EmbeddedError::io(home, source);
    let partial = format!("{name}.partial");
    remove_folder(&home.join(&partial))?;
    let log = ErrorLog::open(home)?;
    let mut command = server(program, home, &partial);
    command.push("--initialize-insecure".into());
    let mut guard = Guard::prepare(&command, Ending::Abrupt, None, lock).map_err(failed)?;
    guard.launch().map_err(failed)?;
    let deadline = Instant::now() + INITIALISES_WITHIN;
    let succeeded = loop {
        if let Some(status) = guard.ended().map_err(failed)? {
            break status.success();
        }
        if Instant::now() > deadline || log.tells_of_full_disk() {
            break false;
        }
        sleep(Duration::from_millis(20)).await;
    };
    if !succeeded {
        // The reason first: removing the folder makes room on a full disk.
        let why = log.why(program, "preparing the database took too long");
        guard.stop().await.map_err(failed)?;
        remove_folder(&home.join(&partial))?;
        return Err(why);
    }
    fs::rename(home.join(&partial), home.join(name)).map_err(failed)?;
    stage.done();
    Ok(())
}

/// An initialised database to copy: initialising takes seconds, copying a fraction of one.
pub(super) async fn template(program: &ServerProgram, progress: Progress) -> Result<PathBuf, EmbeddedError> {
    let home = PrivateCopy::of_this_user()?
        .cache()
        .join(format!("template-{}", program.version()));
    let template = home.join("data");
    if !template.is_dir() {
        let _only_us = lock(&home, "lock", progress).await?;
        if !template.is_dir() {
            initialise(program, &home, "data", None, progress).await?;
            // The server's identity: each copy makes its own.
            let identity = home.join("data/auto.cnf");
            fs::remove_file(&identity).map_err(|source| EmbeddedError::io(&identity, source))?;
        }
    }
    Ok(template)
}

/// Copies a folder of plain files and folders.
pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

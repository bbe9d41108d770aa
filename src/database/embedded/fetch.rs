//! The private copy of MySQL: Debian's packages, unpacked into the user's cache and run by their own loader, so that
//! nothing of the system changes and any Debian release will do.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::apt::{Apt, unpack};
use super::progress::Stage;
use super::{EmbeddedError, Progress, ServerProgram};

/// The clients that get a wrapper in `bin`.
const CLIENTS: [&str; 4] = ["mysql", "mysqladmin", "mysqldump", "mysqlbinlog"];

/// Runs a client with the copy's own loader and libraries, wherever the copy lies.
const WRAPPER: &str = r#"#!/bin/sh
root=$(dirname -- "$(readlink -f -- "$0")")/..
exec "$root/LOADER" --library-path "$root/LIBRARIES" "$root/usr/bin/CLIENT" "$@"
"#;

/// Where the private copy and what belongs to it are kept, for all clones of this repository.
pub(super) struct PrivateCopy {
    cache: PathBuf,
}

impl PrivateCopy {
    /// The copy in this user's cache, whether it is there already or not.
    pub(super) fn of_this_user() -> Result<Self, EmbeddedError> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|cache| Self {
                cache: cache.join("consumable"),
            })
            .ok_or(EmbeddedError::NoCacheFolder)
    }

    /// The folder that the copy and the initialised data for tests lie in.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The server of the copy, fetched first if need be.
    pub(super) async fn ensure(&self, progress: Progress) -> Result<ServerProgram, EmbeddedError> {
        let root = self.cache.join("mysql");
        if !root.is_dir() {
            let _only_us = lock(&self.cache, "mysql.lock", progress).await?;
            // Whoever held the lock before us may have fetched it.
            if !root.is_dir() {
                self.fetch(&root, progress).await?;
            }
        }
        server_in(&root).await
    }

    /// Nothing is called `mysql` before it is complete and has run once.
    async fn fetch(&self, root: &Path, progress: Progress) -> Result<(), EmbeddedError> {
        let work = self.cache.join("mysql.partial");
        remove_folder(&work)?;
        let fetched = self.fetch_into(&work, progress).await;
        if fetched.is_ok() {
            fs::rename(work.join("root"), root).map_err(|source| EmbeddedError::io(root, source))?;
        }
        remove_folder(&work)?;
        fetched
    }

    async fn fetch_into(&self, work: &Path, progress: Progress) -> Result<(), EmbeddedError> {
        let apt = Apt::prepare(work).await?;
        let stage = Stage::spinner(progress, "No MySQL server here: asking Debian's mirror for one");
        apt.update().await?;
        stage.done();

        let total = apt.download_size().await?;
        let megabytes = total / 1_000_000;
        let stage = Stage::bytes(
            progress,
            &format!("Fetching MySQL ({megabytes} MB, once for this user)"),
            total,
        );
        let packages = apt.download(|bytes| stage.reach(bytes)).await?;
        stage.done();

        let root = work.join("root");
        let stage = Stage::parts(progress, "Unpacking MySQL", packages.len() as u64);
        for (number, package) in packages.iter().enumerate() {
            unpack(package, &root).await?;
            stage.reach(number as u64 + 1);
        }
        keep_what_runs(&root).map_err(|source| EmbeddedError::io(&root, source))?;
        write_wrappers(&root)?;
        server_in(&root).await?;
        stage.done();
        Ok(())
    }
}

/// Takes the lock `name` in `folder`. Several processes may want the same slow thing; one does it and the others wait.
pub(super) async fn lock(folder: &Path, name: &str, progress: Progress) -> Result<File, EmbeddedError> {
    fs::create_dir_all(folder).map_err(|source| EmbeddedError::io(folder, source))?;
    let path = folder.join(name);
    let failed = |source| EmbeddedError::io(&path, source);
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    let mut waiting = None;
    let deadline = Instant::now() + Duration::from_secs(30 * 60);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            Err(TryLockError::WouldBlock) => {
                waiting.get_or_insert_with(|| Stage::spinner(progress, "Waiting for another process to prepare MySQL"));
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Removes a folder of ours that may not exist.
pub(super) fn remove_folder(folder: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EmbeddedError::io(folder, source)),
        _ => Ok(()),
    }
}

/// The loader and the folder of the libraries, relative to the root of the copy. Both bear the architecture in their
/// names, so they are looked for.
fn loader_and_libraries(root: &Path) -> Result<(PathBuf, PathBuf), EmbeddedError> {
    let libraries = root.join("usr/lib");
    let failed = |source| EmbeddedError::io(&libraries, source);
    for folder in fs::read_dir(&libraries).map_err(failed)? {
        let folder = folder.map_err(failed)?.path();
        let loader = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|file| {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("ld-linux") && name.contains(".so")
            });
        if let Some(loader) = loader {
            let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
            return Ok((relative(&loader), relative(&folder)));
        }
    }
    Err(failed(io::Error::new(
        io::ErrorKind::NotFound,
        "there is no loader in it; remove the copy to fetch it again",
    )))
}

async fn server_in(root: &Path) -> Result<ServerProgram, EmbeddedError> {
    let (loader, libraries) = loader_and_libraries(root)?;
    let launcher = vec![
        root.join(loader).into_os_string(),
        "--library-path".into(),
        root.join(libraries).into_os_string(),
        root.join("usr/sbin/mysqld").into_os_string(),
    ];
    let option = |name: &str, path: &str| {
        let mut option = OsString::from(format!("--{name}="));
        option.push(root.join(path));
        option
    };
    let layout = vec![
        option("basedir", "usr"),
        option("lc-messages-dir", "usr/share/mysql"),
        option("character-sets-dir", "usr/share/mysql/charsets"),
        option("plugin-dir", "usr/lib/mysql/plugin"),
    ];
    ServerProgram::probe(launcher, layout, Some(root.join("bin/mysql"))).await
}

/// Removes what neither the server nor the clients read: more than a third of the copy.
fn keep_what_runs(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root.join("usr/bin"))? {
        let entry = entry?;
        if !CLIENTS.iter().any(|client| entry.file_name() == *client) {
            fs::remove_file(entry.path())?;
        }
    }
    for entry in fs::read_dir(root.join("usr/share"))? {
        let entry = entry?;
        if entry.file_name() != "mysql" && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn write_wrappers(root: &Path) -> Result<(), EmbeddedError> {
    let (loader, libraries) = loader_and_libraries(root)?;
    let bin = root.join("bin");
    let write = |client: &str| {
        let script = WRAPPER
            .replace("LOADER", &loader.to_string_lossy())
            .replace("LIBRARIES", &libraries.to_string_lossy())
            .replace("CLIENT", client);
        let path = bin.join(client);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    fs::create_dir_all(&bin)
        .and_then(|()| CLIENTS.iter().try_for_each(|client| write(client)))
        .map_err(|source| EmbeddedError::io(&bin, source))
}

//! What can go wrong with an embedded server, one sentence each.

use std::io;
use std::path::{Path, PathBuf};

/// Why no embedded server is running. Each message is one sentence for the person at the terminal, remedy included;
/// what only helps to debug goes to `tracing::debug`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// `CONSUMABLE_MYSQLD` names a file that is not there.
    #[error(
        "CONSUMABLE_MYSQLD names {}, but no such program exists; name a MySQL 8.0.19+ server, or say private to use a private copy",
        .0.display()
    )]
    NoSuchProgram(PathBuf),

    /// The program does not answer `--version` like a MySQL server.
    #[error(
        "{} does not run as a MySQL server ({reason}); set CONSUMABLE_MYSQLD to a MySQL 8.0.19+ server, or to the word private to use a private copy",
        program.display()
    )]
    NotAServer {
        /// The program that was tried.
        program: PathBuf,
        /// What it did instead.
        reason: String,
    },

    /// MariaDB, or a MySQL that is too old.
    #[error(
        "{} is {version}, but MySQL 8.0.19 or later is needed; set CONSUMABLE_MYSQLD to a MySQL 8.0.19+ server, or to the word private to use a private copy",
        program.display()
    )]
    UnsuitableServer {
        /// The program that was found.
        program: PathBuf,
        /// Product and version, as a person would say them.
        version: String,
    },

    /// Neither XDG_CACHE_HOME nor HOME says where a cache may live.
    #[error("there is no place for the private copy of MySQL; set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCacheFolder,

    /// No server, and no apt to fetch one with.
    #[error(
        "no MySQL server was found and this machine has no {0} to fetch one from Debian's packages; install MySQL 8.0.19+ and set CONSUMABLE_MYSQLD to its mysqld"
    )]
    NotDebian(&'static str),

    /// Fetching failed: most often, no network.
    #[error(
        "could not fetch MySQL from Debian's packages ({0}); connect to the network once, or install MySQL 8.0.19+ and set CONSUMABLE_MYSQLD"
    )]
    Fetch(String),

    /// The disk is full.
    #[error("the disk that holds {} is full; free some space and start again", .0.display())]
    DiskFull(PathBuf),

    /// A folder or file cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },

    /// A living process owns the data folder.
    #[error("{} is in use by another consumable dev (process {process}); stop that one or use another --data folder", folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The owner's process number.
        process: String,
    },

    /// The owner is gone but its server does not end.
    #[error("the earlier database server of {} does not end; end process {process} and start again", folder.display())]
    EarlierServerStays {
        /// The data folder.
        folder: PathBuf,
        /// The server's process number.
        process: String,
    },

    /// The folder holds something that we did not make.
    #[error("{} was not made by consumable, so it is left alone; use another --data folder", .0.display())]
    NotOurs(PathBuf),

    /// No socket path is short enough for the operating system.
    #[error("the socket path {} is too long; set TMPDIR to a short path", .0.display())]
    SocketPathTooLong(PathBuf),

    /// The data was written by a MySQL that this one cannot follow.
    #[error(
        "the data in {} was last used by MySQL {written_by}, which MySQL {server} cannot open; set CONSUMABLE_MYSQLD to that version, or start over with --reset",
        folder.display()
    )]
    OtherVersion {
        /// The data folder.
        folder: PathBuf,
        /// The version that last ran on it.
        written_by: String,
        /// The version that was to run on it now.
        server: String,
    },

    /// The server ended, or never answered, for another reason.
    #[error("the database server in {} did not start: {reason}", folder.display())]
    DidNotStart {
        /// The data folder.
        folder: PathBuf,
        /// The first error in its log.
        reason: String,
    },
}

impl EmbeddedError {
    /// The sentence for a file operation on `path` that failed.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull(path.to_path_buf());
        }
        Self::Unusable {
            path: path.to_path_buf(),
            source,
        }
    }
}

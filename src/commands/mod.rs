//! What the commands do, each in a file. `main.rs` says which there are.

pub mod archive;
pub mod catalog;
pub mod dev;
pub mod keys;
pub mod migrate;
pub mod serve;
pub mod verify;

use consumable::config::SettingError;
use consumable::database::embedded::EmbeddedError;
use consumable::error::Error;

/// What `--help` says of exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 the answer is no or the work failed, 2 wrong use, 3 the database cannot \
                              be reached.";

/// Why a command failed, and so with which exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is missing or wrong: exit code 2.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The database did not do it: exit code 3 when it cannot be reached, else 1.
    #[error(transparent)]
    Database(#[from] Error),
    /// No server of our own could be had: exit code 1.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Something else did not work, said in one sentence: exit code 1.
    #[error("{0}")]
    Work(String),
    /// What was asked for cannot be had, said in one sentence: exit code 2.
    #[error("{0}")]
    Use(&'static str),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Setting(_) | Failure::Use(_) => 2,
            Failure::Database(Error::Unavailable(_)) => 3,
            Failure::Database(_) | Failure::Embedded(_) | Failure::Work(_) => 1,
        }
    }
}

//! What the commands do, each in a file. `main.rs` says which there are.

pub mod keys;
pub mod serve;

use consumable::config::SettingError;
use consumable::error::Error;

/// Why a command failed, and so with which exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is missing or wrong: exit code 2.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The database did not do it: exit code 3 when it cannot be reached, else 1.
    #[error(transparent)]
    Database(#[from] Error),
    /// Something else did not work, said in one sentence: exit code 1.
    #[error("{0}")]
    Work(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Setting(_) => 2,
            Failure::Database(Error::Unavailable(_)) => 3,
            Failure::Database(_) | Failure::Work(_) => 1,
        }
    }
}

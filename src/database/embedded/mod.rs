//! A MySQL server of our own: found on this machine or fetched from Debian's packages, and run beside the process that
//! needs it. `consumable dev` keeps its data in a folder; the tests use a throw-away one.
//!
//! Read in this order: [`find_server`] chooses the program, `fetch` and `apt` make the private copy, [`EmbeddedServer`] runs it,
//! `folder` says who owns a data folder, and `guard.sh` is why no server outlives its owner.

mod apt;
mod error;
mod fetch;
mod find;
mod folder;
mod guard;
mod initial;
mod log;
mod progress;
mod server;

pub use error::EmbeddedError;
pub use find::{ServerProgram, Version, find_server};
pub use progress::Progress;
pub use server::{EmbeddedServer, Storage};

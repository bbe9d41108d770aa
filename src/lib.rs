//! Consumable: may this customer do this, and how much is left?
//!
//! Every rule lives in a MySQL stored procedure under `sql/`; this crate deploys the procedures and calls them.
//! Read in the order of the arrows, none of which runs back:
//!
//! ```text
//! config, error <- database <- main
//! ```
//!
//! * [`config`]: each setting, its bounds and its default.
//! * [`error`]: what can go wrong, one code per row of `sql/errors.csv`.
//! * [`database`]: sessions, the one place that sends CALL, and the deployment of tables and procedures.

pub mod config;
pub mod database;
pub mod error;

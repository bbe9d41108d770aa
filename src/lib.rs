//! Consumable: may this customer do this, and how much is left?
//!
//! Every rule lives in a MySQL stored procedure under `sql/`; this crate deploys the procedures and calls them.
//! Read in the order of the arrows, none of which runs back:
//!
//! ```text
//! config, error <- database <- procedures <- lanes <- { gateway, relay, scheduler } <- serve <- main
//! meters <- gateway
//!                                                                                      gateway -> relay (subscribe)
//! ```
//!
//! * [`config`]: each setting, its bounds and its default.
//! * [`error`]: what can go wrong, one code per row of `sql/errors.csv`.
//! * [`database`]: sessions, the one place that sends CALL, and the deployment of tables and procedures.
//! * [`procedures`]: typed faces of the procedures, one function each.
//! * [`lanes`]: joins concurrent uses into one call.
//! * [`meters`]: what is counted while serving, for Prometheus.
//! * [`relay`]: tails the outbox of changes and fans them out.
//! * [`gateway`]: HTTP: parse, authorise, call, answer.
//! * [`scheduler`]: settles what the clock makes due.
//! * [`serve`]: runs gateway, relay and scheduler together.

pub mod config;
pub mod database;
pub mod error;
pub mod gateway;
pub mod lanes;
pub mod meters;
pub mod procedures;
pub mod relay;
pub mod scheduler;
pub mod serve;

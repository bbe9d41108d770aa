//! The procedures of `sql/entitlement/`.

mod changes;
mod consume;
mod grant;
mod interleavings;
mod model;
mod property;
mod recompute;
mod stories;
mod windows;

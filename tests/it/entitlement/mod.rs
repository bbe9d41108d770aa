//! The procedures of `sql/entitlement/`.

mod changes;
mod consume;
mod grant;
mod interleavings;
mod recompute;
mod stories;
mod windows;

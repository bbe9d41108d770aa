//! The procedures of `sql/entitlement/`.

mod boundaries;
mod capacity;
mod changes;
mod check;
mod consume;
mod grant;
mod holds;
mod interleavings;
mod permutations;
mod property;
mod recompute;
mod rolling;
mod stories;
mod windows;

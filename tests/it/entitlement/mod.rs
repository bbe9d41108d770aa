//! The procedures of `sql/entitlement/`.

mod capacity;
mod changes;
mod consume;
mod gate;
mod grant;
mod holds;
mod interleavings;
mod permutations;
mod property;
mod recompute;
mod rolling;
mod stories;
mod windows;

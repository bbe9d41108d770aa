//! The procedures of `sql/entitlement/`.

mod archive;
mod boundaries;
mod capacity;
mod changes;
mod check;
mod consume;
mod gate;
mod grant;
mod history;
mod holds;
mod interleavings;
mod ledger;
mod permutations;
mod property;
mod recompute;
mod rolling;
mod stories;
mod verify;
mod windows;

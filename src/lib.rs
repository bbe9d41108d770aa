//! An entitlements engine: the rules live in MySQL procedures, this crate is the thin gateway before them.

pub mod database;

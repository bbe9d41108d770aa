//! What the tests share.

pub mod database;
pub mod gateway;

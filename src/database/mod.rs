//! Everything that speaks to MySQL.

pub mod embedded;

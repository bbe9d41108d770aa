//! What the tests share.

pub mod cast;
pub mod copies;
pub mod database;
pub mod folder;
pub mod gateway;
pub mod hold;
pub mod plan;
pub mod server;
pub mod session;
pub mod shop;
pub mod story;
pub mod stripe;
pub mod told;
pub mod tools;

//! What the tests share.

pub mod cast;
pub mod cluster;
pub mod command;
pub mod copies;
pub mod database;
pub mod disk;
pub mod folder;
pub mod gateway;
pub mod hold;
pub mod network;
pub mod plan;
pub mod server;
pub mod session;
pub mod shop;
pub mod state;
pub mod story;
pub mod stripe;
pub mod timed;
pub mod told;
pub mod tools;

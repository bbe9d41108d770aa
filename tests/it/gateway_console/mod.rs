//! `/api/console/billing/…`: what operators do; and the page that they do it with.

mod assignments;
mod definitions;
mod engine;
mod entities;
mod grants;
mod page;
mod plans;
mod products;
mod purchases;
mod verify;

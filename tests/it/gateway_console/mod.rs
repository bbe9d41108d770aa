//! `/api/console/billing/…`: what operators do.

mod assignments;
mod definitions;
mod grants;
mod plans;
mod products;
mod purchases;

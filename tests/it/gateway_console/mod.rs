//! `/api/console/billing/…`: what operators do.

mod definitions;
mod grants;
mod plans;
mod products;

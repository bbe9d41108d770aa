//! `/api/console/billing/…`: what operators do.

mod assignments;
mod grants;
mod purchases;

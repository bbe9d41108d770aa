//! `/api/console/billing/…`: what operators do.

mod grants;
mod purchases;

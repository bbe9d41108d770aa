//! `sql/billing/`: catalogue, plans, purchases, provider events.

mod catalogue;
mod plans;

//! `sql/billing/`: catalogue, plans, purchases, provider events.

mod catalogue;
mod crashes;
mod events;
mod orders;
mod plans;
mod purchases;
mod refunds;
mod subscriptions;

//! `sql/billing/`: catalogue, plans, purchases, provider events.

mod crashes;
mod events;
mod orders;
mod plans;
mod purchases;
mod refunds;
mod subscriptions;

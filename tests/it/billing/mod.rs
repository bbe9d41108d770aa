//! `sql/billing/`: catalogue, plans, purchases, provider events; and the bootstrap of data that comes from elsewhere.

mod bootstrap;
mod catalogue;
mod crashes;
mod events;
mod orders;
mod plans;
mod prices;
mod purchases;
mod refunds;
mod subscriptions;

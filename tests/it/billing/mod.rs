//! `sql/billing/`: what is sold, and what follows from what the payment provider says.

mod events;
mod purchases;
mod refunds;

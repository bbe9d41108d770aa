//! `sql/billing/`: catalogue, plans, purchases, provider events; and the bootstrap of data that comes from elsewhere.

mod bootstrap;

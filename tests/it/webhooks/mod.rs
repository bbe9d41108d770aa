//! The provider's webhook over HTTP: who is believed, what each event does, and that there is no other way to a purchase.

mod effects;
mod routes;
mod signatures;

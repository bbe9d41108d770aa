//! Plans of subjects over time.

mod anchor;
mod policies;
mod refused;
mod schedule;
mod transitions;

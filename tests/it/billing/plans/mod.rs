//! Plans of subjects over time.

mod anchor;
mod cost;
mod interleavings;
mod policies;
mod refused;
mod schedule;
mod scheduler;
mod transitions;

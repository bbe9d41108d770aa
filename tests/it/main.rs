//! One harness for all integration tests: one build, one server, one database per test.

mod accounts;
mod call;
mod deploy;
mod embedded;
mod entitlement;
mod law;
mod redeploy;
mod support;

//! One harness for all integration tests: one build, one server, one database per test.

mod accounts;
mod archive;
mod billing;
mod call;
mod catalog;
mod deploy;
mod dev;
mod embedded;
mod entitlement;
mod gateway_billing;
mod gateway_console;
mod gateway_http;
mod keys;
mod law;
mod metrics;
mod realtime;
mod redeploy;
mod scaffold;
mod scheduler;
mod support;
mod tokens;
mod verify;
mod webhooks;

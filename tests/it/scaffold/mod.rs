//! The scaffold: examples of rows that a capacity or a quota pays for. Goes when the scaffold goes.

mod annuity;
mod bypasses;
mod capabilities;
mod gate;
mod openapi;
mod projects;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::law::checks::{NOW, SHA, Table};
use crate::support::gateway::{TestGateway, answer};
use crate::support::story::differences;

/// The rules of the scaffold's tables, as `tests/it/law/checks.rs` proves them.
#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    Table {
        name: "scaffold_projects",
        row: &[("subject_id", "1"), ("name", "'x'"), ("usage_event_key", "'k'"), ("content_sha256", SHA), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("uq_projects_key", "a retry that makes a second project", &[("name", "'y'")]),
            ("ck_projects_deleted", "a deleted project that still takes a place", &[("deleted_at", NOW)]),
        ],
    },
    Table {
        name: "scaffold_annuity_calculations",
        row: &[("subject_id", "1"), ("usage_event_key", "'k'"), ("inputs", "'{}'"), ("result", "1"), ("created_at", NOW)],
        refuses: &[("uq_annuity_calculations_key", "a retry with two results", &[("result", "2")])],
    },
];

/// The limits of `acme`, by code.
async fn limitation(gateway: &TestGateway, code: &str) -> Value {
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations")).await;
    let limitations = body["limitations"].as_array().unwrap();
    limitations.iter().find(|one| one["code"] == code).unwrap().clone()
}

/// Makes a project.
fn create(gateway: &TestGateway, name: &str, key: &str) -> RequestBuilder {
    send(gateway, Method::POST, "/api/projects", key, &json!({"name": name}))
}

/// A request of the service with a key.
fn send(gateway: &TestGateway, method: Method, path: &str, key: &str, body: &Value) -> RequestBuilder {
    gateway
        .as_service(method, path)
        .header("Idempotency-Key", key)
        .json(body)
}

/// Ends a test: the projections are what the ledger says.
async fn is_proven(gateway: &TestGateway) {
    let mut session = gateway.test.session().await;
    assert_eq!(differences(&mut session, 1).await, Vec::<String>::new());
}

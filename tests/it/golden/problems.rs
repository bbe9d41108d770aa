//! What goes wrong before and beside the rules.

use consumable::config::Rate;
use consumable::serve::Settings;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;

use super::{is_said, is_told};
use crate::support::database::TestDatabase;
use crate::support::gateway::{TOKEN_SECRET, TestGateway, settings};
use crate::support::session::cut_others;

const LIMITATIONS: &str = "/api/billing/limitations";
const CONSUME: &str = "/api/billing/consume";

#[tokio::test]
async fn no_request() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let body = |content_type: &str, body: String| {
        gateway
            .as_service(Method::POST, CONSUME)
            .header("Content-Type", content_type)
            .body(body)
    };
    is_told("MALFORMED_JSON", body("application/json", "{\"amount\": ".into())).await;
    is_told("UNSUPPORTED_MEDIA_TYPE", body("text/plain", "{}".into())).await;
    is_told("PAYLOAD_TOO_LARGE", body("application/json", " ".repeat((1 << 20) + 1))).await;
    is_told("NOT_FOUND", gateway.as_service(Method::GET, "/api/nothing")).await;
    is_told("METHOD_NOT_ALLOWED", gateway.as_service(Method::DELETE, LIMITATIONS)).await;
    let without_subject = gateway.request(Method::GET, LIMITATIONS).bearer_auth(&gateway.service);
    is_told("SUBJECT_REQUIRED", without_subject).await;
    is_told("UNAUTHENTICATED", gateway.request(Method::GET, LIMITATIONS)).await;
    is_told(
        "FORBIDDEN",
        gateway.as_service(Method::GET, "/api/console/billing/plans"),
    )
    .await;
    let edit = gateway.as_admin(Method::PATCH, "/api/console/billing/plans/1");
    is_told("PRECONDITION_REQUIRED", edit.json(&json!({"name": "Team"}))).await;
}

#[tokio::test]
async fn no_secret_for_tokens() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let gateway = TestGateway::with_secrets(test, &url, &[], &[]).await;
    gateway.acme().await;
    let token = json!({"workspaceSlug": "acme", "userId": "user-1", "permissions": [], "surface": "app"});
    let mint = gateway
        .as_service(Method::POST, "/api/billing/workspace-tokens")
        .json(&token);
    is_told("TOKENS_NOT_CONFIGURED", mint).await;
    assert!(!TOKEN_SECRET.is_empty(), "other gateways have one");
}

#[tokio::test]
async fn no_room_for_one_caller() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let key_rate = Some(Rate {
        per_second: 1,
        at_once: 1,
    });
    let gateway = TestGateway::with(test, &url, Settings { key_rate, ..settings() }).await;
    let plans = || {
        gateway
            .request(Method::GET, "/api/console/billing/plans")
            .bearer_auth(&gateway.admin)
    };
    // However long each takes, of so many at once there is one too many.
    let answers = futures_util::future::join_all((0..32).map(|_| plans().send())).await;
    let mut answers = answers.into_iter().map(Result::unwrap);
    let refused = answers.find(|answer| answer.status() == 429).expect("a refusal");
    is_said("KEY_RATE_EXCEEDED", refused).await;
}

#[tokio::test]
async fn no_database() {
    let test = TestDatabase::migrated().await;
    let direct = test.gateway_url();
    let (before, socket) = direct.split_once("socket=").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("s");
    std::os::unix::fs::symlink(socket, &link).unwrap();
    let gateway = TestGateway::on(test, &format!("{before}socket={}", link.display())).await;
    gateway.acme().await;
    std::fs::remove_file(&link).unwrap();
    cut_others(&mut gateway.test.session().await).await;
    is_told("DATABASE_UNAVAILABLE", gateway.as_service(Method::GET, LIMITATIONS)).await;
}

/// What the database says when it has no room, and when something is wrong with it or with us: told by a procedure in the place of ours.
#[tokio::test]
async fn a_database_that_does_not_answer() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut dba = gateway.test.session().await;
    for (code, state, number, text) in [
        ("OVERLOADED", "HY000", 1205, "Lock wait timeout exceeded"),
        (
            "SETTLEMENT_STUCK",
            "45901",
            52901,
            "SETTLEMENT_STUCK: it does not come to an end",
        ),
        ("INTERNAL", "HY000", 1815, "Internal error"),
    ] {
        dba.query_drop("DROP PROCEDURE entitlement_limitations_batch_v1")
            .await
            .unwrap();
        let signal = format!("SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = '{text}'");
        dba.query_drop(format!(
            "CREATE PROCEDURE entitlement_limitations_batch_v1(p_requests JSON) {signal}"
        ))
        .await
        .unwrap();
        is_told(code, gateway.as_service(Method::GET, LIMITATIONS)).await;
    }
    dba.query_drop("DROP PROCEDURE entitlement_limitations_batch_v1")
        .await
        .unwrap();
    is_told("NOT_READY", gateway.request(Method::GET, "/readyz")).await;
}

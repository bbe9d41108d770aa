//! The gate before the application's routes: whose access has lapsed may read, and not write.

use std::collections::BTreeSet;

use chrono::{SubsecRound, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{create, limitation};
use crate::golden::is_told;
use crate::law::{files, read};
use crate::support::gateway::{PATIENCE, TestGateway, answer, refusal};

const ACCESS: &str = "workspace.access";

/// The paths of the application, as the routes' source says them, each with a place filled in.
const PATHS: &[(&str, &str)] = &[
    (r#""api" / "projects""#, "/api/projects"),
    (r#""api" / "projects" / u64"#, "/api/projects/1"),
    (r#""api" / "annuityCalculator""#, "/api/annuityCalculator"),
    (r#""api" / "history""#, "/api/history"),
];

#[test]
fn no_path_of_the_application_is_forgotten_here() {
    let mut found = BTreeSet::new();
    for file in files("src/gateway/scaffold", &["rs"]) {
        let text = read(&file);
        for path in text.split("path!(").skip(1) {
            found.insert(path.split(')').next().unwrap().to_owned());
        }
    }
    let known: BTreeSet<_> = PATHS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, known);
}

/// Ends the access that the workspace has.
async fn end_access(gateway: &TestGateway, grant: &Value) {
    let path = format!("/api/console/billing/grants/{}/revoke", grant["grant"]["id"]);
    let revoke = gateway
        .as_admin(Method::POST, &path)
        .header("Idempotency-Key", path.clone());
    assert_eq!(answer(revoke.json(&json!({"reason": "Not paid"}))).await.0, 200);
}

#[tokio::test]
async fn without_access_every_write_is_refused_and_every_read_is_not() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 5).await;
    // Who was never granted access is not asked for it.
    assert_eq!(answer(create(&gateway, "first", "first")).await.0, 201);

    let access = gateway.grant(entity, ACCESS, 1).await;
    assert_eq!(answer(create(&gateway, "second", "second")).await.0, 201);
    end_access(&gateway, &access).await;
    assert_eq!(limitation(&gateway, ACCESS).await["lockState"], "workspace_expired");
    is_told("WORKSPACE_ACCESS_EXPIRED", create(&gateway, "third", "third")).await;

    for (_, path) in PATHS {
        for method in [
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            // Whatever the body: nothing of it is read.
            let request = gateway.as_service(method.clone(), path).body("{");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 403, "{method} {path}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["code"], "WORKSPACE_ACCESS_EXPIRED", "{method} {path}");
            assert_eq!(
                body["details"],
                json!({"limitationCode": ACCESS, "lockState": "workspace_expired"})
            );
        }
        let status = answer(gateway.as_service(Method::GET, path)).await.0;
        assert_eq!(
            status,
            if *path == "/api/annuityCalculator" { 405 } else { 200 },
            "{path}"
        );
    }
    // What is no route of the application is not behind its gate.
    let used = json!({"capability": "projects.create", "usageEventKey": "k"});
    assert_eq!(answer(gateway.consume(&used)).await.0, 200);
    // Nor is another workspace.
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let as_other = gateway
        .request(Method::POST, "/api/projects")
        .bearer_auth(&gateway.service)
        .header("X-Workspace-Slug", "other")
        .header("Idempotency-Key", "k")
        .json(&json!({"name": "x", "status": "archived"}));
    assert_eq!(answer(as_other).await.0, 201);

    // It opens by itself.
    gateway.grant(entity, ACCESS, 1).await;
    assert_eq!(answer(create(&gateway, "third", "third")).await.0, 201);
}

#[tokio::test]
async fn the_gate_closes_when_access_expires_with_nobody_doing_anything() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let expires_at = (Utc::now() + TimeDelta::milliseconds(1_500)).trunc_subsecs(3);
    let grant = gateway
        .as_admin(Method::POST, "/api/console/billing/grants")
        .header("Idempotency-Key", "trial")
        .json(
            &json!({"billableEntityId": entity, "code": ACCESS, "amount": 1, "kind": "promo", "reason": "Trial",
                      "expiresAt": expires_at.to_rfc3339()}),
        );
    assert_eq!(answer(grant).await.0, 201);
    let write = |number: u32| {
        let body = json!({"name": "x", "status": "archived"});
        super::send(&gateway, Method::POST, "/api/projects", &format!("k-{number}"), &body)
    };
    let mut number = 0;
    let closed = async {
        loop {
            number += 1;
            let (asked, (status, body), answered) = (Utc::now(), answer(write(number)).await, Utc::now());
            // At the instant, neither before nor after.
            match status {
                201 => assert!(asked < expires_at, "open at {asked}"),
                _ => {
                    assert_eq!((status, &body["code"]), (403, &json!("WORKSPACE_ACCESS_EXPIRED")));
                    assert!(answered >= expires_at, "closed at {answered}");
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
    assert!(number > 1, "it was never open");
    assert_eq!(refusal(write(number)).await.0, 403);
    assert_eq!(answer(gateway.as_service(Method::GET, "/api/projects")).await.0, 200);
}

#[tokio::test]
async fn a_user_of_the_workspace_may_use_the_application_and_no_other_workspaces() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "projects.max", 5).await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let token = gateway.token("acme", "app", &[], 900).await;
    let as_user = |method: Method, path: &str| gateway.request(method, path).bearer_auth(&token);

    let create = as_user(Method::POST, "/api/projects").header("Idempotency-Key", "k");
    let (status, body) = answer(create.json(&json!({"name": "Mine"}))).await;
    assert_eq!((status, &body["project"]["billableEntityId"]), (201, &json!(entity)));
    for (_, path) in PATHS {
        let status = answer(as_user(Method::GET, path)).await.0;
        assert_eq!(
            status,
            if *path == "/api/annuityCalculator" { 405 } else { 200 },
            "{path}"
        );
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let nobody = gateway.request(method.clone(), path).header("X-Workspace-Slug", "acme");
            assert_eq!(refusal(nobody).await.1, "UNAUTHENTICATED", "{method} {path}");
            for (header, value) in [
                ("X-Workspace-Slug", json!("other")),
                ("X-Billable-Entity-Id", other["billableEntity"]["id"].clone()),
            ] {
                let value = value.to_string().replace('"', "");
                let request = as_user(method.clone(), path).header(header, value);
                assert_eq!(refusal(request).await.1, "FORBIDDEN", "{method} {path}");
            }
        }
    }

    // The gate is before users, too.
    let access = gateway.grant(entity, ACCESS, 1).await;
    end_access(&gateway, &access).await;
    let archive = as_user(Method::PATCH, "/api/projects/1").json(&json!({"status": "archived"}));
    assert_eq!(refusal(archive).await.1, "WORKSPACE_ACCESS_EXPIRED");
}

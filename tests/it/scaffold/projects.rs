//! `/api/projects`: how many there may be, whichever way somebody tries.

use reqwest::Method;
use serde_json::{Value, json};

use super::{create, is_proven, limitation, send};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

pub const CAP: &str = "projects.max";

/// A gateway whose workspace may have so many projects.
pub async fn with_places(places: u64) -> TestGateway {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, CAP, places).await;
    gateway
}

/// Makes a project, which must go well, and gives its path.
pub async fn made(gateway: &TestGateway, name: &str) -> String {
    let (status, body) = answer(create(gateway, name, name)).await;
    assert_eq!(status, 201, "{body}");
    format!("/api/projects/{}", body["project"]["id"])
}

/// Changes a project with a key, and gives status and body.
pub async fn change(gateway: &TestGateway, method: Method, path: &str, key: &str, body: Value) -> (u16, Value) {
    answer(send(gateway, method, path, key, &body)).await
}

/// Consumed and available.
pub async fn places(gateway: &TestGateway) -> (i64, i64) {
    let limitation = limitation(gateway, CAP).await;
    let figure = |name: &str| limitation[name].as_i64().unwrap();
    (figure("consumedAmount"), figure("availableAmount"))
}

#[tokio::test]
async fn a_project_is_made_read_changed_and_deleted() {
    let gateway = with_places(2).await;
    let (status, body) = answer(create(&gateway, "Roof", "roof")).await;
    assert_eq!(status, 201);
    let project = json!({"id": 1, "billableEntityId": 1, "name": "Roof", "status": "active", "createdAt": "now",
                         "updatedAt": "now", "deletedAt": null});
    assert_eq!(without_instants(body["project"].clone()), project);
    assert_eq!(body["limitation"]["code"], CAP);
    assert_eq!(
        (
            &body["limitation"]["consumedAmount"],
            &body["limitation"]["availableAmount"]
        ),
        (&json!(1), &json!(1))
    );
    let (status, found) = answer(gateway.as_service(Method::GET, "/api/projects/1")).await;
    assert_eq!((status, &found), (200, &json!({"project": body["project"]})));

    let (status, body) = change(&gateway, Method::PATCH, "/api/projects/1", "", json!({"name": "ROOF"})).await;
    assert_eq!(
        (status, &body["project"]["name"], &body["limitation"]["consumedAmount"]),
        (200, &json!("ROOF"), &json!(1))
    );
    let (status, body) = change(
        &gateway,
        Method::PATCH,
        "/api/projects/1",
        "",
        json!({"status": "archived"}),
    )
    .await;
    assert_eq!(
        (
            status,
            &body["project"]["status"],
            &body["limitation"]["consumedAmount"]
        ),
        (200, &json!("archived"), &json!(0))
    );
    let whole = json!({"name": "Roof", "status": "active"});
    let (status, body) = change(&gateway, Method::PUT, "/api/projects/1", "back", whole).await;
    assert_eq!(
        (
            status,
            &body["project"]["status"],
            &body["limitation"]["consumedAmount"]
        ),
        (200, &json!("active"), &json!(1))
    );

    let delete = || gateway.as_service(Method::DELETE, "/api/projects/1");
    let (status, first) = answer(delete()).await;
    assert_eq!((status, &first["limitation"]["consumedAmount"]), (200, &json!(0)));
    assert!(first["project"]["deletedAt"].is_string());
    assert_eq!(answer(delete()).await, (200, first));
    for method in [Method::GET, Method::PATCH, Method::PUT] {
        let request = send(
            &gateway,
            method,
            "/api/projects/1",
            "k",
            &json!({"name": "x", "status": "active"}),
        );
        assert_eq!(refusal(request).await, (404, "NOT_FOUND".into(), vec![]));
    }
    is_proven(&gateway).await;
}

#[tokio::test]
async fn what_there_is_is_listed_in_pages() {
    let gateway = with_places(5).await;
    for name in ["a", "b", "c"] {
        made(&gateway, name).await;
    }
    answer(gateway.as_service(Method::DELETE, "/api/projects/2")).await;
    let page = async |query: &str| {
        let (status, body) = answer(gateway.as_service(Method::GET, &format!("/api/projects?{query}"))).await;
        assert_eq!(status, 200, "{body}");
        let names: Vec<_> = body["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].clone())
            .collect();
        (names, body["nextCursor"].clone())
    };
    assert_eq!(page("").await, (vec![json!("a"), json!("c")], Value::Null));
    assert_eq!(page("limit=1").await, (vec![json!("a")], json!("1")));
    assert_eq!(page("limit=1&cursor=1").await, (vec![json!("c")], Value::Null));
    // Another workspace has none of them.
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let as_other = |path: &str| {
        gateway
            .request(Method::GET, path)
            .bearer_auth(&gateway.service)
            .header("X-Workspace-Slug", "other")
    };
    assert_eq!(answer(as_other("/api/projects")).await.1["entries"], json!([]));
    assert_eq!(refusal(as_other("/api/projects/1")).await.0, 404);
}

#[tokio::test]
async fn a_full_workspace_is_told_what_must_go() {
    let gateway = with_places(1).await;
    let first = made(&gateway, "first").await;
    let response = create(&gateway, "second", "second").send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers().contains_key("retry-after")
        ),
        (409, false)
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "BILLING_CAPACITY_LOCKED");
    let details =
        json!({"limitationCode": CAP, "used": 1, "cap": 1, "overBy": 1, "lockState": "none", "requiredReduction": 1});
    assert_eq!(body["details"], details);
    // A refusal is not kept: the same key goes through when there is room.
    assert_eq!(
        change(&gateway, Method::PATCH, &first, "", json!({"status": "archived"}))
            .await
            .0,
        200
    );
    assert_eq!(answer(create(&gateway, "second", "second")).await.0, 201);
    assert_eq!(places(&gateway).await, (1, 0));
    is_proven(&gateway).await;
}

#[tokio::test]
async fn a_count_that_went_wrong_is_set_right_by_the_next_change() {
    let gateway = with_places(5).await;
    let first = made(&gateway, "first").await;
    let recount = gateway.as_service(Method::PUT, "/api/billing/resources/projects");
    assert_eq!(answer(recount.json(&json!({"count": 3}))).await.0, 200);
    assert_eq!(places(&gateway).await, (3, 2));
    change(&gateway, Method::PATCH, &first, "", json!({"name": "again"})).await;
    assert_eq!(places(&gateway).await, (1, 4));
    is_proven(&gateway).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_project_is_named() {
    let gateway = with_places(5).await;
    made(&gateway, "first").await;
    for (method, path) in [
        (Method::POST, "/api/projects"),
        (Method::PUT, "/api/projects/1"),
        (Method::PATCH, "/api/projects/1"),
    ] {
        for (body, field) in [
            (json!({"name": "", "status": "active"}), "name"),
            (json!({"name": "  ", "status": "active"}), "name"),
            (json!({"name": "n".repeat(161), "status": "active"}), "name"),
            (json!({"name": 7, "status": "active"}), "name"),
            (json!({"name": "x", "status": "deleted"}), "status"),
            (json!({"name": "x", "status": "s".repeat(33)}), "status"),
            (json!({"name": "x", "status": "active", "colour": 1}), "colour"),
        ] {
            let refused = refusal(send(&gateway, method.clone(), path, "k", &body)).await;
            assert_eq!(
                refused,
                (400, "VALIDATION_FAILED".into(), vec![field.into()]),
                "{method} {body}"
            );
        }
    }
    for (body, field) in [(json!({"status": "active"}), "name"), (json!({"name": "x"}), "status")] {
        let refused = refusal(send(&gateway, Method::PUT, "/api/projects/1", "k", &body)).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec![field.into()]));
    }
    let keyless = gateway
        .as_service(Method::POST, "/api/projects")
        .json(&json!({"name": "x"}));
    assert_eq!(
        refusal(keyless).await,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["idempotencyKey".into()])
    );
    let bad_key = create(&gateway, "x", "two words");
    assert_eq!(
        refusal(bad_key).await,
        (400, "VALIDATION_FAILED".into(), vec!["idempotencyKey".into()])
    );
    assert_eq!(
        refusal(gateway.as_service(Method::DELETE, "/api/projects/9")).await.0,
        404
    );
    assert_eq!(
        refusal(gateway.as_service(Method::DELETE, "/api/projects")).await.0,
        405
    );
    assert_eq!(
        refusal(gateway.as_service(Method::GET, "/api/projects?limit=0"))
            .await
            .2,
        ["limit"]
    );
    assert_eq!(
        refusal(gateway.as_service(Method::GET, "/api/projects?cursor=x"))
            .await
            .2,
        ["cursor"]
    );
    assert_eq!(places(&gateway).await, (1, 4));
}

//! `/api/console/billing/entities`: who there is.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const ENTITIES: &str = "/api/console/billing/entities";

/// A gateway with entities of all kinds: with a workspace of the same name, of another one, and without one.
async fn with_entities() -> TestGateway {
    let gateway = TestGateway::start().await;
    for (path, body) in [
        (
            "workspace/acme",
            json!({"workspaceSlug": "acme", "workspaceName": "Acme"}),
        ),
        ("workspace/42", json!({"workspaceSlug": "beta-team"})),
        ("user/beta", json!({})),
        ("workspace/beta", json!({"workspaceSlug": "beta"})),
        ("user/Beta", json!({})),
        ("team/43", json!({"workspaceSlug": "beta"})),
    ] {
        let put = gateway.as_service(Method::PUT, &format!("/api/billing/entities/{path}"));
        assert_eq!(answer(put.json(&body)).await.0, 201, "{path}");
    }
    gateway
}

/// The references of a list, page after page.
async fn references(gateway: &TestGateway, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, body) = answer(gateway.as_admin(Method::GET, &format!("{ENTITIES}?{query}{cursor}"))).await;
        assert_eq!(status, 200, "{body}");
        let name = |entity: &Value| format!("{}/{}", entity["entityType"], entity["entityRef"]).replace('"', "");
        found.extend(body["entries"].as_array().unwrap().iter().map(name));
        match body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn all_are_listed_by_reference_a_page_at_a_time() {
    let gateway = with_entities().await;
    let all = [
        "workspace/42",
        "team/43",
        "user/Beta",
        "workspace/acme",
        "user/beta",
        "workspace/beta",
    ];
    assert_eq!(references(&gateway, "").await, all);
    for limit in 1..=6 {
        assert_eq!(references(&gateway, &format!("limit={limit}")).await, all, "{limit}");
    }
    let (_, body) = answer(gateway.as_admin(Method::GET, &format!("{ENTITIES}?q=acme"))).await;
    assert_eq!(
        without_instants(body),
        json!({"nextCursor": null, "entries": [{
            "id": 1, "entityType": "workspace", "entityRef": "acme", "workspaceId": 1, "workspaceSlug": "acme", "workspaceName": "Acme",
            "ownerUserId": null, "status": "active", "createdAt": "now", "updatedAt": "now",
        }]})
    );
}

#[tokio::test]
async fn they_are_found_by_how_reference_or_workspace_begins() {
    let gateway = with_entities().await;
    // Each once: by its reference if that begins so, else by its workspace.
    let beta = ["user/beta", "workspace/beta", "team/43", "workspace/42"];
    for limit in 1..=4 {
        assert_eq!(
            references(&gateway, &format!("q=bet&limit={limit}")).await,
            beta,
            "{limit}"
        );
    }
    assert_eq!(references(&gateway, "q=beta-").await, ["workspace/42"]);
    assert_eq!(references(&gateway, "q=4").await, ["workspace/42", "team/43"]);
    assert_eq!(references(&gateway, "q=Be").await, ["user/Beta"]);
    for none in ["q=x", "q=%25", "q=_eta", "q=eta"] {
        assert_eq!(references(&gateway, none).await, [""; 0], "{none}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("q=a%20b", "q"),
        ("q=%C3%A4", "q"),
        ("cursor=4", "cursor"),
        ("cursor=x.acme", "cursor"),
        ("cursor=4.", "cursor"),
        ("cursor=4.a%20b", "cursor"),
    ] {
        let refused = refusal(gateway.as_admin(Method::GET, &format!("{ENTITIES}?{query}"))).await;
        assert_eq!(
            refused,
            (400, "VALIDATION_FAILED".into(), vec![field.into()]),
            "{query}"
        );
    }
    let long = format!("{ENTITIES}?q={}", "a".repeat(129));
    assert_eq!(refusal(gateway.as_admin(Method::GET, &long)).await.0, 400);
    assert_eq!(refusal(gateway.as_service(Method::GET, ENTITIES)).await.0, 403);
    assert_eq!(refusal(gateway.request(Method::GET, ENTITIES)).await.0, 401);
}

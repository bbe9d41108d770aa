//! Billable entities and what they may use.

use reqwest::Method;
use serde_json::json;

use super::{credits, use_of};
use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const ENTITY: &str = "/api/billing/entities/workspace/acme";
const LIMITATIONS: &str = "/api/billing/limitations";
const REFRESH: &str = "/api/billing/limits/refresh";

#[tokio::test]
async fn an_entity_is_made_once_and_kept_up_to_date() {
    let gateway = TestGateway::start().await;
    let path = "/api/billing/entities/team/blue%2Fgreen";
    let first = gateway
        .as_service(Method::PUT, path)
        .json(&json!({"workspaceSlug": "acme", "workspaceName": "Acme"}));
    let (status, body) = answer(first).await;
    assert_eq!(status, 201);
    let mut entity = json!({
        "id": 1, "entityType": "team", "entityRef": "blue/green", "workspaceId": 1, "workspaceSlug": "acme",
        "workspaceName": "Acme", "ownerUserId": null, "providerCustomerId": null, "status": "active",
        "createdAt": "now", "updatedAt": "now",
    });
    assert_eq!(without_instants(body), json!({"billableEntity": entity}));

    let again = gateway
        .as_service(Method::PUT, path)
        .json(&json!({"ownerUserId": "u7", "providerCustomerId": "cus_1"}));
    let (status, body) = answer(again).await;
    assert_eq!(status, 200);
    entity["ownerUserId"] = "u7".into();
    entity["providerCustomerId"] = "cus_1".into();
    assert_eq!(without_instants(body), json!({"billableEntity": entity}));

    let other = gateway
        .as_service(Method::PUT, ENTITY)
        .json(&json!({"providerCustomerId": "cus_1"}));
    assert_eq!(refusal(other).await, (409, "PROVIDER_CUSTOMER_TAKEN".into(), vec![]));
    for (path, body, field) in [
        ("/api/billing/entities/Team/a", json!({}), "entityType"),
        (
            &format!("/api/billing/entities/{}/a", "t".repeat(33)),
            json!({}),
            "entityType",
        ),
        ("/api/billing/entities/team/a%20b", json!({}), "entityRef"),
        ("/api/billing/entities/team/%ff", json!({}), "entityRef"),
        (
            &format!("/api/billing/entities/team/{}", "r".repeat(129)),
            json!({}),
            "entityRef",
        ),
        (ENTITY, json!({"workspaceSlug": "No Slug"}), "workspaceSlug"),
        (ENTITY, json!({"workspaceSlug": "s".repeat(65)}), "workspaceSlug"),
        (ENTITY, json!({"workspaceName": "n".repeat(161)}), "workspaceName"),
        (ENTITY, json!({"ownerUserId": "o".repeat(129)}), "ownerUserId"),
        (ENTITY, json!({"ownerUserId": 7}), "ownerUserId"),
        (ENTITY, json!({"providerCustomerId": "ü"}), "providerCustomerId"),
        (
            ENTITY,
            json!({"providerCustomerId": "c".repeat(256)}),
            "providerCustomerId",
        ),
        (ENTITY, json!({"colour": "blue"}), "colour"),
        (ENTITY, json!([]), "body"),
    ] {
        let refused = refusal(gateway.as_service(Method::PUT, path).json(&body)).await;
        assert_eq!(
            refused,
            (400, "VALIDATION_FAILED".into(), vec![field.into()]),
            "{path} {body}"
        );
    }
}

#[tokio::test]
async fn limitations_are_those_of_every_definition_or_of_those_held() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let (status, none) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!((status, &none["limitations"]), (200, &json!([])));

    gateway.grant(entity, "ai.credits", 100).await;
    let (status, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(status, 200);
    assert_eq!(
        without_instants(body),
        json!({
            "billableEntity": {
                "id": 1, "entityType": "workspace", "entityRef": "acme", "workspaceId": 1, "workspaceSlug": "acme",
                "workspaceName": "acme", "ownerUserId": null, "status": "active", "createdAt": "now", "updatedAt": "now",
            },
            "generatedAt": "now", "stale": false, "limitations": [credits(100, 0)],
        })
    );

    let (_, all) = answer(gateway.as_service(Method::GET, LIMITATIONS)).await;
    let codes: Vec<_> = all["limitations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "ai.credits",
            "annuity.calculations.monthly",
            "projects.max",
            "workspace.access"
        ]
    );
    assert_eq!(all["limitations"][1]["hardLimitAmount"], 0);
    assert_eq!(all["limitations"][3]["lockState"], "workspace_expired");

    let wrong = gateway.as_service(Method::GET, "/api/billing/limitations?held=maybe");
    assert_eq!(
        refusal(wrong).await,
        (400, "VALIDATION_FAILED".into(), vec!["held".into()])
    );
}

#[tokio::test]
async fn the_subject_is_found_in_this_order() {
    let gateway = TestGateway::start().await;
    for (reference, slug) in [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")] {
        let put = gateway.as_service(Method::PUT, &format!("/api/billing/entities/workspace/{reference}"));
        assert_eq!(answer(put.json(&json!({"workspaceSlug": slug}))).await.0, 201);
    }
    let ask = |id: Option<&str>, query: &str, slug: Option<&str>| {
        let mut request = gateway
            .request(Method::GET, &format!("{LIMITATIONS}{query}"))
            .bearer_auth(&gateway.service);
        for (name, value) in [("X-Billable-Entity-Id", id), ("X-Workspace-Slug", slug)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    };
    for (request, id) in [
        (
            ask(Some("1"), "?billableEntityId=2&workspaceSlug=four", Some("three")),
            1,
        ),
        (ask(None, "?billableEntityId=2&workspaceSlug=four", Some("three")), 2),
        (ask(None, "?workspaceSlug=four", Some("three")), 3),
        (ask(None, "?workspaceSlug=four", None), 4),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["billableEntity"]["id"]), (200, &json!(id)));
    }
    // A name that cannot be one is wrong, though another one counts.
    let long = "a".repeat(65);
    for (request, refused) in [
        (
            ask(Some("1"), "?billableEntityId=one", None),
            (400, "VALIDATION_FAILED", vec!["billableEntityId"]),
        ),
        (
            ask(Some("1"), "", Some(&long)),
            (400, "VALIDATION_FAILED", vec!["workspaceSlug"]),
        ),
        (
            ask(None, &format!("?workspaceSlug={long}"), Some("one")),
            (400, "VALIDATION_FAILED", vec!["workspaceSlug"]),
        ),
        (ask(None, "", None), (400, "SUBJECT_REQUIRED", vec!["billableEntityId"])),
        (
            ask(Some("one"), "", None),
            (400, "VALIDATION_FAILED", vec!["billableEntityId"]),
        ),
        (
            ask(Some("+1"), "", None),
            (400, "VALIDATION_FAILED", vec!["billableEntityId"]),
        ),
        (
            ask(Some("18446744073709551616"), "", None),
            (400, "VALIDATION_FAILED", vec!["billableEntityId"]),
        ),
        (
            ask(None, "", Some(&"s".repeat(65))),
            (400, "VALIDATION_FAILED", vec!["workspaceSlug"]),
        ),
        (
            ask(Some("18446744073709551615"), "", None),
            (404, "SUBJECT_NOT_FOUND", vec![]),
        ),
        (ask(None, "", Some("nobody")), (404, "SUBJECT_NOT_FOUND", vec![])),
        (
            ask(None, "?workspaceSlug=n%C3%B6", None),
            (404, "SUBJECT_NOT_FOUND", vec![]),
        ),
    ] {
        let (status, code, fields) = refusal(request).await;
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        assert_eq!((status, code.as_str(), fields), refused);
    }
}

#[tokio::test]
async fn a_refresh_puts_a_wrong_number_right() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    assert_eq!(answer(gateway.consume(&use_of(10, "one"))).await.0, 200);
    let mut session = gateway.test.session().await;
    mysql_async::prelude::Queryable::query_drop(
        &mut session,
        "UPDATE billing_entitlement_balances SET segment_consumed_amount = 90",
    )
    .await
    .unwrap();
    let (status, body) = answer(gateway.as_admin(Method::POST, REFRESH)).await;
    assert_eq!((status, &body["billableEntity"]["id"]), (200, &json!(1)));
    assert_eq!(without_instants(body["limitations"][0].clone()), credits(100, 10));
    assert_eq!(body["limitations"].as_array().unwrap().len(), 4);
}

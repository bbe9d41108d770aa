//! `/api/billing/…`

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const CONSUME: &str = "/api/billing/consume";
const ENTITY: &str = "/api/billing/entities/workspace/acme";
const LIMITATIONS: &str = "/api/billing/limitations";
const REFRESH: &str = "/api/billing/limits/refresh";

/// The limitation `ai.credits` of 100, of which `consumed` are used.
fn credits(granted: u64, consumed: u64) -> Value {
    json!({
        "code": "ai.credits", "name": "AI credits", "entitlementType": "balance", "enforcementMode": "hard_deny",
        "unit": "credit", "scale": 0, "windowInterval": null, "windowAnchor": null,
        "grantedAmount": granted, "consumedAmount": consumed, "heldAmount": 0,
        "effectiveAmount": granted - consumed, "availableAmount": granted - consumed, "hardLimitAmount": null,
        "overLimit": false, "lockState": "none", "nextChangeAt": null,
        "windowStartAt": "1970-01-01T00:00:00.000Z", "windowEndAt": "9999-12-31T23:59:59.999Z",
        "lastRecomputedAt": "now",
    })
}

fn use_of(amount: u64, key: &str) -> Value {
    json!({"limitationCode": "ai.credits", "amount": amount, "usageEventKey": key})
}

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
    for (request, refused) in [
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
async fn a_use_is_booked_once_and_its_replay_gives_the_first_answer() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;

    let body = json!({"limitationCode": "ai.credits", "amount": 60, "usageEventKey": "order-1", "reasonCode": "chat",
                      "occurredAt": "2026-01-01T00:00:00.5+00:00", "metadata": {"model": "m"}});
    let (status, first) = answer(gateway.consume(&body)).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        without_instants(first.clone()),
        json!({
            "outcome": "accepted", "replayed": false, "warning": null,
            "consumptions": [{"limitationCode": "ai.credits", "amount": 60, "usageEventKey": "order-1", "reasonCode": "chat",
                              "sequenceNo": 1, "occurredAt": "now", "postedAt": "now"}],
            "limitations": [credits(100, 60)],
        })
    );
    assert_eq!(first["consumptions"][0]["occurredAt"], "2026-01-01T00:00:00.500Z");

    // Also when nothing is left by now.
    assert_eq!(answer(gateway.consume(&use_of(40, "order-2"))).await.0, 200);
    let (status, mut again) = answer(gateway.consume(&body)).await;
    assert_eq!((status, again["replayed"].take()), (200, json!(true)));
    again["replayed"] = false.into();
    assert_eq!(again, first);

    let conflict = gateway.consume(&use_of(59, "order-1"));
    assert_eq!(refusal(conflict).await, (409, "IDEMPOTENCY_CONFLICT".into(), vec![]));
}

#[tokio::test]
async fn the_key_is_the_bodys_else_a_headers() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let keyless = json!({"limitationCode": "ai.credits"});
    let request = |body: &Value, headers: &[(&'static str, &str)]| {
        let mut request = gateway.consume(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    };
    for (request, key) in [
        (request(&use_of(1, "body"), &[("Idempotency-Key", "header")]), "body"),
        (
            request(&keyless, &[("Idempotency-Key", "header"), ("X-Command-Id", "command")]),
            "header",
        ),
        (request(&keyless, &[("X-Command-Id", "command")]), "command"),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(
            (status, &body["consumptions"][0]["usageEventKey"]),
            (200, &json!(key)),
            "{body}"
        );
        assert_eq!(body["replayed"], false);
    }
    let refused = refusal(gateway.consume(&keyless)).await;
    assert_eq!(
        refused,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["usageEventKey".into()])
    );
    let refused = refusal(request(&keyless, &[("Idempotency-Key", &"k".repeat(129))])).await;
    assert_eq!(
        refused,
        (400, "VALIDATION_FAILED".into(), vec!["idempotencyKey".into()])
    );
}

#[tokio::test]
async fn several_items_are_booked_together_or_not_at_all() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    gateway.grant(entity, "annuity.calculations.monthly", 1).await;
    let both = |amount: u64, key: &str| json!({"usageEventKey": key, "items": [{"limitationCode": "ai.credits", "amount": amount}, {"capability": "annuity.calculate"}]});
    let (status, body) = answer(gateway.consume(&both(5, "one"))).await;
    assert_eq!(status, 200, "{body}");
    let used: Vec<_> = body["consumptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["limitationCode"], &one["amount"], &one["reasonCode"]))
        .collect();
    assert_eq!(
        used,
        [
            (&json!("ai.credits"), &json!(5), &Value::Null),
            (
                &json!("annuity.calculations.monthly"),
                &json!(1),
                &json!("annuity.calculate")
            )
        ]
    );
    assert_eq!(body["limitations"].as_array().unwrap().len(), 2);

    let response = gateway.consume(&both(5, "two")).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["details"]["retryAfterSeconds"], retry_after);
    let details = json!({
        "limitationCode": "annuity.calculations.monthly", "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 1,
        "limit": 1, "used": 1, "remaining": 0, "interval": "month", "enforcement": "hard_deny", "windowEndAt": "now",
        "retryAfterSeconds": retry_after,
    });
    assert_eq!(without_instants(body["details"].clone()), details);

    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(without_instants(body["limitations"][0].clone()), credits(100, 5));
}

#[tokio::test]
async fn a_refusal_says_all_there_is_to_say() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    assert_eq!(answer(gateway.consume(&use_of(60, "one"))).await.0, 200);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let response = gateway.consume(&use_of(41, "two")).send().await.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(!response.headers().contains_key("retry-after"), "time does not help");
        bodies.push(response.text().await.unwrap());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(
        serde_json::from_str::<Value>(&bodies[0]).unwrap(),
        json!({
            "type": "urn:consumable:error:billing-limit-exceeded", "title": "The limit does not leave room for this use",
            "status": 429, "detail": "ai.credits does not leave room for this use", "code": "BILLING_LIMIT_EXCEEDED",
            "details": {
                "limitationCode": "ai.credits", "billableEntityId": 1, "reason": "limit_exceeded", "requestedAmount": 41,
                "limit": 100, "used": 60, "remaining": 40, "interval": null, "enforcement": "hard_deny", "windowEndAt": null,
                "retryAfterSeconds": null,
            },
        })
    );
    // A refusal is not stored: the same key may succeed later.
    gateway.grant(entity, "ai.credits", 1).await;
    assert_eq!(answer(gateway.consume(&use_of(41, "two"))).await.0, 200);
    // A subject that was never granted a code has 0 of it.
    let (status, body) =
        answer(gateway.consume(&json!({"capability": "annuity.calculate", "usageEventKey": "k"}))).await;
    assert_eq!((status, &body["details"]["limit"]), (429, &json!(0)));
}

#[tokio::test]
async fn what_is_wrong_with_a_use_is_named() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let with = |field: &str, value: Value| {
        let mut body = use_of(1, "k");
        body[field] = value;
        body
    };
    let items = |items: Value| json!({"usageEventKey": "k", "items": items});
    let item = json!({"limitationCode": "ai.credits"});
    for (body, status, code, field) in [
        (with("amount", json!(0)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(-1)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!(1.5)), 400, "VALIDATION_FAILED", "amount"),
        (with("amount", json!("1")), 400, "VALIDATION_FAILED", "amount"),
        (
            with("amount", json!(9_007_199_254_740_992_u64)),
            400,
            "VALIDATION_FAILED",
            "amount",
        ),
        (with("amount", json!(u64::MAX)), 400, "VALIDATION_FAILED", "amount"),
        (
            with("usageEventKey", json!("")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("two words")),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("k".repeat(129))),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!("k".repeat(300))),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("usageEventKey", json!(7)),
            400,
            "VALIDATION_FAILED",
            "usageEventKey",
        ),
        (
            with("capability", json!("annuity.calculate")),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            json!({"usageEventKey": "k"}),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            with("limitationCode", json!("c".repeat(65))),
            400,
            "VALIDATION_FAILED",
            "limitationCode",
        ),
        (
            with("reasonCode", json!("no reason")),
            400,
            "VALIDATION_FAILED",
            "reasonCode",
        ),
        (
            with("reasonCode", json!("r".repeat(129))),
            400,
            "VALIDATION_FAILED",
            "reasonCode",
        ),
        (
            with("occurredAt", json!("yesterday")),
            400,
            "VALIDATION_FAILED",
            "occurredAt",
        ),
        (with("metadata", json!([1])), 400, "VALIDATION_FAILED", "metadata"),
        (
            with("metadata", json!({"a": "b".repeat(3000)})),
            400,
            "VALIDATION_FAILED",
            "metadata",
        ),
        (
            with("metadata", json!({"k".repeat(70_000): 1})),
            400,
            "VALIDATION_FAILED",
            "metadata",
        ),
        (with("colour", json!(1)), 400, "VALIDATION_FAILED", "colour"),
        (with("items", json!([item])), 400, "VALIDATION_FAILED", "items"),
        (items(json!([])), 400, "VALIDATION_FAILED", "items"),
        (items(json!(vec![&item; 101])), 400, "VALIDATION_FAILED", "items"),
        (items(json!([["ai.credits"]])), 400, "VALIDATION_FAILED", "items[0]"),
        (
            items(json!([item, {"limitationCode": "ai.credits"}])),
            400,
            "VALIDATION_FAILED",
            "items[0]",
        ),
        (
            items(json!([item, {"capability": "annuity.calculate", "amount": 0}])),
            400,
            "VALIDATION_FAILED",
            "items[1].amount",
        ),
        (
            items(json!([item, {"amount": true}])),
            400,
            "VALIDATION_FAILED",
            "items[1].amount",
        ),
        (
            items(json!([{"limitationCode": "ai.credits", "usageEventKey": "k"}])),
            400,
            "VALIDATION_FAILED",
            "items[0].usageEventKey",
        ),
        (
            json!({"usageEventKey": "k", "capability": "fly"}),
            404,
            "CAPABILITY_NOT_FOUND",
            "",
        ),
        (
            with("limitationCode", json!("no.such")),
            404,
            "DEFINITION_NOT_FOUND",
            "",
        ),
        (with("limitationCode", json!("wörks")), 404, "DEFINITION_NOT_FOUND", ""),
        (
            with("limitationCode", json!("workspace.access")),
            422,
            "NOT_CONSUMABLE",
            "",
        ),
        (
            with("occurredAt", json!("2199-01-01T00:00:00Z")),
            422,
            "OCCURRED_AT_OUTSIDE_WINDOW",
            "",
        ),
    ] {
        let fields = if field.is_empty() {
            vec![]
        } else {
            vec![field.to_owned()]
        };
        let refused = refusal(gateway.consume(&body)).await;
        let short: String = body.to_string().chars().take(200).collect();
        assert_eq!(refused, (status, code.to_owned(), fields), "{short}");
    }
    let mut session = gateway.test.session().await;
    mysql_async::prelude::Queryable::query_drop(
        &mut session,
        "UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'ai.credits'",
    )
    .await
    .unwrap();
    assert_eq!(refusal(gateway.consume(&use_of(1, "k"))).await.1, "DEFINITION_INACTIVE");
    let nobody = gateway
        .request(Method::POST, CONSUME)
        .bearer_auth(&gateway.service)
        .header("X-Billable-Entity-Id", "99");
    assert_eq!(
        refusal(nobody.json(&use_of(1, "k"))).await,
        (404, "SUBJECT_NOT_FOUND".into(), vec![])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_race_take_what_there_is_and_no_more() {
    let gateway = std::sync::Arc::new(TestGateway::start().await);
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let clients = (0..32).map(|client| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for number in (client..200).step_by(32) {
                statuses.push(answer(gateway.consume(&use_of(1, &format!("use-{number}")))).await.0);
            }
            statuses
        })
    });
    let mut statuses = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        statuses.extend(client.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 100], [429; 100]].concat());
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(without_instants(body["limitations"][0].clone()), credits(100, 100));
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

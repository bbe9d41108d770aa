//! What was bought, and what the provider said, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};
use crate::support::shop::Event;

const PURCHASES: &str = "/api/console/billing/purchases";
const EVENTS: &str = "/api/console/billing/events";

#[tokio::test]
async fn a_purchase_is_shown_with_all_that_belongs_to_it() {
    let (gateway, entity) = TestGateway::with_shop().await;
    let mut event = Event::current("checkout.session.completed.line_items").now();
    event.0["data"]["object"]["line_items"]["data"][1]["price"]["id"] = "price_of_another_shop".into();
    assert_eq!(gateway.receive(&event).await.0, 200);
    let refund = Event::current("charge.refunded")
        .with("/payment_intent", "pi_lines")
        .with("/amount_refunded", 1250);
    assert_eq!(gateway.receive(&refund.now()).await.0, 200);
    let (status, body) = answer(gateway.as_admin(Method::GET, PURCHASES)).await;
    assert_eq!(status, 200, "{body}");
    let shown = without_instants(body["entries"][0].clone());
    let mut head = shown.clone();
    for part in ["grants", "lines", "refunds"] {
        head.as_object_mut().unwrap().remove(part);
    }
    assert_eq!(
        head,
        json!({
            "id": 1, "billableEntityId": entity, "provider": "stripe", "providerPaymentId": "pi_lines", "eventId": 1, "status": "partially_refunded",
            "currency": "eur", "paidMinorUnits": 2500, "refundedMinorUnits": 1250, "periodStartAt": null, "periodEndAt": null, "purchasedAt": "now",
            "createdAt": "now", "voidedAt": null, "voidedBy": null, "voidReason": null, "unknownPriceIds": ["price_of_another_shop"],
        })
    );
    assert_eq!(
        shown["lines"],
        json!([
            {"lineNo": 1, "providerPriceId": "price_pack", "planCode": null, "productCode": "pack", "quantity": 2},
            {"lineNo": 2, "providerPriceId": "price_of_another_shop", "planCode": null, "productCode": null, "quantity": 1},
        ])
    );
    assert_eq!(
        shown["refunds"],
        json!([{"providerChargeId": "ch_1", "currency": "eur", "refundedMinorUnits": 1250, "updatedAt": "now"}])
    );
    let grants: Vec<(&Value, &Value, &Value, &Value)> = shown["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| {
            (
                &grant["code"],
                &grant["boughtAmount"],
                &grant["amount"],
                &grant["state"],
            )
        })
        .collect();
    let grants = json!(grants);
    assert_eq!(
        grants,
        json!([
            ["shop.credits", 200, 200, "ended"],
            ["shop.quota", 100, 100, "ended"],
            ["shop.seats", 6, 6, "ended"],
            ["shop.credits", 200, 100, "active"],
            ["shop.quota", 100, 50, "active"],
            ["shop.seats", 6, 3, "active"],
        ])
    );
}

#[tokio::test]
async fn lists_come_in_pages_newest_first() {
    let (gateway, entity) = TestGateway::with_shop().await;
    for n in 1..=5 {
        let event = Event::current("checkout.session.completed")
            .now()
            .id(&format!("evt_{n}"))
            .renaming("cs_pack", &format!("cs_{n}"))
            .renaming("pi_pack", &format!("pi_{n}"));
        assert_eq!(gateway.receive(&event).await.0, 200);
    }
    let ids = |body: &Value| -> Vec<u64> {
        let entries = body["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    };
    for list in [PURCHASES, EVENTS] {
        for whose in [
            format!("billableEntityId={entity}"),
            String::new(),
            "outcome=applied".into(),
        ] {
            let mut found = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!("{list}?limit=2&{whose}{cursor}");
                let (status, body) = answer(gateway.as_admin(Method::GET, &path)).await;
                assert_eq!(status, 200, "{body}");
                found.extend(ids(&body));
                match body["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found, [5, 4, 3, 2, 1], "{list} {whose}");
        }
        let (_, body) = answer(gateway.as_admin(Method::GET, &format!("{list}?billableEntityId=99"))).await;
        assert_eq!(body, json!({"entries": [], "nextCursor": null}));
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=%2B1", "cursor"),
            ("limit=%2B1", "limit"),
            ("billableEntityId=acme", "billableEntityId"),
            ("billableEntityId=%2B1", "billableEntityId"),
        ] {
            let refused = refusal(gateway.as_admin(Method::GET, &format!("{list}?{query}"))).await;
            assert_eq!(
                refused,
                (400, "VALIDATION_FAILED".into(), vec![field.into()]),
                "{list}?{query}"
            );
        }
        assert_eq!(refusal(gateway.as_service(Method::GET, list)).await.0, 403);
        assert_eq!(refusal(gateway.request(Method::GET, list)).await.0, 401);
    }
    for query in ["outcome=lost", "outcome=aaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let refused = refusal(gateway.as_admin(Method::GET, &format!("{EVENTS}?{query}"))).await;
        assert_eq!(refused, (400, "VALIDATION_FAILED".into(), vec!["outcome".into()]));
    }
}

#[tokio::test]
async fn a_purchase_is_made_void_once_with_a_reason() {
    let (gateway, entity) = TestGateway::with_shop().await;
    assert_eq!(
        gateway
            .receive(&Event::current("checkout.session.completed").now())
            .await
            .0,
        200
    );
    let void = |id: &str, key: Option<&str>, body: &Value| {
        let request = gateway
            .as_admin(Method::POST, &format!("{PURCHASES}/{id}/void"))
            .json(body);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    };
    let why = json!({"reason": "Stolen card"});
    for (request, refused) in [
        (
            void("1", None, &why),
            (400, "IDEMPOTENCY_KEY_REQUIRED", vec!["idempotencyKey"]),
        ),
        (
            void("1", Some("a b"), &why),
            (400, "VALIDATION_FAILED", vec!["idempotencyKey"]),
        ),
        (
            void("1", Some("k"), &json!({})),
            (400, "VALIDATION_FAILED", vec!["reason"]),
        ),
        (
            void("1", Some("k"), &json!({"reason": " "})),
            (400, "VALIDATION_FAILED", vec!["reason"]),
        ),
        (
            void("1", Some("k"), &json!({"reason": "r".repeat(256)})),
            (400, "VALIDATION_FAILED", vec!["reason"]),
        ),
        (
            void("1", Some("k"), &json!({"reason": "x", "amount": 1})),
            (400, "VALIDATION_FAILED", vec!["amount"]),
        ),
        (void("9", Some("k"), &why), (404, "PURCHASE_NOT_FOUND", vec![])),
    ] {
        let (status, code, fields) = refused;
        let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        assert_eq!(refusal(request).await, (status, code.to_owned(), fields));
    }
    assert_eq!(gateway.available(entity).await, [100, 50, 3]);
    let (status, first) = answer(void("1", Some("key"), &why)).await;
    assert_eq!(status, 200, "{first}");
    let purchase = &first["purchase"];
    assert_eq!(
        (&purchase["status"], &purchase["voidReason"], &purchase["voidedBy"]),
        (&json!("voided"), &json!("Stolen card"), &json!("key:2 admin"))
    );
    assert_eq!(gateway.available(entity).await, [0, 0, 0]);
    assert_eq!(answer(void("1", Some("key"), &why)).await, (200, first));
    assert_eq!(
        refusal(void("1", Some("key"), &json!({"reason": "Other"}))).await.1,
        "IDEMPOTENCY_CONFLICT"
    );
    let as_service = gateway
        .as_service(Method::POST, &format!("{PURCHASES}/1/void"))
        .json(&why);
    assert_eq!(refusal(as_service).await.0, 403);
}

#[tokio::test]
async fn an_event_is_shown_as_it_was_sent() {
    let (gateway, _) = TestGateway::with_shop().await;
    let event = Event::current("customer.created");
    assert_eq!(gateway.receive(&event).await.0, 200);
    let (status, body) = answer(gateway.as_admin(Method::GET, &format!("{EVENTS}/1"))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        without_instants(body["event"].clone()),
        json!({
            "id": 1, "provider": "stripe", "providerEventId": "evt_customer", "eventType": "customer.created", "apiVersion": "2025-09-30.clover",
            "outcome": "ignored", "failure": null, "ignoredBecause": "Nothing follows from events of this type", "attempts": 1,
            "billableEntityId": null, "receivedAt": "now", "resolvedAt": "now", "payload": event.body(),
        })
    );
    for (method, path, status, code) in [
        (Method::GET, format!("{EVENTS}/9"), 404, "EVENT_NOT_FOUND"),
        (Method::GET, format!("{EVENTS}/x"), 404, "NOT_FOUND"),
        (
            Method::POST,
            format!("{EVENTS}/1/replay"),
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
        ),
        (Method::DELETE, format!("{EVENTS}/1"), 405, "METHOD_NOT_ALLOWED"),
    ] {
        let refused = refusal(gateway.as_admin(method, &path)).await;
        assert_eq!((refused.0, refused.1.as_str()), (status, code), "{path}");
    }
    let missing = gateway
        .as_admin(Method::POST, &format!("{EVENTS}/9/replay"))
        .header("Idempotency-Key", "k");
    assert_eq!(refusal(missing).await.1, "EVENT_NOT_FOUND");
    assert_eq!(
        refusal(gateway.as_service(Method::GET, &format!("{EVENTS}/1"))).await.0,
        403
    );
}

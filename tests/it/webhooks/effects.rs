//! What each event does, over HTTP.

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer};
use crate::support::shop::{Event, VERSIONS};
use crate::support::story::differences;

/// Each event (a fixture, of either version of the API), what must have come before, how it is answered, and what is available then of credits (a
/// top-up; also the plan's for each paid period), a monthly quota (add-on; plan) and seats (add-on; plan).
#[rustfmt::skip]
const EFFECTS: &[(&str, &[&str], &str, [i64; 3])] = &[
    ("checkout.session.completed",                &[],                                                 "applied", [100, 50, 3]),
    ("checkout.session.completed.line_items",     &[],                                                 "applied", [210, 100, 6]),
    ("checkout.session.completed.subscription",   &[],                                                 "applied", [0, 0, 0]),
    ("checkout.session.async_payment_succeeded",  &[],                                                 "applied", [100, 50, 3]),
    ("customer.subscription.created",             &[],                                                 "applied", [0, 0, 0]),
    ("customer.subscription.updated",             &[],                                                 "applied", [0, 1000, 5]),
    ("customer.subscription.updated",             &["customer.subscription.created"],                  "applied", [0, 1000, 5]),
    ("customer.subscription.created",             &["customer.subscription.updated"],                  "ignored", [0, 1000, 5]),
    ("customer.subscription.deleted",             &["customer.subscription.updated"],                  "applied", [0, 0, 0]),
    ("customer.subscription.updated",             &["customer.subscription.deleted"],                  "ignored", [0, 0, 0]),
    ("invoice.paid",                              &[],                                                 "applied", [120, 1050, 8]),
    ("invoice.paid",                              &["customer.subscription.updated"],                  "applied", [120, 1050, 8]),
    ("customer.subscription.updated",             &["invoice.paid"],                                   "applied", [120, 1050, 8]),
    ("customer.subscription.deleted",             &["invoice.paid"],                                   "applied", [120, 50, 3]),
    ("charge.refunded",                           &[],                                                 "applied", [0, 0, 0]),
    ("charge.refunded",                           &["invoice.paid", "invoice_payment.paid"],           "applied", [0, 1000, 5]),
    ("invoice.paid",                              &["charge.refunded", "invoice_payment.paid"],        "applied", [0, 1000, 5]),
    ("invoice.paid",                              &["invoice.paid"],                                   "replayed", [120, 1050, 8]),
    ("customer.created",                          &[],                                                 "ignored", [0, 0, 0]),
];

#[tokio::test]
async fn each_event_has_its_effect() {
    let (gateway, _) = TestGateway::with_shop().await;
    for version in VERSIONS {
        for (n, (name, before, outcome, available)) in EFFECTS.iter().enumerate() {
            // Each row is another customer's.
            let mark = format!("-{version}-{n}");
            let entity = gateway.customer(&mark).await;
            for name in *before {
                // Older invoices name the intent that paid them themselves.
                let version = if *name == "invoice_payment.paid" {
                    VERSIONS[0]
                } else {
                    version
                };
                let (status, body) = gateway.receive(&Event::of(version, name).now().marked(&mark)).await;
                assert_eq!(status, 200, "{version} {name}: {body}");
            }
            let (status, body) = gateway.receive(&Event::of(version, name).now().marked(&mark)).await;
            assert_eq!(
                (status, &body["outcome"]),
                (200, &json!(outcome)),
                "{version} {name} after {before:?}: {body}"
            );
            assert_eq!(
                gateway.available(entity).await,
                *available,
                "{version} {name} after {before:?}"
            );
        }
    }
    assert_eq!(differences(&mut gateway.test.session().await, None).await, [""; 0]);
}

#[tokio::test]
async fn readers_hear_of_a_purchase_at_once_and_of_its_replay_not() {
    let (gateway, _) = TestGateway::with_shop().await;
    let mut reader = gateway.listen(None).await;
    reader.next().await.unwrap();
    let event = Event::current("checkout.session.completed").now();
    for outcome in ["applied", "replayed"] {
        let (status, body) = gateway.receive(&event).await;
        assert_eq!((status, body), (200, json!({"received": true, "outcome": outcome})));
    }
    // The next one's is the very next change.
    let (status, _) = gateway
        .receive(&event.id("evt_more").with("/metadata/quantity", "2"))
        .await;
    assert_eq!(status, 200);
    let mut codes = Vec::new();
    for _ in 0..6 {
        let frame = reader.next().await.unwrap();
        let data: Value = serde_json::from_str(&frame.data).unwrap();
        assert_eq!(data["changeSource"], "purchase_grant");
        codes.push(data["changedCodes"][0].as_str().unwrap().to_owned());
    }
    let three = ["shop.credits", "shop.quota", "shop.seats"];
    assert_eq!(codes, [three, three].concat());
}

#[tokio::test]
async fn what_cannot_be_applied_is_answered_5xx_and_an_operator_can_try_again() {
    let (gateway, entity) = TestGateway::with_shop().await;
    let mut session = gateway.test.session().await;
    session
        .query_drop("UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'shop.seats'")
        .await
        .unwrap();
    let event = Event::current("checkout.session.completed").now();
    let (status, body) = gateway.receive(&event).await;
    assert_eq!((status, &body["code"]), (503, &json!("EVENT_NOT_APPLIED")), "{body}");
    assert_eq!(
        body["detail"],
        "DEFINITION_INACTIVE: the event is kept, and can be sent again"
    );
    assert_eq!(gateway.available(entity).await, [0, 0, 0]);

    let list = |query: &str| gateway.as_admin(Method::GET, &format!("/api/console/billing/events{query}"));
    let (status, body) = answer(list("?outcome=failed")).await;
    assert_eq!(status, 200);
    let failed = &body["entries"][0];
    assert_eq!(
        failed["failure"],
        "DEFINITION_INACTIVE: this entitlement definition is not active"
    );
    assert_eq!(failed["attempts"], 1);
    session
        .query_drop("UPDATE billing_entitlement_definitions SET is_active = TRUE WHERE code = 'shop.seats'")
        .await
        .unwrap();
    let replay = |key: &str| {
        let path = format!("/api/console/billing/events/{}/replay", failed["id"]);
        gateway.as_admin(Method::POST, &path).header("Idempotency-Key", key)
    };
    let (status, first) = answer(replay("one")).await;
    assert_eq!(
        (status, &first["event"]["outcome"]),
        (200, &json!("applied")),
        "{first}"
    );
    assert_eq!(first["event"]["billableEntityId"], entity);
    assert_eq!(first["event"]["payload"], event.body());
    assert_eq!(answer(replay("one")).await, (200, first));
    // The provider tries on.
    assert_eq!(
        gateway.receive(&event).await,
        (200, json!({"received": true, "outcome": "replayed"}))
    );
    assert_eq!(gateway.available(entity).await, [100, 50, 3]);
    assert_eq!(answer(list("?outcome=failed")).await.1["entries"], json!([]));
    assert_eq!(differences(&mut session, entity).await, [""; 0]);
}

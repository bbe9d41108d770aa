//! Purchases as stories: what an event says was bought, once, whichever events tell of it, and in which order.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::support::shop::{BEGIN, DAY, Event, Shop, VERSIONS, failed, ignored, replayed};

/// A paid checkout session of `price_pack`.
fn checkout() -> Event {
    Event::current("checkout.session.completed")
}

/// An invoice of which only the line of `price_pack` is left, and no subscription.
fn invoice(version: &str) -> Event {
    let mut invoice = Event::of(version, "invoice.paid");
    let lines = invoice.0["data"]["object"]["lines"]["data"].as_array_mut().unwrap();
    lines.remove(0);
    invoice.0["data"]["object"]["amount_paid"] = 1000.into();
    invoice
}

#[tokio::test]
async fn a_paid_session_grants_what_its_product_promises() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        let event = Event::of(version, "checkout.session.completed");
        shop.applies(&event).await;
        assert_eq!(shop.purchases().await, ["pi_pack paid 0 of 1000 eur: 1 pack"]);
        // Sixty days of 24 hours from the event on, which came ten seconds before now.
        assert_eq!(
            shop.grants().await,
            [
                "shop.credits topup 100 purchase for ever",
                "shop.quota addon_timeboxed 50 purchase 2026-04-30 00:00:00.000",
                "shop.seats addon_timeboxed 3 purchase 2026-04-30 00:00:00.000",
            ]
        );
        assert_eq!(shop.receive(&event).await, replayed());
        assert_eq!(shop.available().await, [100, 50, 3]);
        let keys: Vec<String> = shop
            .session
            .query("SELECT dedupe_key FROM billing_entitlement_grants ORDER BY dedupe_key")
            .await
            .unwrap();
        let subject = shop.subject;
        assert_eq!(
            keys,
            [
                format!("event:evt_checkout:{subject}:pack:shop.credits:one_off_topup"),
                format!("event:evt_checkout:{subject}:pack:shop.quota:timeboxed_addon"),
                format!("event:evt_checkout:{subject}:pack:shop.seats:timeboxed_addon"),
            ]
        );
        assert_eq!(
            shop.number("SELECT COUNT(*) FROM billing_limit_changes WHERE change_source = 'purchase_grant'")
                .await,
            3
        );
        shop.at(BEGIN + 60 * DAY).await;
        assert_eq!(shop.available().await, [100, 0, 0]);
        shop.end().await;
    }
}

#[tokio::test]
async fn lines_and_quantities_count() {
    let mut shop = Shop::open().await;
    shop.applies(&Event::current("checkout.session.completed.line_items"))
        .await;
    assert_eq!(shop.purchases().await, ["pi_lines paid 0 of 2500 eur: 1 extra, 2 pack"]);
    assert_eq!(shop.available().await, [210, 100, 6]);
    shop.applies(&checkout().with("/metadata/quantity", "7")).await;
    assert_eq!(shop.available().await, [910, 450, 27]);
    for version in VERSIONS {
        let before = shop.available().await;
        let invoice = invoice(version)
            .renaming("in_1", &format!("in_{version}"))
            .renaming("pi_1", &format!("pi_{version}"))
            .renaming("ch_1", &format!("ch_{version}"))
            .id(&format!("evt_{version}"))
            .with("/lines/data/0/quantity", 3);
        shop.applies(&invoice).await;
        let after = shop.available().await;
        assert_eq!(
            [after[0] - before[0], after[1] - before[1], after[2] - before[2]],
            [300, 150, 9],
            "{version}"
        );
    }
    shop.end().await;
}

#[tokio::test]
async fn what_gives_back_buys_nothing_and_an_unknown_price_stops_nobody() {
    let mut shop = Shop::open().await;
    let mut invoice = invoice(VERSIONS[0]);
    let lines = invoice.0["data"]["object"]["lines"]["data"].as_array_mut().unwrap();
    let mut unknown = lines[0].clone();
    unknown["pricing"]["price_details"]["price"] = "price_of_another_shop".into();
    let mut given_back = lines[0].clone();
    given_back["amount"] = (-500).into();
    let mut none = lines[0].clone();
    none["quantity"] = 0.into();
    let mut unpriced = lines[0].clone();
    unpriced["pricing"]["price_details"] = Value::Null;
    lines.extend([given_back, unknown, none, unpriced]);
    shop.applies(&invoice).await;
    assert_eq!(
        shop.purchases().await,
        ["in_1 paid 0 of 1000 eur: 1 pack, 1 unknown price_of_another_shop"]
    );
    assert_eq!(shop.available().await, [100, 50, 3]);
    shop.end().await;
}

#[tokio::test]
async fn two_events_of_one_payment_are_one_purchase_in_either_order() {
    // The session knows one pack, by its metadata; the invoice knows two, and an extra.
    let session = checkout().with("/invoice", "in_1").with("/payment_intent", "pi_1");
    let mut invoice = invoice(VERSIONS[0]).with("/lines/data/0/quantity", 2);
    let lines = invoice.0["data"]["object"]["lines"]["data"].as_array_mut().unwrap();
    let mut extra = lines[0].clone();
    extra["pricing"]["price_details"]["price"] = "price_extra".into();
    extra["quantity"] = 1.into();
    lines.push(extra);
    for events in [[&session, &invoice], [&invoice, &session]] {
        let mut shop = Shop::open().await;
        for event in events {
            shop.applies(event).await;
        }
        assert_eq!(shop.number("SELECT COUNT(*) FROM billing_purchases").await, 1);
        assert_eq!(shop.number("SELECT COUNT(*) FROM billing_purchase_references").await, 3);
        assert_eq!(shop.available().await, [210, 100, 6]);
        for event in events {
            assert_eq!(shop.receive(event).await, replayed());
        }
        // Nor does a later event of the same payment, under another event's id.
        shop.applies(&session.clone().id("evt_again")).await;
        assert_eq!(shop.available().await, [210, 100, 6]);
        shop.end().await;
    }
}

#[tokio::test]
async fn a_payment_intent_that_was_tied_to_an_invoice_before_is_its_other_name() {
    let mut shop = Shop::open().await;
    shop.applies(&Event::current("invoice_payment.paid")).await;
    shop.applies(&checkout().with("/payment_intent", "pi_1")).await;
    shop.applies(&invoice(VERSIONS[0])).await;
    assert_eq!(shop.number("SELECT COUNT(*) FROM billing_purchases").await, 1);
    assert_eq!(shop.available().await, [100, 50, 3]);
    // An event that ties two payments together which are not one must not be believed in silence.
    shop.applies(
        &checkout()
            .id("evt_other")
            .renaming("cs_pack", "cs_other")
            .renaming("pi_pack", "pi_other"),
    )
    .await;
    let tie = Event::current("invoice_payment.paid")
        .id("evt_tie")
        .with("/payment/payment_intent", "pi_other");
    assert_eq!(shop.receive(&tie).await, failed("EVENT_NOT_APPLIED"));
    shop.end().await;
}

#[tokio::test]
async fn what_is_not_paid_waits() {
    let mut shop = Shop::open().await;
    let unpaid = Event::current("checkout.session.async_payment_succeeded")
        .id("evt_unpaid")
        .with("/payment_status", "unpaid");
    let unpaid = Event({
        let mut event = unpaid.0;
        event["type"] = "checkout.session.completed".into();
        event
    });
    assert_eq!(shop.receive(&unpaid).await, ignored());
    assert_eq!(shop.available().await, [0, 0, 0]);
    shop.at(BEGIN + DAY).await;
    shop.applies(&Event::current("checkout.session.async_payment_succeeded"))
        .await;
    assert_eq!(shop.available().await, [100, 50, 3]);
    let free = checkout()
        .with("/payment_status", "no_payment_required")
        .with("/payment_intent", Value::Null)
        .with("/currency", Value::Null)
        .with("/amount_total", 0);
    shop.applies(&free).await;
    assert_eq!(
        shop.purchases().await,
        ["pi_async paid 0 of 1000 eur: 1 pack", "cs_pack paid 0 of 0 xxx: 1 pack"]
    );
    shop.end().await;
}

#[tokio::test]
async fn an_addon_that_is_heard_of_late_ends_when_it_should_have() {
    let mut shop = Shop::open().await;
    shop.at(BEGIN + 59 * DAY).await;
    shop.applies(&checkout()).await;
    assert_eq!(shop.available().await, [100, 50, 3]);
    shop.at(BEGIN + 61 * DAY).await;
    assert_eq!(shop.available().await, [100, 0, 0]);
    shop.applies(
        &checkout()
            .id("evt_late")
            .renaming("cs_pack", "cs_late")
            .renaming("pi_pack", "pi_late"),
    )
    .await;
    assert_eq!(shop.available().await, [200, 0, 0]);
    // An event that was made ahead of this clock begins now, not later.
    let ahead = checkout()
        .id("evt_ahead")
        .renaming("cs_pack", "cs_ahead")
        .renaming("pi_pack", "pi_ahead");
    shop.applies(&ahead.created(BEGIN + 61 * DAY + 5)).await;
    assert_eq!(shop.available().await, [300, 50, 3]);
    shop.end().await;
}

#[tokio::test]
async fn whose_it_is_is_found_by_customer_then_by_reference() {
    let mut shop = Shop::open().await;
    let beta = shop.entity("beta", None).await;
    shop.entity("gamma", Some("cus_gamma")).await;
    let mut n = 0;
    let mut event = |customer: Value, client_reference: Value, metadata: Value| {
        n += 1;
        let mut fields = json!({"priceId": "price_extra"});
        fields
            .as_object_mut()
            .unwrap()
            .extend(metadata.as_object().unwrap().clone());
        checkout()
            .id(&format!("evt_{n}"))
            .renaming("cs_pack", &format!("cs_{n}"))
            .renaming("pi_pack", &format!("pi_{n}"))
            .with("/customer", customer)
            .with("/client_reference_id", client_reference)
            .with("/metadata", fields)
    };
    let none = Value::Null;
    let rows = [
        (event("cus_acme".into(), "beta".into(), json!({})), "acme"),
        (event(none.clone(), "beta".into(), json!({})), "beta"),
        (event(none.clone(), none.clone(), json!({"entityRef": "beta"})), "beta"),
        (
            event(
                none.clone(),
                "nobody".into(),
                json!({"entityRef": "beta", "entityType": "workspace"}),
            ),
            "beta",
        ),
        // Whoever is found by reference keeps the customer.
        (event("cus_beta".into(), "beta".into(), json!({})), "beta"),
        (event("cus_beta".into(), none.clone(), json!({})), "beta"),
        // One who has a customer may pay as another one.
        (event("cus_other".into(), "gamma".into(), json!({})), "gamma"),
    ];
    for (event, reference) in rows {
        shop.applies(&event).await;
        let found: Option<String> = shop
            .session
            .query_first("SELECT e.entity_ref FROM billing_purchases AS p JOIN billable_entities AS e ON e.id = p.subject_id ORDER BY p.id DESC LIMIT 1")
            .await
            .unwrap();
        assert_eq!(found.as_deref(), Some(reference), "{event:?}");
    }
    for refused in [
        event("cus_nobody".into(), none.clone(), json!({})),
        event(none.clone(), none.clone(), json!({})),
        event(none.clone(), "beta".into(), json!({"entityType": "user"})),
    ] {
        assert_eq!(shop.receive(&refused).await, failed("SUBJECT_NOT_FOUND"));
    }
    let foreign = event(
        "cus_nobody".into(),
        "another_application".into(),
        json!({"priceId": "price_of_another_shop"}),
    );
    assert_eq!(shop.receive(&foreign).await, ignored());
    // It names an entity as only this engine's users do: a slip, not another application's business.
    let misspelt = event(
        none.clone(),
        none,
        json!({"priceId": "price_of_another_shop", "entityRef": "akme"}),
    );
    assert_eq!(shop.receive(&misspelt).await, failed("SUBJECT_NOT_FOUND"));
    let customer: Option<String> = shop
        .session
        .exec_first(
            "SELECT provider_customer_id FROM billable_entities WHERE id = ?",
            (beta,),
        )
        .await
        .unwrap();
    assert_eq!(customer.as_deref(), Some("cus_beta"));
    shop.end().await;
}

#[tokio::test]
async fn what_an_event_does_not_say_whole_is_not_guessed() {
    let mut shop = Shop::open().await;
    let long = invoice(VERSIONS[0]).id("evt_long").with("/lines/has_more", true);
    assert_eq!(shop.receive(&long).await, failed("EVENT_NOT_APPLIED"));
    let long = Event::current("checkout.session.completed.line_items")
        .id("evt_long_session")
        .with("/line_items/has_more", true);
    assert_eq!(shop.receive(&long).await, failed("EVENT_NOT_APPLIED"));
    let many = checkout().id("evt_many").with("/metadata/quantity", "1000001");
    assert_eq!(shop.receive(&many).await, failed("VALIDATION_FAILED"));
    let wrong = checkout().id("evt_wrong").with("/metadata/quantity", "two");
    assert_eq!(shop.receive(&wrong).await, failed("INTERNAL"));
    let silent = checkout().id("evt_silent").with("/metadata", json!({}));
    assert_eq!(shop.receive(&silent).await, ignored());
    assert_eq!(shop.available().await, [0, 0, 0]);
    assert_eq!(shop.number("SELECT COUNT(*) FROM billing_purchases").await, 0);
    shop.end().await;
}

#[tokio::test]
async fn a_purchase_is_booked_by_hand_once() {
    let mut shop = Shop::open().await;
    let book = "CALL billing_confirm_purchase_v1(?, 'stripe', 'in_by_hand', 'eur', 1000,
                                                 '[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 2}]', NULL, NULL)";
    for _ in 0..2 {
        shop.session.exec_drop(book, (shop.subject,)).await.unwrap();
        assert_eq!(shop.available().await, [200, 100, 6]);
    }
    assert_eq!(
        shop.number("SELECT COUNT(*) FROM billing_entitlement_grants WHERE dedupe_key LIKE 'purchase:1:pack:%'")
            .await,
        3
    );
    for (payment, currency, paid, lines) in [
        (
            "'in 1'",
            "'eur'",
            "1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 1}]'",
        ),
        (
            "NULL",
            "'eur'",
            "1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 1}]'",
        ),
        (
            "'in_2'",
            "'EUR'",
            "1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 1}]'",
        ),
        (
            "'in_2'",
            "NULL",
            "1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 1}]'",
        ),
        (
            "'in_2'",
            "'eur'",
            "-1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 1}]'",
        ),
        (
            "'in_2'",
            "'eur'",
            "1",
            "'[{\"lineNo\": 1, \"priceId\": \"price_pack\", \"quantity\": 0}]'",
        ),
        ("'in_2'", "'eur'", "1", "'[{\"lineNo\": 1, \"quantity\": 1}]'"),
        ("'in_2'", "'eur'", "1", "'[]'"),
        ("'in_2'", "'eur'", "1", "NULL"),
    ] {
        let call = format!(
            "CALL billing_confirm_purchase_v1(1, 'stripe', {payment}, {currency}, {paid}, {lines}, NULL, NULL)"
        );
        let refused = shop.session.query_drop(&call).await;
        assert!(
            matches!(&refused, Err(mysql_async::Error::Server(error)) if error.code == 52001),
            "{call}: {refused:?}"
        );
    }
    // The event that tells of the same invoice finds it done.
    let invoice = invoice(VERSIONS[0])
        .renaming("in_1", "in_by_hand")
        .with("/lines/data/0/quantity", 2);
    shop.applies(&invoice).await;
    assert_eq!(shop.available().await, [200, 100, 6]);
    shop.end().await;
}

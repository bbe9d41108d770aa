//! The inbox: each event once, whatever comes at once, and what fails stays to be mended and tried again.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::json;

use crate::support::session::until_blocked;
use crate::support::shop::{BEGIN, Became, Event, Shop, applied, at, failed, ignored, receive, replayed};

fn checkout() -> Event {
    Event::current("checkout.session.completed")
}

/// A second session with the shop's clock.
async fn beside(shop: &Shop) -> Conn {
    let mut session = shop.database.session().await;
    at(&mut session, BEGIN + 10).await;
    session
}

/// As [`receive`], and again as the gateway does when it loses a deadlock.
async fn receives(mut session: Conn, event: Event) -> Became {
    for _ in 0..10 {
        match receive(&mut session, &event).await {
            Ok(became) => return became,
            Err(mysql_async::Error::Server(error)) if error.code == 1213 => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("ten deadlocks in a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_ten_times_at_once_has_one_effect() {
    for event in [
        checkout(),
        Event::current("invoice.paid"),
        Event::current("customer.subscription.updated"),
    ] {
        let mut shop = Shop::open().await;
        let mut senders = Vec::new();
        for _ in 0..10 {
            senders.push(tokio::spawn(receives(beside(&shop).await, event.clone())));
        }
        let mut became = Vec::new();
        for sender in senders {
            became.push(sender.await.unwrap());
        }
        became.sort();
        let mut expected = vec![replayed(); 10];
        expected[0] = applied();
        assert_eq!(became, expected);
        assert_eq!(shop.number("SELECT COUNT(*) FROM billing_events").await, 1);
        assert_eq!(
            shop.number("SELECT COUNT(*) = COUNT(DISTINCT definition_id, grant_kind) FROM billing_entitlement_grants")
                .await,
            1
        );
        shop.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_events_of_a_payment_at_once_have_one_effect_each() {
    for _ in 0..5 {
        let mut shop = Shop::open().await;
        let events = [
            Event::current("invoice.paid"),
            Event::current("invoice_payment.paid"),
            Event::current("charge.refunded")
                .with("/amount_refunded", 1500)
                .with("/customer", json!(null)),
            Event::current("customer.subscription.updated"),
            checkout().renaming("pi_pack", "pi_1").with("/invoice", "in_1"),
        ];
        let mut senders = Vec::new();
        for event in &events {
            senders.push(tokio::spawn(receives(beside(&shop).await, event.clone())));
        }
        for sender in senders {
            // Two that make the same purchase at once: one of them may fail, and is sent again.
            sender.await.unwrap();
        }
        for event in &events {
            let became = shop.receive(event).await;
            assert!(
                became == replayed() || became == applied(),
                "{became:?}: {:?}",
                shop.inbox().await
            );
        }
        assert_eq!(shop.purchases().await.len(), 1);
        assert_eq!(shop.available().await, [60, 1025, 7], "{:?}", shop.inbox().await);
        shop.end().await;
    }
}

#[tokio::test]
async fn an_event_waits_for_the_same_event_and_finds_what_became_of_it() {
    let mut shop = Shop::open().await;
    let mut first = beside(&shop).await;
    let mut holder = shop.database.session().await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder
        .exec_drop(
            "SELECT id FROM billable_entities WHERE id = ? FOR UPDATE",
            (shop.subject,),
        )
        .await
        .unwrap();
    let connection = first.id();
    let event = checkout();
    let sent = event.clone();
    let first = tokio::spawn(async move { receive(&mut first, &sent).await.unwrap() });
    until_blocked(&shop.database, connection).await;
    let mut second = beside(&shop).await;
    let connection = second.id();
    let second = tokio::spawn(async move { receive(&mut second, &event).await.unwrap() });
    until_blocked(&shop.database, connection).await;
    // Another event of another subject passes both.
    shop.entity("beta", Some("cus_beta")).await;
    let other = checkout()
        .id("evt_other")
        .renaming("cus_acme", "cus_beta")
        .renaming("pi_pack", "pi_b")
        .renaming("cs_pack", "cs_b");
    shop.applies(&other).await;
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(first.await.unwrap(), applied());
    assert_eq!(second.await.unwrap(), replayed());
    assert_eq!(shop.available().await, [100, 50, 3]);
    shop.end().await;
}

#[tokio::test]
async fn what_fails_stays_with_its_reason_and_is_tried_again() {
    let mut shop = Shop::open().await;
    let active = |is_active: bool| {
        format!("UPDATE billing_entitlement_definitions SET is_active = {is_active} WHERE code = 'shop.seats'")
    };
    shop.session.query_drop(active(false)).await.unwrap();
    let event = checkout();
    // Two of its three grants were made by then: nothing of them stays.
    for attempt in 1..=2 {
        assert_eq!(shop.receive(&event).await, failed("DEFINITION_INACTIVE"));
        assert_eq!(
            shop.inbox().await,
            [format!(
                "checkout.session.completed failed DEFINITION_INACTIVE: this entitlement definition is not active {attempt} times"
            )]
        );
    }
    for table in [
        "billing_purchases",
        "billing_purchase_references",
        "billing_entitlement_grants",
        "billing_limit_changes",
    ] {
        assert_eq!(
            shop.number(&format!("SELECT COUNT(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    let replay = "CALL billing_replay_event_v1(?, ?, 'operator')";
    let row: Row = shop.session.exec_first(replay, (1, "early")).await.unwrap().unwrap();
    assert_eq!(row.get::<String, _>("outcome").unwrap(), "failed");
    shop.session.query_drop(active(true)).await.unwrap();
    // The same key has had its turn.
    let row: Row = shop.session.exec_first(replay, (1, "early")).await.unwrap().unwrap();
    assert_eq!(
        (row.get("outcome"), row.get("attempts")),
        (Some("failed".to_owned()), Some(3))
    );
    for (key, attempts) in [("mended", 4), ("mended", 4), ("again", 4)] {
        let row: Row = shop.session.exec_first(replay, (1, key)).await.unwrap().unwrap();
        assert_eq!(
            (row.get("outcome"), row.get("attempts")),
            (Some("applied".to_owned()), Some(attempts)),
            "{key}"
        );
    }
    assert_eq!(shop.receive(&event).await, replayed());
    assert_eq!(shop.available().await, [100, 50, 3]);
    let missing = shop.session.exec_drop(replay, (99, "missing")).await;
    assert!(matches!(missing, Err(mysql_async::Error::Server(error)) if error.code == 52112));
    shop.end().await;
}

#[tokio::test]
async fn an_event_that_was_passed_over_may_be_tried_again() {
    let mut shop = Shop::open().await;
    let event = checkout()
        .with("/customer", "cus_new")
        .with("/metadata/priceId", "price_new");
    assert_eq!(shop.receive(&event).await, ignored());
    shop.entity("new", Some("cus_new")).await;
    shop.session
        .query_drop(
            "INSERT INTO billing_provider_prices (provider_price_id, product_id, created_at)
             SELECT 'price_new', p.id, UTC_TIMESTAMP(3) FROM billing_products AS p WHERE p.code = 'pack'",
        )
        .await
        .unwrap();
    // The provider does not send again what was answered; an operator may ask for it.
    assert_eq!(shop.receive(&event).await, replayed());
    let row: Row = shop
        .session
        .query_first("CALL billing_replay_event_v1(1, 'key', 'operator')")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<String, _>("outcome").unwrap(), "applied");
    assert_eq!(
        shop.number("SELECT COUNT(*) FROM billing_entitlement_grants WHERE subject_id = 2")
            .await,
        3
    );
    shop.end().await;
}

#[tokio::test]
async fn events_that_mean_nothing_here_are_kept_whatever_their_shape() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.receive(&Event::current("customer.created")).await, ignored());
    let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v2.core.account.updated", "created": "2026-03-01T00:00:00Z"});
    assert_eq!(shop.receive(&Event(thin)).await, ignored());
    let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
    let deep = json!({"id": "evt_deep", "type": "something.new", "data": {"object": serde_json::from_str::<serde_json::Value>(&deep).unwrap()}});
    assert_eq!(shop.receive(&Event(deep.clone())).await, ignored());
    // What would mean something, if it could be read, does not get lost.
    let mut unreadable = deep;
    unreadable["id"] = "evt_unreadable".into();
    unreadable["type"] = "invoice.paid".into();
    assert_eq!(shop.receive(&Event(unreadable)).await, failed("INTERNAL"));
    let no_object = Event(json!({"id": "evt_no_object", "type": "invoice.paid", "created": BEGIN, "data": {}}));
    assert_eq!(shop.receive(&no_object).await, failed("VALIDATION_FAILED"));
    let no_time = Event(json!({"id": "evt_no_time", "type": "invoice.paid", "data": {"object": {}}}));
    assert_eq!(shop.receive(&no_time).await, failed("VALIDATION_FAILED"));
    assert_eq!(shop.number("SELECT COUNT(*) FROM billing_events").await, 6);
    shop.end().await;
}

#[tokio::test]
async fn a_dba_is_told_what_is_wrong_with_an_event() {
    let mut shop = Shop::open().await;
    for (call, code) in [
        ("CALL billing_receive_event_v1('paypal', 'e', 't', NULL, '{}')", 52001),
        ("CALL billing_receive_event_v1('stripe', '', 't', NULL, '{}')", 52001),
        (
            "CALL billing_receive_event_v1('stripe', REPEAT('e', 65), 't', NULL, '{}')",
            52001,
        ),
        ("CALL billing_receive_event_v1('stripe', 'e', NULL, NULL, '{}')", 52001),
        ("CALL billing_receive_event_v1('stripe', 'e', 't', ' ', '{}')", 52001),
        ("CALL billing_receive_event_v1('stripe', 'e', 't', NULL, '')", 52001),
        (
            "CALL billing_receive_event_v1('stripe', 'e', 't', NULL, REPEAT(' ', 1048577))",
            52001,
        ),
        ("CALL billing_find_event_v1(1)", 52112),
        ("CALL billing_list_events_v1('lost', NULL, NULL, 10)", 52001),
        ("CALL billing_list_events_v1(NULL, NULL, NULL, 0)", 52001),
        ("CALL billing_list_purchases_v1(NULL, NULL, 1001)", 52001),
    ] {
        let refused = shop.session.query_drop(call).await;
        assert!(
            matches!(&refused, Err(mysql_async::Error::Server(error)) if error.code == code),
            "{call}: {refused:?}"
        );
    }
    assert_eq!(shop.number("SELECT COUNT(*) FROM billing_events").await, 0);
    shop.end().await;
}

//! Refunds: what goes back of the money goes back of the grants, rounded for the customer.

use mysql_async::prelude::Queryable;

use crate::support::shop::{BEGIN, DAY, Event, Shop, VERSIONS, applied, failed, replayed};

/// A paid session of `price_pack` at 1000.
fn checkout() -> Event {
    Event::current("checkout.session.completed")
}

/// What the session's charge says was paid back in all.
fn refund(refunded: i64, n: u32) -> Event {
    Event::current("charge.refunded")
        .id(&format!("evt_refund_{n}"))
        .created(BEGIN + DAY + i64::from(n))
        .with("/payment_intent", "pi_pack")
        .with("/amount", 1000)
        .with("/amount_refunded", refunded)
}

#[tokio::test]
async fn a_full_refund_takes_everything_back() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        shop.applies(&checkout()).await;
        shop.consume("shop.credits", 30, "use").await;
        let refund = Event::of(version, "charge.refunded")
            .with("/payment_intent", "pi_pack")
            .with("/amount_refunded", 1000);
        shop.applies(&refund).await;
        assert_eq!(shop.purchases().await, ["pi_pack refunded 1000 of 1000 eur: 1 pack"]);
        assert_eq!(shop.grants().await, [""; 0]);
        assert_eq!(shop.says("shop.credits").await, (0, 0, 0));
        assert_eq!(shop.receive(&refund).await, replayed());
        shop.applies(&refund.id("evt_again")).await;
        assert_eq!(
            shop.number("SELECT COUNT(*) FROM billing_entitlement_revocations")
                .await,
            3
        );
        let reason: Option<String> = shop
            .session
            .query_first("SELECT reason FROM billing_entitlement_revocations LIMIT 1")
            .await
            .unwrap();
        assert_eq!(reason.as_deref(), Some("Refund of 1000 of 1000 eur"));
        shop.end().await;
    }
}

/// Bought 100 credits, 50 a month, 3 seats, for 1000. Each row: what was used before, the refunds in the order in which they come, and credits, quota
/// and seats that are available at the end.
#[rustfmt::skip]
const PARTIAL: &[(i64, &[i64], [i64; 3])] = &[
    (0,   &[0],              [100, 50, 3]),
    (0,   &[500],            [50, 25, 2]),
    (20,  &[500],            [30, 25, 2]),
    (50,  &[500],            [0, 25, 2]),
    (60,  &[500],            [0, 25, 2]),
    (0,   &[333],            [67, 34, 3]),
    (0,   &[999],            [1, 1, 1]),
    (0,   &[1],              [100, 50, 3]),
    (0,   &[11],             [99, 50, 3]),
    (20,  &[250, 500],       [30, 25, 2]),
    (20,  &[500, 250],       [30, 25, 2]),
    (20,  &[250, 500, 1000], [0, 0, 0]),
    (20,  &[1000, 250],      [0, 0, 0]),
    (20,  &[5000],           [0, 0, 0]),
];

#[tokio::test]
async fn a_partial_refund_takes_its_part_back() {
    for (used, refunds, available) in PARTIAL {
        let mut shop = Shop::open().await;
        shop.applies(&checkout()).await;
        if *used > 0 {
            shop.consume("shop.credits", *used, "use").await;
        }
        for (n, refunded) in (1..).zip(*refunds) {
            shop.applies(&refund(*refunded, n)).await;
        }
        assert_eq!(shop.available().await, *available, "used {used}, refunds {refunds:?}");
        shop.end().await;
    }
}

#[tokio::test]
async fn what_is_used_between_two_refunds_counts() {
    let mut shop = Shop::open().await;
    shop.applies(&checkout()).await;
    shop.consume("shop.credits", 10, "one").await;
    shop.applies(&refund(200, 1)).await;
    assert_eq!(shop.says("shop.credits").await, (70, 0, 70));
    shop.consume("shop.credits", 30, "two").await;
    shop.applies(&refund(400, 2)).await;
    // 60 of 100 were kept, 40 have been used.
    assert_eq!(shop.says("shop.credits").await, (20, 0, 20));
    assert_eq!(
        shop.grants().await,
        [
            "shop.credits topup 20 purchase for ever",
            "shop.quota addon_timeboxed 30 purchase 2026-04-30 00:00:00.000",
            "shop.seats addon_timeboxed 2 purchase 2026-04-30 00:00:00.000",
        ]
    );
    shop.end().await;
}

#[tokio::test]
async fn several_charges_of_one_payment_add_up() {
    let mut shop = Shop::open().await;
    shop.applies(&checkout()).await;
    shop.applies(&refund(300, 1)).await;
    shop.applies(&refund(200, 2).renaming("ch_1", "ch_2")).await;
    assert_eq!(
        shop.purchases().await,
        ["pi_pack partially_refunded 500 of 1000 eur: 1 pack"]
    );
    assert_eq!(shop.available().await, [50, 25, 2]);
    shop.applies(&refund(500, 3).renaming("ch_1", "ch_2")).await;
    assert_eq!(
        shop.purchases().await,
        ["pi_pack partially_refunded 800 of 1000 eur: 1 pack"]
    );
    shop.end().await;
}

#[tokio::test]
async fn a_refund_waits_for_its_purchase_by_whichever_id() {
    // The charge names the intent. The session names it too; an old invoice as well; a new one only by what ties it to the intent.
    let session = checkout().with("/payment_intent", "pi_1").with("/amount_total", 3000);
    let tie = Event::current("invoice_payment.paid");
    let mut new_invoice = Event::current("invoice.paid");
    let mut old_invoice = Event::of(VERSIONS[1], "invoice.paid");
    for invoice in [&mut new_invoice, &mut old_invoice] {
        invoice.0["data"]["object"]["lines"]["data"]
            .as_array_mut()
            .unwrap()
            .remove(0);
    }
    let half = |version| Event::of(version, "charge.refunded").with("/amount_refunded", 1500);
    let [new, old] = VERSIONS;
    let rows = [
        vec![half(new), session.clone()],
        vec![half(new), old_invoice.clone()],
        vec![half(old), old_invoice.clone()],
        vec![half(old), new_invoice.clone()],
        vec![half(new), new_invoice.clone(), tie.clone()],
        vec![half(new), tie.clone(), new_invoice.clone()],
        vec![tie.clone(), half(new), new_invoice.clone()],
        vec![tie.clone(), new_invoice.clone(), half(new)],
        vec![new_invoice.clone(), half(new), tie.clone()],
        vec![new_invoice, tie, half(new)],
        vec![old_invoice, half(old)],
        vec![session, half(new)],
    ];
    for events in rows {
        let mut shop = Shop::open().await;
        for event in &events {
            assert_eq!(shop.receive(event).await, applied());
        }
        let types: Vec<_> = events.iter().map(|event| event.0["type"].to_string()).collect();
        assert_eq!(shop.available().await, [50, 25, 2], "{types:?}");
        assert_eq!(
            shop.number("SELECT COUNT(*) FROM billing_refunds WHERE purchase_id IS NULL")
                .await,
            0
        );
        shop.end().await;
    }
}

#[tokio::test]
async fn what_a_purchase_of_nothing_paid_back_changes_nothing() {
    let mut shop = Shop::open().await;
    shop.applies(
        &checkout()
            .with("/payment_status", "no_payment_required")
            .with("/amount_total", 0),
    )
    .await;
    shop.applies(&refund(0, 1)).await;
    assert_eq!(shop.purchases().await, ["pi_pack paid 0 of 0 eur: 1 pack"]);
    assert_eq!(shop.available().await, [100, 50, 3]);
    shop.end().await;
}

#[tokio::test]
async fn shares_are_exact_at_any_size() {
    let mut shop = Shop::open().await;
    for statement in [
        "UPDATE billing_product_entitlement_templates SET amount = 9007199254740991 WHERE grant_kind = 'one_off_topup' AND amount = 10",
        "DELETE FROM billing_product_entitlement_templates WHERE amount < 9007199254740991",
    ] {
        shop.session.query_drop(statement).await.unwrap();
    }
    let (bought, paid, refunded) = (
        9_007_199_254_740_991_i128,
        9_007_199_254_740_993_i128,
        6_148_914_691_236_517_205_i128 / 1_000,
    );
    let session = checkout()
        .with("/metadata/priceId", "price_extra")
        .with("/amount_total", i64::try_from(paid).unwrap());
    shop.applies(&session).await;
    shop.applies(&refund(i64::try_from(refunded).unwrap(), 1)).await;
    let kept = bought - bought * refunded / paid;
    assert_eq!(i128::from(shop.says("shop.credits").await.0), kept);
    shop.end().await;
}

#[tokio::test]
async fn a_void_purchase_keeps_nothing_and_says_why() {
    let mut shop = Shop::open().await;
    shop.applies(&checkout()).await;
    shop.consume("shop.credits", 30, "use").await;
    shop.applies(&refund(500, 1)).await;
    let void = "CALL billing_void_purchase_v1(1, ?, ?, 'operator')";
    for _ in 0..2 {
        shop.session.exec_drop(void, ("key", "Stolen card")).await.unwrap();
    }
    assert_eq!(shop.purchases().await, ["pi_pack voided 500 of 1000 eur: 1 pack"]);
    assert_eq!(shop.available().await, [0, 0, 0]);
    assert_eq!(
        shop.number("SELECT COUNT(*) FROM billing_entitlement_revocations WHERE reason = 'Stolen card' AND created_by = 'operator'").await,
        3
    );
    // What comes later of it moves the money, and nothing else.
    shop.applies(&refund(1000, 2)).await;
    assert_eq!(shop.purchases().await, ["pi_pack voided 1000 of 1000 eur: 1 pack"]);
    shop.applies(&checkout().id("evt_more").with("/metadata/quantity", "2"))
        .await;
    assert_eq!(shop.available().await, [0, 0, 0]);
    for (key, purchase, code) in [("other", 99, 52111), ("key", 99, 52201)] {
        let refused = shop
            .session
            .exec_drop(
                "CALL billing_void_purchase_v1(?, ?, 'Stolen card', 'operator')",
                (purchase, key),
            )
            .await;
        assert!(matches!(refused, Err(mysql_async::Error::Server(error)) if error.code == code));
    }
    shop.end().await;
}

#[tokio::test]
async fn a_charge_that_does_not_say_enough_fails() {
    let mut shop = Shop::open().await;
    let mut event = refund(500, 1);
    event.0["data"]["object"]
        .as_object_mut()
        .unwrap()
        .remove("amount_refunded");
    assert_eq!(shop.receive(&event).await, failed("VALIDATION_FAILED"));
    // Mended at the provider, and sent again under the same id.
    shop.applies(&refund(500, 1)).await;
    shop.applies(&checkout()).await;
    assert_eq!(shop.available().await, [50, 25, 2]);
    shop.end().await;
}

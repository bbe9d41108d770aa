//! Events in every order: the end is the same.

use mysql_async::prelude::Queryable;

use crate::support::shop::{BEGIN, Became, DAY, Event, Shop, VERSIONS};

/// Every order of the numbers below `n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for order in orders(n - 1) {
        for place in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(place, n - 1);
            all.push(longer);
        }
    }
    all
}

/// All that the events did to the subject, in words that do not tell in which order they came, nor which of the subjects it is.
async fn end(shop: &mut Shop, mark: &str) -> Vec<String> {
    let mut words = shop.grants().await;
    words.extend(shop.purchases().await);
    for query in [
        "SELECT CONCAT_WS(' ', p.code, a.quantity, a.status, a.provider_subscription_id, a.period_start_at, a.period_end_at)
           FROM billing_plan_assignments AS a JOIN billing_plans AS p ON p.id = a.plan_id WHERE a.subject_id = ? ORDER BY a.id",
        "SELECT CONCAT_WS(' ', provider_subscription_id, quantity, status, ended_at) FROM billing_provider_subscriptions WHERE subject_id = ?",
        "SELECT CONCAT_WS(' ', f.provider_charge_id, f.refunded_minor_units)
           FROM billing_refunds AS f JOIN billing_purchases AS p ON p.id = f.purchase_id WHERE p.subject_id = ?",
        "SELECT CONCAT_WS(' ', entity_ref, provider_customer_id, billing_anchor_at) FROM billable_entities WHERE id = ?",
    ] {
        let found: Vec<String> = shop.session.exec(query, (shop.subject,)).await.unwrap();
        words.extend(found);
    }
    words.push(format!("{:?}", shop.available().await));
    words.into_iter().map(|word| word.replace(mark, "")).collect()
}

/// A subscription is bought, paid, and half of the money goes back. Only the checkout session says whose customer it is, so what comes before it
/// fails, and the provider sends it again.
async fn every_order_ends_the_same(version: &str, checkout: Event) {
    let events = [
        Event::of(version, "customer.subscription.created"),
        Event::of(version, "invoice.paid"),
        Event::of(version, "customer.subscription.updated"),
        Event::of(version, "charge.refunded").with("/amount_refunded", 1500),
        checkout,
    ];
    let mut shop = Shop::open().await;
    shop.at(BEGIN + 2 * DAY).await;
    for order in orders(events.len()) {
        // A customer of its own for each order.
        let mark = order
            .iter()
            .fold("-".to_owned(), |mark, place| format!("{mark}{place}"));
        shop.subject = shop.entity(&format!("acme{mark}"), None).await;
        if version == VERSIONS[0] {
            // Newer invoices do not say which intent paid them.
            shop.applies(&Event::of(version, "invoice_payment.paid").marked(&mark))
                .await;
        }
        let mut waiting: Vec<Event> = order.iter().map(|place| events[*place].marked(&mark)).collect();
        for _ in 0..3 {
            let mut failed = Vec::new();
            for event in waiting {
                let (outcome, failure): Became = shop.receive(&event).await;
                if outcome == "failed" {
                    assert_eq!(failure.as_deref(), Some("SUBJECT_NOT_FOUND"));
                    failed.push(event);
                }
            }
            waiting = failed;
        }
        assert!(waiting.is_empty(), "{order:?}: {:?}", shop.inbox().await);
        assert_eq!(
            end(&mut shop, &mark).await,
            [
                "shop.credits plan_base 10 plan_assignment 2026-04-01 00:00:00.000",
                "shop.credits topup 50 purchase for ever",
                "shop.quota addon_timeboxed 25 purchase 2026-04-30 00:00:02.000",
                "shop.quota plan_base 1000 plan_assignment for ever",
                "shop.seats addon_timeboxed 2 purchase 2026-04-30 00:00:02.000",
                "shop.seats plan_base 5 plan_assignment for ever",
                "in_1 partially_refunded 1500 of 3000 eur: 1 basic, 1 pack",
                "basic 1 current sub_1 2026-03-01 00:00:00.000 2026-04-01 00:00:00.000",
                "sub_1 1 active",
                "ch_1 1500",
                "acme cus_acme 2026-03-01 00:00:00.000",
                "[60, 1025, 7]",
            ],
            "{version} {order:?}"
        );
    }
    shop.end().await;
}

#[tokio::test]
async fn every_order_of_a_subscriptions_events_ends_the_same() {
    let [version, _] = VERSIONS;
    every_order_ends_the_same(version, Event::of(version, "checkout.session.completed.subscription")).await;
}

#[tokio::test]
async fn every_order_of_an_older_versions_events_ends_the_same() {
    let [_, version] = VERSIONS;
    every_order_ends_the_same(version, Event::of(version, "checkout.session.completed.subscription")).await;
}

/// The session knows a third of the money that the invoice knows, so before the invoice comes the refund of a half looks like a refund of all.
#[tokio::test]
async fn every_order_of_events_that_know_parts_of_a_payment_ends_the_same() {
    let [version, _] = VERSIONS;
    let checkout = Event::of(version, "checkout.session.completed")
        .created(BEGIN + 2)
        .renaming("pi_pack", "pi_1")
        .with("/invoice", "in_1")
        .with("/client_reference_id", "acme");
    every_order_ends_the_same(version, checkout).await;
}

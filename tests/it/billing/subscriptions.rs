//! Subscriptions and their invoices as stories: which plan the subject is on, and which periods are paid.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::support::shop::{BEGIN, DAY, Event, Shop, VERSIONS, applied, failed, ignored, replayed};

/// 1 April and 1 May 2026.
const APRIL: i64 = BEGIN + 31 * DAY;
const MAY: i64 = APRIL + 30 * DAY;

/// What the subscription says of itself, `n` seconds after the story's beginning.
fn subscription(version: &str, n: i64) -> Event {
    Event::of(version, "customer.subscription.updated")
        .id(&format!("evt_sub_{n}"))
        .created(BEGIN + n)
}

/// The invoice of a period, without its line of `price_pack`.
fn invoice(version: &str, n: i64, start: i64, end: i64) -> Event {
    let mut invoice = Event::of(version, "invoice.paid")
        .id(&format!("evt_invoice_{n}"))
        .created(start + 2)
        .renaming("in_1", &format!("in_{n}"))
        .renaming("pi_1", &format!("pi_{n}"))
        .renaming("ch_1", &format!("ch_{n}"))
        .with("/amount_paid", 2000)
        .with("/status_transitions/paid_at", start + 2)
        .with("/lines/data/0/period", json!({"start": start, "end": end}));
    invoice.0["data"]["object"]["lines"]["data"]
        .as_array_mut()
        .unwrap()
        .truncate(1);
    invoice
}

/// The same event about another price.
fn on(price: &str, event: Event) -> Event {
    event.renaming("price_basic", price)
}

impl Shop {
    /// The plans that the subject is or was on, in words: plan, quantity, status, subscription, period.
    async fn plans(&mut self) -> Vec<String> {
        self.session
            .query(
                "SELECT CONCAT_WS(' ', p.code, a.quantity, a.status, a.provider_subscription_id, DATE(a.period_start_at), DATE(a.period_end_at))
                   FROM billing_plan_assignments AS a JOIN billing_plans AS p ON p.id = a.plan_id ORDER BY a.id",
            )
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_subscription_puts_its_subject_on_the_plan_and_an_invoice_pays_the_period() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        shop.applies(&Event::of(version, "customer.subscription.created")).await;
        assert_eq!(shop.plans().await, [""; 0], "incomplete: not yet");
        shop.applies(&Event::of(version, "customer.subscription.updated")).await;
        assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-03-01 2026-04-01"]);
        assert_eq!(shop.available().await, [0, 1000, 5]);
        let invoice = Event::of(version, "invoice.paid");
        shop.applies(&invoice).await;
        assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-03-01 2026-04-01"]);
        assert_eq!(shop.purchases().await, ["in_1 paid 0 of 3000 eur: 1 basic, 1 pack"]);
        assert_eq!(shop.available().await, [120, 1050, 8]);
        assert_eq!(shop.receive(&invoice).await, replayed());
        shop.applies(&invoice.id("evt_again")).await;
        assert_eq!(shop.available().await, [120, 1050, 8]);
        let anchor: Option<String> = shop
            .session
            .query_first("SELECT billing_anchor_at FROM billable_entities WHERE id = 1")
            .await
            .unwrap();
        assert_eq!(anchor.as_deref(), Some("2026-03-01 00:00:00.000"));
        shop.end().await;
    }
}

#[tokio::test]
async fn a_renewal_keeps_what_holds_while_current_and_pays_the_next_period() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        shop.applies(&subscription(version, 0)).await;
        shop.applies(&invoice(version, 1, BEGIN, APRIL)).await;
        let grants = shop.grants().await;
        shop.at(APRIL + 10).await;
        // The invoice first, then the subscription's own word, which adds nothing.
        shop.applies(&invoice(version, 2, APRIL, MAY)).await;
        assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-04-01 2026-05-01"]);
        let mut expected = grants.clone();
        expected[0] = expected[0].replace("2026-04-01", "2026-05-01");
        assert_eq!(shop.grants().await, expected);
        let renewed = subscription(version, 31 * DAY + 3);
        let renewed = match version {
            "2022-11-15" => renewed
                .with("/current_period_start", APRIL)
                .with("/current_period_end", MAY),
            _ => renewed
                .with("/items/data/0/current_period_start", APRIL)
                .with("/items/data/0/current_period_end", MAY),
        };
        shop.applies(&renewed).await;
        // Late news of the month before changes nothing either.
        shop.applies(&invoice(version, 1, BEGIN, APRIL).id("evt_late")).await;
        assert_eq!(shop.grants().await, expected);
        assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-04-01 2026-05-01"]);
        assert_eq!(shop.number("SELECT COUNT(*) FROM billing_entitlement_grants").await, 4);
        shop.end().await;
    }
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let mut n = 0;
    for (status, is_on) in [
        ("trialing", true),
        ("active", true),
        ("past_due", true),
        ("unpaid", false),
        ("canceled", false),
        ("incomplete_expired", false),
        ("paused", false),
        ("incomplete", true),
    ] {
        let mut shop = Shop::open().await;
        n += 1;
        shop.applies(&subscription(VERSIONS[0], 0)).await;
        shop.applies(&subscription(VERSIONS[0], n).with("/status", status))
            .await;
        let expected = if is_on { [0, 1000, 5] } else { [0, 0, 0] };
        assert_eq!(shop.available().await, expected, "{status}");
        // And back to life.
        shop.applies(&subscription(VERSIONS[0], 100)).await;
        assert_eq!(shop.available().await, [0, 1000, 5], "{status}");
        shop.end().await;
    }
}

#[tokio::test]
async fn deleted_is_for_ever_and_ends_this_subscription_alone() {
    for version in VERSIONS {
        let mut shop = Shop::open().await;
        shop.applies(&subscription(version, 0)).await;
        shop.applies(&invoice(version, 1, BEGIN, APRIL)).await;
        shop.at(BEGIN + 11 * DAY).await;
        shop.applies(&Event::of(version, "customer.subscription.deleted")).await;
        assert_eq!(shop.plans().await, ["basic 1 ended sub_1 2026-03-01 2026-04-01"]);
        // The period was paid for.
        assert_eq!(shop.available().await, [20, 0, 0]);
        assert_eq!(shop.receive(&subscription(version, 12 * DAY)).await, ignored());
        shop.applies(&invoice(version, 2, APRIL, MAY)).await;
        assert_eq!(shop.plans().await, ["basic 1 ended sub_1 2026-03-01 2026-04-01"]);
        shop.end().await;

        // Heard of before anything else, it ends what is to come; and it leaves another subscription alone.
        let mut shop = Shop::open().await;
        shop.applies(&subscription(version, 0).renaming("sub_1", "sub_2")).await;
        shop.at(BEGIN + 11 * DAY).await;
        shop.applies(&Event::of(version, "customer.subscription.deleted")).await;
        assert_eq!(shop.receive(&subscription(version, 1)).await, ignored());
        assert_eq!(shop.plans().await, ["basic 1 current sub_2 2026-03-01 2026-04-01"]);
        shop.end().await;
    }
}

#[tokio::test]
async fn an_upgrade_within_a_period_has_one_effect_whichever_event_comes_first() {
    for version in VERSIONS {
        let upgrade = BEGIN + 10 * DAY;
        let said = on("price_pro", subscription(version, 10 * DAY));
        // What is left of the month on the new plan is charged, and what is left on the old one given back.
        let mut proration =
            on("price_pro", invoice(version, 2, upgrade, APRIL)).with("/billing_reason", "subscription_update");
        let lines = proration.0["data"]["object"]["lines"]["data"].as_array_mut().unwrap();
        match version {
            "2022-11-15" => lines[0]["proration"] = true.into(),
            _ => lines[0]["parent"]["subscription_item_details"]["proration"] = true.into(),
        }
        let mut back: Value = serde_json::from_str(&lines[0].to_string().replace("price_pro", "price_basic")).unwrap();
        back["amount"] = (-1340).into();
        lines.insert(0, back);
        let mut ends = Vec::new();
        for events in [[&said, &proration], [&proration, &said]] {
            let mut shop = Shop::open().await;
            shop.applies(&subscription(version, 0)).await;
            shop.applies(&invoice(version, 1, BEGIN, APRIL)).await;
            shop.consume("shop.quota", 800, "use").await;
            shop.at(upgrade + 10).await;
            for event in events {
                shop.applies(event).await;
            }
            // 800 of the month are used (M6); the 20 credits of the old plan's period were paid for, and stay.
            assert_eq!(shop.says("shop.quota").await, (5000, 800, 4200));
            assert_eq!(shop.available().await, [120, 4200, 25]);
            assert_eq!(
                shop.plans().await,
                [
                    "basic 1 ended sub_1 2026-03-01 2026-04-01",
                    "pro 1 current sub_1 2026-03-01 2026-04-01"
                ]
            );
            ends.push(shop.grants().await);
            shop.end().await;
        }
        assert_eq!(ends[0], ends[1]);
    }
}

#[tokio::test]
async fn a_late_invoice_of_the_old_plan_does_not_bring_it_back() {
    let mut shop = Shop::open().await;
    shop.applies(&subscription(VERSIONS[0], 0)).await;
    shop.at(BEGIN + 10 * DAY).await;
    shop.applies(&on("price_pro", subscription(VERSIONS[0], 9 * DAY))).await;
    let late = invoice(VERSIONS[0], 1, BEGIN, APRIL).created(BEGIN + 10 * DAY);
    shop.applies(&late).await;
    assert_eq!(
        shop.plans().await,
        [
            "basic 1 ended sub_1 2026-03-01 2026-04-01",
            "pro 1 current sub_1 2026-03-01 2026-04-01"
        ]
    );
    // It was paid, so its period's credits are there.
    assert_eq!(shop.available().await, [20, 5000, 25]);
    shop.end().await;
}

#[tokio::test]
async fn quantities_of_a_plan_count() {
    let mut shop = Shop::open().await;
    shop.applies(&subscription(VERSIONS[0], 0).with("/items/data/0/quantity", 3))
        .await;
    shop.applies(&invoice(VERSIONS[0], 1, BEGIN, APRIL).with("/lines/data/0/quantity", 3))
        .await;
    assert_eq!(shop.plans().await, ["basic 3 current sub_1 2026-03-01 2026-04-01"]);
    assert_eq!(shop.available().await, [60, 3000, 15]);
    shop.applies(&subscription(VERSIONS[0], 5).with("/items/data/0/quantity", 2))
        .await;
    assert_eq!(
        shop.plans().await,
        [
            "basic 3 ended sub_1 2026-03-01 2026-04-01",
            "basic 2 current sub_1 2026-03-01 2026-04-01"
        ]
    );
    assert_eq!(shop.available().await, [60, 2000, 10]);
    shop.end().await;
}

#[tokio::test]
async fn an_older_word_changes_nothing_and_a_word_of_the_same_second_does() {
    let mut shop = Shop::open().await;
    shop.applies(&subscription(VERSIONS[0], 5)).await;
    assert_eq!(
        shop.receive(&on("price_pro", subscription(VERSIONS[0], 4))).await,
        ignored()
    );
    shop.applies(&on("price_pro", subscription(VERSIONS[0], 5).id("evt_same_second")))
        .await;
    assert_eq!(
        shop.plans().await,
        [
            "basic 1 ended sub_1 2026-03-01 2026-04-01",
            "pro 1 current sub_1 2026-03-01 2026-04-01"
        ]
    );
    shop.end().await;
}

#[tokio::test]
async fn a_subscription_takes_over_only_with_news() {
    let mut shop = Shop::open().await;
    let second = |n| on("price_pro", subscription(VERSIONS[0], n).renaming("sub_1", "sub_2"));
    shop.applies(&subscription(VERSIONS[0], 0)).await;
    shop.applies(&second(1).id("evt_second_1")).await;
    let plans = [
        "basic 1 ended sub_1 2026-03-01 2026-04-01",
        "pro 1 current sub_2 2026-03-01 2026-04-01",
    ];
    assert_eq!(shop.plans().await, plans);
    // Its description was edited, or its card is late.
    shop.applies(&subscription(VERSIONS[0], 2)).await;
    shop.applies(&subscription(VERSIONS[0], 3).with("/status", "past_due"))
        .await;
    shop.applies(&invoice(VERSIONS[0], 1, BEGIN, APRIL)).await;
    assert_eq!(shop.plans().await, plans);
    // Another plan is news.
    shop.applies(&on("price_pro", subscription(VERSIONS[0], 4))).await;
    assert_eq!(
        shop.plans().await.last().unwrap(),
        "pro 1 current sub_1 2026-03-01 2026-04-01"
    );
    shop.end().await;
}

#[tokio::test]
async fn what_is_not_in_the_catalogue_is_passed_over_or_stays_visible() {
    let mut shop = Shop::open().await;
    let foreign = on(
        "price_of_another_shop",
        subscription(VERSIONS[0], 0).renaming("sub_1", "sub_foreign"),
    );
    assert_eq!(shop.receive(&foreign).await, ignored());
    assert_eq!(
        shop.receive(&foreign.id("evt_nobody").with("/customer", "cus_nobody"))
            .await,
        ignored()
    );
    let orphan = subscription(VERSIONS[0], 1).with("/customer", "cus_nobody");
    assert_eq!(shop.receive(&orphan).await, failed("SUBJECT_NOT_FOUND"));
    shop.applies(&subscription(VERSIONS[0], 2)).await;
    // It was moved to a price that nobody knows: the plan stays until somebody says what that is.
    let moved = on("price_new", subscription(VERSIONS[0], 3));
    assert_eq!(shop.receive(&moved).await, failed("EVENT_NOT_APPLIED"));
    assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-03-01 2026-04-01"]);
    shop.session
        .query_drop(
            "INSERT INTO billing_provider_prices (provider_price_id, plan_id, created_at)
             SELECT 'price_new', p.id, UTC_TIMESTAMP(3) FROM billing_plans AS p WHERE p.code = 'pro'",
        )
        .await
        .unwrap();
    assert_eq!(shop.receive(&moved).await, applied());
    assert_eq!(
        shop.plans().await.last().unwrap(),
        "pro 1 current sub_1 2026-03-01 2026-04-01"
    );
    shop.end().await;
}

#[tokio::test]
async fn the_anchor_is_the_subscriptions_day_where_the_month_is_too_short_to_tell() {
    let mut shop = Shop::open().await;
    let [january, february, march] = [BEGIN - 29 * DAY, BEGIN - DAY, BEGIN + 30 * DAY];
    let said = subscription(VERSIONS[0], 0)
        .with("/billing_cycle_anchor", january)
        .with("/items/data/0/current_period_start", february)
        .with("/items/data/0/current_period_end", march);
    shop.applies(&said).await;
    let anchor: Option<String> = shop
        .session
        .query_first("SELECT billing_anchor_at FROM billable_entities WHERE id = 1")
        .await
        .unwrap();
    assert_eq!(anchor.as_deref(), Some("2026-01-31 00:00:00.000"));
    shop.end().await;
}

#[tokio::test]
async fn a_refunded_period_takes_back_what_the_payment_granted_and_leaves_the_plan() {
    let mut shop = Shop::open().await;
    shop.applies(&subscription(VERSIONS[1], 0)).await;
    shop.applies(&invoice(VERSIONS[1], 1, BEGIN, APRIL)).await;
    shop.consume("shop.credits", 5, "use").await;
    let refund = Event::of(VERSIONS[1], "charge.refunded");
    shop.applies(&refund.clone().with("/amount_refunded", 1000)).await;
    assert_eq!(shop.available().await, [5, 1000, 5]);
    shop.applies(&refund.id("evt_rest").with("/amount_refunded", 2000))
        .await;
    assert_eq!(shop.available().await, [0, 1000, 5]);
    assert_eq!(shop.plans().await, ["basic 1 current sub_1 2026-03-01 2026-04-01"]);
    shop.end().await;
}

//! A crash between any two statements: the session is killed while it waits for each of its locks, and nothing of the event stays. Sent again, it has its
//! one effect.

use mysql_async::prelude::Queryable;

use crate::support::session::until_blocked;
use crate::support::shop::{BEGIN, DAY, Event, Shop, applied, at, receive};

/// All that an event may write, in words.
async fn everything(shop: &mut Shop) -> Vec<String> {
    let mut words = Vec::new();
    for table in [
        "billing_events",
        "billing_purchases",
        "billing_purchase_lines",
        "billing_purchase_references",
        "billing_purchase_grants",
        "billing_refunds",
        "billing_provider_subscriptions",
        "billing_plan_assignments",
        "billing_entitlement_grants",
        "billing_entitlement_revocations",
        "billing_entitlement_settlements",
        "billing_limit_changes",
    ] {
        words.push(format!(
            "{table} {}",
            shop.number(&format!("SELECT COUNT(*) FROM {table}")).await
        ));
    }
    words.push(format!("{:?}", shop.available().await));
    words
}

/// Kills whoever applies `event` at each of these: locks that somebody else holds, or rows that he is about to write. Sees that nothing changed, and at
/// the end sends the event again.
async fn survives(shop: &mut Shop, event: &Event, holds: &[String]) {
    for hold in holds {
        let before = everything(shop).await;
        let mut holder = shop.database.session().await;
        // Else he would wait for the subject first, or be waited for there.
        holder
            .query_drop("SET foreign_key_checks = 0, information_schema_stats_expiry = 0")
            .await
            .unwrap();
        holder.query_drop("START TRANSACTION").await.unwrap();
        holder.query_drop(hold).await.expect(hold);
        let mut victim = shop.database.session().await;
        at(&mut victim, BEGIN + 2 * DAY).await;
        let connection = victim.id();
        let sent = event.clone();
        let victim = tokio::spawn(async move { receive(&mut victim, &sent).await });
        until_blocked(&shop.database, connection).await;
        shop.session.query_drop(format!("KILL {connection}")).await.unwrap();
        assert!(victim.await.unwrap().is_err(), "{hold}");
        holder.query_drop("ROLLBACK").await.unwrap();
        // The server undoes what the killed session did before it lets go of its locks.
        for table in ["billing_events", "billable_entities"] {
            shop.session
                .query_drop(format!("SELECT id FROM {table} FOR UPDATE"))
                .await
                .unwrap();
        }
        assert_eq!(everything(shop).await, before, "{hold}");
    }
    assert_eq!(receive(&mut shop.session, event).await.unwrap(), applied());
}

/// The lock of the rows that `query` finds.
fn rows(query: &str) -> String {
    format!("{query} FOR UPDATE")
}

/// The lock of a balance.
fn balance(code: &str) -> String {
    rows(&format!(
        "SELECT b.subject_id FROM billing_entitlement_balances AS b FORCE INDEX (PRIMARY)
          WHERE b.subject_id = 1 AND b.history_no = 0
            AND b.definition_id = (SELECT d.id FROM billing_entitlement_definitions AS d WHERE d.code = '{code}')"
    ))
}

/// A row with these columns that is not committed.
fn row(table: &str, columns: &str, values: &str) -> String {
    format!("INSERT INTO {table} ({columns}) VALUES ({values})")
}

/// A grant with this key, an SQL expression, that is not committed.
fn grant(key: &str) -> String {
    format!(
        "INSERT INTO billing_entitlement_grants
           (subject_id, definition_id, grant_kind, amount, effective_at, source, dedupe_key, content_sha256, created_by, created_at)
         SELECT 99, 99, 'promo', 1, '2026-03-01', 'operator', {key}, REPEAT('a', 32), 'x', '2026-03-01'"
    )
}

/// A revocation with this key that is not committed.
fn revocation(key: &str) -> String {
    row(
        "billing_entitlement_revocations",
        "grant_id, subject_id, definition_id, revoked_at, dedupe_key, created_by, created_at",
        &format!("9999, 99, 99, '2026-03-01', '{key}', 'x', '2026-03-01'"),
    )
}

/// The shop, with a balance of each limit, so that it can be waited for.
async fn shop() -> Shop {
    let mut shop = Shop::open().await;
    for code in ["shop.credits", "shop.quota", "shop.seats"] {
        let grant = format!(
            "CALL entitlement_grant_v1(1, '{code}', 1, 'promo', NULL, NULL, NULL, 'first-{code}', 'test', NULL)"
        );
        shop.session.query_drop(grant).await.unwrap();
    }
    shop.at(BEGIN + 2 * DAY).await;
    shop
}

fn entity() -> String {
    rows("SELECT id FROM billable_entities WHERE id = 1")
}

#[tokio::test]
async fn a_killed_invoice_leaves_nothing() {
    let mut shop = shop().await;
    let assignment = "(SELECT t.AUTO_INCREMENT FROM information_schema.TABLES AS t
                        WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = 'billing_plan_assignments')";
    // The assignment's number is the next one.
    let of_plan = |rest: &str| {
        grant(&format!(
            "CONCAT('assignment:', COALESCE({assignment}, 1), ':basic:{rest}')"
        ))
    };
    let holds = [
        row(
            "billing_events",
            "provider, provider_event_id, event_type, payload, outcome, received_at",
            "'stripe', 'evt_invoice', 'x', '{}', 'received', '2026-03-01'",
        ),
        rows("SELECT id FROM billing_plans WHERE code = 'basic'"),
        entity(),
        balance("shop.credits"),
        balance("shop.quota"),
        balance("shop.seats"),
        row(
            "billing_purchase_references",
            "provider, reference_id, same_as_id",
            "'stripe', 'in_1', 'in_2'",
        ),
        row(
            "billing_purchases",
            "subject_id, provider, provider_payment_id, status, currency, paid_minor_units, purchased_at, created_at",
            "99, 'stripe', 'in_1', 'paid', 'eur', 0, '2026-03-01', '2026-03-01'",
        ),
        grant("'event:evt_invoice:1:pack:shop.credits:one_off_topup'"),
        grant("'event:evt_invoice:1:pack:shop.quota:timeboxed_addon'"),
        grant("'event:evt_invoice:1:pack:shop.seats:timeboxed_addon'"),
        row(
            "billing_provider_subscriptions",
            "provider, provider_subscription_id, subject_id, quantity, status, said_at, updated_at",
            "'stripe', 'sub_1', 99, 1, 'active', '2026-03-01', '2026-03-01'",
        ),
        row(
            "billing_plan_assignments",
            "subject_id, plan_id, status, effective_at, dedupe_key, created_by, created_at",
            "99, 1, 'scheduled', '2026-03-01', 'event:evt_invoice', 'x', '2026-03-01'",
        ),
        of_plan("shop.quota:plan_base"),
        of_plan("shop.seats:plan_base"),
        of_plan("shop.credits:plan_base:2026-03-01T00:00:00.000Z"),
        row(
            "billing_refunds",
            "provider, provider_charge_id, reference_id, currency, refunded_minor_units, event_id, updated_at",
            "'stripe', 'ch_9', 'in_1', 'eur', 1, 1, '2026-03-01'",
        ),
    ];
    survives(&mut shop, &Event::current("invoice.paid"), &holds).await;
    assert_eq!(shop.available().await, [121, 1051, 9]);
    shop.end().await;
}

#[tokio::test]
async fn a_killed_refund_leaves_nothing() {
    let mut shop = shop().await;
    shop.applies(&Event::current("checkout.session.completed")).await;
    let event = Event::current("charge.refunded")
        .with("/payment_intent", "pi_pack")
        .with("/amount_refunded", 500);
    let firsts: Vec<u64> = shop
        .session
        .query("SELECT grant_id FROM billing_purchase_grants ORDER BY grant_id")
        .await
        .unwrap();
    let mut holds = vec![
        entity(),
        row(
            "billing_refunds",
            "provider, provider_charge_id, reference_id, currency, refunded_minor_units, event_id, updated_at",
            "'stripe', 'ch_1', 'pi_1', 'eur', 1, 1, '2026-03-01'",
        ),
        rows(
            "SELECT reference_id FROM billing_purchase_references WHERE provider = 'stripe' AND reference_id = 'pi_pack'",
        ),
        rows("SELECT id FROM billing_purchases WHERE id = 1"),
    ];
    for first in firsts {
        holds.push(revocation(&format!("refund:1:500:{first}")));
        holds.push(grant(&format!("'refund:1:500:{first}'")));
    }
    survives(&mut shop, &event, &holds).await;
    assert_eq!(shop.available().await, [51, 26, 3]);
    shop.end().await;
}

#[tokio::test]
async fn a_killed_subscription_leaves_nothing() {
    let mut shop = shop().await;
    let holds = [
        rows("SELECT id FROM billing_plans WHERE code = 'basic'"),
        entity(),
        row(
            "billing_provider_subscriptions",
            "provider, provider_subscription_id, subject_id, quantity, status, said_at, updated_at",
            "'stripe', 'sub_1', 99, 1, 'active', '2026-03-01', '2026-03-01'",
        ),
        row(
            "billing_plan_assignments",
            "subject_id, plan_id, status, effective_at, dedupe_key, created_by, created_at",
            "99, 1, 'scheduled', '2026-03-01', 'event:evt_sub_updated', 'x', '2026-03-01'",
        ),
    ];
    survives(&mut shop, &Event::current("customer.subscription.updated"), &holds).await;
    assert_eq!(shop.available().await, [1, 1001, 6]);
    let deletion = Event::current("customer.subscription.deleted");
    let holds = [
        entity(),
        rows("SELECT subject_id FROM billing_provider_subscriptions WHERE provider_subscription_id = 'sub_1'"),
        rows("SELECT id FROM billing_plan_assignments WHERE subject_id = 1"),
    ];
    let key: Option<String> = shop
        .session
        .query_first("SELECT CONCAT('assignment-ended:', plan_assignment_id, ':', MIN(id)) FROM billing_entitlement_grants WHERE plan_assignment_id IS NOT NULL GROUP BY plan_assignment_id")
        .await
        .unwrap();
    let holds: Vec<String> = holds.into_iter().chain([revocation(&key.unwrap())]).collect();
    survives(&mut shop, &deletion, &holds).await;
    assert_eq!(shop.available().await, [1, 1, 1]);
    shop.end().await;
}

//! `/metrics`: what is counted, and what the database says of itself.

mod dashboard;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::support::database::TestDatabase;
use crate::support::gateway::{PATIENCE, TestGateway, answer};
use crate::support::session::cut_others;

/// Each line of a scrape: name with labels, and value.
type Scrape = BTreeMap<String, String>;

async fn text(gateway: &TestGateway) -> String {
    let response = gateway.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    response.text().await.unwrap()
}

async fn scrape(gateway: &TestGateway) -> Scrape {
    let text = text(gateway).await;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Scrapes again and again until it is so.
async fn until(gateway: &TestGateway, what: &str, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
    let asking = async {
        loop {
            let scrape = scrape(gateway).await;
            if is_so(&scrape) {
                return scrape;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("{what}, in time"))
}

#[tokio::test]
async fn a_balance_that_cannot_be_settled_is_seen_until_it_is_mended() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let whole = scrape(&gateway).await;
    for (metric, value) in [
        ("consumable_database_up", "1"),
        ("consumable_balances_aside", "0"),
        ("consumable_balances_aside_failures_max", "0"),
        ("consumable_settlements_failed_total", "0"),
    ] {
        assert_eq!(whole[metric], value, "{metric}");
    }
    // A grant that ended half an hour ago, in a balance whose next settlement is there already. One commit: the scheduler sees both or neither.
    let mut session = gateway.test.session().await;
    for statement in [
        "SET timestamp = UNIX_TIMESTAMP() - 3600".to_owned(),
        "START TRANSACTION".to_owned(),
        format!(
            "CALL entitlement_grant_in_tx_v1({entity}, 'ai.credits', 100, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 1800 SECOND, NULL, 'operator', \
                                             NULL, NULL, 'poison', 'test', 'test', @grant, @replayed)"
        ),
        format!("UPDATE billing_entitlement_balances SET segment_no = segment_no - 1 WHERE subject_id = {entity}"),
        "COMMIT".to_owned(),
    ] {
        session.query_drop(statement).await.unwrap();
    }
    let seen = until(&gateway, "it is set aside", |scrape| {
        scrape["consumable_balances_aside"] == "1"
    })
    .await;
    assert_eq!(seen["consumable_balances_aside_failures_max"], "1");
    assert_eq!(seen["consumable_settlements_failed_total"], "1");
    assert_eq!(seen["consumable_settlements_settled_total"], "0");
    // It waits for its next attempt, so it is not due.
    assert_eq!(seen["consumable_balances_due"], "0");

    let mend = format!(
        "UPDATE billing_entitlement_balances SET segment_no = segment_no + 1, retry_at = UTC_TIMESTAMP(3) - INTERVAL 7 SECOND WHERE subject_id = {entity}"
    );
    session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    session.query_drop(mend).await.unwrap();
    // Any change wakes the scheduler.
    gateway.grant(entity, "projects.max", 1).await;
    let seen = until(&gateway, "it is settled", |scrape| {
        scrape["consumable_balances_aside"] == "0"
    })
    .await;
    assert_eq!(seen["consumable_balances_aside_failures_max"], "0");
    assert_eq!(
        (
            &seen["consumable_settlements_leased_total"],
            &seen["consumable_settlements_settled_total"]
        ),
        (&"2".to_owned(), &"1".to_owned())
    );
    let found = crate::support::story::differences(&mut session, entity).await;
    assert_eq!(found, [""; 0]);
}

#[tokio::test]
async fn what_is_due_is_seen_with_its_age() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    // The row stays locked, so that the scheduler leaves it.
    let mut holder = gateway.test.session().await;
    for statement in [
        "SET timestamp = UNIX_TIMESTAMP() - 3600".to_owned(),
        format!(
            "CALL entitlement_grant_v1({entity}, 'ai.credits', 100, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 3600 SECOND + INTERVAL 4 SECOND, NULL, 'g', \
                                       'test', 'test')"
        ),
        "START TRANSACTION".to_owned(),
        format!("SELECT subject_id FROM billing_entitlement_balances WHERE subject_id = {entity} FOR UPDATE"),
    ] {
        holder.query_drop(statement).await.unwrap();
    }
    let due = |scrape: &Scrape| scrape["consumable_balances_due"] == "1";
    until(&gateway, "it is due", due).await;
    let aged = |scrape: &Scrape| !scrape["consumable_balances_due_oldest_seconds"].starts_with('0');
    until(&gateway, "it has been due for a second", aged).await;
    holder.query_drop("ROLLBACK").await.unwrap();
    gateway.grant(entity, "projects.max", 1).await;
    let settled = |scrape: &Scrape| scrape["consumable_balances_due"] == "0";
    let seen = until(&gateway, "it is settled", settled).await;
    assert_eq!(seen["consumable_balances_due_oldest_seconds"], "0");
}

#[tokio::test]
async fn requests_readers_grants_and_uses_are_counted() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let by_hand =
        "CALL entitlement_grant_v1(?, 'projects.max', 1, 'promo', NULL, NULL, NULL, 'by-hand', 'test', 'test')";
    let mut dba = gateway.test.session().await;
    // The second is a replay, which makes none.
    for _ in 0..2 {
        dba.exec_drop(by_hand, (entity,)).await.unwrap();
    }
    let body = json!({"limitationCode": "ai.credits", "usageEventKey": "k"});
    // A replay books nothing.
    for _ in 0..2 {
        assert_eq!(answer(gateway.consume(&body)).await.0, 200);
    }
    let batch = |keys: [&str; 2]| {
        let uses =
            keys.map(|key| json!({"billableEntityId": entity, "limitationCode": "ai.credits", "usageEventKey": key}));
        gateway
            .as_service(Method::POST, "/api/billing/consume/batch")
            .json(&json!({"requests": uses}))
    };
    assert_eq!(answer(batch(["k", "b"])).await.0, 200);
    let hold = json!({"limitationCode": "ai.credits", "amount": 2, "usageEventKey": "h"});
    let (_, held) = answer(gateway.as_service(Method::POST, "/api/billing/holds").json(&hold)).await;
    let commit = format!("/api/billing/holds/{}/commit", held["hold"]["id"]);
    for _ in 0..2 {
        let commit = gateway.as_service(Method::POST, &commit).json(&json!({}));
        assert_eq!(answer(commit).await.0, 200);
    }
    assert_eq!(answer(gateway.as_service(Method::GET, "/api/billing/x")).await.0, 404);
    assert_eq!(
        answer(gateway.as_admin(Method::POST, "/api/billing/limits/refresh"))
            .await
            .0,
        200
    );
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();

    let seen = scrape(&gateway).await;
    for (metric, value) in [
        // By an operator, and by hand.
        ("entitlement_grant_insert_total", "2"),
        ("entitlement_consumption_insert_total", "3"),
        ("entitlement_projection_recompute_total", "1"),
        ("entitlement_recompute_duration_seconds_count{cause=\"refresh\"}", "1"),
        ("entitlement_recompute_duration_seconds_count{cause=\"boundary\"}", "0"),
        // Two uses, and a batch of two.
        (
            "entitlement_enforcement_duration_seconds_count{operation=\"consume\"}",
            "3",
        ),
        (
            "entitlement_enforcement_duration_seconds_count{operation=\"hold\"}",
            "1",
        ),
        (
            "entitlement_enforcement_duration_seconds_count{operation=\"check\"}",
            "0",
        ),
        // One use alone, and one in the batch.
        ("entitlement_dedupe_hit_total{operation=\"consume\"}", "2"),
        ("entitlement_dedupe_hit_total{operation=\"hold\"}", "1"),
        ("entitlement_dedupe_hit_total{operation=\"grant\"}", "0"),
        ("entitlement_denial_total{code=\"NOT_FOUND\"}", "1"),
        ("entitlement_denial_total{code=\"BILLING_LIMIT_EXCEEDED\"}", "0"),
        ("entitlement_stale_balance_refresh_total", "0"),
        ("entitlement_lock_state_transition_total", "0"),
        ("consumable_plan_changes_failed_total", "0"),
        ("consumable_pool_waiting_calls{pool=\"calls\"}", "0"),
        ("consumable_lane_call_requests_sum", "4"),
        ("consumable_lane_call_requests_count", "3"),
        ("consumable_lane_call_requests_bucket{le=\"1\"}", "2"),
        ("consumable_lane_depth_requests", "0"),
        ("consumable_readers", "1"),
        ("consumable_requests_total{family=\"billing\",class=\"4xx\"}", "1"),
        ("consumable_requests_total{family=\"billing\",class=\"5xx\"}", "0"),
        ("consumable_requests_total{family=\"console\",class=\"2xx\"}", "1"),
        ("consumable_requests_total{family=\"realtime\",class=\"2xx\"}", "1"),
        ("consumable_request_duration_seconds_count{family=\"console\"}", "1"),
        (
            "consumable_request_duration_seconds_bucket{family=\"console\",le=\"+Inf\"}",
            "1",
        ),
    ] {
        assert_eq!(
            seen.get(metric).map(String::as_str),
            Some(value),
            "{metric} of {seen:#?}"
        );
    }
    until(&gateway, "all is told", |scrape| {
        scrape["consumable_outbox_lag_changes"] == "0"
    })
    .await;
    // Nothing of one subject, and no secret.
    let text = text(&gateway).await;
    for secret in ["acme", "ai.credits", &gateway.service, &gateway.admin] {
        assert!(!text.contains(secret), "{secret}");
    }
    drop(events);
    until(&gateway, "the reader has left", |scrape| {
        scrape["consumable_readers"] == "0"
    })
    .await;
}

#[tokio::test]
async fn without_the_database_the_rest_is_answered() {
    let test = TestDatabase::migrated().await;
    let direct = test.gateway_url();
    let (before, socket) = direct.split_once("socket=").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("s");
    std::os::unix::fs::symlink(socket, &link).unwrap();
    let gateway = TestGateway::on(test, &format!("{before}socket={}", link.display())).await;
    gateway.acme().await;
    assert_eq!(scrape(&gateway).await["consumable_database_up"], "1");
    std::fs::remove_file(&link).unwrap();
    cut_others(&mut gateway.test.session().await).await;
    let seen = until(&gateway, "it is away", |scrape| scrape["consumable_database_up"] == "0").await;
    assert!(!seen.contains_key("consumable_balances_aside"), "{seen:#?}");
    assert!(
        seen.contains_key("consumable_settlements_leased_total") && seen.contains_key("consumable_relay_lag_seconds")
    );
    std::os::unix::fs::symlink(socket, &link).unwrap();
    until(&gateway, "it is back", |scrape| scrape["consumable_database_up"] == "1").await;
}

#[tokio::test]
async fn the_page_for_operators_lists_what_is_exported() {
    let gateway = TestGateway::start().await;
    let text = text(&gateway).await;
    let exported: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let page = include_str!("../../../docs/operating.md");
    let (_, table) = page.split_once("| metric | kind |").unwrap();
    let listed: BTreeMap<&str, &str> = table
        .lines()
        .take_while(|line| line.starts_with('|') || line.starts_with(" of"))
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split_once(" | ").unwrap().0))
        .collect();
    assert_eq!(exported, listed);
    for name in exported.keys() {
        assert!(
            name.starts_with("consumable_") || name.starts_with("entitlement_"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_fine_costs_a_scrape_nothing() {
    let test = TestDatabase::migrated().await;
    let mut session = test.session().await;
    for statement in [
        "SET cte_max_recursion_depth = 5000",
        "INSERT INTO billable_entities (entity_type, entity_ref, created_at, updated_at) \
         WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         SELECT 'idle', i, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM n",
        "INSERT INTO billing_entitlement_balances (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, \
                granted_amount, allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, \
                segment_start_left_amount, segment_consumed_amount, held_amount, last_sequence_no, next_change_at, failure_count) \
         SELECT e.id, d.id, 0, '1970-01-01', '9999-12-31', 1, UTC_TIMESTAMP(3), 0, 0, 0, 0, 0, 0, 0, 0, 0, UTC_TIMESTAMP(3) + INTERVAL e.id HOUR, \
                IF(e.id <= 3, 4, 0) \
           FROM billable_entities AS e JOIN billing_entitlement_definitions AS d ON d.code = 'ai.credits'",
    ] {
        session.query_drop(statement).await.unwrap();
    }
    session.query_drop("CALL operator_health_v1()").await.unwrap();
    session.query_drop("FLUSH STATUS").await.unwrap();
    let row: (u32, u32, u32, u64, u64, u32, u64, u64) =
        session.query_first("CALL operator_health_v1()").await.unwrap().unwrap();
    assert_eq!((row.0, row.1, row.2), (3, 4, 0));
    let reads: Vec<(String, u64)> = session
        .query("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' AND Value > 0")
        .await
        .unwrap();
    let read: u64 = reads.iter().map(|(_, times)| times).sum();
    assert!(read <= 20, "{reads:?}");
}

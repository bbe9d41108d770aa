//! Boundaries that pass though nobody asks.

mod kill;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use consumable::database::{Release, migrate};
use consumable::procedures::entitlement::lease_due;
use consumable::scheduler;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::database::TestDatabase;
use crate::support::gateway::{Events, PATIENCE, TestGateway, answer};

/// How many grants end in `a_grant_that_ends_is_pushed`; for a measurement, 100.
const BOUNDARIES: &str = "CONSUMABLE_TEST_BOUNDARIES";

/// Subjects with one balance each, whose only grant ended half an hour ago, and nobody has looked since.
async fn make_due(test: &TestDatabase, subjects: u64) -> Conn {
    let mut session = test.session().await;
    session
        .query_drop("SET timestamp = UNIX_TIMESTAMP() - 3600")
        .await
        .unwrap();
    for subject in 1..=subjects {
        let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
        let name = format!("w{subject}");
        session.exec_drop(put, (&name, &name)).await.unwrap();
        let grant = "CALL entitlement_grant_v1(?, 'ai.credits', 100, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 1800 SECOND, NULL, ?, 'test', 'test')";
        session.exec_drop(grant, (subject, &name)).await.unwrap();
    }
    session.query_drop("SET timestamp = DEFAULT").await.unwrap();
    session
}

async fn number(session: &mut Conn, query: &str) -> u64 {
    session.query_first(query).await.unwrap().unwrap()
}

const DUE: &str = "SELECT COUNT(*) FROM billing_entitlement_balances WHERE due_at <= UTC_TIMESTAMP(3)";

/// A scheduler of its own, with a pool of its own, as another gateway has it.
struct Scheduler {
    stop: watch::Sender<bool>,
    changes: watch::Sender<u64>,
    running: JoinHandle<()>,
}

impl Scheduler {
    async fn start(test: &TestDatabase, settled: Arc<Notify>) -> Scheduler {
        let database = test.connect().await;
        let (stop, stopped) = watch::channel(false);
        let (changes, moves) = watch::channel(0);
        let running = tokio::spawn(async move {
            let tick = Duration::from_secs(3_600);
            scheduler::run(&database, tick, moves, |_| settled.notify_one(), stopped).await;
        });
        Scheduler { stop, changes, running }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

async fn until_none_is_due(session: &mut Conn, settled: &Notify) {
    let waiting = async {
        while number(session, DUE).await > 0 {
            settled.notified().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("all is settled in time");
}

async fn next_boundary(events: &mut Events) -> Value {
    loop {
        let frame = events.next().await.unwrap();
        if frame.data.contains("boundary_recompute") {
            return serde_json::from_str(&frame.data).unwrap();
        }
    }
}

#[tokio::test]
async fn a_grant_that_ends_is_pushed() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let mut events = gateway.listen(None).await;
    let count: i32 = std::env::var(BOUNDARIES).map_or(1, |count| count.parse().unwrap());
    let first = Utc::now().trunc_subsecs(3) + Duration::from_millis(1_500) + Duration::from_millis(30) * count as u32;
    let ends: Vec<DateTime<Utc>> = (0..count)
        .map(|place| first + Duration::from_millis(100) * place as u32)
        .collect();
    for (place, end) in ends.iter().enumerate() {
        let grant = gateway
            .as_admin(Method::POST, "/api/console/billing/grants")
            .header("Idempotency-Key", format!("grant-{place}"))
            .json(&json!({"billableEntityId": entity, "code": "ai.credits", "amount": 5, "kind": "promo", "reason": "test",
                          "expiresAt": end.to_rfc3339()}));
        assert_eq!(answer(grant).await.0, 201);
    }
    let mut delays = Vec::new();
    for end in ends {
        // Nobody reads in between.
        let data = next_boundary(&mut events).await;
        delays.push(Utc::now() - end);
        assert_eq!(
            (&data["changedCodes"], &data["changeSource"], &data["workspaceSlug"]),
            (&json!(["ai.credits"]), &json!("boundary_recompute"), &json!("acme"))
        );
    }
    delays.sort_unstable();
    let percent = |part: usize| delays[(delays.len() * part).div_ceil(100) - 1].num_milliseconds();
    println!(
        "{count} boundaries: pushed after {} ms (p50), {} ms (p99)",
        percent(50),
        percent(99)
    );
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations?held=true")).await;
    assert_eq!(body["limitations"][0]["availableAmount"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_settle_each_balance_once() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, 300).await;
    assert_eq!(number(&mut session, DUE).await, 300);
    let settled = Arc::new(Notify::new());
    let mut schedulers = Vec::new();
    for _ in 0..3 {
        schedulers.push(Scheduler::start(&test, settled.clone()).await);
    }
    until_none_is_due(&mut session, &settled).await;
    for scheduler in schedulers {
        scheduler.stop().await;
    }
    let settlements: Vec<(u64, u64)> = session
        .query(
            "SELECT subject_id, COUNT(*) FROM billing_entitlement_settlements WHERE cause = 'grant_boundary' GROUP BY subject_id \
             ORDER BY subject_id",
        )
        .await
        .unwrap();
    assert_eq!(settlements, (1..=300).map(|subject| (subject, 1)).collect::<Vec<_>>());
    let told = "SELECT SUM(JSON_LENGTH(changes)) FROM billing_limit_changes WHERE change_source = 'boundary_recompute'";
    assert_eq!(number(&mut session, told).await, 300);
    let differences: Vec<Row> = session.query("CALL entitlement_verify_v1(NULL)").await.unwrap();
    assert!(differences.is_empty(), "{differences:?}");
}

#[tokio::test]
async fn a_balance_that_cannot_be_settled_is_set_aside() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, 5).await;
    let database = test.connect().await;
    // Its next settlement is there already.
    let spoil = "UPDATE billing_entitlement_balances SET segment_no = segment_no - 1 WHERE subject_id = 3";
    session.query_drop(spoil).await.unwrap();

    let lease = lease_due(&database, 100).await.unwrap();
    assert_eq!((lease.leased, lease.settled, lease.failed), (5, 4, 1));
    assert!(
        lease
            .wait_milliseconds
            .is_some_and(|wait| (110_000..=120_000).contains(&wait)),
        "{lease:?}"
    );
    let aside = "SELECT failure_count, last_failure, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), retry_at) FROM billing_entitlement_balances \
                 WHERE subject_id = 3";
    let (count, failure, seconds): (u32, String, i64) = session.query_first(aside).await.unwrap().unwrap();
    assert!(
        count == 1 && failure.starts_with("Duplicate entry") && (110..=120).contains(&seconds),
        "{failure} {seconds}"
    );

    // It stands in nobody's way, and is tried again later and later.
    assert_eq!(lease_due(&database, 100).await.unwrap().leased, 0);
    for (count, delay) in [(2, 240), (3, 480)] {
        let now = "UPDATE billing_entitlement_balances SET retry_at = UTC_TIMESTAMP(3) WHERE subject_id = 3";
        session.query_drop(now).await.unwrap();
        let lease = lease_due(&database, 100).await.unwrap();
        assert_eq!((lease.leased, lease.settled, lease.failed), (1, 0, 1));
        let (failures, _, seconds): (u32, String, i64) = session.query_first(aside).await.unwrap().unwrap();
        assert_eq!(failures, count);
        assert!((delay - 10..=delay).contains(&seconds), "{seconds}");
    }

    let mend = "UPDATE billing_entitlement_balances SET segment_no = segment_no + 1, retry_at = UTC_TIMESTAMP(3) WHERE subject_id = 3";
    session.query_drop(mend).await.unwrap();
    let lease = lease_due(&database, 100).await.unwrap();
    assert_eq!(
        (lease.leased, lease.settled, lease.failed, lease.wait_milliseconds),
        (1, 1, 0, None)
    );
    let spoilt = "SELECT COUNT(*) FROM billing_entitlement_balances WHERE failure_count > 0 OR last_failure IS NOT NULL OR retry_at IS NOT NULL";
    assert_eq!(number(&mut session, spoilt).await, 0);
}

#[tokio::test]
async fn a_scheduler_outlives_a_database_that_is_away() {
    let test = TestDatabase::empty().await;
    let settled = Arc::new(Notify::new());
    // Without procedures every call fails.
    let scheduler = Scheduler::start(&test, settled.clone()).await;
    migrate(&test.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap();
    let mut session = make_due(&test, 2).await;
    // What the relay would say, if one ran here.
    scheduler.changes.send_replace(1);
    until_none_is_due(&mut session, &settled).await;
    scheduler.stop().await;
}

#[tokio::test]
async fn the_lease_touches_only_what_is_due() {
    let test = TestDatabase::migrated().await;
    let mut session = make_due(&test, 10).await;
    for statement in [
        "SET cte_max_recursion_depth = 5000",
        "INSERT INTO billable_entities (entity_type, entity_ref, created_at, updated_at) \
         WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
         SELECT 'idle', i, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM n",
        "INSERT INTO billing_entitlement_balances (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, \
                granted_amount, allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, \
                segment_start_left_amount, segment_consumed_amount, held_amount, last_sequence_no, next_change_at) \
         SELECT e.id, b.definition_id, 0, b.window_start_at, b.window_end_at, b.segment_no, b.settled_at, b.granted_amount, b.allotment_amount, \
                b.allotment_given_amount, b.overage_amount, b.segment_start_consumed_amount, b.segment_start_left_amount, \
                b.segment_consumed_amount, b.held_amount, b.last_sequence_no, UTC_TIMESTAMP(3) + INTERVAL e.id HOUR \
           FROM billable_entities AS e JOIN billing_entitlement_balances AS b ON b.subject_id = 1 WHERE e.entity_type = 'idle'",
        "ANALYZE TABLE billing_entitlement_balances",
    ] {
        session.query_drop(statement).await.unwrap();
    }
    // The very text of the procedure.
    let text = include_str!("../../sql/entitlement/entitlement_lease_due_v1.sql");
    let begin = text.find("SELECT b.subject_id, b.definition_id").unwrap();
    let end = begin + text[begin..].find(") AS t;").unwrap();
    let lease = text[begin..end].replace("p_limit", "100");
    assert!(lease.contains("SKIP LOCKED") && lease.contains("LIMIT 100"), "{lease}");

    let plan: Vec<Row> = session
        .query(format!("EXPLAIN FORMAT=TRADITIONAL {lease}"))
        .await
        .unwrap();
    let row = &plan[0];
    let (key, kind, rows): (String, String, u64) = (
        row.get("key").unwrap(),
        row.get("type").unwrap(),
        row.get("rows").unwrap(),
    );
    assert_eq!(
        (plan.len(), key.as_str(), kind.as_str()),
        (1, "ix_balances_due", "range")
    );
    assert!(rows <= 11, "{rows} rows are looked at");

    // And what it says is what it does.
    session.query_drop("FLUSH STATUS").await.unwrap();
    let leased: Vec<(u64, u32)> = session.query(lease).await.unwrap();
    let reads: Vec<(String, u64)> = session
        .query("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' AND Value > 0")
        .await
        .unwrap();
    let read: u64 = reads.iter().map(|(_, times)| times).sum();
    assert!(leased.len() == 10 && read <= 12, "{} of {reads:?}", leased.len());
}

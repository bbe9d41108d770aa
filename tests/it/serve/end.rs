use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;

use super::Served;
use crate::support::database::TestDatabase;
use crate::support::story::differences;

/// Holds the balances, so that uses stay under way.
async fn in_the_way(test: &TestDatabase) -> Conn {
    let mut holder = test.session().await;
    holder
        .query_drop("START TRANSACTION; SELECT * FROM billing_entitlement_balances FOR UPDATE")
        .await
        .unwrap();
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_before_the_end_is_answered() {
    let test = TestDatabase::migrated().await;
    let mut served = Served::start(&test.url(), "text").await;
    served.workspace("acme").await;
    let mut events = served.listen("acme").await;
    assert!(!events.next().await.unwrap().id.is_empty());
    let mut holder = in_the_way(&test).await;
    let under_way = tokio::spawn(served.consume("acme", "first").send());
    served.until_metric("consumable_lane_call_requests_count 1").await;
    let queued = tokio::spawn(served.consume("acme", "second").send());
    served.until_metric("consumable_lane_depth_requests 1").await;

    served.signal(Signal::TERM);
    let mut last = None;
    while let Some(frame) = events.next().await {
        last = Some(frame);
    }
    assert!(!last.expect("a last word").retry.is_empty());
    holder.query_drop("COMMIT").await.unwrap();
    for request in [under_way, queued] {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(served.ended().await.code(), Some(0));
    served.logged("it says so", |line| line.contains("stopped")).await;
    let mut dba = test.session().await;
    let keys: Vec<String> = dba
        .query("SELECT usage_event_key FROM billing_entitlement_consumptions ORDER BY sequence_no")
        .await
        .unwrap();
    assert_eq!(keys, ["first", "second"]);
    assert_eq!(differences(&mut dba, None).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_it_twice_is_obeyed_at_once() {
    let test = TestDatabase::migrated().await;
    let mut served = Served::start(&test.url(), "text").await;
    served.workspace("acme").await;
    let mut holder = in_the_way(&test).await;
    let under_way = tokio::spawn(served.consume("acme", "first").send());
    served.until_metric("consumable_lane_call_requests_count 1").await;
    served.signal(Signal::INT);
    served.logged("it stops", |line| line.contains("stopping")).await;
    served.signal(Signal::TERM);
    assert_eq!(served.ended().await.code(), Some(1));
    // It did not wait for what was under way.
    assert!(under_way.await.unwrap().is_err());
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(differences(&mut holder, None).await, [""; 0]);
}

//! A former primary that does not know what has become true since: nobody is answered by it.

use consumable::database::Database;
use consumable::procedures::entitlement;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Duration, sleep};

use super::{DATABASE, prepared};
use crate::support::cluster::{Cluster, MEMBERS};

/// The demonstration's only subject.
const ACME: u64 = 1;

/// How often. Whoever looks by chance at the right moment would be right once.
const TIMES: usize = 5;

/// Makes another member the primary. As soon as the former one takes no writes, it hears of nothing: what the group brings waits for a
/// lock that the session given has. Who reads there does not.
async fn replaced_and_deaf(cluster: &Cluster, former: usize, next: usize) -> Conn {
    let mut session = cluster.session(former).await;
    let deaf = async {
        while session.query_first("SELECT @@super_read_only").await.unwrap() != Some(true) {}
        session.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    };
    tokio::join!(deaf, cluster.make_primary(next));
    session
}

/// A cluster with the demonstration's data, and a way to it; none where there can be no cluster.
async fn seeded() -> Option<(Cluster, Database)> {
    let cluster = prepared().await?;
    let database = Database::connect(&cluster.url("gateway:calls", DATABASE))
        .await
        .unwrap();
    database.call("demonstration_seed_v1", ()).await.unwrap();
    Some((cluster, database))
}

/// Uses one credit; gives how many are used now.
async fn consume(database: &Database, key: &str) -> i64 {
    let request =
        json!([{"subjectId": ACME, "usageEventKey": key, "items": [{"limitationCode": "ai.credits", "amount": 1}]}]);
    database
        .call("entitlement_consume_v1", (request.to_string(),))
        .await
        .unwrap();
    consumed(database).await
}

async fn consumed(database: &Database) -> i64 {
    let limitations = entitlement::limitations(database, ACME, Some("ai.credits"), false)
        .await
        .unwrap();
    limitations.rows[0].consumed_amount
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_primary_that_was_replaced_answers_nobody() {
    let Some((cluster, one)) = seeded().await else {
        return;
    };
    let mut primary = 0;
    for time in 1..=TIMES {
        let next = (primary + 1) % MEMBERS;
        let before = consumed(&one).await;
        let mut deaf = replaced_and_deaf(&cluster, primary, next).await;
        // One has asked nobody since, and has its sessions with the member that is deaf.
        let other = Database::connect(&cluster.url("gateway:calls", DATABASE))
            .await
            .unwrap();
        assert_eq!(consume(&other, &format!("replaced-{time}")).await, before + 1);
        assert_eq!(consumed(&one).await, before + 1, "time {time}");
        deaf.query_drop("UNLOCK TABLES").await.unwrap();
        primary = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_primary_that_stood_still_is_not_found_again() {
    let Some((cluster, one)) = seeded().await else {
        return;
    };
    let mut primary = 0;
    for time in 1..=TIMES {
        let before = consumed(&one).await;
        let mut former = cluster.session(primary).await;
        cluster.signal(primary, Signal::STOP);
        let others: Vec<usize> = (0..MEMBERS).filter(|place| *place != primary).collect();
        let next = cluster.until_primary(&others).await;
        assert_eq!(consume(&one, &format!("stood-still-{time}")).await, before + 1);
        cluster.signal(primary, Signal::CONT);
        // Of the two that say that they take writes now, whoever comes now finds the right one.
        let says: Option<bool> = former.query_first("SELECT @@super_read_only").await.unwrap();
        assert_eq!(
            says,
            Some(false),
            "the former primary knows of the other already, and nothing is shown"
        );
        for _ in 0..10 {
            let newcomer = Database::connect(&cluster.url("gateway:calls", DATABASE))
                .await
                .unwrap();
            assert_eq!(consumed(&newcomer).await, before + 1, "time {time}");
            newcomer.disconnect().await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        cluster.until_secondary(primary).await;
        primary = next;
    }
}

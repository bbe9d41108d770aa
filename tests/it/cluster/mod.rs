//! The engine on a group of three servers, of which the primary is lost again and again while it is used: nothing that was answered is
//! lost or counted twice, nothing that is no longer so is answered, and readers hear of each change once, in order.
//!
//! `CONSUMABLE_TEST_CLUSTER=1 cargo test entitlement::` runs any other tests on such a group.

mod former;
mod gateway;
mod load;
mod nobody;

use std::sync::Arc;
use std::time::Instant;

use consumable::database::{Database, Release, check, make_gateway_account, migrate};
use consumable::gateway::Secret;
use consumable::procedures::access;
use mysql_async::prelude::Queryable;
use rustix::process::Signal;

use self::gateway::Gateway;
use self::load::Load;
use crate::support::cluster::{Cluster, MEMBERS};

const DATABASE: &str = "billing";

/// What becomes of a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`.
    Killed,
    /// It stands still until another one is the primary, and then goes on as if nothing had been.
    StoodStill,
    /// An operator makes another member the primary.
    Replaced,
    /// `kill -9` of all members at once; an operator makes the group anew.
    AllKilled,
}

/// A group with the release, and an account for gateways.
async fn prepared() -> Option<Cluster> {
    let cluster = Cluster::start().await?;
    let mut session = cluster.session(0).await;
    let create = format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci");
    session.query_drop(create).await.unwrap();
    session
        .query_drop("CREATE USER operator@localhost IDENTIFIED BY 'all'")
        .await
        .unwrap();
    session
        .query_drop("GRANT ALL ON *.* TO operator@localhost WITH GRANT OPTION")
        .await
        .unwrap();

    let operator = cluster.url("operator:all", DATABASE);
    let release = Release::embedded().unwrap();
    let report = migrate(&operator, &release, &|_| ()).await.unwrap();
    assert!(report.notices.is_empty() && !report.created.is_empty(), "{report:?}");
    assert_eq!(check(&operator, &release).await.unwrap(), []);
    make_gateway_account(&operator, "gateway", "calls").await.unwrap();
    Some(cluster)
}

/// A group, and two gateways on it with workspaces that both serve.
async fn serving() -> Option<(Cluster, Vec<Arc<Gateway>>)> {
    let cluster = prepared().await?;
    let url = cluster.url("gateway:calls", DATABASE);
    let database = Database::connect(&url).await.unwrap();
    let secret = Secret::generate().unwrap();
    access::create_key(&database, "admin", "admin", secret.sha256())
        .await
        .unwrap();
    database.disconnect().await.unwrap();
    let gateways = [
        Gateway::start(&url, secret.reveal()).await,
        Gateway::start(&url, secret.reveal()).await,
    ];
    gateways[0].make_workspaces().await;
    Some((cluster, gateways.map(Arc::new).to_vec()))
}

/// Does it to the primary, and gives the next one.
async fn strike(cluster: &mut Cluster, load: &Load, primary: usize, fault: Fault) -> usize {
    load.more(20).await;
    load.longest();
    let others: Vec<usize> = (0..MEMBERS).filter(|place| *place != primary).collect();
    let begun = Instant::now();
    match fault {
        Fault::Killed => cluster.kill(primary).await,
        Fault::StoodStill => cluster.signal(primary, Signal::STOP),
        Fault::Replaced => cluster.make_primary(others[0]).await,
        Fault::AllKilled => cluster.kill_all().await,
    }
    let next = match fault {
        Fault::AllKilled => cluster.make_anew(primary).await,
        _ => cluster.until_primary(&others).await,
    };
    let elected = begun.elapsed();
    if fault == Fault::StoodStill {
        cluster.signal(primary, Signal::CONT);
    }
    load.more(20).await;
    println!(
        "{fault:?}: a primary again after {elected:.1?}, a caller waited for {:.1?} at most",
        load.longest()
    );
    match fault {
        Fault::Killed => cluster.restart(primary).await,
        Fault::StoodStill | Fault::Replaced => cluster.until_secondary(primary).await,
        Fault::AllKilled => (),
    }
    next
}

/// Does it so many times, and prints a row of the table.
async fn strikes(fault: Fault, times: usize) {
    let Some((mut cluster, gateways)) = serving().await else {
        return;
    };
    let load = Load::start(&gateways, DATABASE).await;
    let mut primary = 0;
    for _ in 0..times {
        primary = strike(&mut cluster, &load, primary, fault).await;
    }
    let count = load.end(&cluster, primary).await;
    for gateway in gateways {
        gateway.until_ready().await;
    }
    println!("| fault | times | answered | found | lost | doubled | looks | told |");
    println!(
        "| {fault:?} | {times} | {} | {} | {} | {} | {} | {} |",
        count.answered, count.found, count.lost, count.doubled, count.looks, count.told
    );
    assert_eq!((count.found, count.lost, count.doubled), (count.answered, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_primary_is_killed() {
    strikes(Fault::Killed, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_primary_stands_still_and_goes_on() {
    strikes(Fault::StoodStill, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn a_primary_is_replaced() {
    strikes(Fault::Replaced, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn all_members_are_killed_at_once() {
    strikes(Fault::AllKilled, 3).await;
}

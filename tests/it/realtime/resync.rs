//! Readers who missed something that nobody can tell them any more.

use consumable::relay::{FellBehind, Relay};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::{grant_by_hand, ids_up_to};
use crate::support::database::TestDatabase;
use crate::support::gateway::{Frame, PATIENCE, TestGateway};
use crate::support::session::begin;

/// Writes changes of the workspace `acme` as the procedures would.
async fn write_changes(session: &mut Conn, count: u32, codes: &str) {
    session
        .query_drop("SET SESSION cte_max_recursion_depth = 100000")
        .await
        .unwrap();
    let insert = "INSERT INTO billing_limit_changes (change_source, changes, changed_at) \
                  WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < ?) \
                  SELECT 'consumption', JSON_ARRAY(JSON_OBJECT('subjectId', 1, 'codes', CAST(? AS JSON))), UTC_TIMESTAMP(3) FROM n";
    session.exec_drop(insert, (count, codes)).await.unwrap();
}

fn resync(id: &str) -> Frame {
    Frame {
        id: id.into(),
        event: "resync".into(),
        data: "{}".into(),
        ..Frame::default()
    }
}

#[tokio::test]
async fn an_id_that_nobody_knows_means_resync() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut dba = gateway.test.session().await;
    let mut watcher = gateway.listen(None).await;
    for key in ["one", "two", "three"] {
        grant_by_hand(&mut dba, "ai.credits", key).await;
    }
    ids_up_to(&mut watcher, "3").await;
    for unknown in [
        "4",
        "99999999999",
        "18446744073709551615",
        "99999999999999999999",
        "-1",
        "last week",
    ] {
        assert_eq!(
            gateway.listen(Some(unknown)).await.next().await,
            Some(resync("3")),
            "{unknown}"
        );
    }
    // Older than what is kept.
    dba.query_drop("UPDATE billing_limit_changes SET changed_at = changed_at - INTERVAL 1 DAY; CALL entitlement_prune_changes_v1(3600, 10)").await.unwrap();
    assert_eq!(gateway.listen(Some("1")).await.next().await, Some(resync("3")));
    let mut at_the_edge = gateway.listen(Some("2")).await;
    assert_eq!(at_the_edge.next().await.unwrap().id, "3");
    // After a resync, what comes comes.
    let mut resumed = gateway.listen(Some("0")).await;
    assert_eq!(resumed.next().await, Some(resync("3")));
    grant_by_hand(&mut dba, "ai.credits", "four").await;
    assert_eq!(
        (resumed.next().await.unwrap().id, at_the_edge.next().await.unwrap().id),
        ("4".into(), "4".into())
    );
}

#[tokio::test]
async fn what_is_gone_before_the_relay_read_it_is_told_to_who_waits() {
    let test = TestDatabase::migrated().await;
    let database = test.connect().await;
    let mut dba = test.session().await;
    let subject = "CALL billing_put_entity_v1('workspace', 'acme', 'acme', NULL, NULL, NULL)";
    dba.query_drop(subject).await.unwrap();
    let relay = Relay::start(&database).await.unwrap();
    let mut reader = relay.subscribe(1);
    // The relay cannot read for as long as changes are kept: as if its database was away for a day.
    for key in ["one", "two", "three"] {
        grant_by_hand(&mut dba, "ai.credits", key).await;
    }
    let number_and_prune = "CALL entitlement_changes_since_v1(NULL, NULL, 1); \
                            UPDATE billing_limit_changes SET changed_at = changed_at - INTERVAL 1 DAY; \
                            CALL entitlement_prune_changes_v1(3600, 10)";
    dba.query_drop(number_and_prune).await.unwrap();
    let run = relay.run(&database);
    tokio::pin!(run);
    let told = tokio::select! { () = &mut run => unreachable!(), told = timeout(PATIENCE, reader.next()) => told };
    assert_eq!(told.expect("a word in time"), Err(FellBehind));
    // Who joins anew goes on from here.
    let mut anew = relay.subscribe(1);
    grant_by_hand(&mut dba, "ai.credits", "four").await;
    let told = tokio::select! { () = run => unreachable!(), told = timeout(PATIENCE, anew.next()) => told };
    assert_eq!((anew.position(), told.unwrap().unwrap().sequence_no), (3, 4));
}

#[tokio::test]
async fn after_a_restore_whoever_has_an_older_number_fetches_anew() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut dba = gateway.test.session().await;
    let mut watcher = gateway.listen(None).await;
    for key in ["one", "two", "three", "four"] {
        grant_by_hand(&mut dba, "ai.credits", key).await;
    }
    ids_up_to(&mut watcher, "4").await;
    // The database comes back as it was after "two", and somebody writes before the readers are there again.
    dba.query_drop("DELETE FROM billing_limit_changes WHERE sequence_no > 2; UPDATE billing_limit_change_counter SET last_sequence_no = 2")
        .await
        .unwrap();
    for key in ["five", "six", "seven"] {
        grant_by_hand(&mut dba, "ai.credits", key).await;
    }
    dba.query_drop("CALL entitlement_changes_since_v1(NULL, NULL, 1)")
        .await
        .unwrap();

    begin(&mut dba).await;
    let refused = dba.query_drop("CALL operator_restart_changes_v1()").await.unwrap_err();
    assert!(refused.to_string().contains("1568"), "{refused}");
    dba.query_drop("ROLLBACK").await.unwrap();
    let restart: Option<(u64, u64)> = dba.query_first("CALL operator_restart_changes_v1()").await.unwrap();
    assert_eq!(restart, Some((1_000_000_005, 5)));
    // Who stayed is told, maybe after what the lost database had told under other numbers.
    while watcher.next().await.unwrap() != resync("1000000005") {}
    for known in ["0", "2", "3", "4", "5"] {
        let mut reader = gateway.listen(Some(known)).await;
        assert_eq!(reader.next().await, Some(resync("1000000005")), "{known}");
    }
    let mut up_to_date = gateway.listen(Some("1000000005")).await;
    grant_by_hand(&mut dba, "ai.credits", "eight").await;
    assert_eq!(watcher.next().await.unwrap().id, "1000000006");
    assert_eq!(up_to_date.next().await.unwrap().id, "1000000006");

    // Each call once more; there is one change to delete.
    let again: Option<(u64, u64)> = dba.query_first("CALL operator_restart_changes_v1()").await.unwrap();
    assert_eq!(again, Some((2_000_000_006, 1)));
    assert_eq!(watcher.next().await, Some(resync("2000000006")));
}

#[tokio::test]
async fn too_far_behind_means_resync() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut dba = gateway.test.session().await;
    let mut watcher = gateway.listen(None).await;
    watcher.next().await.unwrap();
    write_changes(&mut dba, 10_001, r#"["ai.credits"]"#).await;
    // More than some readers can follow; the last id is what matters here.
    ids_up_to(&mut watcher, "10001").await;
    assert_eq!(gateway.listen(Some("0")).await.next().await, Some(resync("10001")));
    let ids = ids_up_to(&mut gateway.listen(Some("1")).await, "10001").await;
    assert_eq!(ids, (2..=10_001).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_told_to_refetch() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    // A raw connection with a small window, so that little fits between the gateway and a reader that does not read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(gateway.address().parse().unwrap()).await.unwrap();
    let path = "/api/realtime/events?topic=workspace_billing_limits&surface=app&workspaceSlug=acme";
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        gateway.service
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::with_capacity(256, stream).lines();
    let mut next_id = async || {
        let read = async {
            loop {
                if let Some(id) = lines.next_line().await.unwrap().unwrap().strip_prefix("id: ") {
                    return (id.parse::<u64>().unwrap(), lines.next_line().await.unwrap().unwrap());
                }
            }
        };
        timeout(PATIENCE, read).await.expect("a frame in time")
    };
    assert_eq!(next_id().await.0, 0);

    let mut watcher = gateway.listen(None).await;
    watcher.next().await.unwrap();
    let mut dba = gateway.test.session().await;
    let codes: Vec<_> = (0..200).map(|number| format!("{:060}.{number}", 0)).collect();
    write_changes(&mut dba, 1_500, &serde_json::to_string(&codes).unwrap()).await;
    let seen = ids_up_to(&mut watcher, "1500").await;
    assert!(!seen.is_empty());

    let mut told = Vec::new();
    let resynced = loop {
        let (id, event) = next_id().await;
        if event == "event: resync" {
            break id;
        }
        told.push(id);
    };
    assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>());
    assert!(resynced > told.len() as u64 + 1, "{resynced}");
    // Then live again.
    grant_by_hand(&mut dba, "ai.credits", "after").await;
    let mut last = resynced;
    while last < 1_501 {
        let (id, event) = next_id().await;
        assert!(id == last + 1 || event == "event: resync", "{id} after {last}");
        last = id;
    }
}

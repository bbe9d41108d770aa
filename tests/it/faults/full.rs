//! The disk of the database server is full, for a while. The server, its gateway and its load run as a child on a disk of their own.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::{sleep, timeout};

use super::RELAXED;
use super::gateway::Gateway;
use super::load::Load;
use super::server::{SEED, Server, seed};
use crate::support::disk::on_small_disk;
use crate::support::folder::fresh_folder;
use crate::support::server::server_program;

/// Where the child finds its disk.
const DISK: &str = "CONSUMABLE_TEST_DISK";

/// How often the disk fills up.
const TIMES: &str = "CONSUMABLE_TEST_TIMES";

/// Whether the child waits until the server finds that there is room again. Else it kills the server, as an operator in a hurry does.
const PATIENT: &str = "CONSUMABLE_TEST_PATIENT";

/// A full server looks for room once a minute.
const FINDS_ROOM_WITHIN: Duration = Duration::from_secs(150);

/// What others write whenever there is room.
async fn fill(path: &Path) {
    let mut others = File::create(path).unwrap();
    loop {
        let full = std::io::copy(&mut std::io::repeat(0), &mut others).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a commit of somebody else comes through, when the server has looked for room. Else it has ended, as it must when it can no longer
/// write its log.
async fn goes_on(session: &mut Conn) -> bool {
    let commit = session.query_drop("INSERT INTO witness VALUES (DEFAULT)");
    timeout(FINDS_ROOM_WITHIN, commit)
        .await
        .expect("it looks for room")
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the tests below"]
async fn as_child_on_a_small_disk() {
    let (Some(disk), Some(times)) = (env::var_os(DISK).map(PathBuf::from), env::var_os(TIMES)) else {
        return;
    };
    let times = times.to_str().unwrap().parse().unwrap();
    let is_patient = env::var_os(PATIENT).is_some();
    let mut server = Server::start_in(&disk.join("server"), &server_program().await).await;
    let gateway = Gateway::start(&server).await;
    let load = Load::start(&server, &[&gateway.url], 32, &["ai.credits"]);
    let mut session = server.session().await;
    let witness = "CREATE TABLE witness (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY)";
    session.query_drop(witness).await.unwrap();
    let others = disk.join("others");
    let mut outage = RELAXED;
    let (mut refused, mut restarted) = (Duration::ZERO, 0);
    for _ in 0..times {
        load.more(200).await;
        load.slowest_refusal();
        tokio::select! {
            () = load.refused(32) => (),
            () = fill(&others) => (),
        }
        assert_eq!(gateway.status("/healthz").await.0, 200);
        refused = refused.max(load.slowest_refusal());
        fs::remove_file(&others).unwrap();
        if !is_patient || !goes_on(&mut session).await {
            server.kill().await;
            server.start_again().await;
            session = server.session().await;
            restarted += 1;
        }
        outage.is_back(&gateway, &load).await;
    }
    let count = load.end(&server).await;
    let beside = format!(
        "refused within {refused:.2?}; with room, back within {:.2?}, ready within {:.2?}; server killed and started {restarted} times",
        outage.back, outage.ready
    );
    count.tell("disk full", times, &beside);
    drop(gateway);
    server.shut_down().await;
}

async fn full(times: usize, is_patient: bool) {
    let seed = seed().await.folder();
    let folder = fresh_folder();
    let mut test = Command::new(env::current_exe().unwrap());
    test.args([
        "--exact",
        "faults::full::as_child_on_a_small_disk",
        "--ignored",
        "--nocapture",
    ]);
    let Some(mut child) = on_small_disk(&test, folder.path(), "500m") else {
        return;
    };
    child
        .env(DISK, folder.path())
        .env(TIMES, times.to_string())
        .env(SEED, seed);
    if is_patient {
        child.env(PATIENT, "yes");
    }
    let child = tokio::task::spawn_blocking(move || child.stdin(Stdio::null()).output().unwrap());
    let output = child.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let row = said.lines().find(|line| line.starts_with("| "));
    println!("\n{}", row.unwrap_or(&said));
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_killed_server_lose_nothing() {
    full(1, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_disk_full_three_times_loses_nothing() {
    full(3, true).await;
}

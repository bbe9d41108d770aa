//! The embedded server, with real servers.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use consumable::database::embedded::{EmbeddedError, EmbeddedServer, Progress, ServerProgram, Storage, find_server};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::disk::on_small_disk;
use crate::support::folder::fresh_folder;
use crate::support::server::{server_program, shared_server};

async fn start(folder: &Path) -> Result<EmbeddedServer, EmbeddedError> {
    start_with(&server_program().await, folder).await
}

async fn start_with(program: &ServerProgram, folder: &Path) -> Result<EmbeddedServer, EmbeddedError> {
    EmbeddedServer::start(program, Storage::Persistent(folder.to_path_buf()), Progress::Silent).await
}

/// The sentence of a start that must not succeed.
fn sentence<T>(outcome: Result<T, EmbeddedError>) -> String {
    match outcome {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error.to_string(),
    }
}

async fn query(server: &EmbeddedServer, sql: &str) -> Option<String> {
    let mut conn = Conn::new(server.connection()).await.expect("a connection");
    let answer = conn.query_first(sql).await.expect("an answer");
    conn.disconnect().await.expect("a farewell");
    answer
}

/// Waits for something that another process is about to do.
fn eventually(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn runs(process: u32) -> bool {
    // A process that ended but was not waited for yet has no command line any more.
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A program that says what an unsuitable server says.
fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("mysqld");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a runnable script");
    path
}

/// Runs one of the `as_child_` tests below in a process of its own, which can be killed.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", &format!("embedded::{test}"), "--ignored", "--nocapture"]);
    command
        .env("CONSUMABLE_TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The folder given to a child; nothing in the parent, where `--include-ignored` would run these tests for ever.
fn folder_of_child() -> Option<PathBuf> {
    env::var_os("CONSUMABLE_TEST_FOLDER").map(PathBuf::from)
}

/// The word that a child prints after `mark`.
fn word(child: &mut Child, mark: &str) -> String {
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once(mark).map(|(_, word)| word.to_owned()));
    line.expect("the child says it")
}

#[tokio::test]
async fn the_shared_server_answers_with_full_durability_and_no_tcp_port() {
    let server = shared_server().await;
    let settings = "SELECT CONCAT_WS(' ', @@port, @@skip_networking, @@innodb_flush_log_at_trx_commit, @@sync_binlog, \
                    @@log_bin, @@time_zone, CURRENT_USER(), @@secure_file_priv)";
    assert_eq!(
        query(server, settings).await.as_deref(),
        Some("0 1 1 1 1 +00:00 root@localhost NULL")
    );
    let folder = server.socket().parent().expect("a folder");
    assert_eq!(
        fs::metadata(folder).expect("a folder").permissions().mode() & 0o777,
        0o700
    );
    assert!(runs(server.process()));
}

#[tokio::test]
async fn the_private_client_reaches_the_server() {
    let server = shared_server().await;
    let Some(client) = server.client() else {
        return eprintln!("skipped: the server is an installed one");
    };
    let output = Command::new(client)
        .args([
            "--no-defaults",
            "--user=root",
            "--skip-column-names",
            "--execute=SELECT 6 * 7",
        ])
        .arg(format!("--socket={}", server.socket().display()))
        .output()
        .expect("the client runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "42");
}

#[tokio::test]
async fn data_survive_a_stop_and_a_folder_has_one_owner() {
    let folder = fresh_folder();
    let data = folder.path().join("data");
    let server = start(&data).await.expect("a server");
    query(&server, "CREATE DATABASE kept").await;

    let refusal = sentence(start(&data).await);
    let expected = format!("is in use by another consumable dev (process {})", std::process::id());
    assert!(refusal.contains(&expected), "{refusal}");
    assert!(sentence(EmbeddedServer::erase(&data).await).contains(&expected));

    let process = server.process();
    server.stop().await.expect("an orderly end");
    assert!(!runs(process));

    let server = start(&data).await.expect("a second start");
    assert_eq!(
        query(&server, "SHOW DATABASES LIKE 'kept'").await.as_deref(),
        Some("kept")
    );
    // Dropped and not stopped: the next start waits for it.
    drop(server);
    let server = start(&data).await.expect("a third start");
    server.stop().await.expect("an orderly end");

    fs::write(data.join("dev.json"), "{}").expect("a neighbour");
    EmbeddedServer::erase(&data).await.expect("erased");
    assert!(!data.join("mysql").exists() && data.join("dev.json").exists());
    EmbeddedServer::erase(&data).await.expect("nothing left to erase");
}

#[tokio::test]
async fn what_we_did_not_make_is_left_alone() {
    let folder = fresh_folder();
    fs::create_dir(folder.path().join("mysql")).expect("a folder");
    fs::write(folder.path().join("mysql/theirs"), "precious").expect("a file");
    for refusal in [
        sentence(EmbeddedServer::erase(folder.path()).await),
        sentence(start(folder.path()).await),
    ] {
        assert!(
            refusal.contains("was not made by consumable, so it is left alone"),
            "{refusal}"
        );
    }
    assert!(folder.path().join("mysql/theirs").exists());
}

#[tokio::test]
#[ignore = "runs as a child of a_killed_process_leaves_no_server_and_no_folder"]
async fn as_child_hold_a_scratch_server() {
    if folder_of_child().is_none() {
        return;
    }
    let server = shared_server().await;
    println!("\nserver:{} {}", server.process(), server.socket().display());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_server_and_no_folder() {
    let folder = fresh_folder();
    for signal in ["KILL", "INT"] {
        server_program().await;
        let mut child = child("as_child_hold_a_scratch_server", folder.path())
            .env("TMPDIR", folder.path())
            .spawn()
            .expect("a child");
        let word = word(&mut child, "server:");
        let (process, socket) = word.split_once(' ').expect("process and socket");
        assert!(Path::new(socket).exists() && Path::new(socket).starts_with(folder.path()));
        let kill = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(kill.expect("kill runs").success());
        child.wait().expect("it ends");
        let process = process.parse().expect("a number");
        eventually("the server ends", Duration::from_secs(10), || !runs(process));
        eventually("the folder vanishes", Duration::from_secs(10), || {
            fs::read_dir(folder.path()).is_ok_and(|mut left| left.next().is_none())
        });
    }
}

#[tokio::test]
#[ignore = "runs as a child of a_killed_dev_loses_nothing_and_the_next_start_waits_for_its_server"]
async fn as_child_hold_a_persistent_server() {
    let Some(folder) = folder_of_child() else {
        return;
    };
    let server = start(&folder).await.expect("a server");
    query(&server, "CREATE DATABASE kept").await;
    println!("\nserver:{}", server.process());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_dev_loses_nothing_and_the_next_start_waits_for_its_server() {
    let folder = fresh_folder();
    let mut child = child("as_child_hold_a_persistent_server", folder.path())
        .spawn()
        .expect("a child");
    let process = word(&mut child, "server:").parse().expect("a number");
    child.kill().expect("killed");
    child.wait().expect("it ends");
    let server = start(folder.path()).await.expect("a start that waits");
    assert!(!runs(process) && server.process() != process);
    assert_eq!(
        query(&server, "SHOW DATABASES LIKE 'kept'").await.as_deref(),
        Some("kept")
    );
    server.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn an_interrupted_initialisation_is_redone() {
    let folder = fresh_folder();
    let mut child = child("as_child_hold_a_persistent_server", folder.path())
        .spawn()
        .expect("a child");
    let partial = folder.path().join("mysql/data.partial/ibdata1");
    eventually("initialisation begins", Duration::from_secs(30), || partial.exists());
    child.kill().expect("killed");
    child.wait().expect("it ends");
    assert!(!folder.path().join("mysql/data").exists());
    let server = start(folder.path()).await.expect("a start that begins anew");
    assert!(!partial.exists());
    server.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_server_whose_guard_was_killed_too_is_ended_by_the_next_start() {
    let folder = fresh_folder();
    let server = start(folder.path()).await.expect("a server");
    let process = server.process();
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let guard = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .expect("a parent")
        .trim();
    // Its whole group but the server: the guard, and the watcher that waits for the pipe to close.
    let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).expect("children");
    let watchers = children
        .split_whitespace()
        .filter(|child| *child != process.to_string());
    let killed = Command::new("kill").arg("-KILL").arg(guard).args(watchers).status();
    assert!(killed.expect("kill runs").success());
    drop(server);
    assert!(runs(process));
    let server = start(folder.path()).await.expect("a start that ends the old one");
    assert!(!runs(process));
    server.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_long_folder_name_gets_its_socket_elsewhere() {
    let folder = fresh_folder();
    let server = start(&folder.path().join("long/".repeat(25))).await.expect("a server");
    let elsewhere = server.socket().parent().expect("a folder").to_path_buf();
    assert!(!elsewhere.starts_with(folder.path()));
    assert_eq!(query(&server, "SELECT 'here'").await.as_deref(), Some("here"));
    server.stop().await.expect("an orderly end");
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn unsuitable_servers_are_refused_by_name_and_version() {
    let folder = fresh_folder();
    let remedy = "set CONSUMABLE_MYSQLD to a MySQL 8.0.19+ server, or to the word private to use a private copy";
    for (answer, named) in [
        (
            "mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64",
            "MariaDB 10.11.6-MariaDB-0+deb12u1",
        ),
        (
            "mysqld  Ver 5.7.44 for Linux on x86_64 (MySQL Community Server (GPL))",
            "MySQL 5.7.44",
        ),
        (
            "mysqld  Ver 8.0.18 for Linux on x86_64 (MySQL Community Server - GPL)",
            "MySQL 8.0.18",
        ),
    ] {
        let program = script(folder.path(), &format!("echo '{answer}'"));
        let refusal = sentence(find_server(Some(program.as_os_str()), Progress::Silent).await);
        let expected = format!(
            "{} is {named}, but MySQL 8.0.19 or later is needed; {remedy}",
            program.display()
        );
        assert_eq!(refusal, expected);
    }
    let program = script(folder.path(), "echo 'mysqld  Ver 8.0.19 for Linux on x86_64'");
    let accepted = find_server(Some(program.as_os_str()), Progress::Silent)
        .await
        .expect("just new enough");
    assert_eq!(accepted.version().to_string(), "8.0.19");
}

#[tokio::test]
async fn what_is_no_server_is_refused() {
    let folder = fresh_folder();
    let nothing = folder.path().join("nothing");
    let refusal = sentence(find_server(Some(nothing.as_os_str()), Progress::Silent).await);
    assert!(
        refusal.starts_with(&format!("CONSUMABLE_MYSQLD names {}, but", nothing.display())),
        "{refusal}"
    );
    let broken = script(folder.path(), "echo 'libaio is missing' >&2; exit 127");
    let refusal = sentence(find_server(Some(broken.as_os_str()), Progress::Silent).await);
    assert!(
        refusal.contains("does not run as a MySQL server (libaio is missing)"),
        "{refusal}"
    );
}

/// The words are the real server's; only an older server says them about data that a newer one wrote.
#[tokio::test]
async fn data_of_a_newer_server_are_refused() {
    let folder = fresh_folder();
    let server = start(folder.path()).await.expect("a server");
    let newer = server.version().to_string();
    server.stop().await.expect("an orderly end");
    let program = script(
        folder.path(),
        r#"for word; do case $word in
            --version) echo 'mysqld  Ver 8.4.2 for Linux on x86_64'; exit ;;
            --log-error=*) log=${word#*=} ;;
        esac; done
        echo '2026-01-01T00:00:00Z 1 [ERROR] [MY-014061] [InnoDB] Invalid MySQL server downgrade: Cannot downgrade from 90704 to 80402. Downgrade is only permitted between patch releases.' >>"$log"
        echo '2026-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting' >>"$log"
        exit 1"#,
    );
    let older = find_server(Some(program.as_os_str()), Progress::Silent)
        .await
        .expect("new enough");
    let refusal = sentence(start_with(&older, folder.path()).await);
    assert!(
        refusal.contains(&format!("last used by MySQL {newer}, which MySQL 8.4.2 cannot open")),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_server_that_dies_is_quoted() {
    let folder = fresh_folder();
    start(folder.path())
        .await
        .expect("a server")
        .stop()
        .await
        .expect("an orderly end");
    fs::remove_file(folder.path().join("mysql/data/ibdata1")).expect("damage");
    let refusal = sentence(start(folder.path()).await);
    assert!(
        refusal.contains("did not start: ") && refusal.contains("ibdata1"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = fresh_folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let refusal = sentence(start(&file.join("data")).await);
    assert_eq!(
        refusal,
        format!(
            "{} cannot be used: Not a directory (os error 20)",
            file.join("data").display()
        )
    );
}

/// Runs a child on a disk of its own. Gives what the child says, or nothing where this is not permitted.
fn refusal_on_small_disk(test: &str, size: &str) -> Option<String> {
    let folder = fresh_folder();
    let output = on_small_disk(&child(test, folder.path()), folder.path(), size)?
        .env("CONSUMABLE_TEST_FOLDER", folder.path())
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let refusal = said
        .lines()
        .find_map(|line| line.strip_prefix("refusal:"))
        .expect("a refusal");
    Some(refusal.replace(folder.path().to_str().expect("a plain path"), "DISK"))
}

const FULL: &str = "the disk that holds DISK/data/mysql is full; free some space and start again";

#[tokio::test]
#[ignore = "runs as a child of a_full_disk_is_called_by_its_name"]
async fn as_child_start_on_a_small_disk() {
    let Some(disk) = folder_of_child() else {
        return;
    };
    println!("\nrefusal:{}", sentence(start(&disk.join("data")).await));
    let home = disk.join("data/mysql");
    assert!(!home.join("data.partial").exists() && !home.join("data").exists());
}

#[tokio::test]
async fn a_full_disk_is_called_by_its_name() {
    for size in ["20m", "90m"] {
        let Some(refusal) = refusal_on_small_disk("as_child_start_on_a_small_disk", size) else {
            return;
        };
        assert_eq!(refusal, FULL);
    }
}

#[tokio::test]
#[ignore = "runs as a child of a_disk_that_fills_up_later_is_called_by_its_name"]
async fn as_child_start_on_a_disk_that_fills_up() {
    let Some(disk) = folder_of_child() else {
        return;
    };
    let data = disk.join("data");
    start(&data)
        .await
        .expect("a server")
        .stop()
        .await
        .expect("an orderly end");
    // What others wrote on this disk meanwhile.
    let mut others = fs::File::create(disk.join("others")).expect("a file");
    let full = std::io::copy(&mut std::io::repeat(0), &mut others).expect_err("a full disk");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    println!("\nrefusal:{}", sentence(start(&data).await));
}

#[tokio::test]
async fn a_disk_that_fills_up_later_is_called_by_its_name() {
    let Some(refusal) = refusal_on_small_disk("as_child_start_on_a_disk_that_fills_up", "400m") else {
        return;
    };
    assert_eq!(refusal, FULL);
}

#[tokio::test]
#[ignore = "runs as a child of without_network_or_apt_one_sentence_says_what_to_do"]
async fn as_child_fetch_a_private_copy() {
    if folder_of_child().is_none() {
        return;
    }
    println!(
        "\nrefusal:{}",
        sentence(find_server(Some("private".as_ref()), Progress::Silent).await)
    );
}

#[tokio::test]
async fn without_network_or_apt_one_sentence_says_what_to_do() {
    let folder = fresh_folder();
    let fetch = |command: &mut Command| {
        let mut child = command.env("XDG_CACHE_HOME", folder.path()).spawn().expect("a child");
        let refusal = word(&mut child, "refusal:");
        child.wait().expect("it ends");
        assert_eq!(
            fs::read_dir(folder.path().join("consumable")).expect("a cache").count(),
            1,
            "only the lock stays"
        );
        refusal
    };

    let refusal = fetch(child("as_child_fetch_a_private_copy", folder.path()).env("PATH", folder.path()));
    assert_eq!(
        refusal,
        "no MySQL server was found and this machine has no apt-get to fetch one from Debian's packages; \
         install MySQL 8.0.19+ and set CONSUMABLE_MYSQLD to its mysqld"
    );

    let unshare = ["--user", "--map-root-user", "--net"];
    if !Command::new("unshare")
        .args(unshare)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return eprintln!("skipped: taking the network away is not permitted here");
    }
    let offline = child("as_child_fetch_a_private_copy", folder.path());
    let refusal = fetch(
        Command::new("unshare")
            .args(unshare)
            .arg(offline.get_program())
            .args(offline.get_args())
            .env("CONSUMABLE_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    assert!(
        refusal.starts_with("could not fetch MySQL from Debian's packages ("),
        "{refusal}"
    );
    let remedy = "; connect to the network once, or install MySQL 8.0.19+ and set CONSUMABLE_MYSQLD";
    assert!(refusal.ends_with(remedy), "{refusal}");
}

//! A dump and the binary logs, made while the engine is used, are the whole of it: as docs/operating.md says, with the server's own tools.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use consumable::database::embedded::{EmbeddedServer, Progress, Storage};
use consumable::database::{Database, Release, make_gateway_account, migrate};
use consumable::procedures::demonstration;
use consumable::procedures::entitlement::{self, ConsumeItem, ConsumeRequest, OutboxState, Outcome};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::support::folder::fresh_folder;
use crate::support::server::server_program;
use crate::support::tools::{run, tool};

/// A server, and a URL of its database for an account that may do everything there.
async fn server() -> (EmbeddedServer, String) {
    let program = server_program().await;
    let server = EmbeddedServer::start(&program, Storage::Scratch, Progress::Silent)
        .await
        .unwrap();
    let url = server.database("billing").await.unwrap();
    (server, url)
}

async fn session(server: &EmbeddedServer) -> Conn {
    Conn::new(server.connection().db_name(Some("billing"))).await.unwrap()
}

/// One credit of the demonstration's workspace.
async fn consume(database: &Database, key: &str) -> Outcome {
    let item = ConsumeItem {
        capability: None,
        limitation_code: Some("ai.credits".to_owned()),
        amount: Some(1),
        reason_code: None,
        occurred_at: None,
        metadata: None,
    };
    let request = ConsumeRequest {
        subject_id: 1,
        usage_event_key: Some(key.to_owned()),
        request_id: None,
        items: vec![item],
    };
    let decided = entitlement::consume(database, &[&request.encode().unwrap()]).await;
    decided.unwrap().remove(0).remove(0)
}

fn is_booked(outcome: &Outcome, again: bool) -> bool {
    matches!(outcome, Outcome::Accepted { replayed, .. } if *replayed == again)
}

/// Where the outbox stands, all changes having their numbers.
async fn outbox(database: &Database) -> OutboxState {
    entitlement::changes_since(database, None, None, 1).await.unwrap().0
}

/// Where the binary log ends now: its file and the place in that.
async fn log_position(conn: &mut Conn) -> (String, u64) {
    // The same in every version, where the statement's name is not.
    let local: Option<String> = conn
        .query_first("SELECT CAST(LOCAL AS CHAR) FROM performance_schema.log_status")
        .await
        .unwrap();
    let local: Value = serde_json::from_str(&local.unwrap()).unwrap();
    let file = local["binary_log_file"].as_str().unwrap().to_owned();
    (file, local["binary_log_position"].as_u64().unwrap())
}

/// Exit code of a command of the program.
async fn consumable(url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = tokio::process::Command::new(env!("CARGO_BIN_EXE_consumable"))
        .args(arguments)
        .env("DATABASE_URL", url)
        .output()
        .await
        .unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

async fn keys(conn: &mut Conn) -> Vec<String> {
    conn.query(
        "SELECT usage_event_key FROM billing_entitlement_consumptions ORDER BY subject_id, definition_id, sequence_no",
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_the_binary_logs_bring_back_all_that_was_answered() {
    let (lost, url) = server().await;
    let release = Release::embedded().unwrap();
    migrate(&url, &release, &|_| ()).await.unwrap();
    make_gateway_account(&url, "gateway", "password").await.unwrap();
    let database = Database::connect(&lost.url("gateway", Some("password"), "billing"))
        .await
        .unwrap();
    demonstration::seed(&database).await.unwrap();
    assert!(is_booked(&consume(&database, "before").await, false));

    // The dump is made while it is used.
    let folder = fresh_folder();
    let (dump, later) = (folder.path().join("dump.sql"), folder.path().join("later.sql"));
    let is_dumped = Arc::new(AtomicBool::new(false));
    let using = tokio::spawn({
        let (database, is_dumped) = (database.clone(), is_dumped.clone());
        async move {
            let mut answered = Vec::new();
            while !is_dumped.load(Ordering::Relaxed) {
                let key = format!("during-{}", answered.len());
                assert!(is_booked(&consume(&database, &key).await, false));
                answered.push(key);
            }
            answered
        }
    });
    let mut mysqldump = tool(&lost, "mysqldump");
    mysqldump.args([
        "--single-transaction",
        "--routines",
        "--hex-blob",
        "--source-data=2",
        "--set-gtid-purged=OFF",
        "billing",
    ]);
    run(mysqldump, None, Some(&dump)).await;
    is_dumped.store(true, Ordering::Relaxed);
    let mut answered = using.await.unwrap();
    answered.insert(0, "before".to_owned());

    // And after it, over the end of a log file, until somebody makes a mistake.
    let mut dba = session(&lost).await;
    dba.query_drop("FLUSH BINARY LOGS").await.unwrap();
    for key in ["after-1", "after-2"] {
        assert!(is_booked(&consume(&database, key).await, false));
        answered.push(key.to_owned());
    }
    assert_eq!(keys(&mut dba).await, answered);
    let (last_file, stop) = log_position(&mut dba).await;
    let told = outbox(&database).await;
    assert!(told.goes_on_after(told.last_sequence_no));
    dba.query_drop("SET foreign_key_checks = OFF; DELETE FROM billing_entitlement_consumptions; DROP TABLE billing_entitlement_settlements")
        .await
        .unwrap();

    // Another server gets the dump, and from the logs what came after it, up to the mistake.
    let (found, url) = server().await;
    let mut mysql = tool(&found, "mysql");
    mysql.arg("billing");
    run(mysql, Some(&dump), None).await;
    let mut dba = session(&found).await;
    let of_dump = keys(&mut dba).await.len();
    assert!(
        (1..answered.len() - 1).contains(&of_dump),
        "{of_dump} of {}",
        answered.len()
    );
    let text = std::fs::read_to_string(&dump).unwrap();
    let noted = text.lines().find(|line| line.contains("SOURCE_LOG_POS=")).unwrap();
    let (first_file, start) = noted
        .split_once("SOURCE_LOG_FILE='")
        .unwrap()
        .1
        .split_once("', SOURCE_LOG_POS=")
        .unwrap();
    let start = start.trim_end_matches(';');
    assert_ne!(first_file, last_file);
    let data = lost.socket().with_file_name("data");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (first_file..=last_file.as_str()).contains(&name)
        })
        .collect();
    files.sort();
    let mut mysqlbinlog = tool(&lost, "mysqlbinlog");
    mysqlbinlog
        .arg(format!("--start-position={start}"))
        .arg(format!("--stop-position={stop}"))
        .args(&files);
    run(mysqlbinlog, None, Some(&later)).await;
    run(tool(&found, "mysql"), Some(&later), None).await;

    // Accounts are not in a dump: `migrate` makes the owner again, and finds everything else in place.
    let (code, said) = consumable(&url, &["migrate"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = consumable(&url, &["migrate", "--check"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = consumable(&url, &["verify"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "No differences.\n"));
    assert_eq!(keys(&mut dba).await, answered);

    dba.query_drop("CALL operator_restart_changes_v1()").await.unwrap();

    // What was answered is known, and the next one is booked.
    make_gateway_account(&url, "gateway", "password").await.unwrap();
    let restored = Database::connect(&found.url("gateway", Some("password"), "billing"))
        .await
        .unwrap();
    for key in &answered {
        assert!(is_booked(&consume(&restored, key).await, true), "{key}");
    }
    // Whoever was told of changes before the loss is not told others under the same numbers.
    assert!(!outbox(&restored).await.goes_on_after(told.last_sequence_no));
    assert!(is_booked(&consume(&restored, "next").await, false));
    assert_eq!(crate::support::story::differences(&mut dba, None).await, [""; 0]);
    for database in [database, restored] {
        database.disconnect().await.unwrap();
    }
    lost.stop().await.unwrap();
    found.stop().await.unwrap();
}

//! The deployment: twice, eight at once, killed half way, edited by hand, wrong texts, and under load.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consumable::database::{
    Difference, Progress, Release, Report, Weight, check, make_gateway_account, migrate,
};
use consumable::error::Error;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, prelude::Queryable};
use refinery::{Migration, Runner, load_sql_migrations};

use crate::support::database::{TestDatabase, release};

async fn deploy(test: &TestDatabase, release: &Release) -> Report {
    migrate(&test.url(), release, &|_| ()).await.unwrap()
}

async fn differences(test: &TestDatabase, release: &Release) -> Vec<Difference> {
    check(&test.url(), release).await.unwrap()
}

/// Every procedure with its body, and when it was made, in the order of names.
async fn procedures(conn: &mut Conn) -> Vec<(String, String, String)> {
    let query = "SELECT ROUTINE_NAME, ROUTINE_DEFINITION, CAST(CREATED AS CHAR) FROM information_schema.ROUTINES \
                 WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_NAME";
    conn.query(query).await.unwrap()
}

fn names(procedures: &[(String, String, String)]) -> Vec<&str> {
    procedures
        .iter()
        .map(|procedure| procedure.0.as_str())
        .collect()
}

const ONE: (&str, &str) = ("one_v1", "() BEGIN SELECT 1 AS n; END");
const TWO: (&str, &str) = (
    "two_v1",
    "(IN p_x INT) BEGIN CALL one_v1(); SELECT p_x AS n; END",
);
const OTHER_ONE: (&str, &str) = ("one_v1", "() BEGIN SELECT 11 AS n; END");
const OTHER_TWO: (&str, &str) = (
    "two_v1",
    "(IN p_x INT) BEGIN CALL one_v1(); SELECT p_x + 1 AS n; END",
);

#[tokio::test]
async fn twice_does_nothing_the_second_time() {
    let test = TestDatabase::empty().await;
    let release = release("1.0.0", &[TWO, ONE]);
    let pending = differences(&test, &release).await;
    assert!(pending.contains(&Difference::MissingRoutine("one_v1".into())));
    assert!(
        pending
            .iter()
            .any(|found| matches!(found, Difference::PendingMigration(_)))
    );

    let first = deploy(&test, &release).await;
    assert_eq!(first.created, ["one_v1", "two_v1"]);
    assert_eq!(first.migrations.len(), release.migrations().len());
    assert_eq!(first.notices, [""; 0]);
    let mut conn = test.session().await;
    let made = procedures(&mut conn).await;

    let second = deploy(&test, &release).await;
    assert_eq!(
        second,
        Report {
            unchanged: 2,
            ..Report::default()
        }
    );
    assert_eq!(procedures(&mut conn).await, made);
    assert_eq!(differences(&test, &release).await, []);
}

#[tokio::test]
async fn eight_at_once_do_it_once() {
    let test = TestDatabase::empty().await;
    for (release, created, replaced) in [
        (release("1.0.0", &[ONE, TWO]), 2, 0),
        (release("1.0.1", &[OTHER_ONE, OTHER_TWO]), 0, 2),
    ] {
        let (url, release) = (test.url(), Arc::new(release));
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let (url, release) = (url.clone(), release.clone());
                tokio::spawn(async move { migrate(&url, &release, &|_| ()).await.unwrap() })
            })
            .collect();
        let (mut done, mut unchanged) = ((0, 0), 0);
        for run in runs {
            let report = run.await.unwrap();
            done = (
                done.0 + report.created.len(),
                done.1 + report.replaced.len(),
            );
            unchanged += report.unchanged;
        }
        assert_eq!((done, unchanged), ((created, replaced), 7 * 2));
        assert_eq!(differences(&test, &release).await, []);
    }
}

const THREE: (&str, &str) = ("three_v1", "() BEGIN SELECT 3 AS n; END");
const OTHER_THREE: (&str, &str) = ("three_v1", "() BEGIN SELECT 33 AS n; END");

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "the child of killed_half_way"]
async fn child_of_killed_half_way() {
    if let Ok(url) = std::env::var("CONSUMABLE_TEST_KILLED_URL") {
        migrate(&url, &release("1.0.1", &[OTHER_ONE, OTHER_THREE]), &|_| ())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn killed_half_way_the_next_run_finishes() {
    let test = TestDatabase::with(&release("1.0.0", &[ONE, THREE])).await;
    // An open transaction holds the second procedure, so that the child stands still between the two.
    let mut holder = test.session().await;
    holder
        .query_drop("START TRANSACTION; CALL three_v1()")
        .await
        .unwrap();

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "deploy::child_of_killed_half_way", "--ignored"])
        .env("CONSUMABLE_TEST_KILLED_URL", test.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut dba = test.session().await;
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST \
                   WHERE DB = DATABASE() AND STATE = 'Waiting for stored procedure metadata lock'";
    until(async || dba.query_first::<u32, _>(waiting).await.unwrap() == Some(1)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    // The server ends the dead child's statement within its lock wait, and then its session.
    let sessions = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()";
    until(async || dba.query_first::<u32, _>(sessions).await.unwrap() == Some(2)).await;
    let release = release("1.0.1", &[OTHER_ONE, OTHER_THREE]);
    assert_eq!(
        differences(&test, &release).await,
        [Difference::OtherRoutine("three_v1".into())]
    );
    holder.query_drop("COMMIT").await.unwrap();
    // What a run leaves that is killed at other points: a probe, and no procedure.
    dba.query_drop("CREATE PROCEDURE one_v1__probe() BEGIN END; DROP PROCEDURE one_v1")
        .await
        .unwrap();

    let report = deploy(&test, &release).await;
    assert_eq!(
        (report.replaced, report.created),
        (vec!["three_v1".to_owned()], vec!["one_v1".to_owned()])
    );
    let made = procedures(&mut dba).await;
    assert_eq!(names(&made), ["one_v1", "three_v1"]);
    assert!(made[0].1.contains("SELECT 11") && made[1].1.contains("SELECT 33"));
    assert_eq!(differences(&test, &release).await, []);
}

#[tokio::test]
async fn killed_between_a_table_and_its_record_the_next_run_finishes() {
    let test = TestDatabase::with(&release("1.0.0", &[])).await;
    let mut dba = test.session().await;
    // DDL commits by itself; refinery writes its history afterwards.
    dba.query_drop("DELETE FROM refinery_schema_history ORDER BY version DESC LIMIT 1")
        .await
        .unwrap();
    let report = deploy(&test, &release("1.0.0", &[])).await;
    assert_eq!(report.migrations.len(), 1);
}

#[tokio::test]
async fn an_edit_by_hand_is_found_and_mended() {
    let release = release("1.0.0", &[ONE, TWO]);
    let test = TestDatabase::with(&release).await;
    let mut dba = test.session().await;
    for edit in [
        "DROP PROCEDURE two_v1; CREATE PROCEDURE two_v1(IN p_x INT) BEGIN SELECT 0 AS n; END",
        "DROP PROCEDURE two_v1; CREATE DEFINER = 'consumable_owner'@'localhost' PROCEDURE two_v1(IN p_x BIGINT) \
         BEGIN CALL one_v1(); SELECT p_x AS n; END",
        "ALTER PROCEDURE two_v1 SQL SECURITY INVOKER",
    ] {
        dba.query_drop(edit).await.unwrap();
        let found = differences(&test, &release).await;
        assert_eq!(
            found,
            [Difference::EditedRoutine("two_v1".into())],
            "{edit}"
        );
        assert_eq!(found[0].weight(), Weight::Drift);
        assert_eq!(
            found[0].to_string(),
            "edited     two_v1: changed by hand since it was installed"
        );
        assert_eq!(deploy(&test, &release).await.replaced, ["two_v1"], "{edit}");
        assert_eq!(differences(&test, &release).await, []);
    }
    dba.query_drop("DELETE FROM consumable_routines WHERE routine = 'one_v1'")
        .await
        .unwrap();
    assert_eq!(
        differences(&test, &release).await,
        [Difference::OtherRoutine("one_v1".into())]
    );
    assert_eq!(deploy(&test, &release).await.replaced, ["one_v1"]);
}

#[tokio::test]
async fn a_text_that_does_not_compile_replaces_nothing() {
    let test = TestDatabase::with(&release("1.0.0", &[ONE, TWO])).await;
    let mut dba = test.session().await;
    let before = procedures(&mut dba).await;
    for (broken, line) in [
        (
            "(IN p_x INT)\nBEGIN\n  SELECT 1;\n  SELEC 2;\nEND",
            ":5: You have an error in your SQL syntax",
        ),
        (
            "(IN p_x INT) BEGIN SET v_none = 1; END",
            ": Unknown system variable 'v_none'",
        ),
        // Ends too early: the rest is a statement of its own.
        (
            "(IN p_x INT) BEGIN END;\nSELECT 1; END",
            ": the procedure ends before the file does: You have an error",
        ),
    ] {
        let wrong = release(
            "1.0.1",
            &[OTHER_ONE, ("three_v1", "() BEGIN END"), ("two_v1", broken)],
        );
        let error = migrate(&test.url(), &wrong, &|_| ())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("sql/test/two_v1.sql{line}")),
            "{error}"
        );
        assert_eq!(procedures(&mut dba).await, before, "{broken}");
    }
}

#[tokio::test]
async fn a_redeployment_under_load_fails_no_call() {
    let numbered = |n: u32| {
        let inner = format!("() BEGIN SELECT {n} AS n; END");
        let outer = format!("() BEGIN CALL inner_v1(); SELECT {n} AS n; END");
        release("1.0.0", &[("inner_v1", &inner), ("outer_v1", &outer)])
    };
    let test = TestDatabase::with(&numbered(0)).await;
    let database = test.connect().await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (database, stop) = (database.clone(), stop.clone());
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    outcomes.push(database.call("outer_v1", ()).await);
                }
                outcomes
            })
        })
        .collect();
    for n in 1..=20 {
        assert_eq!(
            deploy(&test, &numbered(n)).await.replaced,
            ["inner_v1", "outer_v1"]
        );
    }
    stop.store(true, Ordering::Relaxed);
    let (mut calls, mut seen) = (0, BTreeSet::new());
    for caller in callers {
        for outcome in caller.await.unwrap() {
            let (n,): (u32,) = outcome.unwrap().row().unwrap();
            calls += 1;
            seen.insert(n);
        }
    }
    println!("{calls} calls through 20 redeployments, none failed");
    assert!(calls > 20 && seen.len() > 10, "{calls} calls, {seen:?}");
}

#[tokio::test]
async fn an_open_transaction_delays_callers_for_a_second_at_most() {
    let test = TestDatabase::with(&release("1.0.0", &[ONE])).await;
    let mut holder = test.session().await;
    holder
        .query_drop("START TRANSACTION; CALL one_v1()")
        .await
        .unwrap();

    let busy = Arc::new(Mutex::new(0));
    let (url, count) = (test.url(), busy.clone());
    let run = tokio::spawn(async move {
        let release = release("1.0.1", &[OTHER_ONE]);
        let progress = move |step: Progress<'_>| {
            if let Progress::Busy(what) = step {
                assert_eq!(what, "one_v1");
                *count.lock().unwrap() += 1;
            }
        };
        migrate(&url, &release, &progress).await.unwrap()
    });
    let database = test.connect().await;
    let (mut longest, mut calls) = (Duration::ZERO, 0);
    while *busy.lock().unwrap() < 3 {
        let begun = Instant::now();
        database.call("one_v1", ()).await.unwrap();
        longest = longest.max(begun.elapsed());
        calls += 1;
    }
    println!("{calls} calls while the deployment waited, the longest took {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(run.await.unwrap().replaced, ["one_v1"]);
    assert_eq!(
        database
            .call("one_v1", ())
            .await
            .unwrap()
            .row::<(i32,)>()
            .unwrap(),
        (11,)
    );
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let old = release("1.9.0", &[ONE, TWO]);
    let test = TestDatabase::with(&release(
        "1.10.0",
        &[OTHER_ONE, TWO, ("three_v1", "() BEGIN END")],
    ))
    .await;
    let found = differences(&test, &old).await;
    assert_eq!(
        found,
        [
            Difference::NewerRoutine("one_v1".into(), "1.10.0".into()),
            Difference::UnknownRoutine("three_v1".into())
        ]
    );
    assert!(
        found
            .iter()
            .all(|difference| difference.weight() == Weight::Note)
    );
    let report = deploy(&test, &old).await;
    assert_eq!(
        (
            report.unchanged,
            report.replaced.len(),
            report.notices.len()
        ),
        (1, 0, 1)
    );
    assert!(report.notices[0].contains("1.10.0"), "{:?}", report.notices);

    let mut migrations = old.migrations().to_vec();
    migrations.push(
        Migration::unapplied("V9000__later", "CREATE TABLE later (id INT PRIMARY KEY)").unwrap(),
    );
    let newer = Release::new("2.0.0", migrations, old.routines().to_vec()).unwrap();
    deploy(&test, &newer).await;
    let found = differences(&test, &old).await;
    assert_eq!(found[0], Difference::NewerMigration("V9000__later".into()));
    assert_eq!(found[0].weight(), Weight::Note);
    let mut dba = test.session().await;
    dba.query_drop("DROP PROCEDURE two_v1").await.unwrap();
    let report = deploy(&test, &old).await;
    assert_eq!((report.created.len(), report.notices.len()), (0, 1));
    assert!(
        report.notices[0].contains("newer than this program"),
        "{:?}",
        report.notices
    );
}

#[tokio::test]
async fn a_migration_whose_file_changed_is_refused() {
    let later = |sql| {
        let mut migrations = release("1.0.0", &[]).migrations().to_vec();
        migrations.push(Migration::unapplied("V9000__later", sql).unwrap());
        Release::new("1.0.0", migrations, vec![]).unwrap()
    };
    let test = TestDatabase::with(&later("CREATE TABLE later (id INT PRIMARY KEY)")).await;
    let other = later("CREATE TABLE later (id BIGINT PRIMARY KEY)");
    assert_eq!(
        differences(&test, &other).await,
        [Difference::ChangedMigration("V9000__later".into())]
    );
    let error = migrate(&test.url(), &other, &|_| ())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("V9000__later"), "{error}");
}

#[tokio::test]
async fn refinery_itself_makes_the_same_tables() {
    let (ours, theirs) = (
        TestDatabase::with(&release("1.0.0", &[])).await,
        TestDatabase::empty().await,
    );
    let migrations =
        load_sql_migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let mut pool = Pool::new(Opts::from_url(&theirs.url()).unwrap());
    Runner::new(&migrations).run_async(&mut pool).await.unwrap();
    pool.disconnect().await.unwrap();
    let (ours, theirs) = (tables(&ours).await, tables(&theirs).await);
    assert!(
        ours.iter()
            .any(|table| table.contains("pk_routines") || table.contains("consumable_routines"))
    );
    assert_eq!(ours, theirs);
}

/// Every table as the server would make it again: columns, constraints, indexes, collations, comments.
async fn tables(test: &TestDatabase) -> Vec<String> {
    let mut conn = test.session().await;
    let names: Vec<String> = conn.query("SHOW TABLES").await.unwrap();
    let mut tables = Vec::new();
    for name in names {
        let (_, table): (String, String) = conn
            .query_first(format!("SHOW CREATE TABLE {name}"))
            .await
            .unwrap()
            .unwrap();
        tables.push(table);
    }
    tables
}

#[tokio::test]
async fn the_owner_appends_to_the_ledger_and_the_gateway_only_calls() {
    let write = "(IN p_what VARCHAR(8)) BEGIN
        IF p_what = 'insert' THEN INSERT INTO billing_entitlement_grants VALUES (1);
        ELSEIF p_what = 'ledger' THEN UPDATE billing_entitlement_grants SET id = 2;
        ELSE UPDATE billing_entitlement_balances SET id = 2; END IF; END";
    let mut migrations = release("1.0.0", &[]).migrations().to_vec();
    for (n, table) in ["billing_entitlement_grants", "billing_entitlement_balances"]
        .iter()
        .enumerate()
    {
        let sql = format!("CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY)");
        migrations.retain(|migration| !migration.name().ends_with(table));
        migrations.push(Migration::unapplied(&format!("V{}__t", 9000 + n), &sql).unwrap());
    }
    let release = Release::new(
        "1.0.0",
        migrations,
        release("1.0.0", &[("write_v1", write)]).routines().to_vec(),
    )
    .unwrap();
    let test = TestDatabase::with(&release).await;
    // A name of its own: other tests share the server.
    let gateway = format!("gateway_{:08x}", getrandom::u32().unwrap());
    for password in ["pass'\"word", "second"] {
        make_gateway_account(&test.url(), &gateway, password)
            .await
            .unwrap();
    }

    let mut conn = Conn::new(Opts::from_url(&test.url_as(&gateway, "second")).unwrap())
        .await
        .unwrap();
    conn.query_drop("CALL write_v1('insert'); CALL write_v1('balance')")
        .await
        .unwrap();
    for (refused, what) in [
        (
            "CALL write_v1('ledger')",
            "UPDATE command denied to user 'consumable_owner'",
        ),
        (
            "SELECT * FROM billing_entitlement_balances",
            "SELECT command denied",
        ),
        (
            "INSERT INTO billing_entitlement_grants VALUES (3)",
            "INSERT command denied",
        ),
    ] {
        let error = conn.query_drop(refused).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    // It may not read the registry, but sees which procedures there are.
    assert_eq!(
        check(&test.url_as(&gateway, "second"), &release)
            .await
            .unwrap(),
        []
    );
    let mut dba = test.session().await;
    dba.query_drop("DROP PROCEDURE write_v1").await.unwrap();
    let found = check(&test.url_as(&gateway, "second"), &release)
        .await
        .unwrap();
    assert_eq!(found, [Difference::MissingRoutine("write_v1".into())]);
    dba.query_drop(format!("DROP USER {gateway}@localhost"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_account_with_rights_on_the_database_alone_owns_the_procedures() {
    let test = TestDatabase::empty().await;
    let user = format!("migrator_{:08x}", getrandom::u32().unwrap());
    let mut dba = test.session().await;
    let rights = format!(
        "CREATE USER {user}@localhost; GRANT ALL ON {}.* TO {user}@localhost",
        dba.opts().db_name().unwrap()
    );
    dba.query_drop(rights).await.unwrap();

    let (url, release) = (test.url_as(&user, ""), release("1.0.0", &[ONE]));
    let report = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!(
        (report.created, report.notices.len()),
        (vec!["one_v1".to_owned()], 1)
    );
    assert!(
        report.notices[0].starts_with("the procedures belong to the migrating account"),
        "{:?}",
        report.notices
    );
    let again = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!((again.unchanged, again.notices.len()), (1, 1));
    assert_eq!(check(&url, &release).await.unwrap(), []);

    // An account with the rights gives them to the owner.
    let report = deploy(&test, &release).await;
    assert_eq!(
        (report.replaced, report.notices),
        (vec!["one_v1".to_owned()], vec![])
    );
    dba.query_drop(format!("DROP USER {user}@localhost"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_that_cannot_serve_is_one_sentence() {
    let test = TestDatabase::empty().await;
    let mut dba = test.session().await;
    let name = dba.opts().db_name().unwrap().to_owned();
    dba.query_drop(format!("ALTER DATABASE {name} COLLATE utf8mb4_general_ci"))
        .await
        .unwrap();
    let error = migrate(&test.url(), &release("1.0.0", &[ONE]), &|_| ())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("run ALTER DATABASE"), "{error}");

    let nowhere =
        OptsBuilder::from_opts(Opts::from_url(&test.url()).unwrap()).socket(Some("/nowhere"));
    assert!(Conn::new(nowhere).await.is_err());
    let error = check(
        "mysql://root@localhost/none?socket=/nowhere",
        &release("1.0.0", &[]),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let absent = test.url().replace(&name, "deploy_absent");
    let error = migrate(&absent, &release("1.0.0", &[]), &|_| ())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("deploy_absent")),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_deployment_takes_well_under_a_second() {
    let columns: String = (0..12)
        .map(|n| format!("c{n} VARCHAR(64) NOT NULL, "))
        .collect();
    let mut migrations = release("1.0.0", &[]).migrations().to_vec();
    migrations.extend((0..26).map(|n| {
        let sql = format!(
            "CREATE TABLE t{n} ({columns} PRIMARY KEY (c0), KEY (c1, c2), CHECK (c3 <> ''))"
        );
        Migration::unapplied(&format!("V{}__t", 9000 + n), &sql).unwrap()
    }));
    let body = format!(
        "() BEGIN DECLARE v_x INT; {} END",
        "SELECT COUNT(*) INTO v_x FROM t1; ".repeat(100)
    );
    let routines: Vec<_> = (0..15).map(|n| format!("p{n}_v1")).collect();
    let routines: Vec<_> = routines
        .iter()
        .map(|name| (name.as_str(), body.as_str()))
        .collect();
    let release = Release::new(
        "1.0.0",
        migrations,
        release("1.0.0", &routines).routines().to_vec(),
    )
    .unwrap();
    let test = TestDatabase::empty().await;
    for _ in 0..2 {
        let begun = Instant::now();
        let report = deploy(&test, &release).await;
        println!(
            "{} tables, {} procedures: {:?}",
            report.migrations.len(),
            report.created.len(),
            begun.elapsed()
        );
    }
    assert_eq!(differences(&test, &release).await, []);
}

/// Asks again and again until the answer is yes; half a minute is a failure.
async fn until(mut asked: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !asked().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it came true within half a minute");
}

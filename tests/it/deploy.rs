//! A deployment by itself: twice, edited by hand, wrong texts, newer and older databases.

use std::time::Instant;

use consumable::database::{Difference, Release, Report, Weight, check, migrate};
use consumable::error::Error;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, prelude::Queryable};
use refinery::{Migration, Runner, load_sql_migrations};

use crate::support::database::{TestDatabase, release};

pub async fn deploy(test: &TestDatabase, release: &Release) -> Report {
    migrate(&test.url(), release, &|_| ()).await.unwrap()
}

pub async fn differences(test: &TestDatabase, release: &Release) -> Vec<Difference> {
    check(&test.url(), release).await.unwrap()
}

/// Every procedure with its body, and when it was made, in the order of names.
pub async fn procedures(conn: &mut Conn) -> Vec<(String, String, String)> {
    let query = "SELECT ROUTINE_NAME, ROUTINE_DEFINITION, CAST(CREATED AS CHAR) FROM information_schema.ROUTINES \
                 WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_NAME";
    conn.query(query).await.unwrap()
}

pub const ONE: (&str, &str) = ("one_v1", "() BEGIN SELECT 1 AS n; END");
pub const TWO: (&str, &str) = ("two_v1", "(IN p_x INT) BEGIN CALL one_v1(); SELECT p_x AS n; END");
pub const OTHER_ONE: (&str, &str) = ("one_v1", "() BEGIN SELECT 11 AS n; END");
pub const OTHER_TWO: (&str, &str) = ("two_v1", "(IN p_x INT) BEGIN CALL one_v1(); SELECT p_x + 1 AS n; END");

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
async fn every_migration_may_run_again_when_a_kill_kept_it_from_being_recorded() {
    let release = Release::embedded().unwrap();
    let test = TestDatabase::with(&release).await;
    let before = tables(&test).await;
    // DDL commits by itself; refinery writes its history afterwards. This is a kill after each single file.
    let mut dba = test.session().await;
    dba.query_drop("DELETE FROM refinery_schema_history").await.unwrap();
    assert_eq!(
        deploy(&test, &release).await.migrations.len(),
        release.migrations().len()
    );
    assert_eq!(tables(&test).await, before);
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
        assert_eq!(found, [Difference::EditedRoutine("two_v1".into())], "{edit}");
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
        let wrong = release("1.0.1", &[OTHER_ONE, ("three_v1", "() BEGIN END"), ("two_v1", broken)]);
        let error = migrate(&test.url(), &wrong, &|_| ()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("sql/test/two_v1.sql{line}")), "{error}");
        assert_eq!(procedures(&mut dba).await, before, "{broken}");
    }
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let old = release("1.9.0", &[ONE, TWO]);
    let test = TestDatabase::with(&release("1.10.0", &[OTHER_ONE, TWO, ("three_v1", "() BEGIN END")])).await;
    let found = differences(&test, &old).await;
    assert_eq!(
        found,
        [
            Difference::NewerRoutine("one_v1".into(), "1.10.0".into()),
            Difference::UnknownRoutine("three_v1".into())
        ]
    );
    assert!(found.iter().all(|difference| difference.weight() == Weight::Note));
    let report = deploy(&test, &old).await;
    assert_eq!(
        (report.unchanged, report.replaced.len(), report.notices.len()),
        (1, 0, 1)
    );
    assert!(report.notices[0].contains("1.10.0"), "{:?}", report.notices);

    let mut migrations = old.migrations().to_vec();
    migrations.push(Migration::unapplied("V9000__later", "CREATE TABLE later (id INT PRIMARY KEY)").unwrap());
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
    let error = migrate(&test.url(), &other, &|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("V9000__later"), "{error}");
}

#[tokio::test]
async fn refinery_itself_makes_the_same_tables() {
    let release = Release::embedded().unwrap();
    let (ours, theirs) = (TestDatabase::with(&release).await, TestDatabase::empty().await);
    let migrations = load_sql_migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let mut pool = Pool::new(Opts::from_url(&theirs.url()).unwrap());
    Runner::new(&migrations).run_async(&mut pool).await.unwrap();
    pool.disconnect().await.unwrap();
    let (ours, theirs) = (tables(&ours).await, tables(&theirs).await);
    assert!(
        ours.iter().any(|table| table.contains("ck_routines_content_sha256")),
        "{ours:?}"
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
        // The next number is of the rows, not of the table: a seed that finds its rows skips numbers.
        let (before, options) = table.split_once(" AUTO_INCREMENT=").unwrap_or((&table, ""));
        tables.push(format!(
            "{before}{}",
            options.trim_start_matches(|c: char| c.is_ascii_digit())
        ));
    }
    tables
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

    let nowhere = OptsBuilder::from_opts(Opts::from_url(&test.url()).unwrap()).socket(Some("/nowhere"));
    assert!(Conn::new(nowhere).await.is_err());
    let error = check("mysql://root@localhost/none?socket=/nowhere", &release("1.0.0", &[]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let absent = test.url().replace(&name, "deploy_absent");
    let error = migrate(&absent, &release("1.0.0", &[]), &|_| ()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("deploy_absent")),
        "{error}"
    );
}

#[tokio::test]
async fn a_full_deployment_takes_well_under_a_second() {
    let columns: String = (0..12).map(|n| format!("c{n} VARCHAR(64) NOT NULL, ")).collect();
    let mut migrations = release("1.0.0", &[]).migrations().to_vec();
    migrations.extend((0..26).map(|n| {
        let sql = format!("CREATE TABLE t{n} ({columns} PRIMARY KEY (c0), KEY (c1, c2), CHECK (c3 <> ''))");
        Migration::unapplied(&format!("V{}__t", 9000 + n), &sql).unwrap()
    }));
    let body = format!(
        "() BEGIN DECLARE v_x INT; {} END",
        "SELECT COUNT(*) INTO v_x FROM t1; ".repeat(100)
    );
    let routines: Vec<_> = (0..15).map(|n| format!("p{n}_v1")).collect();
    let routines: Vec<_> = routines.iter().map(|name| (name.as_str(), body.as_str())).collect();
    let release = Release::new("1.0.0", migrations, release("1.0.0", &routines).routines().to_vec()).unwrap();
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

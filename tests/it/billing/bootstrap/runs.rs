//! Whole runs: over a database that looks like a live one, by eight at once, killed at every step, by refinery itself.

use std::time::{Duration, Instant};

use consumable::database::{Difference, Reach, Release, Report, check, migrate, migrate_to};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Pool};
use refinery::{Runner, Target, load_sql_migrations};

use super::fixture::{seed, world};
use super::world::{World, Zero};
use super::{before_bootstrap, everything, grants, is_whole, rows};
use crate::support::database::TestDatabase;

/// How many migrations come after data was loaded.
fn later() -> usize {
    let release = Release::embedded().unwrap();
    release.migrations().iter().filter(|one| one.version() > 39).count()
}

/// A database with this world in it, which waits for its bootstrap.
pub async fn loaded(world: &World) -> (TestDatabase, Conn, Zero) {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    let zero = Zero::of(&mut session).await;
    world.load(&mut session, zero).await;
    (database, session, zero)
}

/// All that is to be done.
pub async fn run(database: &TestDatabase) -> Report {
    migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap()
}

/// Grants, templates and balances are the model's, and everything follows from the ledger.
async fn is_as_the_model_says(session: &mut Conn, world: &World, zero: Zero) {
    let expected: Vec<_> = world.grants(zero).iter().map(|grant| grant.row()).collect();
    let found = grants(session).await;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());

    let granted: Vec<(u64, String, i64, i64)> = session
        .query(
            "SELECT b.subject_id, d.code, b.granted_amount, b.available_amount
               FROM billing_entitlement_balances AS b
               JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
              WHERE b.history_no = 0
              ORDER BY b.subject_id, d.code",
        )
        .await
        .unwrap();
    let expected = world.granted(zero).into_iter();
    let expected: Vec<_> = expected
        .map(|((subject, code), amount)| (subject, code.to_owned(), amount, amount))
        .collect();
    assert_eq!(granted, expected);

    let expected: usize = world.plans.iter().map(|plan| plan.terms.len()).sum();
    let templates = "SELECT COUNT(*) FROM billing_plan_entitlement_templates";
    let found: Option<usize> = session.query_first(templates).await.unwrap();
    assert_eq!(found, Some(expected));
    let mut expected = Vec::new();
    for (product, id) in world.products.iter().zip(1..) {
        for term in &product.terms {
            let (kind, days) = match term.days {
                None => ("one_off_topup", "NULL".to_owned()),
                Some(days) => ("timeboxed_addon", days.to_string()),
            };
            expected.push(format!("{id} {} {kind} {} {days}", term.code, term.amount));
        }
    }
    let templates = "SELECT t.product_id, d.code, t.grant_kind, t.amount, t.duration_days FROM billing_product_entitlement_templates AS t
                       JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id ORDER BY t.id";
    assert_eq!(rows(session, templates).await, expected);
    is_whole(session).await;
}

#[tokio::test]
async fn a_database_that_looks_like_a_live_one_becomes_one_of_this_release() {
    let world = world(seed());
    let size = world.plans.len() + world.products.len() + world.assignments.len() + world.purchases.len();
    assert!(size >= 200, "{size} rows");
    let (database, mut session, zero) = loaded(&world).await;
    let pending = check(&database.url(), &Release::embedded().unwrap()).await.unwrap();
    let migrations = pending
        .iter()
        .filter(|found| matches!(found, Difference::PendingMigration(_)));
    assert_eq!(migrations.count(), later());

    let report = run(&database).await;
    assert_eq!((report.migrations.len(), report.notices.len()), (later(), 0));
    assert_eq!(report.settled as usize, world.granted(zero).len());
    is_as_the_model_says(&mut session, &world, zero).await;
    println!(
        "{size} rows, {} grants, {} balances",
        world.grants(zero).len(),
        report.settled
    );

    let before = everything(&mut session).await;
    let second = run(&database).await;
    let unchanged = Release::embedded().unwrap().routines().len();
    assert_eq!(
        second,
        Report {
            unchanged,
            ..Report::default()
        }
    );
    let found = check(&database.url(), &Release::embedded().unwrap()).await.unwrap();
    assert_eq!(found, []);
    assert_eq!(everything(&mut session).await, before);

    // Whoever wants to load more now is told that nobody will read it.
    let release = Release::embedded().unwrap();
    let report = migrate_to(&database.url(), &release, Reach::BeforeBootstrap, &|_| ()).await;
    assert!(report.unwrap().notices[0].starts_with("the bootstrap has run on this database"));
    assert_eq!(everything(&mut session).await, before);
}

#[tokio::test]
async fn the_runtime_takes_each_grant_for_its_own() {
    let (database, mut session, _) = loaded(&world(seed())).await;
    run(&database).await;
    let before = everything(&mut session).await;
    let made: Vec<u64> = session
        .query("SELECT id FROM billing_entitlement_grants ORDER BY id")
        .await
        .unwrap();
    assert!(!made.is_empty());
    for id in made {
        session.query_drop("START TRANSACTION").await.unwrap();
        let again = "SELECT CONCAT_WS(',', g.subject_id, QUOTE(d.code), g.amount, QUOTE(g.grant_kind), QUOTE(g.effective_at), QUOTE(g.expires_at), 'NULL',
                            QUOTE(g.source), QUOTE(g.plan_assignment_id), QUOTE(g.purchase_id), QUOTE(g.dedupe_key), 'NULL', '''runtime''')
                       FROM billing_entitlement_grants AS g JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id WHERE g.id = ?";
        let arguments: Option<String> = session.exec_first(again, (id,)).await.unwrap();
        let call = format!(
            "CALL entitlement_grant_in_tx_v1({}, @id, @replayed)",
            arguments.unwrap()
        );
        session
            .query_drop(&call)
            .await
            .unwrap_or_else(|error| panic!("{call}: {error}"));
        let found: Option<(u64, bool)> = session.query_first("SELECT @id, @replayed").await.unwrap();
        assert_eq!(found, Some((id, true)), "{call}");
        session.query_drop("COMMIT").await.unwrap();
    }
    assert_eq!(everything(&mut session).await, before);
}

#[tokio::test]
async fn eight_at_once_do_it_once() {
    let world = world(seed());
    let (database, mut session, zero) = loaded(&world).await;
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { migrate(&url, &Release::embedded().unwrap(), &|_| ()).await.unwrap() })
        })
        .collect();
    let (mut migrations, mut settled) = (0, 0);
    for run in runs {
        let report = run.await.unwrap();
        migrations += report.migrations.len();
        settled += report.settled as usize;
    }
    assert_eq!((migrations, settled), (later(), world.granted(zero).len()));
    is_as_the_model_says(&mut session, &world, zero).await;
}

#[tokio::test]
async fn refinery_itself_bootstraps_the_same() {
    let world = world(seed());
    let database = TestDatabase::empty().await;
    let mut session = database.session().await;
    let zero = Zero::of(&mut session).await;
    let migrations = load_sql_migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let input = migrations
        .iter()
        .find(|found| found.name() == "billing_bootstrap_entitlements");
    let mut pool = Pool::new(Opts::from_url(&database.url()).unwrap());
    let before = Target::Version(input.unwrap().version());
    Runner::new(&migrations)
        .set_target(before)
        .run_async(&mut pool)
        .await
        .unwrap();
    world.load(&mut session, zero).await;
    Runner::new(&migrations).run_async(&mut pool).await.unwrap();
    pool.disconnect().await.unwrap();
    let report = run(&database).await;
    assert_eq!(
        (report.migrations.len(), report.settled as usize),
        (0, world.granted(zero).len())
    );
    is_as_the_model_says(&mut session, &world, zero).await;
}

/// A table, and what another session does to it and does not commit: a row that it locks, which a run waits for when it comes to read it; or one
/// that it writes, without foreign keys, so that nothing else of it is locked, for which a run waits when it comes to write the same.
#[rustfmt::skip]
const STEPS: &[(&str, &str)] = &[
    ("billing_plans", "SELECT id FROM billing_plans WHERE id = 2 FOR UPDATE"),
    ("billing_products", "SELECT id FROM billing_products WHERE id = 2 FOR UPDATE"),
    ("billing_bootstrap_entitlements", "INSERT INTO billing_bootstrap_entitlements VALUES ('plan', 'late', '[]')"),
    ("billable_entities", "SELECT id FROM billable_entities WHERE id = 2 FOR UPDATE"),
    ("billing_plan_assignments", "SELECT id FROM billing_plan_assignments WHERE id = 2 FOR UPDATE"),
    ("billing_purchases", "SELECT id FROM billing_purchases WHERE id = 2 FOR UPDATE"),
    ("billing_purchase_lines", "SELECT line_no FROM billing_purchase_lines WHERE purchase_id = 2 AND line_no = 1 FOR UPDATE"),
    ("billing_plan_entitlement_templates", "INSERT INTO billing_plan_entitlement_templates (plan_id, definition_id, amount, created_at) SELECT 1, d.id, 1, '2026-01-01' FROM billing_entitlement_definitions AS d"),
    ("billing_product_entitlement_templates", "INSERT INTO billing_product_entitlement_templates (product_id, definition_id, grant_kind, amount, created_at) SELECT p.id, d.id, 'one_off_topup', 1, '2026-01-01' FROM billing_entitlement_definitions AS d JOIN (SELECT 1 AS id UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7) AS p"),
    ("billing_entitlement_grants", "INSERT INTO billing_entitlement_grants (subject_id, definition_id, grant_kind, amount, effective_at, source, plan_assignment_id, dedupe_key, content_sha256, created_by, created_at) VALUES (1, 1, 'plan_base', 1, '2026-01-01', 'plan_assignment', 1, 'LAST', REPEAT('x', 32), 'x', '2026-01-01')"),
    ("billing_entitlement_balances", "INSERT INTO billing_entitlement_balances (subject_id, definition_id, history_no, window_start_at, window_end_at, segment_no, settled_at, granted_amount, allotment_amount, allotment_given_amount, overage_amount, segment_start_consumed_amount, segment_start_left_amount, segment_consumed_amount, held_amount, last_sequence_no) SELECT s.id, d.id, 0, '2026-01-01', '2026-01-02', 0, '2026-01-01', 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM (WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT n.id + 1 FROM n WHERE n.id < 60) SELECT n.id FROM n) AS s JOIN billing_entitlement_definitions AS d"),
    ("billing_purchase_references", "INSERT INTO billing_purchase_references (provider, reference_id, purchase_id) VALUES ('stripe', 'pi_120', 1)"),
];

#[tokio::test]
async fn killed_at_any_step_it_changes_nothing_and_the_next_run_does_it_all() {
    let world = world(seed());
    let (database, mut session, zero) = loaded(&world).await;
    let last = world.grants(zero).last().unwrap().key.clone();
    let before = everything(&mut session).await;
    for (table, statement) in STEPS {
        let mut holder = database.session().await;
        holder
            .query_drop("SET foreign_key_checks = 0; START TRANSACTION")
            .await
            .unwrap();
        holder.query_drop(statement.replace("LAST", &last)).await.unwrap();
        let url = database.url();
        let killed = tokio::spawn(async move { migrate(&url, &Release::embedded().unwrap(), &|_| ()).await });
        let stuck = blocked(&mut session, table).await;
        session.query_drop(format!("KILL {stuck}")).await.unwrap();
        assert!(killed.await.unwrap().is_err(), "{table}");
        holder.query_drop("ROLLBACK").await.unwrap();
        gone(&mut session, stuck).await;
        assert_eq!(everything(&mut session).await, before, "{table}");
    }
    run(&database).await;
    is_as_the_model_says(&mut session, &world, zero).await;
}

#[tokio::test]
async fn killed_between_two_steps_the_next_run_goes_on() {
    let world = world(seed());
    // What is done and was not recorded, as after a kill in between.
    for (done, undone) in [
        ("run_bootstrap", "SELECT 1"),
        (
            "bootstrap_drop_input",
            "ALTER TABLE billing_plans DROP COLUMN entitlements",
        ),
        (
            "bootstrap_drop_input",
            "ALTER TABLE billing_plans DROP COLUMN entitlements; ALTER TABLE billing_products DROP COLUMN metadata_json",
        ),
        (
            "drop_bootstrap_input",
            "DROP PROCEDURE bootstrap_run; DROP PROCEDURE bootstrap_read_entries",
        ),
    ] {
        let (database, mut session, zero) = loaded(&world).await;
        let release = Release::embedded().unwrap();
        let mut migrations = release.migrations().to_vec();
        migrations.sort();
        let at = migrations.iter().position(|found| found.name() == done).unwrap();
        let part = Release::new(release.version(), migrations[..=at].to_vec(), vec![]).unwrap();
        migrate(&database.url(), &part, &|_| ()).await.unwrap();
        session.query_drop(undone).await.unwrap();
        if done == "run_bootstrap" {
            let forget = "DELETE FROM refinery_schema_history WHERE name = 'run_bootstrap'";
            session.query_drop(forget).await.unwrap();
        }
        run(&database).await;
        is_as_the_model_says(&mut session, &world, zero).await;
    }
}

#[tokio::test]
async fn killed_while_balances_are_opened_the_next_run_opens_the_rest() {
    let world = world(seed());
    let (database, mut session, zero) = loaded(&world).await;
    let release = Release::embedded().unwrap();
    let tables = Release::new(release.version(), release.migrations().to_vec(), vec![]).unwrap();
    migrate(&database.url(), &tables, &|_| ()).await.unwrap();
    // The grants of the last one, so that whole batches are done before.
    let mut holder = database.session().await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    let lock = "SELECT b.grant_id FROM billing_entitlement_grant_balances AS b ORDER BY b.subject_id DESC, b.definition_id DESC LIMIT 1 FOR UPDATE";
    holder.query_drop(lock).await.unwrap();
    let url = database.url();
    let killed = tokio::spawn(async move { migrate(&url, &Release::embedded().unwrap(), &|_| ()).await });
    let stuck = blocked(&mut session, "billing_entitlement_grant_balances").await;
    session.query_drop(format!("KILL {stuck}")).await.unwrap();
    assert!(killed.await.unwrap().is_err());
    holder.query_drop("ROLLBACK").await.unwrap();
    gone(&mut session, stuck).await;
    let opened = "SELECT COUNT(*) FROM billing_entitlement_balances WHERE segment_no > 0";
    let opened: u64 = session.query_first(opened).await.unwrap().unwrap();
    let all = world.granted(zero).len() as u64;
    println!("{opened} of {all} were open");
    assert_eq!(run(&database).await.settled, all - opened);
    is_as_the_model_says(&mut session, &world, zero).await;
}

/// The session of this database that waits for a row lock, which must be one of this table.
async fn blocked(session: &mut Conn, table: &str) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let waiting = "SELECT t.PROCESSLIST_ID, l.OBJECT_NAME FROM performance_schema.data_lock_waits AS w
                         JOIN performance_schema.threads AS t ON t.THREAD_ID = w.REQUESTING_THREAD_ID
                         JOIN performance_schema.data_locks AS l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID
                        WHERE t.PROCESSLIST_DB = DATABASE()";
        let found: Option<(u32, String)> = session.query_first(waiting).await.unwrap();
        if let Some((connection, of)) = found {
            assert_eq!(of, table);
            return connection;
        }
        assert!(Instant::now() < deadline, "{table}: nobody ever waited");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a killed session has rolled back and is no more.
async fn gone(session: &mut Conn, connection: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let there = "SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = ?";
    while session
        .exec_first::<u64, _, _>(there, (connection,))
        .await
        .unwrap()
        .is_some()
    {
        assert!(Instant::now() < deadline, "session {connection} does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

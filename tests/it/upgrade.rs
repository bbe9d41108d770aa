//! A database of each earlier release is brought to this one: `tests/fixtures/upgrade/` has a dump of each, with the story below in it.
//!
//! `CONSUMABLE_FIXTURE=0.2.0 cargo test upgrade::` makes the dump of that name from this release: once, when it is released. From then on the
//! migrations that are in it are as they are for ever, and this test says so.

use std::collections::HashSet;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use consumable::database::{Release, check, migrate};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::support::database::TestDatabase;
use crate::support::folder::fresh_folder;
use crate::support::server::shared_server;
use crate::support::story::{consume, differences};
use crate::support::tools::{run, tool};

/// What happened in a database before it was dumped: some of everything that stands in the ledger, and some that is still to come.
const STORY: &[&str] = &[
    "SET time_zone = '+00:00', timestamp = UNIX_TIMESTAMP('2026-03-01 09:00:00')",
    "CALL demonstration_seed_v1()",
    "CALL billing_put_entity_v1('workspace', 'beta', 'beta', 'Beta', NULL, 'cus_beta')",
    "CALL billing_assign_plan_v1(2, 'starter', 2, NULL, NULL, NULL, 'assign-beta', 'test')",
    "CALL billing_assign_plan_v1(1, 'starter', 3, '2026-06-01', NULL, NULL, 'assign-acme', 'test')",
    "CALL entitlement_grant_v1(2, 'ai.credits', 50, 'promo', NULL, '2026-03-20', 10, 'grant-1', 'A present', 'test')",
    "CALL entitlement_grant_v1(2, 'ai.credits', 70, 'correction', '2026-07-01', NULL, NULL, 'grant-2', 'To come', 'test')",
    "CALL entitlement_grant_v1(2, 'workspace.access', 1, 'promo', NULL, '2026-05-01', NULL, 'grant-3', 'A trial', 'test')",
    "CALL entitlement_grant_v1(1, 'ai.credits', 30, 'promo', NULL, NULL, 5, 'grant-4', 'A mistake', 'test')",
    "CALL entitlement_consume_v1('[{\"subjectId\": 1, \"usageEventKey\": \"use-1\", \"items\": [{\"limitationCode\": \"ai.credits\", \"amount\": 20}]}, \
      {\"subjectId\": 1, \"usageEventKey\": \"use-2\", \"items\": [{\"limitationCode\": \"annuity.calculations.monthly\", \"amount\": 3}]}, \
      {\"subjectId\": 1, \"usageEventKey\": \"use-3\", \"items\": [{\"limitationCode\": \"projects.max\", \"amount\": 2}]}, \
      {\"subjectId\": 2, \"usageEventKey\": \"use-1\", \"items\": [{\"limitationCode\": \"ai.credits\", \"amount\": 45}]}, \
      {\"subjectId\": 2, \"usageEventKey\": \"use-4\", \"items\": [{\"limitationCode\": \"ai.credits\", \"amount\": 999}]}]')",
    "CALL entitlement_revoke_v1((SELECT id FROM billing_entitlement_grants WHERE reason = 'A mistake'), 'revoke-1', 'It was one', 'test')",
    "CALL entitlement_recount_v1(1, 'projects', 4)",
    "CALL entitlement_give_back_v1(1, 'projects', 1, 'gone-1')",
    "CALL entitlement_hold_v1(1, NULL, 'ai.credits', 8, 3600, 'hold-1', NULL, NULL)",
    "CALL entitlement_commit_hold_v1(1, 5)",
    "CALL entitlement_hold_v1(1, NULL, 'ai.credits', 7, 3600, 'hold-2', NULL, NULL)",
    "CALL entitlement_release_hold_v1(2)",
    "CALL entitlement_hold_v1(1, NULL, 'ai.credits', 6, 86400, 'hold-3', NULL, NULL)",
    "CALL billing_confirm_purchase_v1(1, 'stripe', 'pi_1', 'eur', 900, '[{\"lineNo\": 1, \"priceId\": \"price_extra_projects_pack_2m\", \"quantity\": 1}]', NULL, 'test')",
    "CALL billing_confirm_purchase_v1(2, 'stripe', 'pi_2', 'eur', 900, '[{\"lineNo\": 1, \"priceId\": \"price_extra_projects_pack_2m\", \"quantity\": 1}]', NULL, 'test')",
    "CALL billing_void_purchase_v1(2, 'void-2', 'Sent back', 'test')",
    "CALL access_create_key_v1('test', 'service', UNHEX(SHA2('no key has this hash', 256)))",
    "SET timestamp = UNIX_TIMESTAMP('2026-04-02 09:00:00')",
    "CALL entitlement_consume_v1('[{\"subjectId\": 1, \"usageEventKey\": \"use-5\", \"items\": [{\"limitationCode\": \"annuity.calculations.monthly\", \"amount\": 4}, {\"limitationCode\": \"ai.credits\", \"amount\": 1}]}]')",
    "CALL operator_archive_v1('2026-04-01', 1000, NULL, NULL)",
    "SET timestamp = UNIX_TIMESTAMP('2026-04-10 09:00:00')",
    "CALL entitlement_lease_due_v1(100)",
];

/// A use: subject, key, and how much of which limits.
type Use = (u64, &'static str, &'static [(&'static str, u64)]);

/// Uses of the story. Those of an older dump never change; a newer one may have more.
const USES: &[Use] = &[
    (1, "use-1", &[("ai.credits", 20)]),
    (1, "use-2", &[("annuity.calculations.monthly", 3)]),
    (1, "use-3", &[("projects.max", 2)]),
    (2, "use-1", &[("ai.credits", 45)]),
    (1, "use-5", &[("annuity.calculations.monthly", 4), ("ai.credits", 1)]),
];

/// What stands in each table of the ledger.
const LEDGER: &[&str] = &[
    "SELECT CONCAT_WS(' ', subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, posted_at, consumed_after, HEX(content_sha256)) FROM \
       (SELECT subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, posted_at, consumed_after, content_sha256 FROM billing_entitlement_consumptions \
        UNION ALL \
        SELECT subject_id, definition_id, usage_event_key, sequence_no, segment_no, amount, posted_at, consumed_after, content_sha256 FROM billing_entitlement_consumption_archive) AS u \
      ORDER BY 1",
    "SELECT CONCAT_WS(' ', id, subject_id, definition_id, grant_kind, amount, effective_at, expires_at, dedupe_key) FROM billing_entitlement_grants ORDER BY id",
    "SELECT CONCAT_WS(' ', grant_id, revoked_at) FROM billing_entitlement_revocations ORDER BY id",
    "SELECT CONCAT_WS(' ', subject_id, definition_id, segment_no, settled_at, cause, closed_amount) FROM billing_entitlement_settlements ORDER BY subject_id, definition_id, segment_no",
    "SELECT CONCAT_WS(' ', hold_id, resolution) FROM billing_entitlement_hold_resolutions ORDER BY hold_id",
    "SELECT CONCAT_WS(' ', id, subject_id, change_kind, amount, consumed_after) FROM billing_resource_changes ORDER BY id",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgrade")
}

async fn ledger(session: &mut Conn) -> Vec<String> {
    let mut rows = Vec::new();
    for query in LEDGER {
        let of_table: Vec<String> = session.query(*query).await.unwrap();
        assert!(!of_table.is_empty(), "{query}");
        rows.extend(of_table);
    }
    rows
}

fn requests(subject: u64, key: &str, items: impl Iterator<Item = (&'static str, u64)>) -> serde_json::Value {
    let items: Vec<_> = items
        .map(|(code, amount)| json!({"limitationCode": code, "amount": amount}))
        .collect();
    json!([{"subjectId": subject, "usageEventKey": key, "items": items}])
}

/// Writes the dump of this release.
async fn make(name: &str) {
    let test = TestDatabase::migrated().await;
    let mut session = test.session().await;
    for statement in STORY {
        session
            .query_drop(*statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let scratch = fresh_folder();
    let dump = scratch.path().join("dump.sql");
    let mut mysqldump = tool(shared_server().await, "mysqldump");
    // Without comments, for those name the machine.
    mysqldump.args([
        "--single-transaction",
        "--routines",
        "--hex-blob",
        "--set-gtid-purged=OFF",
        "--skip-comments",
    ]);
    mysqldump.arg(test.name());
    run(mysqldump, None, Some(&dump)).await;
    let file = File::create(folder().join(name).with_added_extension("sql.gz")).unwrap();
    let mut packed = GzEncoder::new(file, Compression::best());
    io::copy(&mut File::open(dump).unwrap(), &mut packed).unwrap();
    packed.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_release_goes_on_with_this_one() {
    if let Ok(name) = env::var("CONSUMABLE_FIXTURE") {
        make(&name).await;
    }
    let mut dumps: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("gz")))
        .collect();
    dumps.sort();
    assert!(!dumps.is_empty());
    for dump in dumps {
        eprintln!("from {}", dump.display());
        goes_on(&dump).await;
    }
}

async fn goes_on(dump: &Path) {
    let test = TestDatabase::empty().await;
    let scratch = fresh_folder();
    let plain = scratch.path().join("dump.sql");
    let mut unpacked = GzDecoder::new(File::open(dump).unwrap());
    io::copy(&mut unpacked, &mut File::create(&plain).unwrap()).unwrap();
    let mut mysql = tool(shared_server().await, "mysql");
    mysql.arg(test.name());
    run(mysql, Some(&plain), None).await;
    let mut session = test.session().await;
    let before = ledger(&mut session).await;

    // A migration that was in it has been edited, if this fails: add another one instead.
    let release = Release::embedded().unwrap();
    migrate(&test.url(), &release, &|_| ()).await.unwrap();
    assert_eq!(check(&test.url(), &release).await.unwrap(), []);
    // It has settled what was due by now, and changed nothing that was there.
    let after: HashSet<String> = ledger(&mut session).await.into_iter().collect();
    let lost: Vec<String> = before.into_iter().filter(|row| !after.contains(row)).collect();
    assert_eq!(lost, [""; 0]);
    assert_eq!(differences(&mut session, None).await, [""; 0]);

    // Each use is known, the archived ones, too; and what is due is settled: months have passed.
    for (subject, key, items) in USES {
        let again = consume(&mut session, &requests(*subject, key, items.iter().copied())).await;
        assert_eq!(again.len(), items.len());
        for answer in again {
            assert!(
                answer.outcome == "accepted" && answer.replayed,
                "{subject} {key}: {answer:?}"
            );
        }
        let other = items.iter().map(|(code, amount)| (*code, amount + 1));
        let conflict = consume(&mut session, &requests(*subject, key, other)).await;
        let problem = conflict[0].problem.clone().unwrap_or_default();
        assert!(
            problem.starts_with("IDEMPOTENCY_CONFLICT"),
            "{subject} {key}: {conflict:?}"
        );
    }
    for call in [
        "CALL billing_apply_due_assignments_v1(100)",
        "CALL entitlement_lease_due_v1(1000)",
    ] {
        session.query_drop(call).await.unwrap();
    }
    let aside: Option<u64> = session
        .query_first("SELECT COUNT(*) FROM billing_entitlement_balances WHERE failure_count > 0")
        .await
        .unwrap();
    assert_eq!(aside, Some(0));
    let next = consume(&mut session, &requests(1, "use-next", [("ai.credits", 1)].into_iter())).await;
    assert!(next[0].outcome == "accepted" && !next[0].replayed, "{next:?}");
    assert_eq!(differences(&mut session, None).await, [""; 0]);
}

//! Data that comes from elsewhere: a database that looks like a live one, and what the bootstrap makes of it.

mod after;
mod fixture;
mod load;
mod refuses;
mod runs;
mod shapes;
mod transformer;
mod world;

use consumable::database::{Reach, Release, migrate_to};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use crate::support::database::TestDatabase;
use crate::support::story::{differences, projections};

/// A database whose tables wait for data of one's own.
async fn before_bootstrap() -> TestDatabase {
    let database = TestDatabase::empty().await;
    let release = Release::embedded().unwrap();
    migrate_to(&database.url(), &release, Reach::BeforeBootstrap, &|_| ())
        .await
        .unwrap();
    database
}

/// A grant, and with what purchase it is put down, as text.
async fn grants(session: &mut Conn) -> Vec<String> {
    rows(
        session,
        "SELECT g.dedupe_key, g.subject_id, d.code, g.grant_kind, g.amount, g.priority, g.effective_at, g.expires_at, g.source, g.plan_assignment_id,
                g.purchase_id, g.reason, g.created_by, x.purchase_id, x.first_grant_id = g.id, x.bought_amount
           FROM billing_entitlement_grants AS g
           JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
           LEFT JOIN billing_purchase_grants AS x ON x.grant_id = g.id
          ORDER BY g.dedupe_key",
    )
    .await
}

/// The rows of a query as text, for comparing.
async fn rows(session: &mut Conn, query: &str) -> Vec<String> {
    let found: Vec<Row> = session.query(query).await.unwrap();
    let text = |row: Row| {
        let values = row.unwrap().into_iter().map(|value| match value {
            Value::Bytes(text) => String::from_utf8_lossy(&text).into_owned(),
            other => other.as_sql(true),
        });
        values.collect::<Vec<_>>().join(" ")
    };
    found.into_iter().map(text).collect()
}

/// What the server says, without number and state.
fn text(error: &mysql_async::Error) -> &str {
    match error {
        mysql_async::Error::Server(error) => &error.message,
        _ => "",
    }
}

/// All that a failed bootstrap must leave as it was: every row of every table.
async fn everything(session: &mut Conn) -> Vec<String> {
    let tables: Vec<String> = session.query("SHOW TABLES").await.unwrap();
    let mut all = Vec::new();
    for table in tables.iter().filter(|table| *table != "refinery_schema_history") {
        let of_table = rows(session, &format!("SELECT * FROM {table}")).await;
        all.extend(of_table.into_iter().map(|row| format!("{table}: {row}")));
    }
    all
}

/// Every projected number follows from the ledger, and making them again changes nothing. The bootstrap's own things are gone.
async fn is_whole(session: &mut Conn) {
    assert_eq!(differences(session, None).await, [""; 0]);
    let before = projections(session).await;
    let subjects: Vec<u64> = session
        .query("SELECT DISTINCT subject_id FROM billing_entitlement_balances")
        .await
        .unwrap();
    for subject in subjects {
        session
            .exec_drop("CALL entitlement_recompute_v1(?)", (subject,))
            .await
            .unwrap();
    }
    assert_eq!(projections(session).await, before, "recompute changed something");
    let left: Vec<String> = session
        .query(
            "SELECT CONCAT(TABLE_NAME, '.', COLUMN_NAME) FROM information_schema.COLUMNS
              WHERE TABLE_SCHEMA = DATABASE() AND (COLUMN_NAME IN ('entitlements', 'metadata_json') OR TABLE_NAME LIKE '%bootstrap%')
             UNION ALL
             SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME LIKE 'bootstrap%'",
        )
        .await
        .unwrap();
    assert_eq!(left, [""; 0]);
}

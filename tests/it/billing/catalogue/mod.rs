//! Definitions, plans and products as operators write them.

mod document;
mod interleavings;
mod mistakes;
mod writing;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::Value as Json;

use crate::support::database::TestDatabase;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Definition,
    Plan,
    Product,
}

impl Kind {
    fn put(self) -> &'static str {
        match self {
            Kind::Definition => "entitlement_put_definition_v1",
            Kind::Plan => "billing_put_plan_v1",
            Kind::Product => "billing_put_product_v1",
        }
    }
}

/// The answer to an edit: all that is wrong as `CODE path: text`, and the thing as it is, if there is one.
#[derive(Debug, PartialEq)]
struct Edited {
    problems: Vec<String>,
    thing: Option<Thing>,
}

/// A definition, plan or product.
#[derive(Debug, PartialEq)]
struct Thing {
    id: u32,
    version: u32,
    made: bool,
    /// Of plans and products.
    entitlements: Option<String>,
    prices: Option<String>,
}

/// Writes as a DBA would, with a key of its own for each edit.
async fn put(session: &mut Conn, kind: Kind, id: Option<u32>, fields: &Json, version: Option<u32>) -> Edited {
    let key = format!("key-{:016x}", getrandom::u64().unwrap());
    put_with(session, kind, id, fields, version, &key).await.unwrap()
}

async fn put_with(
    session: &mut Conn,
    kind: Kind,
    id: Option<u32>,
    fields: &Json,
    version: Option<u32>,
    key: &str,
) -> Result<Edited, mysql_async::Error> {
    let call = format!("CALL {}(?, ?, ?, ?, 'test')", kind.put());
    let mut result = session.exec_iter(call, (id, fields.to_string(), version, key)).await?;
    let problems: Vec<Row> = result.collect().await?;
    let things: Vec<Row> = result.collect().await?;
    result.drop_result().await?;
    Ok(Edited {
        problems: problems.into_iter().map(problem).collect(),
        thing: things.into_iter().next().map(|row| Thing {
            id: row.get("id").unwrap(),
            version: row.get("version").unwrap(),
            made: row.get("made").unwrap(),
            entitlements: row.get("entitlements"),
            prices: row.get("provider_price_ids"),
        }),
    })
}

fn problem(row: Row) -> String {
    let (code, path, text): (String, String, String) = mysql_async::from_row(row);
    format!("{code} {path}: {text}")
}

/// Makes a thing that must be free of mistakes, and gives its id.
async fn made(session: &mut Conn, kind: Kind, fields: &Json) -> u32 {
    let edited = put(session, kind, None, fields, None).await;
    assert_eq!(edited.problems, [""; 0], "{fields}");
    let thing = edited.thing.unwrap();
    assert!(thing.made && thing.version == 1, "{thing:?}");
    thing.id
}

/// Every row of the catalogue, for comparing.
async fn everything(session: &mut Conn) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "billing_entitlement_definitions",
        "billing_plans",
        "billing_products",
        "billing_provider_prices",
        "billing_plan_entitlement_templates",
        "billing_product_entitlement_templates",
        "billing_operations",
    ] {
        let found: Vec<Row> = session
            .query(format!("SELECT * FROM {table} ORDER BY 1"))
            .await
            .unwrap();
        rows.extend(found.into_iter().map(|row| format!("{table} {:?}", row.unwrap())));
    }
    rows
}

async fn start() -> (TestDatabase, Conn) {
    let database = TestDatabase::migrated().await;
    let session = database.session().await;
    (database, session)
}

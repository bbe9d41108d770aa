//! `docs/integrating.md` taken at its word: what it says to write is all that a new capability needs.

use std::collections::BTreeMap;

use consumable::procedures::billing::catalogue::apply_catalogue;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::law::read;
use crate::support::gateway::{TestGateway, answer};

/// The lines that the page's difference adds, by file.
fn added(page: &str) -> BTreeMap<String, Vec<String>> {
    let difference = page.split("```diff\n").nth(1).unwrap().split("```").next().unwrap();
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut file = String::new();
    for line in difference.lines() {
        match (line.strip_prefix("+++ b/"), line.strip_prefix('+')) {
            (Some(path), _) => file = path.to_owned(),
            (None, Some(line)) => files.entry(file.clone()).or_default().push(line.to_owned()),
            (None, None) => panic!("{line}: a difference that only adds"),
        }
    }
    files
}

#[tokio::test]
async fn what_the_page_says_to_write_is_enough() {
    let page = read("docs/integrating.md");
    let files = added(&page);
    let count: usize = files.values().map(Vec::len).sum();
    assert!(
        page.contains(&format!("own files: {count} lines, of which one is code")),
        "{count} lines"
    );
    let [(_, catalogue), (_, migration), (_, code)] = files.iter().collect::<Vec<_>>()[..] else {
        panic!("{files:?}");
    };

    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    let catalogue: Value = serde_json::from_str(&catalogue.join("\n")).unwrap();
    let database = gateway.test.connect().await;
    apply_catalogue(&database, &catalogue, false).await.unwrap().unwrap();
    let mut session = gateway.test.session().await;
    session.query_drop(migration.join("\n")).await.unwrap();
    // A row of the map, and no second one when the file runs again.
    session.query_drop(migration.join("\n")).await.unwrap();
    let rows: Option<u64> = session
        .query_first("SELECT COUNT(*) FROM billing_capabilities AS c WHERE c.capability = 'reports.render'")
        .await
        .unwrap();
    assert_eq!(rows, Some(1));

    let [call] = &code[..] else { panic!("{code:?}") };
    let capability = call.split("capability: '").nth(1).unwrap().split('\'').next().unwrap();
    let render = |key: &str| gateway.consume(&json!({"capability": capability, "usageEventKey": key}));
    let (status, body) = answer(render("report-1")).await;
    assert_eq!(
        (status, &body["code"]),
        (429, &json!("BILLING_LIMIT_EXCEEDED")),
        "{body}"
    );
    let assign = gateway
        .as_admin(Method::POST, "/api/console/billing/plan-assignments")
        .header("Idempotency-Key", "team")
        .json(&json!({"billableEntityId": entity, "planCode": catalogue["plans"][0]["code"]}));
    assert_eq!(answer(assign).await.0, 201);
    let (status, body) = answer(render("report-1")).await;
    assert_eq!(
        (status, &body["limitations"][0]["availableAmount"]),
        (200, &json!(49)),
        "{body}"
    );
    assert_eq!(body["consumptions"][0]["reasonCode"], "report.render");
}

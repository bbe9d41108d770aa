//! The catalogue as one document.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value as Json, json};

use super::Kind::{Plan, Product};
use super::{everything, made, problem, put, start};

/// Applies a document: what is wrong, and the differences as `kind code action field before after`.
async fn apply(session: &mut Conn, document: &Json, is_dry_run: bool) -> (Vec<String>, Vec<String>) {
    let mut result = session
        .exec_iter(
            "CALL billing_apply_catalogue_v1(?, ?, 'test')",
            (document.to_string(), is_dry_run),
        )
        .await
        .unwrap();
    let problems: Vec<Row> = result.collect().await.unwrap();
    let changes: Vec<Row> = result.collect().await.unwrap();
    result.drop_result().await.unwrap();
    let change = |row: Row| {
        let cells: [Option<String>; 6] = std::array::from_fn(|column| row.get(column).unwrap());
        cells.map(|cell| cell.unwrap_or_else(|| "-".into())).join(" ")
    };
    (
        problems.into_iter().map(problem).collect(),
        changes.into_iter().map(change).collect(),
    )
}

async fn export(session: &mut Conn) -> Json {
    let text: String = session
        .query_first("CALL billing_export_catalogue_v1()")
        .await
        .unwrap()
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

fn shop() -> Json {
    json!({
        "definitions": [
            {"code": "seats.max", "name": "Seats", "entitlementType": "capacity", "unit": "seat", "metadata": {"a": [null]}},
            {"code": "ai.credits", "description": "Changed", "isActive": false},
        ],
        "plans": [
            {"code": "pro", "name": "Pro", "providerPriceIds": ["price_b", "price_a"], "entitlements": [{"code": "seats.max", "valueJson": {"max": 5}}]},
            {"code": "old", "name": "Old", "archived": true},
        ],
        "products": [{"code": "pack", "name": "Pack", "entitlements": [{"code": "seats.max", "amount": 2, "grantKind": "timeboxed_addon", "durationDays": 9}]}],
    })
}

#[tokio::test]
async fn an_export_applied_changes_nothing_here_and_makes_the_same_elsewhere() {
    let (_database, mut session) = start().await;
    let (problems, changes) = apply(&mut session, &shop(), false).await;
    assert_eq!(
        (
            problems.len(),
            changes.iter().filter(|line| line.contains(" unchanged ")).count()
        ),
        (0, 0)
    );
    let first = export(&mut session).await;
    assert_eq!(first["plans"][0]["code"], "old", "sorted by code");
    let before = everything(&mut session).await;
    let (problems, changes) = apply(&mut session, &first, false).await;
    assert_eq!(problems, [""; 0]);
    assert!(changes.iter().all(|line| line.contains(" unchanged ")), "{changes:?}");
    assert_eq!(
        everything(&mut session).await.len(),
        before.len() + 1,
        "only that it was applied is kept"
    );
    assert_eq!(export(&mut session).await, first);

    let (_elsewhere, mut other) = start().await;
    assert_eq!(apply(&mut other, &first, false).await.0, [""; 0]);
    assert_eq!(export(&mut other).await, first);
}

#[tokio::test]
#[rustfmt::skip]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (_database, mut session) = start().await;
    made(&mut session, Plan, &json!({"code": "pro", "name": "Pro", "providerPriceIds": ["price_a"], "entitlements": [
        {"code": "projects.max", "valueJson": {"max": 5}}, {"code": "workspace.access", "valueJson": {"max": 1}}]})).await;
    made(&mut session, Product, &json!({"code": "pack", "name": "Pack"})).await;
    let before = everything(&mut session).await;
    let mut document = shop();
    document["definitions"].as_array_mut().unwrap().push(json!({"code": "projects.max"}));
    document["plans"][0]["entitlements"].as_array_mut().unwrap().push(json!({"code": "projects.max", "valueJson": {"limit": 6}}));
    let would = apply(&mut session, &document, true).await;
    let base = |code: &str, amount: i64| format!(
        r#"{{"code": "{code}", "valueJson": {{"amount": {amount}, "grantKind": "plan_base", "durationPolicy": "while_current", "effectivePolicy": "on_assignment_current"}}, "schemaVersion": 1}}"#);
    assert_eq!(would, (vec![], vec![
        r#"definition ai.credits update description "Prepaid credits, used up once" "Changed""#.to_owned(),
        "definition ai.credits update isActive true false".to_owned(),
        "definition annuity.calculations.monthly not_in_file - - -".to_owned(),
        "definition projects.max unchanged - - -".to_owned(),
        r#"definition seats.max create aggregationMode - "sum""#.to_owned(),
        r#"definition seats.max create enforcementMode - "hard_deny""#.to_owned(),
        r#"definition seats.max create entitlementType - "capacity""#.to_owned(),
        "definition seats.max create isActive - true".to_owned(),
        r#"definition seats.max create metadata - {"a": [null]}"#.to_owned(),
        r#"definition seats.max create name - "Seats""#.to_owned(),
        "definition seats.max create scale - 0".to_owned(),
        r#"definition seats.max create unit - "seat""#.to_owned(),
        "definition workspace.access not_in_file - - -".to_owned(),
        "plan old create archived - true".to_owned(),
        r#"plan old create name - "Old""#.to_owned(),
        "plan old create providerPriceIds - []".to_owned(),
        format!("plan pro update entitlements projects.max plan_base {} {}", base("projects.max", 5), base("projects.max", 6)),
        format!("plan pro update entitlements seats.max plan_base - {}", base("seats.max", 5)),
        format!("plan pro update entitlements workspace.access plan_base {} -", base("workspace.access", 1)),
        r#"plan pro update providerPriceIds ["price_a"] ["price_a", "price_b"]"#.to_owned(),
        r#"product pack update entitlements seats.max timeboxed_addon - {"code": "seats.max", "amount": 2, "grantKind": "timeboxed_addon", "durationDays": 9}"#.to_owned(),
    ]));
    assert_eq!(everything(&mut session).await, before);
    assert_eq!(apply(&mut session, &document, false).await, would);
    assert!(apply(&mut session, &document, true).await.1.iter().all(|line| line.contains(" unchanged ") || line.contains(" not_in_file ")));
}

#[tokio::test]
#[rustfmt::skip]
async fn all_mistakes_of_a_document_are_told_and_nothing_is_written() {
    let (_database, mut session) = start().await;
    made(&mut session, Plan, &json!({"code": "other", "name": "Other", "providerPriceIds": ["price_a"]})).await;
    let before = everything(&mut session).await;
    for (document, said) in [
        (json!([]), vec!["VALIDATION_FAILED catalogue: must be an object with definitions, plans and products"]),
        (json!({"plan": [], "plans": {}}), vec!["VALIDATION_FAILED plan: is not known here: definitions, plans and products are", "VALIDATION_FAILED plans: must be an array of at most 1000"]),
        (json!({"plans": vec![json!({}); 1_001]}), vec!["VALIDATION_FAILED plans: must be an array of at most 1000"]),
        (json!({"definitions": [{"code": "new.one", "name": "New", "unit": "x", "entitlementType": "balance"}, {"code": "ai.credits", "scale": 10}],
                "plans": [{"code": "x", "name": "X"}, 7, {"name": "no code"}, {"code": "x", "name": "X"},
                          {"code": "y", "name": "Y", "providerPriceIds": ["price_a"], "entitlements": [{"code": "no.such", "valueJson": {"amount": 1}}]}],
                "products": [{"code": "z", "name": "Z", "entitlements": [{"code": "new.one", "amount": 0, "grantKind": "one_off_topup"}]}]}),
         vec!["VALIDATION_FAILED definitions[1].scale: must be a whole number from 0 to 9",
              "VALIDATION_FAILED plans[1]: must be an object with a code",
              "VALIDATION_FAILED plans[2]: must be an object with a code",
              "VALIDATION_FAILED plans[3].code: is plans[0] already",
              "VALIDATION_FAILED products[0].entitlements[0].amount: must be a whole number from 1 to 9007199254740991",
              "PRICE_TAKEN plans[4].providerPriceIds[0]: belongs to the plan other",
              "UNKNOWN_ENTITLEMENT_CODE plans[4].entitlements[0].code: no entitlement definition has this code"]),
    ] {
        assert_eq!(apply(&mut session, &document, false).await, (said.into_iter().map(str::to_owned).collect(), vec![]), "{document}");
    }
    assert_eq!(everything(&mut session).await, before);
}

#[tokio::test]
async fn a_price_moves_within_a_document_and_each_thing_is_edited_once() {
    let (_database, mut session) = start().await;
    let priced = |code: &str, prices: &[&str]| json!({"code": code, "name": code, "providerPriceIds": prices});
    made(&mut session, Plan, &priced("a", &["price_1"])).await;
    made(&mut session, Plan, &priced("b", &["price_2"])).await;
    made(&mut session, Plan, &priced("c", &["price_3"])).await;
    made(&mut session, Product, &priced("d", &[])).await;
    let document = json!({
        "plans": [priced("a", &["price_2"]), priced("b", &["price_1"]), {"code": "c", "name": "C", "providerPriceIds": []}],
        "products": [priced("d", &["price_3"])],
    });
    let (problems, changes) = apply(&mut session, &document, false).await;
    assert_eq!(problems, [""; 0]);
    assert_eq!(
        changes.iter().filter(|line| line.contains("providerPriceIds")).count(),
        4,
        "{changes:?}"
    );
    let versions =
        "SELECT code, version FROM billing_plans UNION ALL SELECT code, version FROM billing_products ORDER BY code";
    let rows: Vec<(String, u32)> = session.query(versions).await.unwrap();
    let expected = ["a", "b", "c", "d"].map(|code| (code.to_owned(), 2));
    assert_eq!(rows, expected);

    // Giving a price away may be all that an edit is.
    let document = json!({"plans": [priced("a", &[])]});
    apply(&mut session, &document, false).await;
    let rows: Vec<(String, u32)> = session.query(versions).await.unwrap();
    assert_eq!(rows[0], ("a".to_owned(), 3));
    assert_eq!(
        put(&mut session, Plan, Some(1), &json!({}), None)
            .await
            .thing
            .unwrap()
            .prices
            .as_deref(),
        Some("[]")
    );
}

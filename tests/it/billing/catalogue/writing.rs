//! What an edit leaves behind.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value as Json, json};

use super::Kind::{Definition, Plan, Product};
use super::{everything, made, put, put_with, start};
use crate::support::story::{differences, projections};

fn codes(error: mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => error.message.split(':').next().unwrap().to_owned(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_amount_is_the_first_positive_whole_number_of_amount_limit_and_max() {
    let (_database, mut session) = start().await;
    for (number, (value, amount)) in [
        (json!({"amount": 1, "limit": 2, "max": 3}), 1_i64),
        (json!({"amount": 0, "limit": 2, "max": 3}), 2),
        (json!({"amount": null, "limit": -2, "max": 3}), 3),
        (json!({"amount": "1", "limit": 1.0, "max": 3}), 3),
        (json!({"max": 1, "limit": 2}), 2),
        (json!({"amount": 9_007_199_254_740_991_i64}), 9_007_199_254_740_991),
    ]
    .into_iter()
    .enumerate()
    {
        let fields = json!({"code": format!("plan{number}"), "name": "x", "entitlements": [{"code": "ai.credits", "valueJson": value}]});
        let id = made(&mut session, Plan, &fields).await;
        let template: Row = session
            .exec_first("CALL billing_list_plan_templates_v1(?)", (id,))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(template.get::<i64, _>("amount"), Some(amount), "{fields}");
    }
}

#[tokio::test]
async fn an_array_replaces_the_set_and_keeps_the_rows_that_stay() {
    let (_database, mut session) = start().await;
    let entry =
        |code: &str, kind: &str, amount: i64| json!({"code": code, "valueJson": {"amount": amount, "grantKind": kind}});
    let fields = json!({"code": "pro", "name": "Pro", "providerPriceIds": ["b", "a"], "entitlements": [
        entry("ai.credits", "plan_base", 1), entry("ai.credits", "plan_bonus", 2), entry("projects.max", "plan_base", 3)]});
    let id = made(&mut session, Plan, &fields).await;
    let templates = async |session: &mut Conn| -> Vec<(u32, String, String, i64)> {
        session
            .query(
                "SELECT t.id, d.code, t.grant_kind, t.amount FROM billing_plan_entitlement_templates AS t
                   JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id ORDER BY t.id",
            )
            .await
            .unwrap()
    };
    let row = |id: u32, code: &str, kind: &str, amount: i64| (id, code.to_owned(), kind.to_owned(), amount);
    let first = [
        row(1, "ai.credits", "plan_base", 1),
        row(2, "ai.credits", "plan_bonus", 2),
        row(3, "projects.max", "plan_base", 3),
    ];
    assert_eq!(templates(&mut session).await, first);

    // Saved again in another order and spelling: nothing is written, not even the version.
    let before = everything(&mut session).await;
    let again = json!({"name": "Pro", "providerPriceIds": ["a", "b"], "archived": false, "entitlements": [
        {"code": "projects.max", "schemaVersion": 1, "valueJson": {"max": 3}}, entry("ai.credits", "plan_bonus", 2), entry("ai.credits", "plan_base", 1)]});
    let edited = put(&mut session, Plan, Some(id), &again, Some(1)).await;
    assert_eq!((edited.problems.len(), edited.thing.unwrap().version), (0, 1));
    let after = everything(&mut session).await;
    assert_eq!(after.len(), before.len() + 1, "only the key is kept");
    assert!(before.iter().all(|row| after.contains(row)));

    let replaced = json!({"entitlements": [
        entry("workspace.access", "plan_base", 1), entry("ai.credits", "plan_base", 1), entry("projects.max", "plan_base", 30)]});
    let edited = put(&mut session, Plan, Some(id), &replaced, Some(1)).await;
    let thing = edited.thing.unwrap();
    assert_eq!((thing.version, thing.prices.as_deref()), (2, Some(r#"["a", "b"]"#)));
    let rows = templates(&mut session).await;
    assert_eq!(rows[..2], [first[0].clone(), row(3, "projects.max", "plan_base", 30)]);
    assert_eq!((rows.len(), rows[2].1.as_str()), (3, "workspace.access"));

    // What is left out stays; [] clears.
    put(&mut session, Plan, Some(id), &json!({"name": "Pro 2"}), Some(2)).await;
    assert_eq!(templates(&mut session).await, rows);
    let edited = put(
        &mut session,
        Plan,
        Some(id),
        &json!({"entitlements": [], "providerPriceIds": []}),
        Some(3),
    )
    .await;
    assert_eq!(templates(&mut session).await, []);
    let thing = edited.thing.unwrap();
    assert_eq!(
        (thing.version, thing.prices.as_deref(), thing.entitlements.as_deref()),
        (4, Some("[]"), Some("[]"))
    );
    let prices: Vec<String> = session
        .query("SELECT provider_price_id FROM billing_provider_prices")
        .await
        .unwrap();
    assert_eq!(prices, [""; 0]);
}

#[tokio::test]
async fn grants_that_were_made_stay_as_they_are() {
    let (_database, mut session) = start().await;
    session.query_drop("CALL demonstration_seed_v1()").await.unwrap();
    let grants = async |session: &mut Conn| -> Vec<String> {
        let rows: Vec<Row> = session
            .query("SELECT * FROM billing_entitlement_grants ORDER BY id")
            .await
            .unwrap();
        rows.into_iter().map(|row| format!("{:?}", row.unwrap())).collect()
    };
    let (before, figures) = (grants(&mut session).await, projections(&mut session).await);
    assert!(before.len() > 2);
    for entitlements in [json!([{"code": "projects.max", "valueJson": {"limit": 1}}]), json!([])] {
        let edited = put(
            &mut session,
            Plan,
            Some(1),
            &json!({"entitlements": entitlements, "archived": true}),
            None,
        )
        .await;
        assert_eq!(edited.problems, [""; 0]);
    }
    assert_eq!(grants(&mut session).await, before);
    assert_eq!(projections(&mut session).await, figures);
    assert_eq!(differences(&mut session, None).await, [""; 0]);
}

#[tokio::test]
async fn a_key_is_used_for_one_edit() {
    let (_database, mut session) = start().await;
    let fields = json!({"code": "pro", "name": "Pro"});
    let first = put_with(&mut session, Plan, None, &fields, None, "one").await.unwrap();
    assert!(first.thing.as_ref().unwrap().made);
    put(&mut session, Plan, Some(1), &json!({"name": "Other"}), None).await;
    let again = put_with(&mut session, Plan, None, &fields, None, "one").await.unwrap();
    let thing = again.thing.unwrap();
    assert_eq!((thing.made, thing.version), (false, 2), "the plan as it is by now");
    for (kind, id, fields, version, key, code) in [
        (
            Plan,
            None,
            json!({"code": "pro", "name": "Pro 2"}),
            None,
            "one",
            "IDEMPOTENCY_CONFLICT",
        ),
        (Plan, Some(1), fields.clone(), None, "one", "IDEMPOTENCY_CONFLICT"),
        (Plan, None, fields.clone(), Some(1), "one", "IDEMPOTENCY_CONFLICT"),
        (Product, None, fields.clone(), None, "one", "IDEMPOTENCY_CONFLICT"),
        (Plan, None, fields.clone(), None, "two words", "VALIDATION_FAILED"),
        (Plan, Some(9), json!({}), None, "new", "PLAN_NOT_FOUND"),
        (Product, Some(9), json!({}), None, "new", "PRODUCT_NOT_FOUND"),
        (Definition, Some(9), json!({}), None, "new", "DEFINITION_NOT_FOUND"),
        (Plan, None, json!([]), None, "new", "VALIDATION_FAILED"),
    ] {
        let error = put_with(&mut session, kind, id, &fields, version, key)
            .await
            .unwrap_err();
        assert_eq!(codes(error), code, "{fields}");
    }
    // A refusal does not use its key up.
    let wrong = put_with(&mut session, Plan, None, &json!({"code": "new"}), None, "three")
        .await
        .unwrap();
    assert_eq!(wrong.problems, ["VALIDATION_FAILED name: is required"]);
    let right = put_with(
        &mut session,
        Plan,
        None,
        &json!({"code": "new", "name": "New"}),
        None,
        "three",
    )
    .await
    .unwrap();
    assert_eq!(right.thing.unwrap().version, 1);
}

#[tokio::test]
async fn a_definition_keeps_what_is_not_given_and_may_say_null_by_an_empty_text() {
    let (_database, mut session) = start().await;
    let fields = json!({"code": "x.max", "name": "X", "description": "About X", "entitlementType": "capacity", "unit": "x", "resourceCode": "",
                        "lockLabel": "x_locked", "metadata": {"deep": {"a": null}}});
    let id = made(&mut session, Definition, &fields).await;
    let shown = async |session: &mut Conn| -> (Option<String>, Option<String>, Option<String>, Option<String>, bool) {
        session
            .exec_first(
                "SELECT description, lock_label, resource_code, CAST(metadata AS CHAR), is_active FROM billing_entitlement_definitions WHERE id = ?",
                (id,),
            )
            .await
            .unwrap()
            .unwrap()
    };
    let text = |text: &str| Some(text.to_owned());
    let whole = (
        text("About X"),
        text("x_locked"),
        None,
        text(r#"{"deep": {"a": null}}"#),
        true,
    );
    assert_eq!(shown(&mut session).await, whole);
    for (fields, version) in [
        (json!({"name": "Y"}), 2),
        (
            json!({"name": "Y", "unit": "x", "scale": 0, "isActive": true, "resourceCode": null}),
            2,
        ),
        (
            json!({"metadata": {"deep": {"a": null}}, "entitlementType": "capacity", "code": "x.max"}),
            2,
        ),
        // Case is a difference.
        (json!({"name": "y"}), 3),
    ] {
        let edited = put(&mut session, Definition, Some(id), &fields, None).await;
        assert_eq!(
            (edited.problems.len(), edited.thing.unwrap().version),
            (0, version),
            "{fields}"
        );
        assert_eq!(shown(&mut session).await, whole);
    }
    let cleared = json!({"description": "", "lockLabel": "", "metadata": "", "isActive": false});
    assert_eq!(
        put(&mut session, Definition, Some(id), &cleared, Some(3))
            .await
            .thing
            .unwrap()
            .version,
        4
    );
    assert_eq!(shown(&mut session).await, (None, None, None, None, false));
    let cleared = json!({"description": null, "lockLabel": null, "metadata": null});
    assert_eq!(
        put(&mut session, Definition, Some(id), &cleared, Some(4))
            .await
            .thing
            .unwrap()
            .version,
        4
    );
}

#[tokio::test]
async fn what_is_shown_can_be_written_and_changes_nothing() {
    let (_database, mut session) = start().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..40 {
        let mut entries = Vec::new();
        for code in ["ai.credits", "projects.max", "annuity.calculations.monthly"] {
            for kind in ["plan_base", "plan_bonus"] {
                if random.bool() {
                    let mut value = json!({"grantKind": kind});
                    value[random.choice(["amount", "limit", "max"]).unwrap()] = random.i64(1..1_000_000).into();
                    if random.bool() {
                        value["effectivePolicy"] = random
                            .choice(["on_assignment_current", "on_period_paid"])
                            .unwrap()
                            .into();
                    }
                    let duration = random
                        .choice(["while_current", "period_window", "fixed_duration"])
                        .unwrap();
                    value["durationPolicy"] = duration.into();
                    if duration == "fixed_duration" {
                        value["durationDays"] = random.u32(1..=36_500).into();
                    }
                    entries.push(json!({"code": code, "valueJson": value}));
                }
            }
        }
        random.shuffle(&mut entries);
        let fields = json!({"code": format!("plan{round}"), "name": "x", "entitlements": entries});
        let id = made(&mut session, Plan, &fields).await;
        let shown = put(&mut session, Plan, Some(id), &json!({}), None).await.thing.unwrap();
        let entitlements: Json = serde_json::from_str(shown.entitlements.as_deref().unwrap()).unwrap();
        assert_eq!(entitlements.as_array().unwrap().len(), entries.len());
        let again = put(
            &mut session,
            Plan,
            Some(id),
            &json!({"entitlements": entitlements}),
            Some(1),
        )
        .await;
        assert_eq!((again.problems.len(), again.thing), (0, Some(shown)), "{fields}");
    }
}

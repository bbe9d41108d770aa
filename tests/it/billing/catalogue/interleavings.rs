//! Two operators at once, step by step: the second waits for the first, and then decides by what that one left.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use super::Kind::{self, Definition, Plan, Product};
use super::{Edited, made, put, put_with, start};
use crate::support::database::TestDatabase;
use crate::support::session::{begin, until_blocked};

/// Begins an edit in a transaction that stays open.
async fn hold_open(session: &mut Conn, kind: Kind, id: Option<u32>, fields: &Json) {
    begin(session).await;
    let call = format!(
        "CALL {}(?, ?, NULL, @id, @problems)",
        kind.put().replace("_v1", "_in_tx_v1")
    );
    session.exec_drop(call, (id, fields.to_string())).await.unwrap();
    let problems: Option<String> = session.query_first("SELECT @problems").await.unwrap().flatten();
    assert_eq!(problems, None);
}

/// Sends an edit that must wait for a lock, and returns when it does.
async fn waits(
    database: &TestDatabase,
    kind: Kind,
    id: Option<u32>,
    fields: Json,
    version: Option<u32>,
) -> JoinHandle<Edited> {
    let mut session = database.session().await;
    let connection = session.id();
    let edit = tokio::spawn(async move { put(&mut session, kind, id, &fields, version).await });
    until_blocked(database, connection).await;
    edit
}

#[tokio::test]
async fn the_second_edit_of_a_version_is_refused_once_the_first_is_there() {
    for (kind, fields) in [
        (
            Definition,
            json!({"code": "x.max", "name": "X", "entitlementType": "balance", "unit": "x"}),
        ),
        (Plan, json!({"code": "x", "name": "X"})),
        (Product, json!({"code": "x", "name": "X"})),
    ] {
        let (database, mut first) = start().await;
        let id = made(&mut first, kind, &fields).await;
        let edit = json!({"name": "Y"});

        hold_open(&mut first, kind, Some(id), &json!({"name": "First"})).await;
        let second = waits(&database, kind, Some(id), edit.clone(), Some(1)).await;
        first.query_drop("ROLLBACK").await.unwrap();
        let edited = second.await.unwrap();
        assert_eq!(
            (edited.problems.len(), edited.thing.unwrap().version),
            (0, 2),
            "{kind:?}"
        );

        hold_open(&mut first, kind, Some(id), &json!({"name": "First"})).await;
        let second = waits(&database, kind, Some(id), edit, Some(2)).await;
        first.query_drop("COMMIT").await.unwrap();
        let edited = second.await.unwrap();
        assert_eq!(edited.problems, ["VERSION_CONFLICT version: is 3 by now"], "{kind:?}");
        assert_eq!(edited.thing.unwrap().version, 3);
    }
}

#[tokio::test]
async fn a_code_and_a_price_that_are_taken_at_the_same_moment_are_found() {
    let (database, mut first) = start().await;
    let plan = json!({"code": "x", "name": "X"});
    hold_open(&mut first, Plan, None, &plan).await;
    let second = waits(&database, Plan, None, plan.clone(), None).await;
    first.query_drop("COMMIT").await.unwrap();
    let edited = second.await.unwrap();
    assert_eq!(edited.problems, ["CODE_TAKEN code: belongs to another plan"]);
    assert_eq!(edited.thing, None);

    let definition =
        json!({"code": "x.max", "name": "X", "entitlementType": "capacity", "unit": "x", "resourceCode": "things"});
    hold_open(&mut first, Definition, None, &definition).await;
    let other =
        json!({"code": "y.max", "name": "Y", "entitlementType": "capacity", "unit": "y", "resourceCode": "things"});
    let second = waits(&database, Definition, None, other, None).await;
    first.query_drop("COMMIT").await.unwrap();
    let problems = second.await.unwrap().problems;
    assert_eq!(
        problems,
        ["CODE_TAKEN code: it, or the resourceCode, was taken at the same moment"]
    );

    let priced = json!({"providerPriceIds": ["price_1"]});
    made(&mut first, Product, &plan).await;
    hold_open(&mut first, Plan, Some(1), &priced).await;
    let second = waits(&database, Product, Some(1), priced.clone(), Some(1)).await;
    first.query_drop("COMMIT").await.unwrap();
    let edited = second.await.unwrap();
    let said = "PRICE_TAKEN providerPriceIds: one of them was given to something else at the same moment";
    assert_eq!(
        (edited.problems, edited.thing.unwrap().version),
        (vec![said.to_owned()], 1)
    );
}

#[tokio::test]
async fn one_key_sent_many_times_at_once_makes_one_plan() {
    let (database, mut session) = start().await;
    let sent = (0..8).map(|_| {
        let url = database.url();
        tokio::spawn(async move {
            let mut session = Conn::new(mysql_async::Opts::from_url(&url).unwrap()).await.unwrap();
            let fields = json!({"code": "x", "name": "X", "providerPriceIds": ["price_1"]});
            put_with(&mut session, Plan, None, &fields, None, "one").await.unwrap()
        })
    });
    let mut made = 0;
    for edit in sent.collect::<Vec<_>>() {
        let edited = edit.await.unwrap();
        assert_eq!(edited.problems, [""; 0]);
        made += u32::from(edited.thing.unwrap().made);
    }
    let plans: Option<u32> = session.query_first("SELECT COUNT(*) FROM billing_plans").await.unwrap();
    assert_eq!((made, plans), (1, Some(1)));
}

#[tokio::test]
async fn a_document_waits_for_an_edit_and_then_stands_over_it() {
    let (database, mut first) = start().await;
    made(&mut first, Plan, &json!({"code": "x", "name": "X"})).await;
    hold_open(&mut first, Plan, Some(1), &json!({"name": "By hand"})).await;
    let mut session = database.session().await;
    let connection = session.id();
    let document = json!({"plans": [{"code": "x", "name": "By file"}]}).to_string();
    let apply = tokio::spawn(async move {
        session
            .exec_drop("CALL billing_apply_catalogue_v1(?, FALSE, NULL)", (document,))
            .await
    });
    until_blocked(&database, connection).await;
    first.query_drop("COMMIT").await.unwrap();
    apply.await.unwrap().unwrap();
    let plan: Option<(String, u32)> = first
        .query_first("SELECT name, version FROM billing_plans")
        .await
        .unwrap();
    assert_eq!(plan, Some(("By file".to_owned(), 3)));
}

#[tokio::test]
async fn edits_of_different_things_do_not_wait_for_each_other() {
    let (database, mut first) = start().await;
    let entitlements = |amount: i64| json!([{"code": "ai.credits", "valueJson": {"amount": amount}}, {"code": "projects.max", "valueJson": {"max": 1}}]);
    for code in ["a", "b"] {
        let fields = json!({"code": code, "name": code, "providerPriceIds": [code, format!("{code}{code}")], "entitlements": entitlements(1)});
        made(&mut first, Plan, &fields).await;
    }
    let mut second = database.session().await;
    second.query_drop("SET innodb_lock_wait_timeout = 1").await.unwrap();
    for (one, other) in [(1, 2), (2, 1)] {
        let edit = |id: u32, amount: i64| {
            json!({"name": format!("{id} {amount}"), "providerPriceIds": [format!("price {amount}").replace(' ', &id.to_string())],
                   "entitlements": entitlements(amount)})
        };
        hold_open(&mut first, Plan, Some(one), &edit(one, 10 + i64::from(one))).await;
        let edited = put(&mut second, Plan, Some(other), &edit(other, 20 + i64::from(one)), None).await;
        assert_eq!(edited.problems, [""; 0]);
        let document = json!({"plans": [{"code": if other == 1 { "a" } else { "b" }, "name": "x", "providerPriceIds": [], "entitlements": []}]});
        second
            .exec_drop(
                "CALL billing_apply_catalogue_v1(?, FALSE, NULL)",
                (document.to_string(),),
            )
            .await
            .unwrap();
        first.query_drop("COMMIT").await.unwrap();
    }
}

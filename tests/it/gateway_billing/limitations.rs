//! `GET /api/billing/limitations` of many at once.

use futures_util::future::join_all;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use reqwest::Method;
use serde_json::Value;

use crate::support::gateway::{TestGateway, answer};

const PATH: &str = "/api/billing/limitations?held=true&billableEntityId=";

/// Entities of a workspace each; the one with the number n has n credits.
async fn entities(session: &mut Conn, count: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    for n in 1..=count {
        let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
        let slug = format!("many-{n}");
        let row: Row = session.exec_first(put, (&slug, &slug)).await.unwrap().unwrap();
        let id: u64 = row.get("id").unwrap();
        let grant = "CALL entitlement_grant_v1(?, 'ai.credits', ?, 'promo', NULL, NULL, NULL, ?, 'test', 'dba')";
        session.exec_drop(grant, (id, n, &slug)).await.unwrap();
        ids.push(id);
    }
    ids
}

fn available(body: &Value) -> (&Value, &Value) {
    (
        &body["billableEntity"]["id"],
        &body["limitations"][0]["availableAmount"],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_who_ask_at_once_hears_of_his_own() {
    let gateway = TestGateway::start().await;
    let mut session = gateway.test.session().await;
    let ids = entities(&mut session, 30).await;
    let asks = (0..300).map(|n| {
        let id = ids[n % ids.len()];
        let by_slug = format!("/api/billing/limitations?workspaceSlug=many-{}", 1 + n % ids.len());
        let path = if n % 7 == 0 { by_slug } else { format!("{PATH}{id}") };
        let ask = gateway.request(Method::GET, &path).bearer_auth(&gateway.service);
        async move { (id, 1 + n % 30, answer(ask).await) }
    });
    // Who asks for nobody disturbs nobody.
    let nobody = gateway
        .request(Method::GET, &format!("{PATH}999999"))
        .bearer_auth(&gateway.service);
    let (answers, nobody) = tokio::join!(join_all(asks), answer(nobody));
    for (id, amount, (status, body)) in answers {
        assert_eq!(status, 200, "{body}");
        assert_eq!(available(&body), (&id.into(), &amount.into()));
    }
    assert_eq!((nobody.0, &nobody.1["code"]), (404, &"SUBJECT_NOT_FOUND".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_settled_first_and_only_its_reader_waits_for_that() {
    let gateway = TestGateway::start().await;
    let mut session = gateway.test.session().await;
    let ids = entities(&mut session, 10).await;
    let (due, others) = ids.split_first().unwrap();
    // A use under way holds the balance, whose grant ends meanwhile.
    let mut holder = gateway.test.session().await;
    for statement in [
        "START TRANSACTION",
        "SELECT subject_id FROM billing_entitlement_balances WHERE subject_id = 1 FOR UPDATE",
        "UPDATE billing_entitlement_grant_balances SET ends_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE subject_id = 1",
        "UPDATE billing_entitlement_balances SET next_change_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE subject_id = 1",
    ] {
        holder.query_drop(statement).await.unwrap();
    }
    assert_eq!(*due, 1);
    let ask = |id: &u64| {
        answer(
            gateway
                .request(Method::GET, &format!("{PATH}{id}"))
                .bearer_auth(&gateway.service),
        )
    };
    assert_eq!(available(&ask(due).await.1).1, 1, "what is not committed is not known");
    holder.query_drop("COMMIT").await.unwrap();
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder
        .query_drop("SELECT subject_id FROM billing_entitlement_balances WHERE subject_id = 1 FOR UPDATE")
        .await
        .unwrap();
    let answers = join_all(others.iter().map(ask)).await;
    for (n, (status, body)) in (2..).zip(answers) {
        assert_eq!((status, available(&body).1), (200, &Value::from(n)));
    }
    let (answered, ended) = tokio::join!(ask(due), holder.query_drop("ROLLBACK"));
    ended.unwrap();
    assert_eq!(available(&answered.1), (&Value::from(1), &Value::from(0)));
}

#[tokio::test]
async fn a_dba_asks_for_several() {
    let gateway = TestGateway::start().await;
    let mut session = gateway.test.session().await;
    let ids = entities(&mut session, 2).await;
    let ask = |requests: Value| format!("CALL entitlement_limitations_batch_v1('{requests}')");
    let requests = serde_json::json!([
        {"subjectId": ids[1], "heldOnly": true}, {"subjectId": 99}, {"subjectId": ids[0]}, {"subjectId": ids[1], "heldOnly": true}, {}
    ]);
    let mut result = session.query_iter(ask(requests)).await.unwrap();
    let entities: Vec<Row> = result.collect().await.unwrap();
    let limits: Vec<Row> = result.collect().await.unwrap();
    drop(result);
    let numbers: Vec<(u64, u64)> = entities
        .iter()
        .map(|row| (row.get("request_no").unwrap(), row.get("id").unwrap()))
        .collect();
    assert_eq!(numbers, [(1, ids[1]), (3, ids[0]), (4, ids[1])]);
    let told: Vec<(u64, String, i64, bool)> = limits
        .iter()
        .map(|row| {
            (
                row.get("request_no").unwrap(),
                row.get("code").unwrap(),
                row.get("available_amount").unwrap(),
                row.get("is_due").unwrap(),
            )
        })
        .collect();
    let row = |no, code: &str, amount| (no, code.to_owned(), amount, false);
    assert_eq!(told[0], row(1, "ai.credits", 2));
    assert_eq!(told[1], row(3, "ai.credits", 1));
    assert!(
        told.len() > 3,
        "all that can be granted, where it is not said that only what is held"
    );
    assert_eq!(told.last(), Some(&row(4, "ai.credits", 2)));

    for wrong in ["[]", "{}", &format!("[{}1]", "1,".repeat(100))] {
        let refused = session
            .exec_drop("CALL entitlement_limitations_batch_v1(?)", (wrong,))
            .await;
        assert!(
            matches!(&refused, Err(mysql_async::Error::Server(error)) if error.code == 52001),
            "{wrong}: {refused:?}"
        );
    }
}

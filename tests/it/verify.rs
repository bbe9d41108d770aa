//! `consumable verify`.

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::support::command::consumable;
use crate::support::database::TestDatabase;

fn verify(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    consumable(url, &[&["verify"], arguments].concat())
}

#[tokio::test]
async fn what_differs_from_the_ledger_is_named() {
    let test = TestDatabase::migrated().await;
    let mut session = test.session().await;
    for name in ["one", "two"] {
        let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
        session.exec_drop(put, (name, name)).await.unwrap();
    }
    let grant = "CALL entitlement_grant_v1(?, 'ai.credits', 100, 'promo', NULL, NULL, NULL, ?, 'test', 'test')";
    let consume = "CALL entitlement_consume_v1(?)";
    for subject in [1, 2] {
        session
            .exec_drop(grant, (subject, format!("grant-{subject}")))
            .await
            .unwrap();
        let uses = json!([{"subjectId": subject, "usageEventKey": "u", "items": [{"limitationCode": "ai.credits", "amount": 60}]}]);
        session.exec_drop(consume, (uses.to_string(),)).await.unwrap();
    }
    let healthy = (Some(0), "No differences.\n".to_owned(), String::new());
    assert_eq!(verify(&test.gateway_url(), &[]), healthy);
    assert_eq!(verify(&test.gateway_url(), &["--entity", "1"]), healthy);
    assert_eq!(
        verify(&test.gateway_url(), &["--json"]),
        (Some(0), "[]\n".into(), String::new())
    );

    // A use that somebody made undone, but not in the ledger.
    let spoil = "UPDATE billing_entitlement_balances SET segment_consumed_amount = 59 WHERE subject_id = 2";
    session.query_drop(spoil).await.unwrap();
    let (code, table, error) = verify(&test.gateway_url(), &[]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (code, rows),
        (
            Some(1),
            vec![
                vec!["entity", "code", "what", "number", "projected", "ledger"],
                vec!["2", "ai.credits", "consumed", "-", "59", "60"],
                vec!["2", "ai.credits", "left", "-", "41", "40"],
                vec!["2", "differences."],
            ]
        ),
        "{error}"
    );
    let (code, text, _) = verify(&test.gateway_url(), &["--entity", "2", "--json"]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&text).unwrap()[0].clone()),
        (
            Some(1),
            json!({"billableEntityId": 2, "code": "ai.credits", "what": "consumed", "number": null, "projected": 59, "ledger": 60})
        )
    );
    assert_eq!(verify(&test.gateway_url(), &["--entity", "1"]), healthy);

    let (code, _, error) = verify(&test.gateway_url(), &["--entity", "3"]);
    assert!(code == Some(1) && error.contains("SUBJECT_NOT_FOUND"), "{error}");
    assert_eq!(verify("mysql://u@localhost/x?socket=/nowhere", &[]).0, Some(3));
    assert_eq!(verify(&test.gateway_url(), &["--entity", "one"]).0, Some(2));
}

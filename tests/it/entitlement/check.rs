//! `entitlement_check_v1`: the same decision as a use's, for any amount.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::support::story::{CODE, Grant, Story, definition};

const MOST: u64 = 9_007_199_254_740_991;

#[tokio::test]
async fn a_check_compares_amounts_as_numbers() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 999)).await;
    // Amounts whose digits stand on either side of the limits' digits.
    for (amount, expected) in [
        (0, "VALIDATION_FAILED"),
        (1, "allowed"),
        (9, "allowed"),
        (90, "allowed"),
        (91, "allowed"),
        (97, "allowed"),
        (901, "allowed"),
        (999, "allowed"),
        (1_000, "BILLING_LIMIT_EXCEEDED"),
        (MOST, "BILLING_LIMIT_EXCEEDED"),
        (MOST + 1, "VALIDATION_FAILED"),
        (10 * MOST, "VALIDATION_FAILED"),
        (u64::MAX, "VALIDATION_FAILED"),
    ] {
        let items = json!([{"limitationCode": CODE, "amount": amount}]).to_string();
        let row: Row = story
            .session
            .exec_first("CALL entitlement_check_v1(?, ?)", (story.subject, items))
            .await
            .unwrap()
            .unwrap();
        let problem: Option<String> = row.get("problem").unwrap();
        let said = problem
            .as_deref()
            .map_or("allowed", |problem| problem.split(':').next().unwrap());
        assert_eq!(said, expected, "{amount}");
        assert_eq!(
            row.get::<bool, _>("allowed").unwrap(),
            expected == "allowed",
            "{amount}"
        );
    }
    story.end().await;
}

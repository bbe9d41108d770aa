//! The runtime after a bootstrap: what it is told again of what was loaded is known, and what comes next stands on it.

use mysql_async::prelude::Queryable;
use serde_json::json;

use super::fixture::{seed, world};
use super::runs::{loaded, run};
use super::world::{Bought, Granted};
use super::{grants, is_whole};

/// Calls an inner procedure in a transaction of its own.
macro_rules! in_tx {
    ($session:expr, $call:expr, $values:expr) => {{
        $session.query_drop("START TRANSACTION").await.unwrap();
        let done = $session.exec_drop($call, $values).await;
        done.unwrap_or_else(|error| panic!("{}: {error}", $call));
        $session.query_drop("COMMIT").await.unwrap();
    }};
}

#[tokio::test]
async fn the_same_plan_period_and_purchase_again_grant_nothing() {
    let world = world(seed());
    let (database, mut session, zero) = loaded(&world).await;
    run(&database).await;
    let before = grants(&mut session).await;
    let mut again = (0, 0);
    for (assignment, id) in world.assignments.iter().zip(1_u64..) {
        if assignment.status != "current" {
            continue;
        }
        let period = assignment.period.map(|(start, end)| (zero.at(start), zero.at(end)));
        let (start, end) = (period.map(|period| period.0), period.map(|period| period.1));
        let assign = "CALL billing_assign_plan_in_tx_v1(?, ?, ?, NULL, ?, ?, NULL, ?, 'runtime', @id, @changed)";
        let key = format!("operator:{id}");
        let values = (
            assignment.subject,
            assignment.plan,
            assignment.quantity,
            start,
            end,
            key,
        );
        in_tx!(session, assign, values);
        let found: Option<(u64, bool)> = session.query_first("SELECT @id, @changed").await.unwrap();
        assert_eq!(found, Some((id, false)));
        if period.is_some() {
            let pay = "CALL billing_pay_period_in_tx_v1(?, ?, ?, NULL, 'runtime')";
            in_tx!(session, pay, (id, start, end));
        }
        again.0 += 1;
    }
    for (purchase, id) in world.purchases.iter().zip(1_u64..) {
        let lines = purchase.lines.iter().zip(1..);
        let lines =
            lines.map(|((what, quantity), no)| json!({"lineNo": no, "priceId": what.price(), "quantity": quantity}));
        let lines: Vec<_> = lines.collect();
        let confirm =
            "CALL billing_confirm_purchase_in_tx_v1(?, 'stripe', ?, NULL, 'eur', ?, ?, NULL, NULL, ?, 'runtime', @id)";
        let payment = json!([format!("pi_{id}")]).to_string();
        let values = (
            purchase.subject,
            payment,
            purchase.paid,
            json!(lines).to_string(),
            zero.at(purchase.at),
        );
        in_tx!(session, confirm, values);
        let found: Option<u64> = session.query_first("SELECT @id").await.unwrap();
        assert_eq!(found, Some(id));
        again.1 += 1;
    }
    println!("{} plans, {} purchases again", again.0, again.1);
    assert_eq!(grants(&mut session).await, before);
    is_whole(&mut session).await;
}

#[tokio::test]
async fn a_scheduled_plan_becomes_current_and_a_purchase_is_taken_back() {
    let world = world(seed());
    let (database, mut session, zero) = loaded(&world).await;
    run(&database).await;

    // Each purchase that granted anything, made void: what it granted has ended, and nothing else.
    let of_purchases: Vec<Granted> = world
        .grants(zero)
        .into_iter()
        .filter(|grant| grant.cause.is_err())
        .collect();
    for (purchase, id) in world.purchases.iter().zip(1_u64..) {
        if purchase.lines.iter().any(|line| matches!(line.0, Bought::Product(_))) && purchase.status != "voided" {
            let void = "CALL billing_void_purchase_v1(?, ?, 'a mistake', 'runtime')";
            session.exec_drop(void, (id, format!("void-{id}"))).await.unwrap();
        }
    }
    let revoked: Vec<String> = session
        .query("SELECT g.dedupe_key FROM billing_entitlement_revocations AS r JOIN billing_entitlement_grants AS g ON g.id = r.grant_id ORDER BY 1")
        .await
        .unwrap();
    let expected: Vec<_> = of_purchases.into_iter().map(|grant| grant.key).collect();
    assert_eq!(revoked, expected);
    is_whole(&mut session).await;

    // A year later what was scheduled has come.
    session
        .query_drop("SET timestamp = UNIX_TIMESTAMP() + 31536000")
        .await
        .unwrap();
    session
        .query_drop("CALL billing_apply_due_assignments_v1(1000)")
        .await
        .unwrap();
    let scheduled: Vec<(u64, String)> = session
        .query("SELECT id, status FROM billing_plan_assignments ORDER BY id")
        .await
        .unwrap();
    for ((id, status), assignment) in scheduled.iter().zip(&world.assignments) {
        if assignment.status == "scheduled" {
            let known: Option<u64> = session
                .exec_first(
                    "SELECT COUNT(*) FROM billing_entitlement_grants WHERE plan_assignment_id = ? AND created_by = 'bootstrap'",
                    (id,),
                )
                .await
                .unwrap();
            // Whoever is on the same plan in the same quantity already stays there: what was planned is cancelled.
            let is_there = world.assignments.iter().any(|other| {
                (other.subject, other.plan, other.quantity, other.status)
                    == (assignment.subject, assignment.plan, assignment.quantity, "current")
            });
            let expected = if is_there { "cancelled" } else { "current" };
            assert_eq!((status.as_str(), known), (expected, Some(0)), "assignment {id}");
        }
    }
    session.query_drop("CALL entitlement_lease_due_v1(1000)").await.unwrap();
    is_whole(&mut session).await;
}

//! `entitlement_verify_v1`: each number that it compares is compared.

use std::collections::BTreeSet;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::database::TestDatabase;
use crate::support::story::differences;

/// The limit of which uses are archived.
const ARCHIVED: &str = "annuity.calculations.monthly";

/// What is spoilt of subject `:s`, and what `entitlement_verify_v1` then calls different.
const SPOILT: &[(&str, &[&str])] = &[
    (
        "UPDATE billing_entitlement_balances SET segment_no = segment_no + 1 WHERE subject_id = :s AND definition_id = :credits",
        &["segment"],
    ),
    (
        "UPDATE billing_entitlement_balances SET granted_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["granted"],
    ),
    (
        "UPDATE billing_entitlement_balances SET segment_start_consumed_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["consumed"],
    ),
    (
        "UPDATE billing_entitlement_balances SET segment_start_left_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["left"],
    ),
    (
        "UPDATE billing_entitlement_balances SET held_amount = 0 WHERE subject_id = :s AND definition_id = :credits",
        &["held"],
    ),
    (
        "UPDATE billing_entitlement_balances SET allotment_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["allotment"],
    ),
    (
        "UPDATE billing_entitlement_balances SET allotment_given_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["allotment given"],
    ),
    (
        "UPDATE billing_entitlement_balances SET overage_amount = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["overage"],
    ),
    (
        "UPDATE billing_entitlement_balances SET last_sequence_no = 1 WHERE subject_id = :s AND definition_id = :credits",
        &["uses"],
    ),
    (
        "UPDATE billing_entitlement_balances SET segment_start_consumed_amount = 1 WHERE subject_id = :s AND definition_id = :projects",
        &["consumed"],
    ),
    (
        "UPDATE billing_entitlement_balances SET segment_start_left_amount = 9 WHERE subject_id = :s AND definition_id = :projects",
        &["left"],
    ),
    (
        "DELETE FROM billing_entitlement_balances WHERE subject_id = :s AND definition_id = :credits",
        &["balance"],
    ),
    // The newest settlement is gone: the balance stands alone, and a use is of a segment that nobody opened.
    (
        "DELETE FROM billing_entitlement_settlements WHERE subject_id = :s AND definition_id = :credits",
        &[
            "allotment",
            "allotment given",
            "consumed",
            "granted",
            "left",
            "overage",
            "segment",
            "segment of a use",
            "uses",
        ],
    ),
    (
        "UPDATE billing_entitlement_settlements SET closed_amount = closed_amount + 1 WHERE subject_id = :s AND definition_id = :credits AND closed_amount > 0",
        &["overage of segment", "used in segment"],
    ),
    (
        "UPDATE billing_entitlement_settlements SET closed_grants_gave = closed_grants_gave - 1 WHERE subject_id = :s AND definition_id = :credits AND closed_amount > 0",
        &["given by grants", "overage of segment"],
    ),
    (
        "UPDATE billing_entitlement_settlement_grants SET gave_amount = gave_amount + 1 WHERE subject_id = :s AND definition_id = :credits LIMIT 1",
        &["given by grant", "given by grants"],
    ),
    (
        "UPDATE billing_entitlement_grant_balances SET given_amount = given_amount + 1 WHERE subject_id = :s AND definition_id = :credits LIMIT 1",
        &["given by grant"],
    ),
    (
        "DELETE FROM billing_entitlement_grant_balances WHERE subject_id = :s AND definition_id = :projects",
        &["given by grant"],
    ),
    // The first use, of a segment that is closed.
    (
        "DELETE FROM billing_entitlement_consumptions WHERE subject_id = :s AND definition_id = :credits AND sequence_no = 1",
        &["first use not archived", "number of uses", "used in segment"],
    ),
    (
        "UPDATE billing_entitlement_consumptions SET amount = amount + 1 WHERE subject_id = :s AND definition_id = :credits ORDER BY sequence_no DESC LIMIT 1",
        &["consumed", "left"],
    ),
    // The archive: what the balance says of it; a use that is lost or spoilt there; one that was moved out of turn; a key that was used again.
    (
        "UPDATE billing_entitlement_balances SET archived_sequence_no = 1 WHERE subject_id = :s AND definition_id = :archived",
        &["archived"],
    ),
    (
        "DELETE FROM billing_entitlement_consumption_archive WHERE subject_id = :s AND sequence_no = 1",
        &["number of archived uses", "number of uses", "used in segment"],
    ),
    (
        "UPDATE billing_entitlement_consumption_archive SET amount = amount + 1 WHERE subject_id = :s AND sequence_no = 1",
        &["used in segment"],
    ),
    (
        "UPDATE billing_entitlement_consumption_archive SET sequence_no = 3 WHERE subject_id = :s AND sequence_no = 2",
        &["archived", "first use not archived", "number of archived uses"],
    ),
    (
        "UPDATE billing_entitlement_consumptions SET usage_event_key = 'first' WHERE subject_id = :s AND definition_id = :archived",
        &["keys used twice"],
    ),
    (
        "UPDATE billing_resource_snapshots SET resource_count = 7 WHERE subject_id = :s",
        &["count"],
    ),
    (
        "DELETE FROM billing_resource_changes WHERE subject_id = :s",
        &["consumed", "count", "left"],
    ),
    (
        "UPDATE billing_entitlement_holds SET status = 'released' WHERE subject_id = :s AND usage_event_key = 'held'",
        &["state of hold"],
    ),
    (
        "UPDATE billing_entitlement_holds SET status = 'pending' WHERE subject_id = :s AND usage_event_key = 'committed'",
        &["state of hold"],
    ),
    (
        "DELETE FROM billing_entitlement_hold_resolutions WHERE subject_id = :s",
        &["held", "state of hold"],
    ),
];

/// A subject with some of everything: uses before and after a settlement, gifts of grants, a count, a pending and a committed hold; and of one limit two uses
/// that are archived and one that is not.
async fn lived(session: &mut Conn, name: &str) -> u64 {
    let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
    session.exec_drop(put, (name, name)).await.unwrap();
    let find = "SELECT id FROM billable_entities WHERE entity_ref = ?";
    let subject: u64 = session.exec_first(find, (name,)).await.unwrap().unwrap();
    let grant = "CALL entitlement_grant_v1(?, ?, ?, 'promo', NULL, NULL, NULL, CONCAT(?, '-', ?), 'test', 'test')";
    let consume = "CALL entitlement_consume_v1(JSON_ARRAY(JSON_OBJECT('subjectId', ?, 'usageEventKey', ?, 'items',
                     JSON_ARRAY(JSON_OBJECT('limitationCode', ?, 'amount', ?)))))";
    let hold = "CALL entitlement_hold_v1(?, NULL, 'ai.credits', 5, 3600, ?, NULL, NULL)";
    for uses in [&["first", "second"][..], &["third"]] {
        let key = format!("before-{}", uses[0]);
        session
            .exec_drop(grant, (subject, ARCHIVED, 10, name, key))
            .await
            .unwrap();
        session
            .exec_drop(
                "CALL operator_archive_v1(UTC_TIMESTAMP(3), 10000, ?, ?)",
                (subject, subject),
            )
            .await
            .unwrap();
        for key in uses {
            session.exec_drop(consume, (subject, key, ARCHIVED, 2)).await.unwrap();
        }
    }
    session
        .exec_drop(grant, (subject, "ai.credits", 100, name, "first"))
        .await
        .unwrap();
    session
        .exec_drop(consume, (subject, "first", "ai.credits", 20))
        .await
        .unwrap();
    session
        .exec_drop(consume, (subject, "second", "ai.credits", 10))
        .await
        .unwrap();
    session
        .exec_drop(grant, (subject, "ai.credits", 50, name, "second"))
        .await
        .unwrap();
    session
        .exec_drop(grant, (subject, "projects.max", 3, name, "places"))
        .await
        .unwrap();
    session
        .exec_drop(consume, (subject, "place", "projects.max", 2))
        .await
        .unwrap();
    for key in ["held", "committed"] {
        session.exec_drop(hold, (subject, key)).await.unwrap();
    }
    let commit = "SELECT id FROM billing_entitlement_holds WHERE subject_id = ? AND usage_event_key = 'committed'";
    let committed: u64 = session.exec_first(commit, (subject,)).await.unwrap().unwrap();
    session
        .exec_drop("CALL entitlement_commit_hold_v1(?, NULL)", (committed,))
        .await
        .unwrap();
    subject
}

#[tokio::test]
async fn every_number_is_compared() {
    let test = TestDatabase::migrated().await;
    let mut session = test.session().await;
    let mut definitions = Vec::new();
    for code in ["ai.credits", "projects.max", ARCHIVED] {
        let find = "SELECT id FROM billing_entitlement_definitions WHERE code = ?";
        let id: u32 = session.exec_first(find, (code,)).await.unwrap().unwrap();
        definitions.push(id.to_string());
    }
    let untouched = lived(&mut session, "untouched").await;
    let mut all = BTreeSet::new();
    let mut wrong = Vec::new();
    for (number, (spoil, expected)) in SPOILT.iter().enumerate() {
        let subject = lived(&mut session, &format!("subject-{number}")).await;
        assert_eq!(differences(&mut session, subject).await, Vec::<String>::new());
        let spoil = spoil
            .replace(":s", &subject.to_string())
            .replace(":credits", &definitions[0])
            .replace(":projects", &definitions[1])
            .replace(":archived", &definitions[2]);
        session.query_drop("SET FOREIGN_KEY_CHECKS = 0").await.unwrap();
        session.query_drop(&spoil).await.unwrap();
        assert_ne!(session.affected_rows(), 0, "{spoil}");
        session.query_drop("SET FOREIGN_KEY_CHECKS = 1").await.unwrap();
        let found = whats(&mut session, subject).await;
        if found != expected.iter().map(|what| what.to_string()).collect() {
            wrong.push(format!("{spoil}: {found:?}"));
        }
        all.extend(found);
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(differences(&mut session, untouched).await, Vec::<String>::new());
    assert_eq!(whats(&mut session, None).await, all);
}

async fn whats(session: &mut Conn, subject: impl Into<Option<u64>>) -> BTreeSet<String> {
    let found: Vec<mysql_async::Row> = session
        .exec("CALL entitlement_verify_v1(?)", (subject.into(),))
        .await
        .unwrap();
    found.iter().map(|row| row.get("what").unwrap()).collect()
}

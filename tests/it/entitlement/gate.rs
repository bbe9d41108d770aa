//! Whether a state lets a subject through, at the instants that matter.

use mysql_async::prelude::Queryable;

use crate::support::story::{CODE, Grant, LOCKED, Story, definition};

/// What the gate says: code, whether it is open, lock state. An error is its text.
async fn gate(story: &mut Story, capability: &str) -> Result<(String, bool, String), String> {
    let row: Result<Option<(String, bool, String)>, _> = story
        .session
        .exec_first("CALL entitlement_gate_v1(?, ?)", (story.subject, capability))
        .await;
    row.map(|row| row.unwrap()).map_err(|error| error.to_string())
}

/// A story of a state that the capability `story.write` stands for.
async fn story() -> Story {
    let mut story = Story::of(definition::STATE).await;
    let capability = format!(
        "INSERT INTO billing_capabilities (capability, definition_id, amount, reason_code)
         SELECT 'story.write', d.id, 1, 'story.write' FROM billing_entitlement_definitions AS d WHERE d.code = '{CODE}'"
    );
    story.session.query_drop(capability).await.unwrap();
    story
}

#[tokio::test]
async fn the_gate_opens_and_closes_at_the_instant() {
    let mut story = story().await;
    let open = |is_open: bool, lock_state: &str| Ok((CODE.to_owned(), is_open, lock_state.to_owned()));
    // Never granted: the state is off, and nobody asks for it.
    assert_eq!(gate(&mut story, "story.write").await, open(true, LOCKED));

    story
        .grant(Grant::of("promo", 1).expires("2026-03-10 00:00:00.000"))
        .await;
    let again = Grant::of("promo", 1).effective("2026-03-20 00:00:00.000");
    story.grant(again.expires("2026-03-25 00:00:00.000")).await;
    for (at, is_open, lock_state) in [
        ("2026-03-01 00:00:00.000", true, "none"),
        ("2026-03-09 23:59:59.999", true, "none"),
        ("2026-03-10 00:00:00.000", false, LOCKED),
        ("2026-03-19 23:59:59.999", false, LOCKED),
        ("2026-03-20 00:00:00.000", true, "none"),
        ("2026-03-25 00:00:00.000", false, LOCKED),
    ] {
        story.at(at).await;
        assert_eq!(gate(&mut story, "story.write").await, open(is_open, lock_state), "{at}");
    }

    // A definition that is not active any more gates nobody.
    let off = format!("UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = '{CODE}'");
    story.session.query_drop(off).await.unwrap();
    assert!(gate(&mut story, "story.write").await.unwrap().1);
    story.end().await;
}

#[tokio::test]
async fn what_is_no_gate_is_told() {
    let mut story = story().await;
    for (capability, problem) in [
        ("story.read", "CAPABILITY_NOT_FOUND: "),
        ("projects.create", "VALIDATION_FAILED: capability: "),
    ] {
        let refused = gate(&mut story, capability).await.unwrap_err();
        assert!(refused.contains(problem), "{refused}");
    }
    story.subject = 99;
    assert!(
        gate(&mut story, "story.write")
            .await
            .unwrap_err()
            .contains("SUBJECT_NOT_FOUND: ")
    );
}

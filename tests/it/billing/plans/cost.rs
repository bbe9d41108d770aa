//! What a change of plan costs, however much there is.

use mysql_async::prelude::Queryable;

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Story, definition};

/// Rows that the session has read since the last `FLUSH STATUS`.
async fn rows_read(story: &mut Story) -> u64 {
    let reads: Vec<(String, u64)> = story
        .session
        .query("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' AND Value > 0")
        .await
        .unwrap();
    reads.iter().map(|(_, times)| times).sum()
}

/// Thousands of other subjects' grants and assignments are not looked at.
#[tokio::test]
async fn a_change_reads_what_is_the_subjects_own() {
    let mut story = Story::of(definition::MONTHLY).await;
    story
        .plan(
            "small",
            &[
                Template::of(CODE, 10),
                Template {
                    kind: "plan_bonus",
                    ..Template::of(CODE, 5).period()
                },
            ],
        )
        .await;
    story.plan("large", &[Template::of(CODE, 20)]).await;
    let period = ("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000");
    story.assign(Assign::to("small").period(period.0, period.1)).await;
    let mut costs = Vec::new();
    for _ in 0..2 {
        for plan in ["large", "small"] {
            story.session.query_drop("FLUSH STATUS").await.unwrap();
            story.assign(Assign::to(plan).period(period.0, period.1)).await;
            costs.push(rows_read(&mut story).await);
        }
        for statement in [
            "SET cte_max_recursion_depth = 5000",
            "INSERT IGNORE INTO billable_entities (entity_type, entity_ref, created_at, updated_at)
             WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             SELECT 'idle', i, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM n",
            "INSERT IGNORE INTO billing_plan_assignments (subject_id, plan_id, status, effective_at, dedupe_key, created_by, created_at)
             SELECT id, 1, 'current', created_at, CONCAT('idle:', id), 'story', created_at FROM billable_entities WHERE entity_type = 'idle'",
            "INSERT IGNORE INTO billing_entitlement_grants
               (subject_id, definition_id, grant_kind, amount, effective_at, source, plan_assignment_id, dedupe_key, content_sha256, created_by, created_at)
             SELECT a.subject_id, t.definition_id, 'plan_base', 10, a.created_at, 'plan_assignment', a.id, CONCAT('assignment:', a.id, ':idle'), REPEAT('a', 32), 'story', a.created_at
               FROM billing_plan_assignments AS a JOIN billing_plan_entitlement_templates AS t ON t.plan_id = 2 WHERE a.dedupe_key LIKE 'idle:%'",
            "ANALYZE TABLE billing_entitlement_grants, billing_plan_assignments, billable_entities, billing_plan_entitlement_templates",
        ] {
            story.session.query_drop(statement).await.unwrap();
        }
    }
    println!("rows read by each change: {costs:?}");
    assert!(costs.iter().all(|cost| *cost < 600), "{costs:?}");
}

/// The ends of the calendar are no way to an error, or to a window that contains nothing.
#[tokio::test]
async fn periods_at_the_ends_of_the_calendar() {
    let mut story = Story::of(definition::BILLING_MONTHLY).await;
    story.plan("pro", &[Template::of(CODE, 10)]).await;
    story.plan("other", &[]).await;
    for (start, end) in [
        ("8999-12-01 00:00:00.000", "8999-12-31 23:59:59.999"),
        ("8999-12-31 12:00:00.000", "8999-12-31 23:59:59.999"),
        ("1970-01-01 00:00:00.000", "8999-12-31 23:59:59.999"),
        ("1970-01-31 05:00:00.000", "1970-02-01 00:00:00.000"),
    ] {
        // Another plan each time, as an earlier period of the same one would be late news.
        story.assign(Assign::to("other")).await;
        story.assign(Assign::to("pro").period(start, end)).await;
        story.says("granted 10, consumed 0").await;
        story.consume(1).await;
        story.proves().await;
    }
    let beyond = Assign::to("other").period("9000-01-01 00:00:00.000", "9000-02-01 00:00:00.000");
    assert_eq!(story.try_assign(beyond).await, Err("VALIDATION_FAILED".to_owned()));
    story.end().await;
}

//! What each policy of a template grants: when the plan is assigned, renewed, paid, replaced and ended.

use crate::support::plan::{Assign, Template};
use crate::support::story::{CODE, Story, definition};

const MARCH: (&str, &str) = ("2026-03-01 00:00:00.000", "2026-04-01 00:00:00.000");
const APRIL: (&str, &str) = ("2026-04-01 00:00:00.000", "2026-05-01 00:00:00.000");

/// What one template has granted by the end of each step.
struct Case {
    template: Template,
    assigned: &'static [&'static str],
    paid: &'static [&'static str],
    renewed: &'static [&'static str],
    paid_again: &'static [&'static str],
    ended: &'static [&'static str],
}

const WHOLE: &[&str] = &["story.limit plan_base 10: 2026-03-01 00:00:00.000 .. never"];
const ENDED: &[&str] = &["story.limit plan_base 10: 2026-03-01 00:00:00.000 .. 2026-04-10 00:00:00.000"];
const IN_MARCH: &[&str] = &["story.limit plan_base 10: 2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000"];
const IN_BOTH: &[&str] = &[
    "story.limit plan_base 10: 2026-03-01 00:00:00.000 .. 2026-04-01 00:00:00.000",
    "story.limit plan_base 10: 2026-04-01 00:00:00.000 .. 2026-05-01 00:00:00.000",
];
const PAID_IN_MARCH: &[&str] = &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. 2026-04-01 00:00:00.000"];
const PAID_IN_BOTH: &[&str] = &[
    "story.limit plan_base 10: 2026-03-02 00:00:00.000 .. 2026-04-01 00:00:00.000",
    "story.limit plan_base 10: 2026-04-02 00:00:00.000 .. 2026-05-01 00:00:00.000",
];
const FIXED: &[&str] = &["story.limit plan_base 10: 2026-03-01 00:00:00.000 .. 2026-05-30 00:00:00.000"];
const PAID_FIXED_ONCE: &[&str] = &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. 2026-05-30 00:00:00.000"];
const PAID_FIXED: &[&str] = &[
    "story.limit plan_base 10: 2026-03-02 00:00:00.000 .. 2026-05-30 00:00:00.000",
    "story.limit plan_base 10: 2026-04-02 00:00:00.000 .. 2026-06-30 00:00:00.000",
];

fn cases() -> Vec<Case> {
    let template = Template::of(CODE, 10);
    vec![
        Case {
            template,
            assigned: WHOLE,
            paid: WHOLE,
            renewed: WHOLE,
            paid_again: WHOLE,
            ended: ENDED,
        },
        Case {
            template: template.period(),
            assigned: IN_MARCH,
            paid: IN_MARCH,
            renewed: IN_BOTH,
            paid_again: IN_BOTH,
            ended: IN_BOTH,
        },
        Case {
            template: template.days(90),
            assigned: FIXED,
            paid: FIXED,
            renewed: FIXED,
            paid_again: FIXED,
            ended: FIXED,
        },
        Case {
            template: template.paid(),
            assigned: &[],
            paid: &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. never"],
            renewed: &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. never"],
            paid_again: &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. never"],
            ended: &["story.limit plan_base 10: 2026-03-02 00:00:00.000 .. 2026-04-10 00:00:00.000"],
        },
        Case {
            template: template.paid().period(),
            assigned: &[],
            paid: PAID_IN_MARCH,
            renewed: PAID_IN_MARCH,
            paid_again: PAID_IN_BOTH,
            ended: PAID_IN_BOTH,
        },
        Case {
            template: template.paid().days(90),
            assigned: &[],
            paid: PAID_FIXED_ONCE,
            renewed: PAID_FIXED_ONCE,
            paid_again: PAID_FIXED,
            ended: PAID_FIXED,
        },
    ]
}

/// Assigned on the 1st, paid on the 2nd, renewed and paid in April, and on the 10th something ends it. Each step is done twice: it has one effect.
#[tokio::test]
async fn each_policy_grants_what_it_says() {
    let mut story = Story::of(definition::CAPACITY).await;
    story.plan("other", &[]).await;
    for (number, case) in cases().into_iter().enumerate() {
        for replaced in [false, true] {
            let name = format!("{} {} {replaced}", case.template.effective, case.template.duration);
            story.at(MARCH.0).await;
            story.subject = story.new_subject(&format!("subject-{number}-{replaced}")).await;
            story.plan("pro", &[case.template]).await;
            let first = Assign::to("pro").by("sub_1");
            let (assignment, changed) = story.assign(first.period(MARCH.0, MARCH.1)).await;
            assert!(changed, "{name}");
            assert_eq!(story.grants().await, case.assigned, "{name}: assigned");
            let again = story.assign(first.period(MARCH.0, MARCH.1)).await;
            assert_eq!(again, (assignment, false), "{name}");
            assert_eq!(story.grants().await, case.assigned, "{name}: assigned twice");

            story.at("2026-03-02 00:00:00.000").await;
            for _ in 0..2 {
                story.pay(assignment, MARCH.0, MARCH.1).await;
                assert_eq!(story.grants().await, case.paid, "{name}: paid");
            }

            // Saved again, changed or not: what was granted stays, and is not granted a second time.
            for amount in [20, 10] {
                story
                    .plan(
                        "pro",
                        &[Template {
                            amount,
                            ..case.template
                        }],
                    )
                    .await;
                story.assign(first.period(MARCH.0, MARCH.1)).await;
                story.pay(assignment, MARCH.0, MARCH.1).await;
                assert_eq!(story.grants().await, case.paid, "{name}: saved again");
            }
            story.at(APRIL.0).await;
            for _ in 0..2 {
                let renewed = story.assign(first.period(APRIL.0, APRIL.1)).await;
                assert_eq!(renewed, (assignment, false), "{name}");
                assert_eq!(story.grants().await, case.renewed, "{name}: renewed");
            }
            story.at("2026-04-02 00:00:00.000").await;
            for _ in 0..2 {
                story.pay(assignment, APRIL.0, APRIL.1).await;
                assert_eq!(story.grants().await, case.paid_again, "{name}: paid again");
            }

            story.at("2026-04-10 00:00:00.000").await;
            if replaced {
                story.assign(Assign::to("other")).await;
            } else {
                assert!(story.end_plan(assignment).await, "{name}");
            }
            assert!(!story.end_plan(assignment).await, "{name}");
            assert_eq!(story.grants().await, case.ended, "{name}: ended");
            story.proves().await;
        }
    }
}

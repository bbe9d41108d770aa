//! Each shape that live data has, once, by hand: what it looks like, and what is granted for it.

use chrono::NaiveDateTime;
use consumable::database::{Release, migrate};
use mysql_async::prelude::Queryable;
use serde_json::json;

use super::world::{Assignment, Bought, Holder, Purchase, World, Zero};
use super::{before_bootstrap, is_whole};

/// What it is; the plan's own JSON and the input table's; status, quantity, since when, and the period, in hours from now; and the grants:
/// code, kind, amount, hours, and `paid` where the period is in the key.
type OfPlan = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    (&'static str, i64, i64, Option<(i64, i64)>),
    &'static [&'static str],
);

#[rustfmt::skip]
const PLANS: &[OfPlan] = &[
    ("amount, limit and max say the amount, the first positive whole number of them in this order",
     Some(r#"[{"code": "projects.max", "schemaVersion": 1, "valueJson": {"max": 3, "limit": 5}},
              {"code": "ai.credits", "valueJson": {"amount": 0, "limit": -1, "max": 7}},
              {"code": "exports.monthly", "valueJson": {"amount": 2.5, "limit": "9", "max": 8}},
              {"code": "annuity.calculations.monthly", "valueJson": {"max": 1, "amount": 100}}]"#), None,
     ("current", 1, -240, None),
     &["ai.credits plan_base 7 -240..never", "annuity.calculations.monthly plan_base 100 -240..never", "exports.monthly plan_base 8 -240..never",
       "projects.max plan_base 5 -240..never"]),
    ("what is null is as what is left out",
     Some(r#"[{"code": "projects.max", "schemaVersion": null, "valueJson": {"amount": 5, "grantKind": null, "effectivePolicy": null, "durationPolicy": null, "durationDays": null}}]"#), None,
     ("current", 1, -240, None), &["projects.max plan_base 5 -240..never"]),
    ("base and bonus of one limit are two grants",
     Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}, {"code": "projects.max", "valueJson": {"amount": 2, "grantKind": "plan_bonus"}}]"#), None,
     ("current", 1, -240, None), &["projects.max plan_base 5 -240..never", "projects.max plan_bonus 2 -240..never"]),
    ("a quantity multiplies, but a state is on or off",
     Some(r#"[{"code": "workspace.access", "valueJson": {"amount": 1}}, {"code": "projects.max", "valueJson": {"amount": 5}}]"#), None,
     ("current", 7, -240, None), &["projects.max plan_base 35 -240..never", "workspace.access plan_base 1 -240..never"]),
    ("the input table alone", None, Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#),
     ("current", 1, -240, None), &["projects.max plan_base 5 -240..never"]),
    ("the input table beside the column",
     Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#), Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 6}}]"#),
     ("current", 1, -240, None), &["ai.credits plan_base 6 -240..never", "projects.max plan_base 5 -240..never"]),
    ("some days from the assignment on",
     Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "fixed_duration", "durationDays": 30}}]"#), None,
     ("current", 1, -240, None), &["ai.credits plan_base 5 -240..480"]),
    ("some days that are over",
     Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "fixed_duration", "durationDays": 10}}]"#), None,
     ("current", 1, -241, None), &[]),
    ("a period without any period",
     Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "period_window"}}]"#), None,
     ("current", 1, -240, None), &[]),
    ("a period that began before the plan",
     Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "period_window"}}]"#), None,
     ("current", 1, -240, Some((-300, 420))), &["ai.credits plan_base 5 -240..420 paid"]),
    ("a period that is over, and what holds while the plan is current",
     Some(r#"[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "period_window"}}, {"code": "projects.max", "valueJson": {"amount": 5}}]"#), None,
     ("current", 1, -2400, Some((-900, -180))), &["projects.max plan_base 5 -2400..never"]),
    ("on payment, in a paid period: while current once, the period, some days of it",
     Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "effectivePolicy": "on_period_paid"}},
              {"code": "ai.credits", "valueJson": {"amount": 6, "effectivePolicy": "on_period_paid", "durationPolicy": "period_window"}},
              {"code": "ai.credits", "valueJson": {"amount": 7, "grantKind": "plan_bonus", "effectivePolicy": "on_period_paid", "durationPolicy": "fixed_duration", "durationDays": 60}},
              {"code": "calls.daily", "valueJson": {"amount": 8, "effectivePolicy": "on_period_paid", "durationPolicy": "fixed_duration", "durationDays": 4}}]"#), None,
     ("current", 1, -2400, Some((-100, 620))),
     &["ai.credits plan_base 6 -100..620 paid", "ai.credits plan_bonus 7 -100..1340 paid", "projects.max plan_base 5 -100..never"]),
    ("on payment, and nothing paid",
     Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "effectivePolicy": "on_period_paid"}},
              {"code": "ai.credits", "valueJson": {"amount": 5, "effectivePolicy": "on_period_paid", "durationPolicy": "fixed_duration", "durationDays": 60}}]"#), None,
     ("current", 1, -240, None), &[]),
    ("scheduled", Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#), None, ("scheduled", 1, 240, None), &[]),
    ("ended", Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#), None, ("ended", 1, -240, None), &[]),
    ("cancelled", Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#), None, ("cancelled", 1, -240, None), &[]),
    ("nobody is on a plan that grants nothing", Some("[]"), None, ("ended", 1, -240, None), &[]),
    ("current, from tomorrow on", Some(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#), None,
     ("current", 1, 24, None), &["projects.max plan_base 5 24..never"]),
];

/// What it is; `metadata_json.entitlements` and the input table's; status, money paid and paid back, when, and the lines' quantities, of which
/// 0 stands for one of an unknown price, below 0 for a plan's; and the grants.
type OfProduct = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    (&'static str, i64, i64, i64, &'static [i64]),
    &'static [&'static str],
);

#[rustfmt::skip]
const PRODUCTS: &[OfProduct] = &[
    ("a top-up and an add-on, each as often as it was bought, on two lines",
     Some(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup"},
              {"code": "projects.max", "amount": 2, "grantKind": "timeboxed_addon", "durationDays": 60, "metadataJson": {"note": "pack"}}]"#), None,
     ("paid", 500, 0, -240, &[2, 1]), &["ai.credits topup 300 -240..never", "projects.max addon_timeboxed 6 -240..1200"]),
    ("the input table alone", None, Some(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup", "durationDays": null}]"#),
     ("paid", 500, 0, -240, &[1]), &["ai.credits topup 100 -240..never"]),
    ("the input table beside the column", Some(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup"}]"#),
     Some(r#"[{"code": "ai.credits", "amount": 5, "grantKind": "timeboxed_addon", "durationDays": 20}]"#),
     ("paid", 500, 0, -240, &[1]), &["ai.credits addon_timeboxed 5 -240..240", "ai.credits topup 100 -240..never"]),
    ("an add-on that is over", Some(r#"[{"code": "projects.max", "amount": 2, "grantKind": "timeboxed_addon", "durationDays": 9}]"#), None,
     ("paid", 500, 0, -240, &[1]), &[]),
    ("paid back in part, rounded in the customer's favour", Some(r#"[{"code": "ai.credits", "amount": 10, "grantKind": "one_off_topup"}]"#), None,
     ("partially_refunded", 3, 1, -240, &[1]), &["ai.credits topup 7 -240..never"]),
    ("paid back as a whole", Some(r#"[{"code": "ai.credits", "amount": 10, "grantKind": "one_off_topup"}]"#), None, ("refunded", 3, 3, -240, &[1]), &[]),
    ("void", Some(r#"[{"code": "ai.credits", "amount": 10, "grantKind": "one_off_topup"}]"#), None, ("voided", 3, 0, -240, &[1]), &[]),
    ("for nothing", Some(r#"[{"code": "ai.credits", "amount": 10, "grantKind": "one_off_topup"}]"#), None, ("paid", 0, 0, -240, &[1]),
     &["ai.credits topup 10 -240..never"]),
    ("lines of a plan and of an unknown price beside it", Some(r#"[{"code": "ai.credits", "amount": 10, "grantKind": "one_off_topup"}]"#), None,
     ("paid", 9, 0, -240, &[0, -1, 1]), &["ai.credits topup 10 -240..never"]),
    ("a state is on or off", Some(r#"[{"code": "workspace.access", "amount": 1, "grantKind": "timeboxed_addon", "durationDays": 30}]"#), None,
     ("paid", 9, 0, -240, &[5]), &["workspace.access addon_timeboxed 1 -240..480"]),
    ("a product that grants nothing", Some("[]"), None, ("paid", 9, 0, -240, &[1]), &[]),
    ("a product that says nothing of it", None, None, ("paid", 9, 0, -240, &[1]), &[]),
];

#[tokio::test]
async fn each_shape_is_granted_what_it_means() {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    let zero = Zero::of(&mut session).await;
    let parsed = |text: Option<&str>| text.map(|text| serde_json::from_str(text).unwrap());
    let mut world = World {
        subjects: (PLANS.len() + PRODUCTS.len()) as u64,
        ..World::default()
    };
    for ((_, own, input, (status, quantity, since, period), _), id) in PLANS.iter().zip(1..) {
        world.plans.push(Holder {
            code: format!("plan.{id}"),
            own: parsed(*own),
            input: parsed(*input),
            terms: Vec::new(),
        });
        world.assignments.push(Assignment {
            subject: id as u64,
            plan: id,
            quantity: *quantity,
            status,
            since: *since,
            period: *period,
        });
    }
    for ((_, own, input, (status, paid, refunded, at, quantities), _), id) in PRODUCTS.iter().zip(1..) {
        world.products.push(Holder {
            code: format!("product.{id}"),
            own: parsed(*own),
            input: parsed(*input),
            terms: Vec::new(),
        });
        let line = |quantity: &i64| match quantity {
            0 => (Bought::Unknown, 1),
            -1 => (Bought::Plan(1), 1),
            some => (Bought::Product(id), *some),
        };
        world.purchases.push(Purchase {
            subject: (PLANS.len() + id) as u64,
            status,
            paid: *paid,
            refunded: *refunded,
            at: *at,
            lines: quantities.iter().map(line).collect(),
        });
    }
    world.load(&mut session, zero).await;
    migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap();

    let whats = PLANS.iter().map(|plan| (plan.0, plan.4));
    let whats = whats.chain(PRODUCTS.iter().map(|product| (product.0, product.4)));
    for ((what, expected), subject) in whats.zip(1_u64..) {
        let found: Vec<(String, String, i64, NaiveDateTime, Option<NaiveDateTime>, bool)> = session
            .exec(
                "SELECT d.code, g.grant_kind, g.amount, g.effective_at, g.expires_at, g.dedupe_key LIKE '%:20__-__-__T__:__:__.___Z'
                   FROM billing_entitlement_grants AS g
                   JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
                  WHERE g.subject_id = ?
                  ORDER BY d.code, g.grant_kind",
                (subject,),
            )
            .await
            .unwrap();
        let grant = |(code, kind, amount, from, until, is_of_period)| {
            let until: Option<NaiveDateTime> = until;
            let until = until.map_or("never".to_owned(), |until| zero.hour(until).to_string());
            let of_period = if is_of_period { " paid" } else { "" };
            format!("{code} {kind} {amount} {}..{until}{of_period}", zero.hour(from))
        };
        let found: Vec<_> = found.into_iter().map(grant).collect();
        assert_eq!(found, expected, "{what}");
    }
    is_whole(&mut session).await;
}

/// Templates that are there already, from an import that wrote them itself, are what an entry may say again, and are granted from.
#[tokio::test]
async fn templates_of_an_import_of_ones_own_stay() {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    let zero = Zero::of(&mut session).await;
    let own = json!([{"code": "ai.credits", "amount": 9, "grantKind": "one_off_topup", "metadataJson": {"a": [1, 2], "b": "x"}}]);
    let world = World {
        subjects: 1,
        plans: vec![Holder {
            code: "pro".into(),
            own: None,
            input: None,
            terms: Vec::new(),
        }],
        products: vec![Holder {
            code: "pack".into(),
            own: Some(own),
            input: None,
            terms: Vec::new(),
        }],
        assignments: vec![Assignment {
            subject: 1,
            plan: 1,
            quantity: 2,
            status: "current",
            since: -24,
            period: None,
        }],
        purchases: Vec::new(),
    };
    world.load(&mut session, zero).await;
    for template in [
        "INSERT INTO billing_plan_entitlement_templates (plan_id, definition_id, grant_kind, amount, created_at)
         SELECT 1, d.id, 'plan_base', 4, '2026-01-01' FROM billing_entitlement_definitions AS d WHERE d.code = 'projects.max'",
        r#"INSERT INTO billing_product_entitlement_templates (product_id, definition_id, grant_kind, amount, metadata, created_at)
           SELECT 1, d.id, 'one_off_topup', 9, '{"b": "x", "a": [1, 2]}', '2026-01-01' FROM billing_entitlement_definitions AS d WHERE d.code = 'ai.credits'"#,
    ] {
        session.query_drop(template).await.unwrap();
    }
    migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap();
    let found: Vec<(String, i64)> = session
        .query("SELECT dedupe_key, amount FROM billing_entitlement_grants")
        .await
        .unwrap();
    assert_eq!(found, [("assignment:1:pro:projects.max:plan_base".to_owned(), 8)]);
    let products: u32 = session
        .query_first("SELECT COUNT(*) FROM billing_product_entitlement_templates")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(products, 1);
    is_whole(&mut session).await;
}

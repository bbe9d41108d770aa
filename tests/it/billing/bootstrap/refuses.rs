//! Data that cannot be bootstrapped: each rule with a row that breaks it, what is said, and the repair after which the same run goes through.

use std::process::Command;

use consumable::database::{Release, migrate};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{before_bootstrap, everything, is_whole};
use crate::support::database::TestDatabase;
use crate::support::story::definition;

/// A plan with a subject on it, a product that was bought twice, and a subject that has nothing: what each case breaks.
const SOUND: &str = r#"
    INSERT INTO billable_entities (id, entity_type, entity_ref, created_at, updated_at) VALUES (1, 'workspace', 'one', '2026-01-01', '2026-01-01'), (2, 'workspace', 'two', '2026-01-01', '2026-01-01');
    INSERT INTO billing_plans (id, code, name, created_at, updated_at, entitlements)
      VALUES (12, 'pro', 'Pro', '2026-01-01', '2026-01-01', '[{"code": "projects.max", "valueJson": {"amount": 5}}]'), (13, 'spare', 'Spare', '2026-01-01', '2026-01-01', NULL);
    INSERT INTO billing_products (id, code, name, created_at, updated_at, metadata_json)
      VALUES (7, 'pack', 'Pack', '2026-01-01', '2026-01-01', '{"entitlements": [{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup"}]}');
    INSERT INTO billing_plan_assignments (id, subject_id, plan_id, status, effective_at, dedupe_key, created_by, created_at)
      VALUES (5, 1, 12, 'current', '2026-01-01', 'a', 'x', '2026-01-01');
    INSERT INTO billing_purchases (id, subject_id, provider, provider_payment_id, status, currency, paid_minor_units, purchased_at, created_at)
      VALUES (3, 1, 'stripe', 'pi_1', 'paid', 'eur', 900, '2026-01-01', '2026-01-01');
    INSERT INTO billing_purchase_lines (purchase_id, line_no, provider_price_id, product_id, quantity) VALUES (3, 1, 'price_1', 7, 2);
    SET foreign_key_checks = 0"#;

/// What the case does to the sound data, what the run says, and what mends it.
type Case = (&'static str, &'static str, &'static str);

/// Writes JSON into the plan that somebody is on.
macro_rules! plan {
    ($json:literal) => {
        concat!("UPDATE billing_plans SET entitlements = '", $json, "' WHERE id = 12")
    };
}

/// Writes JSON into the product that was bought.
macro_rules! product {
    ($json:literal) => {
        concat!(
            "UPDATE billing_products SET metadata_json = '{\"entitlements\": ",
            $json,
            "}' WHERE id = 7"
        )
    };
}

const MEND_PLAN: &str = plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}]"#);
const MEND_PRODUCT: &str = product!(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup"}]"#);

/// The rules that the issue names, each in the ways that it can be broken.
#[rustfmt::skip]
const RULES: &[Case] = &[
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}, {"code": "foo", "valueJson": {"amount": 5}}]"#),
     "BOOTSTRAP_UNKNOWN_CODE: billing_plans 12 (pro) entitlements[1].code: no definition foo", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max ", "valueJson": {"amount": 5}}]"#), "BOOTSTRAP_UNKNOWN_CODE: billing_plans 12 (pro) entitlements[0].code: no definition projects.max ", MEND_PLAN),
    (plan!(r#"[{"code": "Projects.max", "valueJson": {"amount": 5}}]"#), "BOOTSTRAP_UNKNOWN_CODE: billing_plans 12 (pro) entitlements[0].code: no definition Projects.max", MEND_PLAN),
    (plan!(r#"[{"valueJson": {"amount": 5}}]"#), "BOOTSTRAP_UNKNOWN_CODE: billing_plans 12 (pro) entitlements[0].code: is missing", MEND_PLAN),
    (product!(r#"[{"code": 7, "amount": 100, "grantKind": "one_off_topup"}]"#), "BOOTSTRAP_UNKNOWN_CODE: billing_products 7 (pack) metadata_json.entitlements[0].code: no definition 7", MEND_PRODUCT),
    (r#"INSERT INTO billing_bootstrap_entitlements VALUES ('product', 'pack', '[{"code": "bar", "amount": 1, "grantKind": "one_off_topup"}]')"#,
     "BOOTSTRAP_UNKNOWN_CODE: billing_bootstrap_entitlements (product pack) entitlements[0].code: no definition bar",
     r#"UPDATE billing_bootstrap_entitlements SET entitlements = '[{"code": "projects.max", "amount": 1, "grantKind": "one_off_topup"}]'"#),

    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 0, "limit": -1, "max": 2.5}}]"#), "BOOTSTRAP_NO_AMOUNT: billing_plans 12 (pro) entitlements[0].valueJson: no positive whole amount, limit or max", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": 5}]"#), "BOOTSTRAP_NO_AMOUNT: billing_plans 12 (pro) entitlements[0].valueJson: is not an object with an amount", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"limit": 9007199254740992}}]"#), "BOOTSTRAP_NO_AMOUNT: billing_plans 12 (pro) entitlements[0]: 9007199254740992 is more than 9007199254740991", MEND_PLAN),
    (plan!(r#"[{"code": "workspace.access", "valueJson": {"amount": 2}}]"#), "BOOTSTRAP_NO_AMOUNT: billing_plans 12 (pro) entitlements[0]: 2 of a state, which is 1", MEND_PLAN),
    (product!(r#"[{"code": "ai.credits", "amount": "100", "grantKind": "one_off_topup"}]"#), "BOOTSTRAP_NO_AMOUNT: billing_products 7 (pack) metadata_json.entitlements[0].amount: no positive whole number", MEND_PRODUCT),

    (r#"UPDATE billing_plans SET entitlements = '[{"code": "ai.credits", "valueJson": {"amount": 5, "durationPolicy": "period_window"}}]' WHERE id = 12;
        UPDATE billing_plan_assignments SET effective_at = '2026-03-01', period_start_at = '2026-02-01', period_end_at = '2026-03-01'"#,
     "BOOTSTRAP_EXPIRES_BEFORE_START: billing_plan_assignments 5: ends 2026-03-01 00:00:00.000, not after the start of ai.credits",
     "UPDATE billing_plan_assignments SET period_end_at = '2026-03-02'"),
    (r#"UPDATE billing_products SET metadata_json = '{"entitlements": [{"code": "ai.credits", "amount": 1, "grantKind": "timeboxed_addon", "durationDays": 9}]}';
        UPDATE billing_purchases SET purchased_at = '9999-12-30'"#,
     "BOOTSTRAP_EXPIRES_BEFORE_START: billing_purchases 3: no instant is so late as the end of ai.credits", "UPDATE billing_purchases SET purchased_at = '2026-02-03'"),

    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5}}, {"code": "ai.credits", "valueJson": {"amount": 5}}, {"code": "projects.max", "valueJson": {"max": 6, "grantKind": "plan_base"}}]"#),
     "BOOTSTRAP_KEY_COLLISION: billing_plans 12 (pro) entitlements[2]: a second plan_base of projects.max", MEND_PLAN),
    (r#"INSERT INTO billing_bootstrap_entitlements VALUES ('product', 'pack', '[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup"}]')"#,
     "BOOTSTRAP_KEY_COLLISION: billing_bootstrap_entitlements (product pack) entitlements[0]: a second one_off_topup of ai.credits", "DELETE FROM billing_bootstrap_entitlements"),
    ("INSERT INTO billing_plan_entitlement_templates (id, plan_id, definition_id, amount, created_at) SELECT 4, 12, d.id, 6, '2026-01-01' FROM billing_entitlement_definitions AS d WHERE d.code = 'projects.max'",
     "BOOTSTRAP_KEY_COLLISION: billing_plans 12 (pro) entitlements[0]: template 4 says otherwise", "UPDATE billing_plan_entitlement_templates SET amount = 5"),
    ("INSERT INTO billing_product_entitlement_templates (id, product_id, definition_id, grant_kind, amount, metadata, created_at) SELECT 4, 7, d.id, 'one_off_topup', 100, '{}', '2026-01-01' FROM billing_entitlement_definitions AS d WHERE d.code = 'ai.credits'",
     "BOOTSTRAP_KEY_COLLISION: billing_products 7 (pack) metadata_json.entitlements[0]: template 4 says otherwise", "DELETE FROM billing_product_entitlement_templates"),
    ("INSERT INTO billing_entitlement_grants (id, subject_id, definition_id, grant_kind, amount, effective_at, source, plan_assignment_id, dedupe_key, content_sha256, created_by, created_at)
      VALUES (9, 1, 1, 'plan_base', 4, '2026-01-01', 'plan_assignment', 5, 'assignment:5:pro:projects.max:plan_base', REPEAT('x', 32), 'x', '2026-01-01')",
     "BOOTSTRAP_KEY_COLLISION: billing_plan_assignments 5: billing_entitlement_grants 9 has its key assignment:5:pro:projects.max:pla", "DELETE FROM billing_entitlement_grants"),

    ("UPDATE billing_plan_assignments SET subject_id = 99", "BOOTSTRAP_MISSING_SUBJECT: billing_plan_assignments 5: no billable entity 99", "UPDATE billing_plan_assignments SET subject_id = 2"),
    ("UPDATE billing_purchases SET subject_id = 99", "BOOTSTRAP_MISSING_SUBJECT: billing_purchases 3: no billable entity 99", "UPDATE billing_purchases SET subject_id = 2"),

    (product!(r#"{"ai.credits": 100}"#), "BOOTSTRAP_PRODUCT_WITHOUT_TEMPLATE: billing_products 7 (pack) metadata_json.entitlements: is not an array", MEND_PRODUCT),
    (r#"INSERT INTO billing_bootstrap_entitlements VALUES ('product', 'pack', '"ai.credits"')"#,
     "BOOTSTRAP_PRODUCT_WITHOUT_TEMPLATE: billing_bootstrap_entitlements (product pack) entitlements: is not an array", "UPDATE billing_bootstrap_entitlements SET entitlements = '[]'"),

    ("UPDATE billing_plan_assignments SET plan_id = 13", "BOOTSTRAP_PLAN_WITHOUT_COVERAGE: billing_plans 13 (spare): subjects are on it, and it grants nothing",
     r#"INSERT INTO billing_bootstrap_entitlements VALUES ('plan', 'spare', '[{"code": "projects.max", "valueJson": {"amount": 1}}]')"#),
    ("UPDATE billing_plan_assignments SET plan_id = 13, status = 'scheduled'", "BOOTSTRAP_PLAN_WITHOUT_COVERAGE: billing_plans 13 (spare): subjects are on it, and it grants nothing",
     "UPDATE billing_plan_assignments SET status = 'cancelled', ended_at = '2026-02-02'"),
];

/// What else cannot be read, or could not be granted.
#[rustfmt::skip]
const OTHERS: &[Case] = &[
    ("UPDATE billing_plan_assignments SET plan_id = 99", "BOOTSTRAP_MISSING_PLAN: billing_plan_assignments 5: no plan 99", "UPDATE billing_plan_assignments SET plan_id = 12"),
    ("UPDATE billing_purchase_lines SET product_id = 99", "BOOTSTRAP_MISSING_PRODUCT: billing_purchase_lines 3/1: no product 99", "UPDATE billing_purchase_lines SET product_id = 7"),
    ("UPDATE billing_purchase_lines SET purchase_id = 99", "BOOTSTRAP_MISSING_PURCHASE: billing_purchase_lines 99/1: no such purchase", "UPDATE billing_purchase_lines SET purchase_id = 3"),
    ("UPDATE billing_plan_assignments SET period_end_at = '2026-03-01'", "BOOTSTRAP_HALF_PERIOD: billing_plan_assignments 5: period_start_at is missing", "UPDATE billing_plan_assignments SET period_start_at = '2026-02-01'"),
    ("INSERT INTO billing_bootstrap_entitlements VALUES ('plan', 'porr', '[]')", "BOOTSTRAP_UNKNOWN_HOLDER: billing_bootstrap_entitlements (plan porr): no plan has this code", "DELETE FROM billing_bootstrap_entitlements"),
    (plan!(r#"{"code": "projects.max"}"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements: is not an array", MEND_PLAN),
    ("UPDATE billing_plans SET entitlements = CAST(CONCAT('[0', REPEAT(', 0', 100), ']') AS JSON) WHERE id = 12", "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements: more than 100 entries", MEND_PLAN),
    (plan!("[null]"), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: is not an object", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5}, "note": "x"}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: no field note", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "durationDay": 3}}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0].valueJson: no field durationDay", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "schemaVersion": 2, "valueJson": {"amount": 5}}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0].schemaVersion: is not 1", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "grantKind": "topup"}}]"#), r#"BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: no grantKind "topup""#, MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "grantKind": "PLAN_BASE"}}]"#), r#"BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: no grantKind "PLAN_BASE""#, MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "effectivePolicy": "now"}}]"#), r#"BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: no effectivePolicy "now""#, MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "durationPolicy": "for_ever"}}]"#), r#"BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: no durationPolicy "for_ever""#, MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "durationPolicy": "fixed_duration"}}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: durationDays is required with fixed_duration", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "durationDays": 5}}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: durationDays does not go with while_current", MEND_PLAN),
    (plan!(r#"[{"code": "projects.max", "valueJson": {"amount": 5, "durationPolicy": "fixed_duration", "durationDays": 36501}}]"#), "BOOTSTRAP_BAD_ENTRY: billing_plans 12 (pro) entitlements[0]: durationDays is not 1 to 36500: 36501", MEND_PLAN),
    (product!(r#"[{"code": "ai.credits", "amount": 100}]"#), "BOOTSTRAP_BAD_ENTRY: billing_products 7 (pack) metadata_json.entitlements[0]: grantKind is missing", MEND_PRODUCT),
    (product!(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "timeboxed_addon"}]"#), "BOOTSTRAP_BAD_ENTRY: billing_products 7 (pack) metadata_json.entitlements[0]: durationDays is required with timeboxed_addon", MEND_PRODUCT),
    (product!(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup", "durationDays": 3}]"#), "BOOTSTRAP_BAD_ENTRY: billing_products 7 (pack) metadata_json.entitlements[0]: durationDays does not go with one_off_topup", MEND_PRODUCT),
    (product!(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup", "metadataJson": [1]}]"#), "BOOTSTRAP_BAD_ENTRY: billing_products 7 (pack) metadata_json.entitlements[0].metadataJson: is not an object of up to 2048 bytes", MEND_PRODUCT),
    (product!(r#"[{"code": "ai.credits", "amount": 100, "grantKind": "one_off_topup", "limit": 3}]"#), "BOOTSTRAP_BAD_ENTRY: billing_products 7 (pack) metadata_json.entitlements[0]: no field limit", MEND_PRODUCT),
    ("UPDATE billing_entitlement_definitions SET is_active = FALSE WHERE code = 'ai.credits'", "BOOTSTRAP_INACTIVE_CODE: billing_purchases 3: definition ai.credits is not active", "UPDATE billing_entitlement_definitions SET is_active = TRUE"),
    (product!(r#"[{"code": "ai.credits", "amount": 4503599627370496, "grantKind": "one_off_topup"}]"#), "BOOTSTRAP_AMOUNT_TOO_LARGE: billing_purchases 3: more than 9007199254740991 of ai.credits", MEND_PRODUCT),
    (product!(r#"[{"code": "projects.max", "amount": 4503599627370494, "grantKind": "one_off_topup"}]"#), "BOOTSTRAP_AMOUNT_TOO_LARGE: billable_entities 1: all grants together are more than 9007199254740991 of projects.max", MEND_PRODUCT),
    (r#"UPDATE billing_plans SET code = CONCAT('long', REPEAT('g', 60)), entitlements = CONCAT('[{"valueJson": {"amount": 5}, "code": "', REPEAT('w', 300), '"}]') WHERE id = 12"#,
     "BOOTSTRAP_UNKNOWN_CODE: billing_plans 12 (longgggggggggggggggggggg) entitlements[0].code: no definition wwwwwwwwwwwwwwwwwwwwwww", MEND_PLAN),
];

/// Breaks what is there, and looks what a run says and whether all is as it was.
async fn is_refused(database: &TestDatabase, session: &mut Conn, (wrong, said, _): Case) {
    session.query_drop(wrong).await.unwrap();
    let before = everything(session).await;
    let refused = migrate(&database.url(), &Release::embedded().unwrap(), &|_| ()).await;
    let refused = refused.expect_err(wrong).to_string();
    assert_eq!(
        refused,
        format!("{said}. Nothing of your data was changed: mend this row, then run consumable migrate again")
    );
    assert!(said.len() < 128, "{said}");
    assert_eq!(everything(session).await, before, "{said}");
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_goes_through_when_it_is_mended() {
    for case in RULES {
        let database = before_bootstrap().await;
        let mut session = database.session().await;
        session.query_drop(SOUND).await.unwrap();
        is_refused(&database, &mut session, *case).await;
        session.query_drop(case.2).await.unwrap();
        migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
            .await
            .unwrap_or_else(|error| panic!("{}, mended: {error}", case.1));
        is_whole(&mut session).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_granted_is_named_too() {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    session.query_drop(SOUND).await.unwrap();
    // One after the other: each is mended, or the next would not be the first that is found.
    for case in OTHERS {
        is_refused(&database, &mut session, *case).await;
        session.query_drop(case.2).await.unwrap();
    }
    migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap();
    is_whole(&mut session).await;
}

#[tokio::test]
async fn the_command_says_what_to_do_in_its_last_line() {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    let run = |arguments: &[&str]| {
        let command = Command::new(env!("CARGO_BIN_EXE_consumable"))
            .arg("migrate")
            .args(arguments)
            .env("DATABASE_URL", database.url())
            .output()
            .unwrap();
        let last = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned()
        };
        (command.status.code(), last(command.stdout), last(command.stderr))
    };
    let down = "consumable: migrate goes one way only: to go back, restore the backup that was taken before it";
    assert_eq!(run(&["--down"]), (Some(2), String::new(), down.to_owned()));
    let waits = "The tables are there. Load your data, then run consumable migrate: it reads it.";
    assert_eq!(run(&["--before-bootstrap"]), (Some(0), waits.to_owned(), String::new()));

    session.query_drop(SOUND).await.unwrap();
    let (wrong, said, mended) = RULES[0];
    session.query_drop(wrong).await.unwrap();
    let refused = format!(
        "consumable: {said}. Nothing of your data was changed: mend this row, then run consumable migrate again"
    );
    assert_eq!(run(&[]), (Some(1), String::new(), refused));
    session.query_drop(mended).await.unwrap();
    let (code, done, _) = run(&[]);
    assert!(code == Some(0) && done.starts_with("Release "), "{done}");
    let told = "note: the bootstrap has run on this database: it reads nothing that is loaded from now on";
    assert_eq!(run(&["--before-bootstrap"]), (Some(0), told.to_owned(), String::new()));
    is_whole(&mut session).await;
}

/// The billing period of a subject that has no anchor of its own begins with the one that is paid.
#[tokio::test]
async fn a_paid_period_is_the_anchor_where_there_is_none() {
    let database = before_bootstrap().await;
    let mut session = database.session().await;
    crate::support::story::define(&mut session, "exports", definition::BILLING_MONTHLY).await;
    session.query_drop(SOUND).await.unwrap();
    session
        .query_drop(
            r#"UPDATE billing_plans SET entitlements = '[{"code": "exports", "valueJson": {"amount": 5}}]' WHERE id = 12;
               UPDATE billing_plan_assignments SET period_start_at = '2026-01-31', period_end_at = '2026-02-28';
               INSERT INTO billing_plan_assignments (subject_id, plan_id, status, effective_at, period_start_at, period_end_at, dedupe_key, created_by, created_at)
                 VALUES (2, 12, 'current', '2026-01-01', '2026-01-31', '2026-02-28', 'b', 'x', '2026-01-01');
               UPDATE billable_entities SET billing_anchor_at = '2026-01-15' WHERE id = 2"#,
        )
        .await
        .unwrap();
    migrate(&database.url(), &Release::embedded().unwrap(), &|_| ())
        .await
        .unwrap();
    let anchors: Vec<String> = session
        .query("SELECT DATE(billing_anchor_at) FROM billable_entities ORDER BY id")
        .await
        .unwrap();
    assert_eq!(anchors, ["2026-01-31", "2026-01-15"]);
    let days: Vec<u8> = session
        .query(
            "SELECT DAY(b.window_start_at + INTERVAL 3 DAY) FROM billing_entitlement_balances AS b
               JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id AND d.code = 'exports' ORDER BY b.subject_id",
        )
        .await
        .unwrap();
    // From the 28th to the 31st, by the length of the month.
    assert!((1..=3).contains(&days[0]) && days[1] == 18, "{days:?}");
    is_whole(&mut session).await;
}

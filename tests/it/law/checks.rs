//! Each CHECK and each unique key, proven by a row that it refuses. A rule without a case fails the test.

use std::collections::BTreeSet;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Findings;
use crate::support::database::TestDatabase;

/// Columns and their values, as SQL.
pub type Columns = &'static [(&'static str, &'static str)];

/// A table, a row that it takes, and rows that its rules refuse.
pub struct Table {
    pub name: &'static str,
    pub row: Columns,
    pub refuses: &'static [(&'static str, &'static str, Columns)],
}

pub const NOW: &str = "'2026-03-01'";
const LATER: &str = "'2026-04-01'";
pub const SHA: &str = "REPEAT('a', 32)";
const TOO_MUCH: &str = "9007199254740992";

/// Of each refused row: the rule, the mistake that it catches, and what differs from the row that is taken.
#[rustfmt::skip]
const TABLES: &[Table] = &[
    Table {
        name: "consumable_routines",
        row: &[("routine", "'r'"), ("content_sha256", "REPEAT('a', 64)"), ("server_sha256", "REPEAT('a', 64)"), ("release_version", "'1.0.0'"), ("installed_at", NOW), ("installed_by", "'x'")],
        refuses: &[
            ("ck_routines_content_sha256", "an upper-case hash, which would differ from the file's for ever", &[("content_sha256", "REPEAT('A', 64)")]),
            ("ck_routines_server_sha256", "a hash that was cut off", &[("server_sha256", "'a'")]),
        ],
    },
    Table {
        name: "workspaces",
        row: &[("slug", "'acme'"), ("name", "'Acme'"), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("ck_workspaces_slug", "a slug that differs from another only by case", &[("slug", "'Acme'")]),
            ("ck_workspaces_slug", "a slug with a line break at its end", &[("slug", "'acme\\n'")]),
            ("ck_workspaces_slug", "a slug that would not survive in a URL", &[("slug", "'a/b'")]),
            ("uq_workspaces_slug", "two workspaces at one URL", &[("name", "'Other'")]),
        ],
    },
    Table {
        name: "billable_entities",
        row: &[("entity_type", "'workspace'"), ("entity_ref", "'1'"), ("provider_customer_id", "'cus_1'"), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("ck_entities_type", "a type that is spelt in two ways", &[("entity_type", "'Workspace'")]),
            ("ck_entities_ref", "a blank, which nobody sees", &[("entity_ref", "'1 '")]),
            ("ck_entities_ref", "a subject without a name", &[("entity_ref", "''")]),
            ("uq_entities_type_ref", "two subjects for one thing, each with half of its grants", &[("provider_customer_id", "'cus_2'")]),
            ("uq_entities_provider_customer", "a payment that could be for either of two subjects", &[("entity_ref", "'2'")]),
        ],
    },
    Table {
        name: "billing_entitlement_definitions",
        row: &[("code", "'a.b'"), ("name", "'A'"), ("unit", "'x'"), ("entitlement_type", "'capacity'"), ("resource_code", "'things'"), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("ck_definitions_code", "a code that is spelt in two ways", &[("code", "'A.b'")]),
            ("ck_definitions_code", "a code with an empty part", &[("code", "'a..b'")]),
            ("ck_definitions_scale", "more decimals than a number of JavaScript can show", &[("scale", "10")]),
            ("ck_definitions_window", "a quota without a window", &[("entitlement_type", "'metered_quota'"), ("resource_code", "NULL")]),
            ("ck_definitions_window", "credits that end with the month", &[("entitlement_type", "'balance'"), ("resource_code", "NULL"), ("window_interval", "'month'"), ("window_anchor", "'calendar_utc'")]),
            ("ck_definitions_window", "a window that begins nowhere", &[("entitlement_type", "'metered_quota'"), ("resource_code", "NULL"), ("window_interval", "'month'")]),
            ("ck_definitions_aggregation", "a state that sums", &[("entitlement_type", "'state'"), ("resource_code", "NULL"), ("lock_label", "'off'")]),
            ("ck_definitions_aggregation", "credits of which only the largest pack counts", &[("entitlement_type", "'balance'"), ("resource_code", "NULL"), ("aggregation_mode", "'max'")]),
            ("ck_definitions_lock_label", "a lock that has no name to show", &[("enforcement_mode", "'hard_lock_resource'")]),
            ("ck_definitions_resource_code", "a resource that feeds what is not counted", &[("entitlement_type", "'balance'")]),
            ("uq_definitions_code", "two limits of one name", &[("resource_code", "NULL")]),
            ("uq_definitions_resource_code", "one count that moves two limits", &[("code", "'a.c'")]),
        ],
    },
    Table {
        name: "billing_capabilities",
        row: &[("capability", "'a.do'"), ("definition_id", "1"), ("amount", "1"), ("reason_code", "'a'")],
        refuses: &[("ck_capabilities_amount", "a capability that is free", &[("amount", "0")])],
    },
    Table {
        name: "billing_plans",
        row: &[("code", "'pro'"), ("name", "'Pro'"), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("ck_plans_code", "a code that is spelt in two ways", &[("code", "'Pro'")]),
            ("uq_plans_code", "two plans of one name", &[("name", "'Other'")]),
        ],
    },
    Table {
        name: "billing_products",
        row: &[("code", "'pack'"), ("name", "'Pack'"), ("created_at", NOW), ("updated_at", NOW)],
        refuses: &[
            ("ck_products_code", "a code that is spelt in two ways", &[("code", "'Pack'")]),
            ("uq_products_code", "two products of one name", &[("name", "'Other'")]),
        ],
    },
    Table {
        name: "billing_provider_prices",
        row: &[("provider_price_id", "'price_1'"), ("plan_id", "1"), ("created_at", NOW)],
        refuses: &[
            ("ck_provider_prices_one", "a price that buys nothing", &[("plan_id", "NULL")]),
            ("ck_provider_prices_one", "a price that buys two things", &[("product_id", "1")]),
        ],
    },
    Table {
        name: "billing_plan_entitlement_templates",
        row: &[("plan_id", "1"), ("definition_id", "1"), ("amount", "1"), ("created_at", NOW)],
        refuses: &[
            ("ck_plan_templates_amount", "a plan that grants nothing", &[("amount", "0")]),
            ("ck_plan_templates_duration", "a fixed duration of no length", &[("duration_policy", "'fixed_duration'")]),
            ("ck_plan_templates_duration", "a length that nobody reads", &[("duration_days", "30")]),
            ("ck_plan_templates_duration_days", "a grant that ends as it begins", &[("duration_policy", "'fixed_duration'"), ("duration_days", "0")]),
            ("uq_plan_templates_identity", "a template saved twice, which would grant twice", &[("amount", "2")]),
        ],
    },
    Table {
        name: "billing_product_entitlement_templates",
        row: &[("product_id", "1"), ("definition_id", "1"), ("grant_kind", "'one_off_topup'"), ("amount", "1"), ("created_at", NOW)],
        refuses: &[
            ("ck_product_templates_amount", "an amount that JavaScript cannot hold", &[("amount", TOO_MUCH)]),
            ("ck_product_templates_duration", "an add-on that never ends", &[("grant_kind", "'timeboxed_addon'")]),
            ("ck_product_templates_duration_days", "an end beyond the calendar", &[("grant_kind", "'timeboxed_addon'"), ("duration_days", "36501")]),
            ("uq_product_templates_identity", "a template saved twice, which would grant twice", &[("amount", "2")]),
        ],
    },
    Table {
        name: "billing_plan_assignments",
        row: &[("subject_id", "1"), ("plan_id", "1"), ("status", "'current'"), ("effective_at", NOW), ("dedupe_key", "'k'"), ("created_by", "'x'"), ("created_at", NOW)],
        refuses: &[
            ("ck_assignments_quantity", "a plan times nothing", &[("quantity", "0")]),
            ("ck_assignments_quantity", "more seats than anybody sells", &[("quantity", "1000001")]),
            ("ck_assignments_ended", "an ended plan without its end", &[("status", "'ended'")]),
            ("ck_assignments_ended", "a current plan that has ended", &[("ended_at", LATER)]),
            ("ck_assignments_period", "a paid period that ends before it begins", &[("period_start_at", LATER), ("period_end_at", NOW)]),
            ("uq_assignments_dedupe", "one event that assigns twice", &[("subject_id", "2")]),
            ("uq_assignments_current", "a subject on two plans at once", &[("plan_id", "2"), ("dedupe_key", "'k2'")]),
        ],
    },
    Table {
        name: "billing_events",
        row: &[("provider", "'stripe'"), ("provider_event_id", "'evt_1'"), ("event_type", "'x'"), ("payload", "'{}'"), ("outcome", "'received'"), ("received_at", NOW)],
        refuses: &[
            ("ck_events_payload", "a body that would fill the disk", &[("payload", "REPEAT('x', 1048577)")]),
            ("ck_events_failure", "a failure that nobody can explain", &[("outcome", "'failed'")]),
            ("ck_events_failure", "an event that failed but looks well", &[("failure", "'x'")]),
            ("ck_events_ignored", "an event that was passed over without a word", &[("outcome", "'ignored'"), ("resolved_at", NOW)]),
            ("ck_events_ignored", "an applied event with a reason why not", &[("ignored_because", "'x'")]),
            ("ck_events_resolved", "an applied event without its time", &[("outcome", "'applied'")]),
            ("uq_events_provider_event", "an event that is applied twice", &[("event_type", "'y'")]),
        ],
    },
    Table {
        name: "billing_purchases",
        row: &[("subject_id", "1"), ("provider", "'stripe'"), ("provider_payment_id", "'in_1'"), ("status", "'paid'"), ("currency", "'eur'"), ("paid_minor_units", "100"), ("purchased_at", NOW), ("created_at", NOW)],
        refuses: &[
            ("ck_purchases_money", "more paid back than was paid", &[("refunded_minor_units", "101")]),
            ("ck_purchases_money", "a negative payment", &[("paid_minor_units", "-1")]),
            ("ck_purchases_void", "a purchase that was taken back by nobody", &[("status", "'voided'"), ("voided_at", NOW), ("void_reason", "'x'")]),
            ("ck_purchases_void", "a purchase that counts although it was taken back", &[("voided_at", NOW), ("voided_by", "'x'"), ("void_reason", "'x'")]),
            ("ck_purchases_period", "a paid period that ends before it begins", &[("period_start_at", LATER), ("period_end_at", NOW)]),
            ("uq_purchases_provider_payment", "two events of one payment that grant twice", &[("subject_id", "2")]),
        ],
    },
    Table {
        name: "billing_purchase_lines",
        row: &[("purchase_id", "1"), ("line_no", "1"), ("provider_price_id", "'price_1'"), ("plan_id", "1"), ("quantity", "1")],
        refuses: &[
            ("ck_purchase_lines_quantity", "a line of nothing", &[("quantity", "0")]),
            ("ck_purchase_lines_one", "a line that bought two things", &[("product_id", "1")]),
        ],
    },
    Table {
        name: "billing_entitlement_grants",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("grant_kind", "'promo'"), ("amount", "1"), ("effective_at", NOW), ("source", "'operator'"), ("dedupe_key", "'k'"), ("content_sha256", SHA), ("created_by", "'x'"), ("created_at", NOW)],
        refuses: &[
            ("ck_grants_amount", "a decrease written as a negative grant", &[("amount", "-1")]),
            ("ck_grants_amount", "a sum that JavaScript cannot hold", &[("amount", TOO_MUCH)]),
            ("ck_grants_interval", "a grant that would never be active", &[("expires_at", NOW)]),
            ("ck_grants_source", "a plan grant that its plan's end would not find", &[("source", "'plan_assignment'")]),
            ("ck_grants_source", "a purchase grant that its refund would not find", &[("source", "'purchase'"), ("plan_assignment_id", "1")]),
            ("ck_grants_source", "a gift that a refund would take back", &[("purchase_id", "1")]),
            ("uq_grants_dedupe", "a retry that grants twice", &[("amount", "2")]),
        ],
    },
    Table {
        name: "billing_entitlement_revocations",
        row: &[("grant_id", "1"), ("subject_id", "1"), ("definition_id", "1"), ("revoked_at", NOW), ("dedupe_key", "'k'"), ("created_by", "'x'"), ("created_at", NOW)],
        refuses: &[
            ("uq_revocations_grant", "a grant that is revoked twice", &[("dedupe_key", "'l'")]),
            ("uq_revocations_dedupe", "one key that ends two grants", &[("grant_id", "2")]),
        ],
    },
    Table {
        name: "billing_entitlement_balances",
        row: &[
            ("subject_id", "1"), ("definition_id", "1"), ("history_no", "0"), ("window_start_at", NOW), ("window_end_at", LATER), ("segment_no", "1"), ("settled_at", NOW),
            ("granted_amount", "0"), ("allotment_amount", "0"), ("allotment_given_amount", "0"), ("overage_amount", "0"), ("segment_start_consumed_amount", "0"),
            ("segment_start_left_amount", "0"), ("segment_consumed_amount", "0"), ("held_amount", "0"), ("last_sequence_no", "0"),
        ],
        refuses: &[
            ("ck_balances_window", "a window that contains no instant", &[("window_end_at", NOW)]),
            ("ck_balances_amounts", "a revoked grant taken off twice", &[("granted_amount", "-1")]),
            ("ck_balances_amounts", "an allotment below nothing", &[("allotment_amount", "-1")]),
            ("ck_balances_amounts", "an allotment that took something back", &[("allotment_given_amount", "-1")]),
            ("ck_balances_amounts", "overage that was paid twice", &[("overage_amount", "-1")]),
            ("ck_balances_amounts", "a segment that begins with less than nothing used", &[("segment_start_consumed_amount", "-1")]),
            ("ck_balances_amounts", "a use that gives something", &[("segment_consumed_amount", "-1")]),
            ("ck_balances_amounts", "a hold that was released twice", &[("held_amount", "-1")]),
            ("ck_balances_history", "an ended window that the scheduler would settle", &[("history_no", "1"), ("next_change_at", LATER)]),
            ("ck_balances_history", "a hold that is kept in a window that is over", &[("history_no", "1"), ("held_amount", "1")]),
        ],
    },
    Table {
        name: "billing_entitlement_grant_balances",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("grant_state", "'active'"), ("grant_id", "1"), ("is_allotment", "0"), ("priority", "100"), ("effective_at", NOW), ("amount", "10")],
        refuses: &[
            ("ck_grant_balances_given", "a grant that gave more than it had", &[("given_amount", "11")]),
            ("ck_grant_balances_given", "a grant that took something back", &[("given_amount", "-1")]),
            ("ck_grant_balances_given", "more given before the window than at all", &[("given_before_window_amount", "1")]),
        ],
    },
    Table {
        name: "billing_entitlement_consumptions",
        row: &[
            ("subject_id", "1"), ("definition_id", "1"), ("usage_event_key", "'k'"), ("sequence_no", "1"), ("segment_no", "1"), ("amount", "1"), ("occurred_at", NOW),
            ("posted_at", NOW), ("consumed_after", "1"), ("left_after", "0"), ("held_after", "0"), ("content_sha256", SHA),
        ],
        refuses: &[
            ("ck_consumptions_amount", "a use of nothing", &[("amount", "0")]),
            ("ck_consumptions_amount", "a grant disguised as a negative use", &[("amount", "-1")]),
            ("ck_consumptions_returns", "a use that comes back at once", &[("returns_at", NOW)]),
            ("uq_consumptions_sequence", "two uses that were both decided on the same rest", &[("usage_event_key", "'k2'")]),
        ],
    },
    Table {
        name: "billing_entitlement_consumption_archive",
        row: &[
            ("subject_id", "1"), ("definition_id", "1"), ("usage_event_key", "'k'"), ("sequence_no", "1"), ("segment_no", "1"), ("amount", "1"), ("occurred_at", NOW),
            ("posted_at", NOW), ("consumed_after", "1"), ("left_after", "0"), ("held_after", "0"), ("content_sha256", SHA), ("archived_at", LATER),
        ],
        refuses: &[
            ("ck_consumption_archive_amount", "a use of nothing", &[("amount", "0")]),
            ("ck_consumption_archive_returns", "a use that comes back at once", &[("returns_at", NOW)]),
            ("uq_consumption_archive_sequence", "a use that is archived twice", &[("usage_event_key", "'k2'")]),
        ],
    },
    Table {
        name: "billing_entitlement_settlements",
        row: &[
            ("subject_id", "1"), ("definition_id", "1"), ("segment_no", "1"), ("settled_at", NOW), ("cause", "'opened'"), ("closed_amount", "10"), ("closed_allotment_gave", "5"),
            ("closed_grants_gave", "5"), ("overage_paid", "0"), ("window_start_at", NOW), ("window_end_at", LATER), ("granted_amount", "0"), ("consumed_amount", "0"),
            ("left_amount", "0"), ("allotment_amount", "0"), ("allotment_given_amount", "0"), ("overage_amount", "0"), ("last_sequence_no", "0"), ("recorded_at", NOW),
        ],
        refuses: &[
            ("ck_settlements_closed", "a use that was paid twice", &[("closed_grants_gave", "6")]),
            ("ck_settlements_closed", "a negative share", &[("closed_allotment_gave", "-1")]),
            ("ck_settlements_closed", "overage that grows by being paid", &[("overage_paid", "-1")]),
        ],
    },
    Table {
        name: "billing_entitlement_settlement_grants",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("segment_no", "1"), ("grant_id", "1"), ("gave_amount", "1")],
        refuses: &[("ck_settlement_grants_gave", "a row for a grant that gave nothing", &[("gave_amount", "0")])],
    },
    Table {
        name: "billing_entitlement_holds",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("usage_event_key", "'k'"), ("amount", "1"), ("expires_at", LATER), ("segment_no", "1"), ("consumed_after", "0"), ("left_after", "0"), ("held_after", "1"), ("content_sha256", SHA), ("created_at", NOW)],
        refuses: &[
            ("ck_holds_amount", "a hold of nothing", &[("amount", "0")]),
            ("ck_holds_interval", "a hold that never holds", &[("expires_at", NOW)]),
            ("uq_holds_key", "a retry that holds twice", &[("amount", "2")]),
        ],
    },
    Table {
        name: "billing_entitlement_hold_resolutions",
        row: &[("hold_id", "1"), ("subject_id", "1"), ("definition_id", "1"), ("resolution", "'released'"), ("amount", "0"), ("resolved_at", NOW), ("segment_no", "1"), ("consumed_after", "0"), ("left_after", "0"), ("held_after", "1")],
        refuses: &[
            ("ck_hold_resolutions_amount", "a release that used something", &[("amount", "1")]),
            ("ck_hold_resolutions_amount", "a commit of nothing", &[("resolution", "'committed'")]),
            ("uq_hold_resolutions_hold", "a hold that is resolved twice", &[("resolved_at", LATER)]),
        ],
    },
    Table {
        name: "billing_resource_snapshots",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("resource_count", "0"), ("counted_at", NOW), ("counted_by", "'adapter'")],
        refuses: &[("ck_snapshots_count", "a resource that was taken off twice", &[("resource_count", "-1")])],
    },
    Table {
        name: "billing_resource_changes",
        row: &[("subject_id", "1"), ("definition_id", "1"), ("usage_event_key", "'k'"), ("change_kind", "'consume'"), ("amount", "1"), ("occurred_at", NOW), ("posted_at", NOW), ("segment_no", "1"), ("consumed_after", "1"), ("left_after", "0"), ("held_after", "0"), ("content_sha256", SHA)],
        refuses: &[
            ("ck_resource_changes_count", "a resource that was taken off twice", &[("consumed_after", "-1"), ("usage_event_key", "'l'")]),
            ("ck_resource_changes_key", "a use that could not be recognised when it comes again", &[("usage_event_key", "NULL"), ("content_sha256", "NULL")]),
            ("ck_resource_changes_key", "an absolute count with a key, which would be replayed instead of written", &[("change_kind", "'adapter'"), ("usage_event_key", "'l'")]),
            ("uq_resource_changes_key", "a retry that counts twice", &[("amount", "2")]),
        ],
    },
    Table {
        name: "billing_limit_changes",
        row: &[("sequence_no", "1"), ("change_source", "'consumption'"), ("changes", "'[]'"), ("changed_at", NOW)],
        refuses: &[
            ("ck_limit_changes_changes", "one change that is not in a list, which readers would pass over", &[("changes", "'{}'"), ("sequence_no", "2")]),
            ("uq_limit_changes_sequence", "two gateways that gave the same number", &[("change_source", "'plan_grant'")]),
        ],
    },
    Table {
        name: "billing_limit_change_counter",
        row: &[("id", "1"), ("last_sequence_no", "0")],
        refuses: &[("ck_limit_change_counter_one", "a second counter", &[("id", "2")])],
    },
    Table {
        name: "billing_api_keys",
        row: &[("name", "'x'"), ("role", "'service'"), ("key_sha256", SHA), ("created_at", NOW)],
        refuses: &[("uq_api_keys_sha256", "one secret of two callers", &[("name", "'y'")])],
    },
    Table {
        name: "billing_operations",
        row: &[("idempotency_key", "'k'"), ("operation", "'put_plan'"), ("content_sha256", SHA), ("created_by", "'x'"), ("created_at", NOW)],
        refuses: &[("ck_operations_key", "a key that nobody could send again", &[("idempotency_key", "'k '")])],
    },
    Table {
        name: "billing_provider_subscriptions",
        row: &[("provider", "'stripe'"), ("provider_subscription_id", "'sub_1'"), ("subject_id", "1"), ("quantity", "1"), ("status", "'active'"), ("said_at", NOW), ("updated_at", NOW)],
        refuses: &[("ck_provider_subscriptions_quantity", "a plan times nothing", &[("quantity", "0")])],
    },
    Table {
        name: "billing_purchase_references",
        row: &[("provider", "'stripe'"), ("reference_id", "'pi_1'"), ("purchase_id", "1")],
        refuses: &[
            ("ck_purchase_references_one", "an id that leads nowhere", &[("purchase_id", "NULL")]),
            ("ck_purchase_references_one", "an id that leads to two places", &[("same_as_id", "'in_1'")]),
        ],
    },
    Table {
        name: "billing_purchase_grants",
        row: &[("purchase_id", "1"), ("grant_id", "1"), ("first_grant_id", "1"), ("bought_amount", "1")],
        refuses: &[("ck_purchase_grants_bought", "nothing that was bought", &[("bought_amount", "0")])],
    },
    Table {
        name: "billing_refunds",
        row: &[("provider", "'stripe'"), ("provider_charge_id", "'ch_1'"), ("reference_id", "'pi_1'"), ("currency", "'eur'"), ("refunded_minor_units", "1"), ("event_id", "1"), ("updated_at", NOW)],
        refuses: &[("ck_refunds_money", "a refund that takes money", &[("refunded_minor_units", "-1")])],
    },
];

#[tokio::test]
async fn every_rule_of_the_tables_refuses_its_mistake() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    session.query_drop("SET foreign_key_checks = 0").await.unwrap();
    let mut findings = Findings::default();
    let mut proven = BTreeSet::new();
    let mut tables: Vec<&Table> = TABLES.iter().collect();
    tables.extend(crate::scaffold::TABLES);
    for table in tables {
        for (rule, mistake, differs) in table.refuses {
            proven.insert((table.name.to_owned(), (*rule).to_owned()));
            if let Err(why) = refuses(&mut session, table, rule, differs).await {
                findings.add(table.name, 0, format!("{rule} does not catch {mistake}: {why}"));
            }
        }
    }
    let rules: Vec<(String, String)> = session
        .query(
            "SELECT table_name, constraint_name FROM information_schema.table_constraints
              WHERE table_schema = DATABASE() AND constraint_type IN ('CHECK', 'UNIQUE')",
        )
        .await
        .unwrap();
    let rules: BTreeSet<_> = rules.into_iter().collect();
    for (table, rule) in rules.difference(&proven) {
        findings.add(
            "tests/it/law/checks.rs",
            1,
            format!("{rule} of {table} has no case: add a row that it refuses, and name the mistake"),
        );
    }
    for (table, rule) in proven.difference(&rules) {
        findings.add(
            "tests/it/law/checks.rs",
            1,
            format!("{table} has no {rule}: take out its case"),
        );
    }
    findings.must_be_none();
}

/// Tries the row that differs, in a table that holds only the row that it takes (for a unique key) or nothing (for a CHECK).
async fn refuses(session: &mut Conn, table: &Table, rule: &str, differs: Columns) -> Result<(), String> {
    let name = table.name;
    let is_check = rule.starts_with("ck_");
    let mut tx = session.start_transaction(Default::default()).await.unwrap();
    tx.query_drop(format!("DELETE FROM {name}")).await.unwrap();
    tx.query_drop(insert(name, table.row, &[]))
        .await
        .map_err(|error| format!("not even the good row is taken: {error}"))?;
    if is_check {
        tx.query_drop(format!("DELETE FROM {name}")).await.unwrap();
    }
    let tried = tx.query_drop(insert(name, table.row, differs)).await;
    tx.rollback().await.unwrap();
    let (number, named) = if is_check {
        (3819, format!("'{rule}'"))
    } else {
        (1062, format!("'{name}.{rule}'"))
    };
    match tried {
        Ok(()) => Err("the row was taken".to_owned()),
        Err(mysql_async::Error::Server(error)) if error.code == number && error.message.contains(&named) => Ok(()),
        Err(error) => Err(format!("refused by something else: {error}")),
    }
}

fn insert(table: &str, row: Columns, differs: Columns) -> String {
    let kept = row
        .iter()
        .filter(|(column, _)| !differs.iter().any(|(other, _)| other == column));
    let (columns, values): (Vec<&str>, Vec<&str>) = kept.chain(differs).copied().unzip();
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
}

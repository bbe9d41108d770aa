//! A world written into a database that waits for its bootstrap.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, params};
use serde_json::{Value as Json, json};

use super::world::{Bought, DEFINITIONS, Holder, Purchase, World, Zero, text};
use crate::support::story::define;

impl World {
    /// Writes it into a database that waits for it.
    pub async fn load(&self, session: &mut Conn, zero: Zero) {
        for (code, _, definition) in DEFINITIONS {
            if let Some(definition) = definition {
                define(session, code, definition).await;
            }
        }
        let at = |hours: i64| text(zero.at(hours));
        for subject in 1..=self.subjects {
            let entity = "INSERT INTO billable_entities (id, entity_type, entity_ref, created_at, updated_at) VALUES (?, 'workspace', ?, ?, ?)";
            let row = (subject, format!("w{subject}"), at(-9000), at(-9000));
            session.exec_drop(entity, row).await.unwrap();
        }
        for (plan, id) in self.plans.iter().zip(1..) {
            let row = "INSERT INTO billing_plans (id, code, name, created_at, updated_at, entitlements) VALUES (?, ?, 'Plan', ?, ?, ?)";
            holder(session, row, id, plan, "plan", plan.own.clone(), &at(-9000)).await;
        }
        for (product, id) in self.products.iter().zip(1..) {
            let row = "INSERT INTO billing_products (id, code, name, created_at, updated_at, metadata_json) VALUES (?, ?, 'Product', ?, ?, ?)";
            let own = product
                .own
                .clone()
                .map(|own| json!({"entitlements": own, "colour": "red"}));
            holder(session, row, id, product, "product", own, &at(-9000)).await;
        }
        for (assignment, id) in self.assignments.iter().zip(1..) {
            let has_ended = ["ended", "cancelled"].contains(&assignment.status);
            session
                .exec_drop(
                    "INSERT INTO billing_plan_assignments
                       (id, subject_id, plan_id, quantity, status, effective_at, ended_at, period_start_at, period_end_at, dedupe_key, created_by, created_at)
                     VALUES (:id, :subject, :plan, :quantity, :status, :since, :ended, :start, :end, :key, 'import', :since)",
                    params! {
                        "id" => id, "subject" => assignment.subject, "plan" => assignment.plan, "quantity" => assignment.quantity,
                        "status" => assignment.status, "since" => at(assignment.since), "ended" => has_ended.then(|| at(-1)),
                        "start" => assignment.period.map(|period| at(period.0)), "end" => assignment.period.map(|period| at(period.1)),
                        "key" => format!("import:{id}"),
                    },
                )
                .await
                .unwrap();
        }
        for (purchase, id) in self.purchases.iter().zip(1..) {
            load_purchase(session, purchase, id, &at(purchase.at)).await;
        }
    }
}

async fn load_purchase(session: &mut Conn, purchase: &Purchase, id: u64, at: &str) {
    let row = "INSERT INTO billing_purchases
                 (id, subject_id, provider, provider_payment_id, status, currency, paid_minor_units, refunded_minor_units, purchased_at, created_at,
                  voided_at, voided_by, void_reason)
               VALUES (?, ?, 'stripe', ?, ?, 'eur', ?, ?, ?, ?, ?, ?, ?)";
    let payment = format!("pi_{id}");
    let void = (purchase.status == "voided").then_some(at);
    let values = (
        id,
        purchase.subject,
        payment,
        purchase.status,
        purchase.paid,
        purchase.refunded,
        at,
        at,
        void,
        void.and(Some("import")),
        void.and(Some("a mistake")),
    );
    session.exec_drop(row, values).await.unwrap();
    for ((what, quantity), no) in purchase.lines.iter().zip(1..) {
        let (plan, product) = match what {
            Bought::Product(product) => (None, Some(*product)),
            Bought::Plan(plan) => (Some(*plan), None),
            Bought::Unknown => (None, None),
        };
        let line = "INSERT INTO billing_purchase_lines (purchase_id, line_no, provider_price_id, plan_id, product_id, quantity) VALUES (?, ?, ?, ?, ?, ?)";
        let price = what.price();
        session
            .exec_drop(line, (id, no, price, plan, product, quantity))
            .await
            .unwrap();
    }
}

async fn holder<Term>(
    session: &mut Conn,
    row: &str,
    id: u64,
    holder: &Holder<Term>,
    kind: &str,
    own: Option<Json>,
    at: &str,
) {
    let own = own.map(|own| own.to_string());
    session.exec_drop(row, (id, &holder.code, at, at, own)).await.unwrap();
    if let Some(input) = &holder.input {
        session
            .exec_drop(
                "INSERT INTO billing_bootstrap_entitlements (kind, code, entitlements) VALUES (?, ?, ?)",
                (kind, &holder.code, input.to_string()),
            )
            .await
            .unwrap();
    }
}

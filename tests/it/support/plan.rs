//! Words of a story about plans.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, params};

use super::story::{Story, differences, projections_of};

/// What a plan grants of one limit, with what a story says of it and defaults for the rest.
#[derive(Clone, Copy)]
pub struct Template {
    /// The limit.
    pub code: &'static str,
    /// Smallest units.
    pub amount: i64,
    /// `plan_base`, `plan_bonus`.
    pub kind: &'static str,
    /// `on_assignment_current`, `on_period_paid`.
    pub effective: &'static str,
    /// `while_current`, `period_window`, `fixed_duration`.
    pub duration: &'static str,
    /// Exactly with `fixed_duration`.
    pub days: Option<u32>,
}

impl Template {
    /// Granted when the plan becomes current, for as long as it is.
    pub fn of(code: &'static str, amount: i64) -> Template {
        Template {
            code,
            amount,
            kind: "plan_base",
            effective: "on_assignment_current",
            duration: "while_current",
            days: None,
        }
    }

    /// The same when a period is paid.
    pub fn paid(self) -> Template {
        Template {
            effective: "on_period_paid",
            ..self
        }
    }

    /// The same for the period.
    pub fn period(self) -> Template {
        Template {
            duration: "period_window",
            ..self
        }
    }

    /// The same for so many days.
    pub fn days(self, days: u32) -> Template {
        Template {
            duration: "fixed_duration",
            days: Some(days),
            ..self
        }
    }
}

/// A change of a plan, with what a story says of it and defaults for the rest.
#[derive(Clone, Copy)]
pub struct Assign {
    /// The plan.
    pub plan: &'static str,
    /// Seats.
    pub quantity: u32,
    /// `None`: now.
    pub at: Option<&'static str>,
    /// Start and end.
    pub period: Option<(&'static str, &'static str)>,
    /// The provider's subscription.
    pub subscription: Option<&'static str>,
    /// `None`: a new one.
    pub key: Option<&'static str>,
}

impl Assign {
    /// Once, now, by no subscription, without a period.
    pub fn to(plan: &'static str) -> Assign {
        Assign {
            plan,
            quantity: 1,
            at: None,
            period: None,
            subscription: None,
            key: None,
        }
    }

    /// The same so many times.
    pub fn times(self, quantity: u32) -> Assign {
        Assign { quantity, ..self }
    }

    /// The same at an instant.
    pub fn at(self, at: &'static str) -> Assign {
        Assign { at: Some(at), ..self }
    }

    /// The same with a period.
    pub fn period(self, start: &'static str, end: &'static str) -> Assign {
        Assign {
            period: Some((start, end)),
            ..self
        }
    }

    /// The same by a subscription.
    pub fn by(self, subscription: &'static str) -> Assign {
        Assign {
            subscription: Some(subscription),
            ..self
        }
    }

    /// The same under a key of one's own.
    pub fn key(self, key: &'static str) -> Assign {
        Assign { key: Some(key), ..self }
    }
}

impl Story {
    /// Saves a plan with these templates, in place of those that it had.
    pub async fn plan(&mut self, code: &str, templates: &[Template]) {
        plan(&mut self.session, code, templates).await;
    }

    /// Changes the subject's plan, and gives the assignment and whether it changed.
    pub async fn assign(&mut self, assign: Assign) -> (u64, bool) {
        self.try_assign(assign).await.unwrap()
    }

    /// Changes the subject's plan. An error is its code.
    pub async fn try_assign(&mut self, assign: Assign) -> Result<(u64, bool), String> {
        let key = match assign.key {
            Some(key) => key.to_owned(),
            None => self.new_key("assign"),
        };
        let call = assign_call(self.subject, assign, &key);
        self.in_transaction(&call).await?;
        let changed = "SELECT @assignment_id, @changed";
        Ok(self.session.query_first(changed).await.unwrap().unwrap())
    }

    /// Pays a period of an assignment.
    pub async fn pay(&mut self, assignment: u64, start: &str, end: &str) {
        let call = format!("CALL billing_pay_period_in_tx_v1({assignment}, '{start}', '{end}', NULL, 'story')");
        self.in_transaction(&call).await.unwrap();
    }

    /// Ends or cancels an assignment, and gives whether that changed it.
    pub async fn end_plan(&mut self, assignment: u64) -> bool {
        let call = format!("CALL billing_end_assignment_in_tx_v1({assignment}, 'story', @changed)");
        self.in_transaction(&call).await.unwrap();
        self.session.query_first("SELECT @changed").await.unwrap().unwrap()
    }

    /// Does one call in a transaction of its own. An error is its code.
    pub async fn in_transaction(&mut self, call: &str) -> Result<(), String> {
        let mut tx = self.session.start_transaction(Default::default()).await.unwrap();
        match tx.query_drop(call).await {
            Ok(()) => {
                tx.commit().await.unwrap();
                Ok(())
            }
            Err(mysql_async::Error::Server(error)) => {
                tx.rollback().await.unwrap();
                Err(error.message.split(':').next().unwrap().to_owned())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The proof: rebuilding changes nothing, and verify finds nothing.
    pub async fn proves(&mut self) {
        let subject = self.subject;
        let settle = format!("CALL entitlement_settle_v1({subject})");
        self.session.query_drop(settle).await.unwrap();
        let before = projections_of(&mut self.session, &[subject]).await;
        let recompute = format!("CALL entitlement_recompute_v1({subject})");
        self.session.query_drop(recompute).await.unwrap();
        let after = projections_of(&mut self.session, &[subject]).await;
        assert_eq!(after, before, "recompute changed something");
        assert_eq!(differences(&mut self.session, subject).await, [""; 0]);
    }

    /// The subject's assignments in their order, such as `pro 1 current 2026-03-01 00:00:00.000 ..`.
    pub async fn assignments(&mut self) -> Vec<String> {
        let query = "SELECT CONCAT(p.code, ' ', a.quantity, ' ', a.status, ' ', a.effective_at, ' .. ', COALESCE(a.ended_at, ''))
                       FROM billing_plan_assignments AS a JOIN billing_plans AS p ON p.id = a.plan_id
                      WHERE a.subject_id = ? ORDER BY a.id";
        self.session.exec(query, (self.subject,)).await.unwrap()
    }

    /// The subject's grants in their order, such as `projects.max plan_base 5: 2026-03-01 00:00:00.000 .. never`; a revocation is an end.
    pub async fn grants(&mut self) -> Vec<String> {
        let query = "SELECT CONCAT(d.code, ' ', g.grant_kind, ' ', g.amount, ': ', g.effective_at, ' .. ', COALESCE(r.revoked_at, g.expires_at, 'never'))
                       FROM billing_entitlement_grants AS g
                       JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
                       LEFT JOIN billing_entitlement_revocations AS r ON r.grant_id = g.id
                      WHERE g.subject_id = ? ORDER BY g.id";
        self.session.exec(query, (self.subject,)).await.unwrap()
    }
}

/// The statement that changes a subject's plan inside the caller's transaction; it leaves `@assignment_id` and `@changed`.
pub fn assign_call(subject: u64, assign: Assign, key: &str) -> String {
    let quoted = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{text}'"));
    format!(
        "CALL billing_assign_plan_in_tx_v1({subject}, (SELECT id FROM billing_plans WHERE code = '{}'), {}, {}, {}, {}, {}, '{key}', 'story', @assignment_id, @changed)",
        assign.plan,
        assign.quantity,
        quoted(assign.at),
        quoted(assign.period.map(|period| period.0)),
        quoted(assign.period.map(|period| period.1)),
        quoted(assign.subscription),
    )
}

/// Saves a plan with these templates, in place of those that it had.
pub async fn plan(session: &mut Conn, code: &str, templates: &[Template]) {
    session
        .exec_drop(
            "INSERT INTO billing_plans (code, name, created_at, updated_at) VALUES (?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
             ON DUPLICATE KEY UPDATE updated_at = UTC_TIMESTAMP(3)",
            (code, code),
        )
        .await
        .unwrap();
    let plan: Row = session
        .exec_first("SELECT id FROM billing_plans WHERE code = ?", (code,))
        .await
        .unwrap()
        .unwrap();
    let plan: u32 = plan.get("id").unwrap();
    let clear = "DELETE FROM billing_plan_entitlement_templates WHERE plan_id = ?";
    session.exec_drop(clear, (plan,)).await.unwrap();
    for template in templates {
        session
            .exec_drop(
                "INSERT INTO billing_plan_entitlement_templates
                   (plan_id, definition_id, grant_kind, amount, effective_policy, duration_policy, duration_days, created_at)
                 SELECT :plan, d.id, :kind, :amount, :effective, :duration, :days, UTC_TIMESTAMP(3)
                   FROM billing_entitlement_definitions AS d WHERE d.code = :code",
                params! {
                    "plan" => plan, "kind" => template.kind, "amount" => template.amount, "effective" => template.effective,
                    "duration" => template.duration, "days" => template.days, "code" => template.code,
                },
            )
            .await
            .unwrap();
    }
}

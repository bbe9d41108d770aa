//! A sequence while it runs: its steps on the procedures and on the model, compared after each.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use chrono::NaiveDateTime;
use consumable::procedures::entitlement::Limitation;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Row};

use super::gateway::Gateway;
use super::model::{Figures, Limit};
use super::plan::{NewGrant, Plan, RULES, Step, instant, text};
use super::rules::{Instant, Type};
use crate::support::session::begin;
use crate::support::story::{differences, projections_of};
use crate::support::timed::set_clock;

/// A request that was accepted: its items, and the answer to each.
pub struct Accepted {
    pub items: Vec<(usize, i64)>,
    pub answers: Vec<Figures>,
}

/// A hold that was accepted.
pub struct Held {
    pub id: u64,
    pub subject: usize,
    pub limit: usize,
    pub amount: i64,
    pub ttl_seconds: i64,
    pub made: Figures,
    /// What was used (0: released), and the answer.
    pub resolved: Option<(i64, Figures)>,
}

/// A sequence while it runs, on both sides.
pub struct Run<'a> {
    pub session: &'a mut Conn,
    pub gateway: &'a Gateway,
    pub plan: &'a Plan,
    pub now: Instant,
    pub subjects: Vec<u64>,
    /// By subject, then as in the plan.
    pub limits: Vec<Vec<Limit>>,
    /// Grants in the order of their making: subject, limit, id.
    pub grants: Vec<(usize, usize, u64)>,
    /// By subject, key and limit: what was accepted is known by each of its limits.
    pub accepted: HashMap<(usize, usize, usize), Arc<Accepted>>,
    pub holds: Vec<Held>,
    /// By subject, limit and key.
    pub hold_keys: HashMap<(usize, usize, usize), usize>,
    pub keys: usize,
    /// What was called, for whoever wants to do it by hand.
    pub log: &'a mut Vec<String>,
}

/// A difference between the procedures and the model, or an error that none of them should give.
pub type Difference = Box<dyn std::error::Error + Send + Sync>;

pub fn same<T: PartialEq + Debug>(what: &str, procedures: T, model: T) -> Result<(), Difference> {
    if procedures == model {
        Ok(())
    } else {
        Err(format!("{what}\n  procedures {procedures:?}\n  model      {model:?}").into())
    }
}
impl<'a> Run<'a> {
    pub async fn begin(
        session: &'a mut Conn,
        gateway: &'a Gateway,
        plan: &'a Plan,
        name: &str,
        log: &'a mut Vec<String>,
    ) -> Result<Run<'a>, Difference> {
        let mut run = Run {
            session,
            gateway,
            plan,
            now: plan.start,
            subjects: Vec::new(),
            limits: Vec::new(),
            grants: Vec::new(),
            accepted: HashMap::new(),
            holds: Vec::new(),
            hold_keys: HashMap::new(),
            keys: 0,
            log,
        };
        run.set_clock().await?;
        for (number, anchor) in plan.anchors.iter().enumerate() {
            let row: Row = run
                .session
                .exec_first(
                    "CALL billing_put_entity_v1('workspace', ?, NULL, NULL, NULL, NULL)",
                    (format!("{name}-{number}"),),
                )
                .await?
                .unwrap();
            let subject: u64 = row.get("id").unwrap();
            run.session
                .exec_drop(
                    "UPDATE billable_entities SET billing_anchor_at = ? WHERE id = ?",
                    (text(*anchor), subject),
                )
                .await?;
            run.subjects.push(subject);
            let limits = plan.limits.iter().map(|rules| Limit::new(RULES[*rules], *anchor));
            run.limits.push(limits.collect());
        }
        run.advance();
        Ok(run)
    }

    async fn set_clock(&mut self) -> Result<(), Difference> {
        let set = set_clock(self.now);
        self.log.push(format!("{set}; -- {}", text(self.now)));
        self.session.query_drop(set).await?;
        self.gateway.set_clock(self.now);
        Ok(())
    }

    fn advance(&mut self) {
        for limit in self.limits.iter_mut().flatten() {
            limit.advance(self.now);
        }
    }

    pub fn code(&self, limit: usize) -> &'static str {
        RULES[self.plan.limits[limit]].code
    }

    fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.subjects[0], self.keys)
    }

    pub async fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match step {
            Step::Grant(new) => {
                let (subject, limit) = (new.subject, new.limit);
                self.change_grants(None, Some((subject, limit, new))).await?;
            }
            Step::Revoke { grant, later } => {
                if let Some(old) = self.nth_grant(*grant) {
                    self.change_grants(Some((old, *later)), None).await?;
                }
            }
            Step::Swap { grant, new } => {
                if let Some(old) = self.nth_grant(*grant) {
                    let (subject, limit, _) = old;
                    self.change_grants(Some((old, 0)), Some((subject, limit, new))).await?;
                }
            }
            Step::Consume { way, requests } => self.consume(*way, requests).await?,
            Step::Hold(hold) => self.hold(hold).await?,
            Step::Commit { hold, amount } => self.resolve(*hold, Some(*amount)).await?,
            Step::Release { hold } => self.resolve(*hold, None).await?,
            Step::Recount { subject, limit, count } => self.recount(*subject, *limit, *count).await?,
            Step::Archive { ago, limit } => self.archive(*ago, *limit).await?,
            Step::Wait(millis) => self.wait_until(self.now + millis).await?,
            Step::WaitForBoundary { subject, limit, beside } => {
                if let Some(at) = self.limits[*subject][*limit].next_change() {
                    self.wait_until((at + beside).max(self.now)).await?;
                }
            }
        }
        self.compare().await?;
        if self.plan.asks_in_every_way {
            self.ask_in_every_way().await?;
        }
        Ok(())
    }

    async fn wait_until(&mut self, at: Instant) -> Result<(), Difference> {
        self.now = at;
        self.set_clock().await?;
        self.advance();
        Ok(())
    }

    fn nth_grant(&self, number: usize) -> Option<(usize, usize, u64)> {
        (!self.grants.is_empty()).then(|| self.grants[number % self.grants.len()])
    }

    /// Revokes, grants, or both, in one commit.
    async fn change_grants(
        &mut self,
        old: Option<((usize, usize, u64), i64)>,
        new: Option<(usize, usize, &NewGrant)>,
    ) -> Result<(), Difference> {
        begin(self.session).await;
        if let Some(((subject, limit, id), later)) = old {
            let at = self.now + later;
            let call = format!(
                "CALL entitlement_revoke_in_tx_v1({id}, '{}', '{}', NULL, 'property', @replayed)",
                text(at),
                self.new_key()
            );
            self.log.push(format!("{call};"));
            let done = self.session.query_drop(call).await;
            let expected = self.limits[subject][limit].revoke(id, at);
            same("whether the grant can be revoked", done.is_ok(), expected)?;
            if done.is_err() {
                self.session.query_drop("ROLLBACK").await?;
                return Ok(());
            }
        }
        if let Some((subject, limit, new)) = new {
            let effective_at = new.effective.map(|offset| self.now + offset);
            let start = effective_at.unwrap_or(self.now);
            let expires_at = new.expires.map(|offset| start.max(self.now) + offset);
            let quoted = |at: Option<Instant>| at.map_or("NULL".to_owned(), |at| format!("'{}'", text(at)));
            let key = self.new_key();
            let call = format!(
                "CALL entitlement_grant_in_tx_v1({}, '{}', {}, '{}', {}, {}, {}, 'operator', NULL, NULL, '{}', NULL, 'property', @grant_id, @replayed)",
                self.subjects[subject],
                self.code(limit),
                new.amount,
                new.kind,
                quoted(effective_at),
                quoted(expires_at),
                new.priority.map_or("NULL".to_owned(), |priority| priority.to_string()),
                key,
            );
            self.log.push(format!("{call};"));
            self.session.query_drop(call).await?;
            let id: u64 = self.session.query_first("SELECT @grant_id").await?.unwrap();
            self.limits[subject][limit].grant(id, new.kind, new.amount, new.priority.unwrap_or(100), start, expires_at);
            self.grants.push((subject, limit, id));
        }
        self.session.query_drop("COMMIT").await?;
        Ok(())
    }

    async fn recount(&mut self, subject: usize, limit: usize, count: i64) -> Result<(), Difference> {
        let code = self.code(limit);
        let counts = &mut self.limits[subject][limit];
        if counts.rules.kind == Type::Capacity {
            counts.recount(count);
            let call = format!(
                "CALL entitlement_recount_v1({}, '{code}', {count})",
                self.subjects[subject]
            );
            self.log.push(format!("{call};"));
            self.session.query_drop(call).await?;
        }
        Ok(())
    }

    /// Moves old uses of one subject after the other. For the model nothing happens.
    async fn archive(&mut self, ago: i64, limit: u32) -> Result<(), Difference> {
        for subject in &self.subjects {
            let before = text(self.now - ago);
            let call = format!("CALL operator_archive_v1('{before}', {limit}, {subject}, {subject})");
            self.log.push(format!("{call};"));
            self.session.query_drop(call).await?;
        }
        Ok(())
    }

    /// Every number of every limit.
    async fn compare(&mut self) -> Result<(), Difference> {
        for (subject, limits) in self.subjects.iter().zip(&self.limits) {
            let rows: Vec<Row> = self
                .session
                .exec("CALL entitlement_limitations_v1(?, NULL, FALSE)", (subject,))
                .await?;
            for limit in limits {
                let row = rows
                    .iter()
                    .find(|row| row.get::<String, _>("code").unwrap() == limit.rules.code)
                    .expect("each definition has a row");
                let what = format!("{} of subject {subject} at {}", limit.rules.code, text(self.now));
                same(&what, figures(row), limit.figures())?;
            }
        }
        Ok(())
    }

    /// After the last step: history, what grants gave, and that rebuilding changes nothing.
    pub async fn end(&mut self) -> Result<(), Difference> {
        let before = projections_of(self.session, &self.subjects).await;
        for subject in &self.subjects {
            self.session
                .exec_drop("CALL entitlement_recompute_v1(?)", (subject,))
                .await?;
        }
        let after = projections_of(self.session, &self.subjects).await;
        same("projections, recomputed and before", after, before)?;

        for subject in &self.subjects {
            same(
                "what verify finds",
                differences(self.session, *subject).await,
                Vec::new(),
            )?;
        }

        // Closes what is open, so that the ledger says who paid for it.
        begin(self.session).await;
        for subject in &self.subjects {
            let open: Vec<u32> = self
                .session
                .exec(
                    "SELECT definition_id FROM billing_entitlement_balances WHERE subject_id = ? AND history_no = 0 ORDER BY definition_id",
                    (subject,),
                )
                .await?;
            for definition in open {
                self.session
                    .exec_drop(
                        "CALL entitlement_settle_in_tx_v1(?, ?, UTC_TIMESTAMP(3), 'grant', @boundaries)",
                        (subject, definition),
                    )
                    .await?;
            }
        }
        self.session.query_drop("COMMIT").await?;
        self.compare().await?;
        for (subject, limits) in self.subjects.iter().zip(&self.limits) {
            let gave: HashMap<u64, i64> = self
                .session
                .exec(
                    "SELECT grant_id, CAST(SUM(gave_amount) AS SIGNED) FROM billing_entitlement_settlement_grants WHERE subject_id = ? GROUP BY grant_id",
                    (subject,),
                )
                .await?
                .into_iter()
                .collect();
            for limit in limits {
                for (grant, given) in limit.given() {
                    let found = gave.get(&grant).copied().unwrap_or(0);
                    same(&format!("what grant {grant} gave"), found, given)?;
                }
                let history: Vec<(NaiveDateTime, i64, i64)> = self
                    .session
                    .exec(
                        "SELECT b.window_start_at, b.granted_amount, b.consumed_amount
                           FROM billing_entitlement_balances AS b JOIN billing_entitlement_definitions AS d ON d.id = b.definition_id
                          WHERE b.subject_id = ? AND d.code = ? AND b.history_no > 0 ORDER BY b.history_no",
                        (subject, limit.rules.code),
                    )
                    .await?;
                let history: Vec<_> = history
                    .into_iter()
                    .map(|(start, granted, consumed)| (start.and_utc().timestamp_millis(), granted, consumed))
                    .collect();
                same(&format!("windows of {}", limit.rules.code), &history, &limit.history)?;
            }
        }
        Ok(())
    }
}

/// The figures of a row that shows a limitation.
pub fn figures(row: &Row) -> Figures {
    figures_of(&Limitation::from_row(row.clone()))
}

/// The figures of a limitation.
pub fn figures_of(limitation: &Limitation) -> Figures {
    let at = |at: Option<NaiveDateTime>| at.map(|at| at.and_utc().timestamp_millis());
    // Without windows, the window is all of time: nothing that the model would keep.
    let lifetime = instant("1970-01-01 00:00:00.000");
    Figures {
        granted: limitation.granted_amount,
        consumed: limitation.consumed_amount,
        held: limitation.held_amount,
        effective: limitation.effective_amount,
        available: limitation.available_amount,
        hard_limit: limitation.hard_limit_amount,
        over_limit: limitation.over_limit,
        is_locked: limitation.lock_state != "none",
        next_change_at: at(limitation.next_change_at),
        window_start_at: at(limitation.window_start_at).filter(|start| *start != lifetime),
    }
}

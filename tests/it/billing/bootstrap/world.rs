//! A small world of plans, products, subjects and what they bought, and a model of what is granted in it: nothing of the model
//! is taken from the bootstrap.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, TimeDelta};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value as Json;

/// What the hours of a world count from: half an hour ago, so that nothing in it begins or ends while a test runs.
#[derive(Debug, Clone, Copy)]
pub struct Zero(NaiveDateTime);

impl Zero {
    /// By the server's clock.
    pub async fn of(session: &mut Conn) -> Zero {
        let now = session
            .query_first("SELECT UTC_TIMESTAMP(3) - INTERVAL 30 MINUTE")
            .await
            .unwrap();
        Zero(now.unwrap())
    }

    /// So many hours later.
    pub fn at(self, hours: i64) -> NaiveDateTime {
        self.0 + TimeDelta::hours(hours)
    }

    /// The hour of an instant that is whole hours away.
    pub fn hour(self, at: NaiveDateTime) -> i64 {
        (at - self.0).num_hours()
    }

    fn now(self) -> NaiveDateTime {
        self.0 + TimeDelta::minutes(30)
    }
}

/// How grants of a definition count together, for the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counts {
    /// Grants of every kind add up.
    Sum,
    /// The largest grant counts, whatever its kind.
    Largest,
    /// The largest of those that renew, and what can be used up once beside it.
    LargestAndOnce,
    /// 1 while there is any.
    Any,
}

/// The limits: four that every installation has, and one of each other sort.
#[rustfmt::skip]
pub const DEFINITIONS: [(&str, Counts, Option<&str>); 9] = [
    ("projects.max", Counts::Sum, None),
    ("annuity.calculations.monthly", Counts::Sum, None),
    ("ai.credits", Counts::Sum, None),
    ("workspace.access", Counts::Any, None),
    ("seats.max", Counts::Largest, Some("'capacity', NULL, NULL, 'max', 'hard_deny'")),
    ("reports.weekly", Counts::LargestAndOnce, Some("'metered_quota', 'week', 'calendar_utc', 'max', 'soft_warn'")),
    ("exports.monthly", Counts::Sum, Some("'metered_quota', 'month', 'billing_period', 'sum', 'hard_deny'")),
    ("calls.daily", Counts::Sum, Some("'metered_quota', 'day', 'rolling', 'sum', 'hard_deny'")),
    ("calls.monthly", Counts::Largest, Some("'metered_quota', 'month', 'rolling', 'max', 'hard_deny'")),
];

/// How long what a plan grants lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Lasts {
    WhileCurrent,
    Period,
    Days(i64),
}

/// What a plan grants of one limit.
#[derive(Debug, Clone)]
pub struct PlanTerm {
    pub code: &'static str,
    pub kind: &'static str,
    pub amount: i64,
    pub is_paid: bool,
    pub lasts: Lasts,
}

/// What a product grants of one limit; for so many days, or for ever.
#[derive(Debug, Clone)]
pub struct ProductTerm {
    pub code: &'static str,
    pub amount: i64,
    pub days: Option<i64>,
}

/// A plan or product: what its own column holds, what the input table holds for it, and what that means.
#[derive(Debug, Clone)]
pub struct Holder<Term> {
    pub code: String,
    pub own: Option<Json>,
    pub input: Option<Json>,
    pub terms: Vec<Term>,
}

/// Somebody's plan. Plans and subjects are numbered from 1, instants are hours from now.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub subject: u64,
    pub plan: usize,
    pub quantity: i64,
    pub status: &'static str,
    pub since: i64,
    pub period: Option<(i64, i64)>,
}

/// What a line of a purchase is of.
#[derive(Debug, Clone, Copy)]
pub enum Bought {
    Product(usize),
    Plan(usize),
    Unknown,
}

impl Bought {
    /// The provider's price of it.
    pub fn price(self) -> String {
        match self {
            Bought::Product(product) => format!("price_product_{product}"),
            Bought::Plan(plan) => format!("price_plan_{plan}"),
            Bought::Unknown => "price_unknown".into(),
        }
    }
}

/// A purchase.
#[derive(Debug, Clone)]
pub struct Purchase {
    pub subject: u64,
    pub status: &'static str,
    pub paid: i64,
    pub refunded: i64,
    pub at: i64,
    pub lines: Vec<(Bought, i64)>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub subjects: u64,
    pub plans: Vec<Holder<PlanTerm>>,
    pub products: Vec<Holder<ProductTerm>>,
    pub assignments: Vec<Assignment>,
    pub purchases: Vec<Purchase>,
}

/// A grant that the model expects.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    pub key: String,
    pub subject: u64,
    pub code: &'static str,
    pub kind: &'static str,
    pub amount: i64,
    pub from: NaiveDateTime,
    pub until: Option<NaiveDateTime>,
    /// Of an assignment; else of a purchase, with what was bought before a part was paid back.
    pub cause: Result<u64, (u64, i64)>,
}

/// As the server writes it.
pub fn text(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl Granted {
    /// The row of [`super::grants`].
    pub fn row(&self) -> String {
        let until = self.until.map_or("NULL".into(), text);
        let (source, assignment, purchase, bought) = match self.cause {
            Ok(assignment) => ("plan_assignment", assignment.to_string(), "NULL".into(), None),
            Err((purchase, bought)) => (
                "purchase",
                "NULL".into(),
                purchase.to_string(),
                Some((purchase, bought)),
            ),
        };
        let put_down = bought.map_or("NULL NULL NULL".into(), |(purchase, bought)| {
            format!("{purchase} 1 {bought}")
        });
        format!(
            "{} {} {} {} {} 100 {} {until} {source} {assignment} {purchase} NULL bootstrap {put_down}",
            self.key,
            self.subject,
            self.code,
            self.kind,
            self.amount,
            text(self.from),
        )
    }
}

impl World {
    /// What must be granted, by key. The world's hours count from `zero`, see [`Zero`].
    pub fn grants(&self, zero: Zero) -> Vec<Granted> {
        let at = |hours: i64| zero.at(hours);
        let mut grants = Vec::new();
        for (assignment, id) in self.assignments.iter().zip(1..) {
            let plan = &self.plans[assignment.plan - 1];
            for term in plan.terms.iter().filter(|_| assignment.status == "current") {
                let mut key = format!("assignment:{id}:{}:{}:{}", plan.code, term.code, term.kind);
                let since = assignment.since;
                let (from, until) = match (term.is_paid, term.lasts, assignment.period) {
                    (false, Lasts::WhileCurrent, _) => (since, None),
                    (false, Lasts::Days(days), _) => (since, Some(since + days * 24)),
                    (true, _, None) | (_, Lasts::Period, None) => continue,
                    (true, Lasts::WhileCurrent, Some((start, _))) => (start.max(since), None),
                    (_, lasts, Some((start, end))) => {
                        key += &at(start).format(":%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
                        match lasts {
                            Lasts::Days(days) => (start, Some(start + days * 24)),
                            _ => (start.max(since), Some(end)),
                        }
                    }
                };
                grants.push(Granted {
                    key,
                    subject: assignment.subject,
                    code: term.code,
                    kind: term.kind,
                    amount: times(term.code, term.amount, assignment.quantity),
                    from: at(from),
                    until: until.map(at),
                    cause: Ok(id),
                });
            }
        }
        for (purchase, id) in self.purchases.iter().zip(1..) {
            if !["paid", "partially_refunded"].contains(&purchase.status) {
                continue;
            }
            let mut bought = BTreeMap::new();
            for (what, quantity) in &purchase.lines {
                if let Bought::Product(product) = what {
                    *bought.entry(*product).or_insert(0) += quantity;
                }
            }
            for (product, quantity) in bought {
                let product = &self.products[product - 1];
                for term in &product.terms {
                    let (name, kind) = match term.days {
                        None => ("one_off_topup", "topup"),
                        Some(_) => ("timeboxed_addon", "addon_timeboxed"),
                    };
                    let all = times(term.code, term.amount, quantity);
                    let gone = match purchase.paid {
                        0 => 0,
                        paid => (i128::from(all) * i128::from(purchase.refunded) / i128::from(paid)) as i64,
                    };
                    grants.push(Granted {
                        key: format!("purchase:{id}:{}:{}:{name}", product.code, term.code),
                        subject: purchase.subject,
                        code: term.code,
                        kind,
                        amount: all - gone,
                        from: at(purchase.at),
                        until: term.days.map(|days| at(purchase.at + days * 24)),
                        cause: Err((id, all)),
                    });
                }
            }
        }
        grants.retain(|grant| grant.until.is_none_or(|until| until > zero.now()) && grant.amount > 0);
        grants.sort_by(|one, other| one.key.cmp(&other.key));
        grants
    }

    /// What each subject must have of each limit that it was granted.
    pub fn granted(&self, zero: Zero) -> BTreeMap<(u64, &'static str), i64> {
        let mut sorted: BTreeMap<_, Vec<Granted>> = BTreeMap::new();
        for grant in self.grants(zero) {
            sorted.entry((grant.subject, grant.code)).or_default().push(grant);
        }
        let granted = sorted.into_iter().map(|((subject, code), mut grants)| {
            grants.retain(|grant| grant.from <= zero.now());
            let sum = |grants: &[&Granted]| grants.iter().map(|grant| grant.amount).sum::<i64>();
            let largest = |grants: &[&Granted]| grants.iter().map(|grant| grant.amount).max().unwrap_or(0);
            let (renewing, once): (Vec<_>, Vec<_>) = grants.iter().partition(|grant| grant.kind != "topup");
            let all: Vec<_> = grants.iter().collect();
            let amount = match counts(code) {
                Counts::Sum => sum(&all),
                Counts::Largest => largest(&all),
                Counts::LargestAndOnce => largest(&renewing) + sum(&once),
                Counts::Any => i64::from(!all.is_empty()),
            };
            ((subject, code), amount)
        });
        granted.collect()
    }
}

/// A state is on or off, however often it was bought.
fn times(code: &str, amount: i64, quantity: i64) -> i64 {
    amount * if counts(code) == Counts::Any { 1 } else { quantity }
}

fn counts(code: &str) -> Counts {
    let definition = DEFINITIONS.iter().find(|definition| definition.0 == code);
    definition.expect("a limit of the world").1
}

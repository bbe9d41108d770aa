//! A world made from a seed: some hundred rows that look like a live database's, spelt in all the ways that mean the same.

use fastrand::Rng;
use serde_json::{Value as Json, json};

use super::world::{Assignment, Bought, DEFINITIONS, Holder, Lasts, PlanTerm, ProductTerm, Purchase, World};

/// How many of each there are.
const SUBJECTS: u64 = 60;
const PLANS: usize = 30;
const PRODUCTS: usize = 30;
const PURCHASES: usize = 120;

/// A seed, which is printed: the one that is asked for, or any.
pub fn seed() -> u64 {
    let asked = std::env::var("CONSUMABLE_SEED").ok();
    let seed = asked.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("CONSUMABLE_SEED is a number"),
    );
    println!("CONSUMABLE_SEED={seed}");
    seed
}

/// The world of a seed.
pub fn world(seed: u64) -> World {
    let mut rng = Rng::with_seed(seed);
    let plans: Vec<_> = (1..=PLANS).map(|id| plan(&mut rng, id)).collect();
    let products: Vec<_> = (1..=PRODUCTS).map(|id| product(&mut rng, id)).collect();
    let mut assignments = Vec::new();
    for subject in 1..=SUBJECTS {
        for status in ["ended", "cancelled", "current", "scheduled"] {
            if rng.u8(..4) > 0 {
                assignments.push(assignment(&mut rng, subject, status));
            }
        }
    }
    let purchases = (0..PURCHASES).map(|_| purchase(&mut rng)).collect();
    World {
        subjects: SUBJECTS,
        plans,
        products,
        assignments,
        purchases,
    }
}

/// Some hours at either side of now.
fn hours(rng: &mut Rng) -> i64 {
    rng.i64(-1500..-2)
}

fn assignment(rng: &mut Rng, subject: u64, status: &'static str) -> Assignment {
    let since = match status {
        "scheduled" => rng.i64(2..500),
        // An import may have one that becomes current soon.
        "current" if rng.u8(..20) == 0 => rng.i64(2..500),
        _ => hours(rng),
    };
    // A period is not over before the plan began. Some are over by now, some have not begun.
    let period = rng.bool().then(|| {
        let end = since.max(-900) + rng.i64(1..1400);
        (end - rng.i64(1..1000), end)
    });
    Assignment {
        subject,
        plan: rng.usize(1..=PLANS),
        quantity: if rng.bool() { 1 } else { rng.i64(1..50) },
        status,
        since,
        period,
    }
}

fn purchase(rng: &mut Rng) -> Purchase {
    let statuses = ["paid", "paid", "paid", "partially_refunded", "refunded", "voided"];
    let status = statuses[rng.usize(..statuses.len())];
    let paid = rng.i64(2..100_000);
    let lines = (0..rng.usize(1..5)).map(|_| {
        let what = match rng.u8(..8) {
            0 => Bought::Unknown,
            1 => Bought::Plan(rng.usize(1..=PLANS)),
            // The same again on another line, now and then.
            2 | 3 => Bought::Product(1),
            _ => Bought::Product(rng.usize(1..=PRODUCTS)),
        };
        (what, rng.i64(1..9))
    });
    let lines = lines.collect();
    Purchase {
        subject: rng.u64(1..=SUBJECTS),
        status,
        paid,
        refunded: match status {
            "partially_refunded" => rng.i64(1..paid),
            "refunded" => paid,
            _ => 0,
        },
        at: hours(rng),
        lines,
    }
}

/// Every plan has somebody on it, perhaps: so each grants something.
fn plan(rng: &mut Rng, id: usize) -> Holder<PlanTerm> {
    let mut terms = Vec::new();
    for (code, kind) in some_identities(rng, ["plan_base", "plan_bonus"], 1) {
        terms.push(PlanTerm {
            code,
            kind,
            amount: amount(rng, code),
            is_paid: rng.bool(),
            lasts: match rng.u8(..3) {
                0 => Lasts::WhileCurrent,
                1 => Lasts::Period,
                _ => Lasts::Days(rng.i64(1..90)),
            },
        });
    }
    let entries: Vec<_> = terms.iter().map(|term| spell_plan_term(rng, term)).collect();
    let (own, input) = in_two_places(rng, entries);
    let code = format!("plan_{id}.{}", rng.u16(..));
    Holder {
        code,
        own,
        input,
        terms,
    }
}

fn product(rng: &mut Rng, id: usize) -> Holder<ProductTerm> {
    let mut terms = Vec::new();
    for (code, kind) in some_identities(rng, ["one_off_topup", "timeboxed_addon"], 0) {
        terms.push(ProductTerm {
            code,
            amount: amount(rng, code),
            days: (kind == "timeboxed_addon").then(|| rng.i64(1..90)),
        });
    }
    let entries: Vec<_> = terms.iter().map(|term| spell_product_term(rng, term)).collect();
    let (own, input) = in_two_places(rng, entries);
    let code = format!("product-{id}.{}", rng.u16(..));
    Holder {
        code,
        own,
        input,
        terms,
    }
}

/// Limits, each with a kind, none of them twice.
fn some_identities(rng: &mut Rng, kinds: [&'static str; 2], at_least: usize) -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = DEFINITIONS
        .iter()
        .flat_map(|definition| kinds.map(|kind| (definition.0, kind)))
        .collect();
    rng.shuffle(&mut all);
    all.truncate(rng.usize(at_least..7));
    all
}

fn amount(rng: &mut Rng, code: &str) -> i64 {
    match code {
        "workspace.access" => 1,
        // Many of the largest would be more than a limit can have.
        _ => 1 << rng.u8(..33),
    }
}

/// The column has some of the entries, the input table the rest; or one of them all.
fn in_two_places(rng: &mut Rng, mut entries: Vec<Json>) -> (Option<Json>, Option<Json>) {
    let rest = entries.split_off(rng.usize(..=entries.len()));
    let mut place = |entries: Vec<Json>| match entries.len() {
        0 if rng.bool() => None,
        _ => Some(Json::Array(entries)),
    };
    (place(entries), place(rest))
}

/// Leaves out what is the default, says it, or says null.
fn default_or(rng: &mut Rng, object: &mut Json, field: &str, value: Json, is_default: bool) {
    object[field] = match rng.u8(..3) {
        0 if is_default => return,
        1 if is_default => Json::Null,
        _ => value,
    };
}

fn spell_plan_term(rng: &mut Rng, term: &PlanTerm) -> Json {
    let mut value = json!({});
    // Not positive, not whole or no number in front of it; anything behind it.
    let nothing = [json!(0), json!(-5), json!(1.5), json!("7"), json!(null), json!(true)];
    let place = rng.usize(..3);
    for (at, field) in ["amount", "limit", "max"].into_iter().enumerate() {
        if at == place {
            value[field] = json!(term.amount);
        } else if rng.bool() {
            let other = if at > place && rng.bool() {
                json!(3)
            } else {
                nothing[rng.usize(..nothing.len())].clone()
            };
            value[field] = other;
        }
    }
    default_or(rng, &mut value, "grantKind", json!(term.kind), term.kind == "plan_base");
    let effective = if term.is_paid {
        "on_period_paid"
    } else {
        "on_assignment_current"
    };
    default_or(rng, &mut value, "effectivePolicy", json!(effective), !term.is_paid);
    let (duration, days) = match term.lasts {
        Lasts::WhileCurrent => ("while_current", None),
        Lasts::Period => ("period_window", None),
        Lasts::Days(days) => ("fixed_duration", Some(days)),
    };
    default_or(
        rng,
        &mut value,
        "durationPolicy",
        json!(duration),
        duration == "while_current",
    );
    if days.is_some() || rng.bool() {
        value["durationDays"] = json!(days);
    }
    let mut entry = json!({"code": term.code, "valueJson": value});
    default_or(rng, &mut entry, "schemaVersion", json!(1), true);
    entry
}

fn spell_product_term(rng: &mut Rng, term: &ProductTerm) -> Json {
    let kind = if term.days.is_some() {
        "timeboxed_addon"
    } else {
        "one_off_topup"
    };
    let mut entry = json!({"code": term.code, "amount": term.amount, "grantKind": kind});
    if term.days.is_some() || rng.bool() {
        entry["durationDays"] = json!(term.days);
    }
    if rng.bool() {
        entry["metadataJson"] = json!({"note": rng.u16(..), "deep": [{"x": null}]});
    }
    entry
}

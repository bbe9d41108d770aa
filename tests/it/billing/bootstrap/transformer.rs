//! The bootstrap and the console read entitlements by one rule: of any JSON both make the same templates, or both refuse it.

use consumable::database::{Release, migrate};
use fastrand::Rng;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::{Map, Value as Json, json};

use super::fixture::seed;
use super::world::DEFINITIONS;
use super::{rows, text};
use crate::support::database::TestDatabase;
use crate::support::story::define;

/// Sets of each kind.
const SETS: usize = 400;

/// One in so many fields is not as it should be.
const WRONG: u8 = 25;

#[tokio::test]
async fn console_and_bootstrap_make_the_same_templates_or_refuse_both() {
    let mut rng = Rng::with_seed(seed());
    let database = both_readers().await;
    let mut session = database.session().await;
    for kind in ["plan", "product"] {
        let (mut made, mut refused) = (0, 0);
        for _ in 0..SETS {
            let set = set(&mut rng, kind);
            let console = console(&mut session, kind, &set).await;
            let bootstrap = bootstrap(&mut session, kind, &set).await;
            match (&console, &bootstrap) {
                (Ok(console), Ok(bootstrap)) => assert_eq!(bootstrap, console, "{kind}: {set}"),
                (Err(_), Err(_)) => {}
                _ => panic!("{kind}: {set}\n\nthe console: {console:?}\n\nthe bootstrap: {bootstrap:?}"),
            }
            *if console.is_ok() { &mut made } else { &mut refused } += 1;
        }
        println!("{kind}: {made} sets read, {refused} refused");
        assert!(made > SETS / 8 && refused > SETS / 8);
    }
}

/// A database that has both: the bootstrap's procedures, which have not run, and the runtime's.
async fn both_readers() -> TestDatabase {
    let release = Release::embedded().unwrap();
    let mut migrations = release.migrations().to_vec();
    migrations.sort();
    migrations.truncate(
        migrations
            .iter()
            .position(|found| found.name() == "run_bootstrap")
            .unwrap(),
    );
    let release = Release::new(release.version(), migrations, release.routines().to_vec()).unwrap();
    let database = TestDatabase::empty().await;
    migrate(&database.url(), &release, &|_| ()).await.unwrap();
    let mut session = database.session().await;
    for (code, _, definition) in DEFINITIONS {
        if let Some(definition) = definition {
            define(&mut session, code, definition).await;
        }
    }
    for row in [
        "INSERT INTO billing_plans (id, code, name, created_at, updated_at) VALUES (1, 'pro', 'Pro', '2026-01-01', '2026-01-01')",
        "INSERT INTO billing_products (id, code, name, created_at, updated_at) VALUES (1, 'pack', 'Pack', '2026-01-01', '2026-01-01')",
    ] {
        session.query_drop(row).await.unwrap();
    }
    database
}

async fn console(session: &mut Conn, kind: &str, set: &Json) -> Result<Vec<String>, String> {
    let call = format!("CALL billing_read_{kind}_entitlements_in_tx_v1(?, @templates, @problems)");
    session.exec_drop(call, (set.to_string(),)).await.unwrap();
    let problems: Option<Option<String>> = session.query_first("SELECT @problems").await.unwrap();
    if let Some(problems) = problems.unwrap() {
        return Err(problems);
    }
    let columns = match kind {
        "plan" => {
            "effective_policy VARCHAR(32) PATH '$.effectivePolicy', duration_policy VARCHAR(32) PATH '$.durationPolicy', duration_days INT PATH '$.durationDays', schema_version INT PATH '$.schemaVersion'"
        }
        _ => "duration_days INT PATH '$.durationDays', metadata JSON PATH '$.metadata'",
    };
    let shown = match kind {
        "plan" => "j.effective_policy, j.duration_policy, j.duration_days, j.schema_version",
        _ => "j.duration_days, j.metadata",
    };
    let templates = format!(
        "SELECT d.code, j.grant_kind, j.amount, {shown}
           FROM JSON_TABLE(@templates, '$[*]' COLUMNS (place FOR ORDINALITY, id INT PATH '$.definitionId', grant_kind VARCHAR(32) PATH '$.grantKind',
                                                       amount BIGINT PATH '$.amount', {columns})) AS j
           JOIN billing_entitlement_definitions AS d ON d.id = j.id ORDER BY j.place"
    );
    Ok(rows(session, &templates).await)
}

async fn bootstrap(session: &mut Conn, kind: &str, set: &Json) -> Result<Vec<String>, String> {
    session.query_drop("START TRANSACTION").await.unwrap();
    let place = match kind {
        "plan" => "UPDATE billing_plans SET entitlements = CAST(? AS JSON)",
        _ => "UPDATE billing_products SET metadata_json = JSON_OBJECT('entitlements', CAST(? AS JSON))",
    };
    session.exec_drop(place, (set.to_string(),)).await.unwrap();
    let mut refused = None;
    for call in [
        "CALL bootstrap_read_entries()",
        "CALL bootstrap_write_templates('2026-01-01')",
    ] {
        if refused.is_none() {
            refused = session.query_drop(call).await.err();
        }
    }
    let shown = match kind {
        "plan" => "t.effective_policy, t.duration_policy, t.duration_days, t.schema_version",
        _ => "t.duration_days, t.metadata",
    };
    let templates = format!(
        "SELECT d.code, t.grant_kind, t.amount, {shown} FROM billing_{kind}_entitlement_templates AS t
           JOIN billing_entitlement_definitions AS d ON d.id = t.definition_id ORDER BY t.id"
    );
    let made = rows(session, &templates).await;
    session.query_drop("ROLLBACK").await.unwrap();
    match refused {
        None => Ok(made),
        // Only the bootstrap's own words are a refusal.
        Some(error) if text(&error).starts_with("BOOTSTRAP_") => Err(text(&error).to_owned()),
        Some(error) => panic!("{set}: {error}"),
    }
}

/// A set that is mostly right.
fn set(rng: &mut Rng, kind: &str) -> Json {
    match rng.u8(..60) {
        // What is null is no set at all.
        0 => Some(any(rng)).filter(|set| !set.is_null()).unwrap_or(json!([1])),
        1 => Json::Array((0..101).map(|_| entry(rng, kind)).collect()),
        _ => Json::Array((0..rng.usize(..5)).map(|_| entry(rng, kind)).collect()),
    }
}

/// A value of any sort.
fn any(rng: &mut Rng) -> Json {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(2.0),
        json!(2.5),
        json!("1"),
        json!(""),
        json!([]),
        json!([1]),
        json!({}),
        json!({"amount": 1}),
        json!(9_007_199_254_740_991_u64),
        json!(9_007_199_254_740_992_u64),
        json!(u64::MAX),
        json!(1e300),
        json!(36_500),
        json!(36_501),
        json!("ai.credits "),
        json!("AI.credits"),
        json!("projects.max\0"),
        json!("größe"),
        json!("plan_base "),
        json!("PLAN_BASE"),
        json!("On_Period_Paid"),
        json!("while_current "),
        json!("one_off_topup "),
        json!("TIMEBOXED_addon"),
        json!("x".repeat(3000)),
        json!({"deep": {"er": "x".repeat(3000)}}),
    ];
    values[rng.usize(..values.len())].clone()
}

/// What it should be, or anything.
fn or_any(rng: &mut Rng, value: Json) -> Json {
    if rng.u8(..WRONG) == 0 { any(rng) } else { value }
}

fn one(rng: &mut Rng, of: &[&str]) -> Json {
    json!(of[rng.usize(..of.len())])
}

fn code(rng: &mut Rng) -> Json {
    json!(DEFINITIONS[rng.usize(..DEFINITIONS.len())].0)
}

fn entry(rng: &mut Rng, kind: &str) -> Json {
    if rng.u8(..WRONG) == 0 && rng.bool() {
        return any(rng);
    }
    let code = code(rng);
    let amount = if code == "workspace.access" {
        1
    } else {
        rng.i64(1..1000)
    };
    let mut fields = Map::new();
    let terms = terms(rng, kind, amount);
    let mut put = |rng: &mut Rng, field: &str, value: Json| {
        if rng.u8(..WRONG * 2) > 0 {
            fields.insert(field.to_owned(), or_any(rng, value));
        }
    };
    put(rng, "code", code);
    if kind == "plan" {
        put(rng, "valueJson", terms);
        if rng.bool() {
            put(rng, "schemaVersion", json!(1));
        }
    } else if let Json::Object(terms) = terms {
        for (field, value) in terms {
            put(rng, &field, value);
        }
        if rng.u8(..3) == 0 {
            put(rng, "metadataJson", json!({"note": 1, "list": [null, {"a": 1.50}]}));
        }
    }
    if rng.u8(..WRONG * 2) == 0 {
        let others = ["Code", "code ", "note", "", "limit", "name\""];
        fields.insert(others[rng.usize(..others.len())].to_owned(), json!(1));
    }
    Json::Object(fields)
}

fn terms(rng: &mut Rng, kind: &str, amount: i64) -> Json {
    let mut terms = Map::new();
    let mut put = |rng: &mut Rng, field: &str, value: Json| {
        terms.insert(field.to_owned(), or_any(rng, value));
    };
    if kind == "product" {
        put(rng, "amount", json!(amount));
        let is_ending = rng.bool();
        put(
            rng,
            "grantKind",
            json!(if is_ending { "timeboxed_addon" } else { "one_off_topup" }),
        );
        if is_ending {
            let days = rng.i64(1..=36_500);
            put(rng, "durationDays", json!(days));
        }
        return Json::Object(terms);
    }
    let places = ["amount", "limit", "max"];
    let place = rng.usize(..3);
    for (at, field) in places.into_iter().enumerate() {
        if at == place {
            put(rng, field, json!(amount));
        } else if rng.u8(..3) == 0 {
            let value = any(rng);
            put(rng, field, value);
        }
    }
    if rng.bool() {
        let kind = one(rng, &["plan_base", "plan_bonus"]);
        put(rng, "grantKind", kind);
    }
    if rng.bool() {
        let policy = one(rng, &["on_assignment_current", "on_period_paid"]);
        put(rng, "effectivePolicy", policy);
    }
    if rng.bool() {
        let policy = one(rng, &["while_current", "period_window", "fixed_duration"]);
        if policy == "fixed_duration" {
            let days = rng.i64(1..=36_500);
            put(rng, "durationDays", json!(days));
        }
        put(rng, "durationPolicy", policy);
    }
    if rng.u8(..WRONG * 2) == 0 {
        put(rng, "durationDay", json!(3));
    }
    Json::Object(terms)
}

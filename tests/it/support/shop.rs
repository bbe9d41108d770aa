//! A shop whose payments are told of by events of the provider: a catalogue, one customer, and a clock that the test moves.

use std::fs;
use std::path::Path;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value, json};

use super::database::TestDatabase;
use super::story::{define, definition, differences, projections_of};

/// 1 March 2026, when the story of the fixtures begins, in seconds since 1970.
pub const BEGIN: i64 = 1_772_323_200;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Versions of the provider's API that the fixtures are of.
pub const VERSIONS: [&str; 2] = ["2025-09-30", "2022-11-15"];

/// An event of the provider, from a fixture.
#[derive(Debug, Clone)]
pub struct Event(pub Value);

impl Event {
    /// The event in `tests/fixtures/stripe/{version}/{name}.json`.
    pub fn of(version: &str, name: &str) -> Event {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/stripe/{version}/{name}.json"));
        Event(serde_json::from_str(&fs::read_to_string(&path).expect(name)).unwrap())
    }

    /// An event of the current version.
    pub fn current(name: &str) -> Event {
        Event::of(VERSIONS[0], name)
    }

    /// The same with another value at a path of the object that it is about; the path must be there.
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Event {
        let place = self.0.pointer_mut(&format!("/data/object{path}"));
        *place.unwrap_or_else(|| panic!("the event has no {path}")) = value.into();
        self
    }

    /// The same as another event.
    pub fn id(mut self, id: &str) -> Event {
        self.0["id"] = id.into();
        self
    }

    /// The same, made at another second.
    pub fn created(mut self, seconds: i64) -> Event {
        self.0["created"] = seconds.into();
        self
    }

    /// The same with every occurrence of a text in it replaced: an id, wherever it stands.
    pub fn renaming(mut self, from: &str, to: &str) -> Event {
        each_text(&mut self.0, &|text| (text == from).then(|| to.to_owned()));
        self
    }

    /// The same story of another customer: his ids, and the event's own, have `mark` at their ends.
    pub fn marked(&self, mark: &str) -> Event {
        let id = self.0["id"].as_str().unwrap();
        let names = [
            "cus_acme", "acme", "sub_1", "in_1", "pi_1", "ch_1", "cs_pack", "pi_pack", "cs_lines", "pi_lines",
            "cs_async", "pi_async", "cs_sub", id,
        ];
        let mut event = self.clone();
        each_text(&mut event.0, &|text| {
            names.contains(&text).then(|| format!("{text}{mark}"))
        });
        event
    }

    /// As it is sent.
    pub fn body(&self) -> String {
        self.0.to_string()
    }
}

/// Replaces texts in a value, however deep, with what `new` gives for them.
fn each_text(value: &mut Value, new: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(other) = new(text) {
                *text = other;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, new)),
        _ => (),
    }
}

/// What became of an event: outcome, and the code of its failure.
pub type Became = (String, Option<String>);

/// An event that was applied.
pub fn applied() -> Became {
    ("applied".into(), None)
}

/// An event that came again.
pub fn replayed() -> Became {
    ("replayed".into(), None)
}

/// An event from which nothing follows.
pub fn ignored() -> Became {
    ("ignored".into(), None)
}

/// An event that could not be applied.
pub fn failed(code: &str) -> Became {
    ("failed".into(), Some(code.into()))
}

/// Sends an event as the gateway does, in a session of one's own.
pub async fn receive(session: &mut Conn, event: &Event) -> mysql_async::Result<Became> {
    let row: Row = session
        .exec_first(
            "CALL billing_receive_event_v1('stripe', ?, ?, ?, ?)",
            (
                event.0["id"].as_str().unwrap(),
                event.0["type"].as_str().unwrap(),
                event.0["api_version"].as_str(),
                event.body(),
            ),
        )
        .await?
        .unwrap();
    Ok((row.get("outcome").unwrap(), row.get("failure_code").unwrap()))
}

/// Puts the catalogue into a database. `price_pack` buys 100 credits, 50 of a monthly quota for 60 days and 3 seats for 60 days; `price_extra` 10
/// credits; `price_basic` and `price_pro` are plans: a monthly quota, seats, and credits for each paid period.
pub async fn stock(session: &mut Conn) {
    define(session, "shop.credits", definition::BALANCE).await;
    define(session, "shop.quota", definition::MONTHLY).await;
    define(session, "shop.seats", definition::CAPACITY).await;
    for statement in [
        "INSERT INTO billing_products (code, name, created_at, updated_at)
         VALUES ('pack', 'Pack', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)), ('extra', 'Extra', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
        "INSERT INTO billing_plans (code, name, created_at, updated_at)
         VALUES ('basic', 'Basic', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)), ('pro', 'Pro', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
        "INSERT INTO billing_provider_prices (provider_price_id, product_id, created_at)
         SELECT CONCAT('price_', p.code), p.id, UTC_TIMESTAMP(3) FROM billing_products AS p",
        "INSERT INTO billing_provider_prices (provider_price_id, plan_id, created_at)
         SELECT CONCAT('price_', p.code), p.id, UTC_TIMESTAMP(3) FROM billing_plans AS p",
        "INSERT INTO billing_product_entitlement_templates (product_id, definition_id, grant_kind, amount, duration_days, created_at)
         SELECT p.id, d.id, IF(d.code = 'shop.credits', 'one_off_topup', 'timeboxed_addon'),
                IF(p.code = 'extra', 10, CASE d.code WHEN 'shop.credits' THEN 100 WHEN 'shop.quota' THEN 50 ELSE 3 END),
                IF(d.code = 'shop.credits', NULL, 60), UTC_TIMESTAMP(3)
           FROM billing_products AS p
           JOIN billing_entitlement_definitions AS d ON d.code IN ('shop.credits', 'shop.quota', 'shop.seats')
          WHERE p.code = 'pack' OR d.code = 'shop.credits'",
        "INSERT INTO billing_plan_entitlement_templates (plan_id, definition_id, grant_kind, amount, effective_policy, duration_policy, created_at)
         SELECT p.id, d.id, 'plan_base', IF(p.code = 'pro', 5, 1) * CASE d.code WHEN 'shop.credits' THEN 20 WHEN 'shop.quota' THEN 1000 ELSE 5 END,
                IF(d.code = 'shop.credits', 'on_period_paid', 'on_assignment_current'),
                IF(d.code = 'shop.credits', 'period_window', 'while_current'), UTC_TIMESTAMP(3)
           FROM billing_plans AS p
           JOIN billing_entitlement_definitions AS d ON d.code IN ('shop.credits', 'shop.quota', 'shop.seats')",
    ] {
        session.query_drop(statement).await.unwrap();
    }
}

/// Moves a session's clock.
pub async fn at(session: &mut Conn, seconds: i64) {
    session.query_drop(format!("SET timestamp = {seconds}")).await.unwrap();
}

/// A shop with the customer `cus_acme`, which is the entity `acme`, on 1 March 2026.
pub struct Shop {
    /// Its database, for a second session.
    pub database: TestDatabase,
    /// The session whose clock the test moves.
    pub session: Conn,
    /// The customer's entity.
    pub subject: u64,
}

impl Shop {
    /// Opens it, a few seconds after the story's first events.
    pub async fn open() -> Shop {
        let database = TestDatabase::migrated().await;
        let mut session = database.session().await;
        stock(&mut session).await;
        at(&mut session, BEGIN + 10).await;
        let mut shop = Shop {
            database,
            session,
            subject: 0,
        };
        shop.subject = shop.entity("acme", Some("cus_acme")).await;
        shop
    }

    /// Makes an entity, or gives it a customer.
    pub async fn entity(&mut self, reference: &str, customer: Option<&str>) -> u64 {
        let row: Row = self
            .session
            .exec_first(
                "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, ?)",
                (reference, reference, customer),
            )
            .await
            .unwrap()
            .unwrap();
        row.get("id").unwrap()
    }

    /// Moves the clock.
    pub async fn at(&mut self, seconds: i64) {
        at(&mut self.session, seconds).await;
    }

    /// Sends an event.
    pub async fn receive(&mut self, event: &Event) -> Became {
        receive(&mut self.session, event).await.unwrap()
    }

    /// Sends an event that must be applied.
    pub async fn applies(&mut self, event: &Event) {
        let became = self.receive(event).await;
        assert_eq!(became, applied(), "{}: {:?}", event.0["type"], self.inbox().await);
    }

    /// The inbox in words, for messages: type, outcome, why.
    pub async fn inbox(&mut self) -> Vec<String> {
        self.session
            .query(
                "SELECT CONCAT_WS(' ', e.event_type, e.outcome, e.failure, e.ignored_because, CONCAT(e.attempts, ' times'))
                   FROM billing_events AS e ORDER BY e.id",
            )
            .await
            .unwrap()
    }

    /// Uses some of a limit, which must be accepted.
    pub async fn consume(&mut self, code: &str, amount: i64, key: &str) {
        let request = json!([{"subjectId": self.subject, "usageEventKey": key, "items": [{"limitationCode": code, "amount": amount}]}]);
        let answer = super::story::consume(&mut self.session, &request).await.remove(0);
        assert_eq!(answer.outcome, "accepted", "{:?}", answer.problem);
    }

    /// Granted, consumed and available of a limit.
    pub async fn says(&mut self, code: &str) -> (i64, i64, i64) {
        let row: Row = self
            .session
            .exec_first("CALL entitlement_limitations_v1(?, ?, FALSE)", (self.subject, code))
            .await
            .unwrap()
            .unwrap();
        let amount = |column: &str| row.get::<i64, _>(column).unwrap();
        (
            amount("granted_amount"),
            amount("consumed_amount"),
            amount("available_amount"),
        )
    }

    /// What is available of credits, quota and seats.
    pub async fn available(&mut self) -> [i64; 3] {
        [
            self.says("shop.credits").await.2,
            self.says("shop.quota").await.2,
            self.says("shop.seats").await.2,
        ]
    }

    /// The purchases in words: status, paid, refunded, and the lines with what each bought.
    pub async fn purchases(&mut self) -> Vec<String> {
        self.session
            .exec(
                "SELECT CONCAT(p.provider_payment_id, ' ', p.status, ' ', p.refunded_minor_units, ' of ', p.paid_minor_units, ' ', p.currency, ': ',
                               (SELECT GROUP_CONCAT(CONCAT(l.quantity, ' ', COALESCE(pl.code, pr.code, CONCAT('unknown ', l.provider_price_id)))
                                                    ORDER BY COALESCE(pl.code, pr.code, l.provider_price_id), l.line_no SEPARATOR ', ')
                                  FROM billing_purchase_lines AS l
                                  LEFT JOIN billing_plans AS pl ON pl.id = l.plan_id
                                  LEFT JOIN billing_products AS pr ON pr.id = l.product_id
                                 WHERE l.purchase_id = p.id))
                   FROM billing_purchases AS p WHERE p.subject_id = ? ORDER BY p.id",
                (self.subject,),
            )
            .await
            .unwrap()
    }

    /// The grants that are not over, in words, in an order that does not depend on when they were made.
    pub async fn grants(&mut self) -> Vec<String> {
        self.session
            .exec_drop("CALL entitlement_settle_v1(?)", (self.subject,))
            .await
            .unwrap();
        self.session
            .exec(
                "SELECT CONCAT_WS(' ', d.code, g.grant_kind, g.amount, g.source, COALESCE(g.expires_at, 'for ever'))
                   FROM billing_entitlement_grants AS g
                   JOIN billing_entitlement_grant_balances AS gb ON gb.grant_id = g.id AND gb.grant_state <> 'ended'
                   JOIN billing_entitlement_definitions AS d ON d.id = g.definition_id
                  WHERE g.subject_id = ?
                  ORDER BY 1",
                (self.subject,),
            )
            .await
            .unwrap()
    }

    /// A number from the database.
    pub async fn number(&mut self, query: &str) -> i64 {
        let number: Option<i64> = self.session.query_first(query).await.unwrap();
        number.unwrap()
    }

    /// Ends the story: rebuilding what is projected of every subject changes nothing, and nothing differs from the ledger.
    pub async fn end(mut self) {
        let subjects: Vec<u64> = self.session.query("SELECT id FROM billable_entities").await.unwrap();
        for subject in &subjects {
            self.session
                .exec_drop("CALL entitlement_settle_v1(?)", (subject,))
                .await
                .unwrap();
        }
        let before = projections_of(&mut self.session, &subjects).await;
        for subject in &subjects {
            self.session
                .exec_drop("CALL entitlement_recompute_v1(?)", (subject,))
                .await
                .unwrap();
        }
        assert_eq!(
            projections_of(&mut self.session, &subjects).await,
            before,
            "recompute changed something"
        );
        assert_eq!(differences(&mut self.session, None).await, [""; 0]);
    }
}

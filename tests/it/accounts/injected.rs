//! Text that is meant to be more than text, in every field of every route: it stays text.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mysql_async::prelude::Queryable;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, without_instants};
use crate::support::shop::Event;
use crate::support::state::{rows, shape};
use crate::support::stripe::signature;

/// The text that must be found again as it was sent.
const FIRST: &str = "'; DROP TABLE billing_entitlement_grants; -- ";

/// What ends a string, a statement, a comment, an object or a path; the same with what cannot be seen; and what is long.
fn texts() -> [String; 4] {
    let ends = "\" OR \"\"=\"\\'); DELETE FROM workspaces; # */ /*! $.\"a\"[*] % _ ? @@x {{x}} \", \"amount\": 9007199254740991, \"";
    let unseen = "\u{0}\u{1a}\u{8}\n\r\t\\\u{bf}\u{27}\u{2bc}\u{ff07}\u{1f600}";
    [FIRST.into(), ends.into(), format!("{unseen}{ends}"), "x'".repeat(9_000)]
}

/// Requests under way at once.
const AT_ONCE: usize = 8;

/// Tables to which rows are added, and nothing else.
const APPENDED: [&str; 8] = [
    "billing_entitlement_grants",
    "billing_entitlement_revocations",
    "billing_entitlement_consumptions",
    "billing_entitlement_settlements",
    "billing_entitlement_settlement_grants",
    "billing_resource_changes",
    "billing_purchase_lines",
    "billing_capabilities",
];

/// Every place of a body that a schema names, whatever is to stand there.
fn places(document: &Value, schema: &Value, place: &str, found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return places(document, document.pointer(&reference[1..]).unwrap(), place, found);
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        for one in schema[word].as_array().into_iter().flatten() {
            places(document, one, place, found);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        places(document, property, &place, found);
        found.insert(place);
    }
    if schema["items"].is_object() {
        let place = format!("{place}/0");
        places(document, &schema["items"], &place, found);
        found.insert(place);
    }
}

/// `body` with a text at a place, which is made if it is not there.
fn with(mut body: Value, place: &str, text: &str) -> Value {
    let mut at = &mut body;
    for name in place.split('/').skip(1) {
        if name == "0" {
            if at.as_array().is_none_or(Vec::is_empty) {
                *at = json!([null]);
            }
            at = &mut at[0];
        } else {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name];
        }
    }
    *at = text.into();
    body
}

/// A parameter as it is described.
#[derive(PartialEq)]
struct Parameter<'a> {
    within: &'a str,
    name: &'a str,
    is_required: bool,
    is_number: bool,
}

/// An operation as it is sent rightly, but for what a test puts in the place of something.
struct Sent<'a> {
    gateway: &'a TestGateway,
    method: Method,
    path: &'a str,
    parameters: Vec<Parameter<'a>>,
    body: Value,
}

impl<'a> Sent<'a> {
    fn of(gateway: &'a TestGateway, path: &'a str, method: &str, operation: &'a Value) -> Sent<'a> {
        let parameters = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| {
                let text = |field: &str| parameter[field].as_str().unwrap();
                Parameter {
                    within: text("in"),
                    name: text("name"),
                    is_required: parameter["required"] == true,
                    is_number: parameter["schema"]["type"] == "integer",
                }
            });
        let example = &operation["requestBody"]["content"]["application/json"]["example"];
        Sent {
            gateway,
            method: method.to_uppercase().parse().unwrap(),
            path,
            parameters: parameters.collect(),
            body: match example.is_null() {
                true => json!({"amount": 1, "count": 1}),
                false => example.clone(),
            },
        }
    }

    /// With a text in the place of the parameter, or in one of the body.
    fn with(&self, wanted: Option<&Parameter>, place: Option<&str>, text: &str) -> RequestBuilder {
        let number = format!("{:016x}", getrandom::u64().unwrap());
        let mut path = self.path.to_owned();
        let mut query = Vec::new();
        let mut headers = vec![("X-Workspace-Slug", "acme".to_owned())];
        for parameter in &self.parameters {
            let (name, is_it) = (parameter.name, wanted == Some(parameter));
            let value = match name {
                _ if is_it => text.to_owned(),
                "topic" => "workspace_billing_limits".into(),
                "surface" => "app".into(),
                "entityType" => "workspace".into(),
                "entityRef" => "acme".into(),
                "code" => "ai.credits".into(),
                "resourceCode" => "projects".into(),
                "Idempotency-Key" => number.clone(),
                "If-Match" => "*".into(),
                _ => "1".into(),
            };
            match parameter.within {
                "path" => path = path.replace(&format!("{{{name}}}"), &encoded(&value)),
                _ if !parameter.is_required && !is_it && name != "Idempotency-Key" => (),
                "query" => query.push(format!("{name}={}", encoded(&value))),
                _ => {
                    headers.retain(|(known, _)| *known != name);
                    // What no client can send, no server receives.
                    headers.push((name, value.chars().filter(|c| !c.is_control()).collect()));
                }
            }
        }
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let mut request = self
            .gateway
            .request(self.method.clone(), &path)
            .bearer_auth(&self.gateway.admin);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if self.method == Method::GET || self.method == Method::DELETE {
            return request;
        }
        // Each is another, so that all are looked at.
        let mut body = self.body.clone();
        for field in ["code", "usageEventKey"] {
            if body[field].is_string() && !self.path.ends_with("/grants") {
                body[field] = format!("c{number}").into();
            }
        }
        request.json(&place.map_or(body.clone(), |place| with(body, place, text)))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Sends what was made; gives whether something was, and complains of an answer that tells of the database.
async fn send(what: String, request: RequestBuilder) -> Result<bool, String> {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    if response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream")
    {
        return Ok(false);
    }
    let body = response.text().await.unwrap();
    let words = [
        "SQLSTATE",
        "SQL syntax",
        "Unknown column",
        "Data too long",
        "Incorrect",
        "ERROR 1",
    ];
    if status == 500 || status >= 400 && words.iter().any(|word| body.contains(word)) {
        return Err(format!("{what}: {status} {body}"));
    }
    Ok(status == 201)
}

#[tokio::test]
async fn what_is_sent_as_text_stays_text() {
    let (gateway, acme) = TestGateway::with_shop().await;
    let (_, document) = answer(gateway.request(Method::GET, "/openapi.json")).await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    let (_, other) = answer(other.json(&json!({"workspaceSlug": "other"}))).await;
    let other = other["billableEntity"]["id"].as_u64().unwrap();
    for entity in [acme, other] {
        gateway.grant(entity, "ai.credits", 1_000).await;
        gateway.grant(entity, "projects.max", 1_000).await;
    }
    for workspace in ["acme", "other"] {
        let used = gateway
            .request(Method::POST, "/api/billing/consume")
            .bearer_auth(&gateway.service)
            .header("X-Workspace-Slug", workspace)
            .json(&json!({"limitationCode": "ai.credits", "amount": 20, "usageEventKey": workspace}));
        assert_eq!(answer(used).await.0, 200);
    }
    let of_others = async || {
        let path = format!("/api/billing/limitations?held=true&billableEntityId={other}");
        let (status, body) = answer(gateway.request(Method::GET, &path).bearer_auth(&gateway.service)).await;
        assert_eq!(status, 200, "{body}");
        let mut limitations = without_instants(body["limitations"].clone());
        for limitation in limitations.as_array_mut().unwrap() {
            // An operator may call a limit what he likes.
            limitation.as_object_mut().unwrap().remove("name");
        }
        limitations
    };
    let mut dba = gateway.test.session().await;
    let before = (shape(&mut dba).await, rows(&mut dba).await, of_others().await);

    let mut requests = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let sent = Sent::of(&gateway, path, method, operation);
            let mut found = BTreeSet::new();
            let content = &operation["requestBody"]["content"]["application/json"]["schema"];
            places(&document, content, "", &mut found);
            for text in texts() {
                let what = |place: &str| format!("{method} {path} {place} {text:.20}");
                // One text shows that another than a number is refused.
                let takes = |parameter: &&Parameter| !parameter.is_number || text == FIRST;
                for parameter in sent.parameters.iter().filter(takes) {
                    // What is longer is refused before anybody looks.
                    let short = text.get(..4_000).unwrap_or(&text);
                    requests.push((what(parameter.name), sent.with(Some(parameter), None, short)));
                }
                requests.extend(
                    found
                        .iter()
                        .map(|place| (what(place), sent.with(None, Some(place), &text))),
                );
            }
        }
    }
    // Every text of the provider's events, which no schema names.
    for name in [
        "checkout.session.completed.line_items",
        "invoice.paid",
        "customer.subscription.updated",
        "charge.refunded",
    ] {
        let event = Event::current(name).now();
        let mut found = Vec::new();
        leaves(&event.0, "", &mut found);
        for (place, text) in found
            .iter()
            .flat_map(|place| texts().into_iter().take(3).map(move |text| (place, text)))
        {
            let id = format!("evt_{:016x}", getrandom::u64().unwrap());
            let body = with(event.clone().id(&id).0, place, &text).to_string();
            let request = gateway.webhook(Some(&signature(body.as_bytes())), body.clone());
            requests.push((format!("{name} {place} {text:.20}"), request));
        }
    }
    let tried = requests.len();
    let (mut wrong, mut stored) = (Vec::new(), 0);
    let mut answers = stream::iter(requests)
        .map(|(what, request)| send(what, request))
        .buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(is_stored) => stored += u32::from(is_stored),
            Err(told) => wrong.push(told),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tried > 1_000 && stored > 20, "{tried} tried, {stored} stored");

    assert!(
        shape(&mut dba).await == before.0,
        "a table, a procedure or a right is another"
    );
    let after = rows(&mut dba).await;
    for table in APPENDED {
        let lost: Vec<_> = before.1[table]
            .iter()
            .filter(|row| !after[table].contains(row))
            .collect();
        assert_eq!(lost, Vec::<&String>::new(), "{table}");
    }
    assert_eq!(of_others().await, before.2);
    for (table, count) in [
        ("billing_api_keys", 2),
        ("consumable_routines", before.1["consumable_routines"].len()),
    ] {
        assert_eq!(after[table].len(), count, "{table}");
    }
    assert!(before.1["refinery_schema_history"] == after["refinery_schema_history"]);
    let differences: Vec<mysql_async::Row> = dba.query("CALL entitlement_verify_v1(NULL)").await.unwrap();
    assert_eq!(differences.len(), 0, "{differences:?}");
    // And it is there, letter for letter.
    for found in [
        "SELECT COUNT(*) FROM billing_plans WHERE BINARY name = ?",
        "SELECT COUNT(*) FROM billing_entitlement_grants WHERE BINARY reason = ?",
        "SELECT COUNT(*) FROM billing_products WHERE BINARY name = ?",
    ] {
        let count: Option<u32> = dba.exec_first(found, (FIRST,)).await.unwrap();
        assert!(count > Some(0), "{found}");
    }
}

/// Where a value has texts.
fn leaves(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(place.to_owned()),
        // The first of each list stands for the others.
        Value::Array(items) => items
            .iter()
            .take(1)
            .for_each(|item| leaves(item, &format!("{place}/0"), found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| leaves(field, &format!("{place}/{name}"), found)),
        _ => (),
    }
}

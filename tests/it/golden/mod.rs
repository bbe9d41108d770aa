//! Answers, word for word: the limitations, and the body of every problem. `CONSUMABLE_RENEW=1 cargo test golden::` writes them.
//!
//! Each is what the gateway answered to a real request, with ids and instants replaced. They are the contract: a difference in one of
//! them is a difference that clients see.

mod problems;
mod refusals;

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

use crate::law::{documents::must_be, files, read};
use crate::support::gateway::{TestGateway, answer, without_instants};

/// Headers that are a part of an answer.
const HEADERS: [&str; 4] = ["allow", "etag", "retry-after", "www-authenticate"];

/// Codes that no request of a test can be answered with, and why.
const NEVER: &[(&str, &str)] = &[
    (
        "API_KEY_NOT_FOUND",
        "keys are made and revoked by the command line only",
    ),
    ("REQUEST_TIMEOUT", "a body is waited for longer than any test may take"),
];

/// The file of a code.
fn file(code: &str) -> String {
    format!("tests/golden/problems/{code}.json")
}

/// Replaces ids, which say nothing of the contract.
fn without_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Number(_) if name == "id" || name.ends_with("Id") => *field = json!("id"),
                    field => without_ids(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_ids),
        _ => (),
    }
}

fn text(value: Value) -> String {
    let mut value = without_instants(value);
    without_ids(&mut value);
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

/// Sends a request that must be refused with a code, in words that are known.
pub async fn is_told(code: &str, request: RequestBuilder) {
    is_said(code, request.send().await.unwrap()).await;
}

/// The same of an answer.
pub async fn is_said(code: &str, response: Response) {
    let mut answer = Map::new();
    answer.insert("status".into(), response.status().as_u16().into());
    for name in HEADERS {
        if let Some(value) = response.headers().get(name) {
            answer.insert(name.into(), value.to_str().unwrap().into());
        }
    }
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{code}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], code, "{body}");
    answer.insert("body".into(), body);
    must_be(&file(code), &text(answer.into()));
}

#[tokio::test]
async fn every_problem_of_the_description_has_a_file() {
    let gateway = TestGateway::start().await;
    let (_, description) = answer(gateway.request(Method::GET, "/openapi.json")).await;
    let codes = &description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let is_made = |code: &&str| NEVER.iter().all(|(never, _)| never != code);
    let wanted: BTreeSet<String> = codes
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .filter(is_made)
        .map(file)
        .collect();
    let found: BTreeSet<String> = files("tests/golden/problems", &["json"]).into_iter().collect();
    assert_eq!(wanted, found);
    for file in found {
        let answer: Value = serde_json::from_str(&read(&file)).unwrap();
        let body = &answer["body"];
        let fields: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        let always = ["type", "title", "status", "detail", "code", "details"];
        assert!(always.iter().all(|field| fields.contains(field)), "{file}");
        assert_eq!(answer["status"], body["status"], "{file}");
    }
}

#[tokio::test]
async fn the_limitations_are_told_as_ever() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 1_000).await;
    gateway.grant(entity, "annuity.calculations.monthly", 50).await;
    gateway.grant(entity, "projects.max", 2).await;
    let use_of = json!({"limitationCode": "ai.credits", "amount": 20, "usageEventKey": "order-81"});
    assert_eq!(answer(gateway.consume(&use_of)).await.0, 200);
    let hold = json!({"limitationCode": "ai.credits", "amount": 5, "usageEventKey": "draft-7"});
    let hold = gateway.as_service(Method::POST, "/api/billing/holds").json(&hold);
    assert_eq!(answer(hold).await.0, 201);
    let recount = gateway.as_service(Method::PUT, "/api/billing/resources/projects");
    assert_eq!(answer(recount.json(&json!({"count": 3}))).await.0, 200);
    let (status, body) = answer(gateway.as_service(Method::GET, "/api/billing/limitations")).await;
    assert_eq!(status, 200, "{body}");
    must_be("tests/golden/limitations.json", &text(body));
}

//! `GET /openapi.json`: what every route takes and answers, in OpenAPI 3.1, made from the types that parse and answer.
//!
//! Each family describes its routes beside them, with an [`Operation`] for each method of each path. Bounds that a procedure checks and
//! no type says are in [`shapes`]. `.ci/fuzz` holds the program to every word of it.

mod operation;
pub mod shapes;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json as value};
use utoipa::openapi::{RefOr, Schema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::CONTENT_TYPE;
use warp::path;
use warp::reply::{Reply, Response};

use super::Gateway;
use super::billing::refusal::{CapacityLocked, LimitExceeded};
use super::problem::Problem;
use super::request::{Answer, Request, request};

pub use operation::Operation;

/// Schemas by their names, as they were met.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// The route of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("openapi.json")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", openapi))
        .boxed()
}

/// What the route takes and answers.
pub fn describe(description: &mut Description) {
    let this = Operation::get("openapi", "/openapi.json", "This description");
    description.add(this.answers_as(200, "The description", "application/json", value!({"type": "object"})));
}

async fn openapi(_: Request) -> Answer {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    let mut response = TEXT.as_str().into_response();
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// What is described so far.
#[derive(Default)]
pub struct Description {
    paths: BTreeMap<&'static str, Map<String, Value>>,
    schemas: BTreeMap<String, Value>,
}

impl Description {
    /// Adds an operation, with the schemas that it names.
    pub fn add(&mut self, operation: Operation) {
        let (path, method) = (operation.path, operation.method);
        let (operation, given, answered) = operation.finish();
        for (name, schema) in given {
            self.name(name, json_of(schema));
        }
        for (name, schema) in answered {
            self.name(name, complete(json_of(schema)));
        }
        let before = self.paths.entry(path).or_default().insert(method.to_owned(), operation);
        debug_assert!(before.is_none(), "{method} {path} is described twice");
    }

    fn name(&mut self, name: String, schema: Value) {
        let before = self.schemas.insert(name.clone(), schema);
        debug_assert!(
            before.is_none_or(|before| before == self.schemas[&name]),
            "two schemas are named {name}"
        );
    }
}

/// The description of all routes.
fn document() -> Value {
    let mut description = Description::default();
    super::billing::describe(&mut description);
    super::realtime::describe(&mut description);
    super::console::describe(&mut description);
    super::webhooks::describe(&mut description);
    super::application::describe(&mut description);
    super::health::describe(&mut description);
    super::scrape::describe(&mut description);
    describe(&mut description);

    let mut answered = Schemas::new();
    operation::collect::<Problem>(&mut answered);
    operation::collect::<LimitExceeded>(&mut answered);
    operation::collect::<CapacityLocked>(&mut answered);
    for (name, schema) in answered {
        description.name(name, complete(json_of(schema)));
    }
    value!({
        "openapi": "3.1.0",
        "info": {
            "title": "Consumable",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "May this customer do this, and how much is left? Instants are RFC 3339 in UTC. Amounts are whole numbers, \
                            written without fraction and exponent. Whatever is wrong is told as application/problem+json, with a code that does not change.",
        },
        "paths": description.paths,
        "components": {
            "schemas": description.schemas,
            "headers": {
                "RequestId": {
                    "description": "The caller's own X-Request-Id, else a new one. The log knows the request by it",
                    "required": true,
                    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
                },
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key, ck_…, of an application's backend (role service) or of an operator (role admin, who may do all)",
                },
                "workspaceToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "For a user of one workspace, in a browser. A backend asks for it",
                },
                "accessToken": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "access_token",
                    "description": "A workspace token or a key, from a browser's EventSource, which can set no header",
                },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Stripe-Signature",
                    "description": "t=…,v1=…: the provider's, over the body as it is sent, at most five minutes old",
                },
            },
        },
    })
}

fn json_of(schema: impl serde::Serialize) -> Value {
    // Schemas are maps of texts, numbers and schemas.
    serde_json::to_value(schema).unwrap_or_default()
}

/// A schema of an answer, which has all its fields: what has no value is null. Only a field that cannot be null may be left out.
fn complete(mut schema: Value) -> Value {
    fn may_be_null(schema: &Value) -> bool {
        let is_null = |schema: &Value| schema["type"] == "null";
        let named = schema["type"]
            .as_array()
            .is_some_and(|types| types.contains(&"null".into()));
        let any = schema.get("type").is_none() && schema.get("$ref").is_none() && schema.get("allOf").is_none();
        match schema["oneOf"].as_array() {
            Some(schemas) => schemas.iter().any(is_null),
            None => named || any,
        }
    }
    match &mut schema {
        Value::Object(fields) => {
            for value in fields.values_mut() {
                *value = complete(value.take());
            }
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                let nullable = properties.iter().filter(|(_, schema)| may_be_null(schema));
                let mut required: Vec<Value> = nullable.map(|(name, _)| name.as_str().into()).collect();
                let known = fields.get("required").and_then(Value::as_array).cloned();
                required.extend(known.unwrap_or_default());
                required.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
                required.dedup();
                if !required.is_empty() {
                    fields.insert("required".to_owned(), required.into());
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = complete(item.take());
            }
        }
        _ => (),
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference of a part of the document.
    fn references(part: &Value, found: &mut Vec<String>) {
        match part {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|part| references(part, found));
            }
            Value::Array(items) => items.iter().for_each(|part| references(part, found)),
            _ => (),
        }
    }

    #[test]
    fn what_is_named_is_there_and_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(&reference), "nothing names {name}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document();
        let mut names = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(!names.contains(&name), "{method} {path}: {name} is taken");
                names.push(name);
            }
        }
    }

    #[test]
    fn an_answer_has_all_its_fields_but_those_that_are_left_out() {
        let schema = value!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"},
            "b": {"type": ["string", "null"]},
            "c": {"oneOf": [{"type": "null"}, {"$ref": "#/x"}]},
            "d": {},
            "e": {"$ref": "#/x"},
        }});
        assert_eq!(complete(schema)["required"], value!(["a", "b", "c", "d"]));
    }
}

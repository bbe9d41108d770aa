//! What one method of one path takes and answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json as value};
use utoipa::ToSchema;

use super::shapes::{self, Id};
use super::{Schemas, complete, json_of};
use crate::error::Code;
use crate::gateway::caller::Needs;
use crate::gateway::problem::{Problem, Transport};
use crate::gateway::request::{CURSOR_CHARACTERS, IDEMPOTENCY_KEY_CHARACTERS, PAGE_AT_MOST, PAGE_DEFAULT};

/// Codes whose answers say when to try again, always.
const RETRIED: [&str; 4] = ["DATABASE_UNAVAILABLE", "KEY_RATE_EXCEEDED", "NOT_READY", "OVERLOADED"];

/// An operation that is being described.
pub struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    answers: BTreeMap<u16, Value>,
    /// Codes of problems by their status.
    problems: BTreeMap<u16, BTreeSet<&'static str>>,
    /// Schemas of what it takes, and of what it answers.
    given: Schemas,
    answered: Schemas,
}

impl Operation {
    fn new(method: &'static str, name: &str, path: &'static str, summary: &str) -> Operation {
        let mut fields = Map::new();
        fields.insert("operationId".to_owned(), name.into());
        fields.insert("summary".to_owned(), summary.into());
        fields.insert("security".to_owned(), value!([]));
        let operation = Operation {
            path,
            method,
            fields,
            parameters: Vec::new(),
            answers: BTreeMap::new(),
            problems: BTreeMap::new(),
            given: Schemas::new(),
            answered: Schemas::new(),
        };
        match path.starts_with("/api/") {
            true => operation
                .fails(&[
                    Transport::Internal,
                    Transport::Overloaded,
                    Transport::DatabaseUnavailable,
                ])
                .refuses(&[Code::SettlementStuck]),
            false => operation,
        }
    }

    /// A `GET`, by a name that clients are generated with.
    pub fn get(name: &str, path: &'static str, summary: &str) -> Operation {
        Operation::new("get", name, path, summary)
    }

    /// A `POST`.
    pub fn post(name: &str, path: &'static str, summary: &str) -> Operation {
        Operation::new("post", name, path, summary)
    }

    /// A `PUT`.
    pub fn put(name: &str, path: &'static str, summary: &str) -> Operation {
        Operation::new("put", name, path, summary)
    }

    /// A `PATCH`.
    pub fn patch(name: &str, path: &'static str, summary: &str) -> Operation {
        Operation::new("patch", name, path, summary)
    }

    /// A `DELETE`.
    pub fn delete(name: &str, path: &'static str, summary: &str) -> Operation {
        Operation::new("delete", name, path, summary)
    }

    /// Who may ask for it.
    pub fn by(mut self, needs: Needs) -> Operation {
        self.fields.insert(
            "security".to_owned(),
            match needs {
                Needs::Workspace => value!([{"key": []}, {"workspaceToken": []}]),
                Needs::Service | Needs::Admin => value!([{"key": []}]),
            },
        );
        self.fails(&[
            Transport::Unauthenticated,
            Transport::Forbidden,
            Transport::KeyRateExceeded,
        ])
    }

    /// By whom else it may be asked for: the name of a security scheme.
    pub fn or_by(mut self, scheme: &str) -> Operation {
        if let Some(Value::Array(schemes)) = self.fields.get_mut("security") {
            schemes.push(value!({scheme: []}));
        }
        self.fails(&[Transport::Unauthenticated])
    }

    /// It is about a subject, which headers, the query or the caller's token name.
    pub fn subject(self) -> Operation {
        let id = || shapes::of::<Id>();
        // An empty one is as one that is not there.
        let slug = || value!({"type": "string", "maxLength": 64});
        self.parameter(
            "header",
            "X-Billable-Entity-Id",
            "Whom it is about; this counts before all others",
            id(),
        )
        .parameter(
            "query",
            "billableEntityId",
            "The same; this counts before a workspace",
            id(),
        )
        .parameter("header", "X-Workspace-Slug", "The same, by the workspace", slug())
        .parameter(
            "query",
            "workspaceSlug",
            "The same. None of these: the token's workspace",
            slug(),
        )
        .fails(&[Transport::SubjectRequired])
        .refuses(&[Code::SubjectNotFound])
    }

    /// A thing of the path, by its id.
    pub fn id(self, name: &str, bits: u32) -> Operation {
        let greatest = if bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
        let schema = value!({"type": "integer", "minimum": 0, "maximum": greatest});
        self.segment(name, schema).fails(&[Transport::NotFound])
    }

    /// A segment of the path.
    pub fn segment(mut self, name: &str, schema: Value) -> Operation {
        self.parameters
            .push(value!({"in": "path", "name": name, "required": true, "schema": schema}));
        self
    }

    /// A parameter that may be left out.
    pub fn parameter(mut self, place: &str, name: &str, description: &str, schema: Value) -> Operation {
        let parameter = value!({"in": place, "name": name, "description": description, "schema": schema});
        self.parameters.push(parameter);
        self.refuses(&[Code::ValidationFailed])
    }

    /// A parameter that must be there.
    pub fn required(mut self, place: &str, name: &str, description: &str, schema: Value) -> Operation {
        let parameter =
            value!({"in": place, "name": name, "description": description, "required": true, "schema": schema});
        self.parameters.push(parameter);
        self.refuses(&[Code::ValidationFailed])
    }

    /// Its answer is a page of a list, which begins after an entry that has this form.
    pub fn page(self, cursor: Value) -> Operation {
        self.parameter("query", "cursor", "nextCursor of the page before", cursor)
            .at_most()
    }

    /// Its answer is the beginning of a list, as long as the request says.
    pub fn at_most(self) -> Operation {
        let limit = value!({"type": "integer", "minimum": 1, "maximum": PAGE_AT_MOST, "default": PAGE_DEFAULT});
        self.parameter("query", "limit", "Entries at most", limit)
    }

    /// As [`Operation::page`], of entries that have ids.
    pub fn page_by_id(self) -> Operation {
        self.page(shapes::of::<Id>())
    }

    /// As [`Operation::page`], of a list whose procedure makes the cursors.
    pub fn page_by_cursor(self) -> Operation {
        self.page(value!({"type": "string", "minLength": 1, "maxLength": CURSOR_CHARACTERS}))
    }

    /// It is done once for a key, which a header gives.
    pub fn once(self) -> Operation {
        self.required(
            "header",
            "Idempotency-Key",
            "Done once for each; X-Command-Id is the same",
            key(),
        )
        .refuses(&[Code::IdempotencyKeyRequired, Code::IdempotencyConflict])
    }

    /// The same, where the header counts only sometimes: when? Else it may say anything.
    pub fn once_if(self, when: &str) -> Operation {
        let description = format!("As of other writes, but it counts, and is required, only {when}");
        self.parameter("header", "Idempotency-Key", &description, value!({"type": "string"}))
            .refuses(&[Code::IdempotencyKeyRequired, Code::IdempotencyConflict])
    }

    /// It edits a version, which a header names.
    pub fn of_version(self) -> Operation {
        let tag = value!({"type": "string", "pattern": "^([*]|(W/)?\"[0-9]{1,9}\")$"});
        self.required(
            "header",
            "If-Match",
            "The ETag that was read, or * for whichever version there is",
            tag,
        )
        .fails(&[Transport::PreconditionRequired])
        .refuses(&[Code::VersionConflict])
    }

    /// It takes a body of this type.
    pub fn body<T: ToSchema>(self) -> Operation {
        self.body_as::<T>(json_of(T::schema()))
    }

    /// It takes a body whose schema, `schema`, is made of that of a type.
    pub fn body_as<T: ToSchema>(mut self, schema: Value) -> Operation {
        T::schemas(&mut self.given);
        self.content(schema)
    }

    /// It takes a body of this schema.
    pub fn content(mut self, schema: Value) -> Operation {
        let content = value!({"application/json": {"schema": schema}});
        let body = value!({"required": true, "content": content});
        self.fields.insert("requestBody".to_owned(), body);
        self.refuses(&[Code::ValidationFailed]).fails(&[
            Transport::MalformedJson,
            Transport::RequestTimeout,
            Transport::PayloadTooLarge,
            Transport::UnsupportedMediaType,
        ])
    }

    /// Names the schemas that those of the body refer to, where no type of its does.
    pub fn with<T: ToSchema>(mut self) -> Operation {
        T::schemas(&mut self.given);
        self
    }

    /// A body that it takes.
    pub fn example(mut self, example: Value) -> Operation {
        if let Some(content) = self.fields.get_mut("requestBody") {
            content["content"]["application/json"]["example"] = example;
        }
        self
    }

    /// It answers with this type.
    pub fn answers<T: ToSchema>(mut self, status: u16, description: &str) -> Operation {
        T::schemas(&mut self.answered);
        self.answers_as(status, description, "application/json", complete(json_of(T::schema())))
    }

    /// It answers with this type, 201 when it is made, and 200 when it was before.
    pub fn makes<T: ToSchema>(self) -> Operation {
        self.answers::<T>(201, "It is made")
            .answers::<T>(200, "It is as it was made, or was")
    }

    /// Names the schema of a part of its answers, where no type of theirs does.
    pub fn naming<T: ToSchema>(mut self) -> Operation {
        collect::<T>(&mut self.answered);
        self
    }

    /// It answers with content of another type.
    pub fn answers_as(mut self, status: u16, description: &str, content_type: &str, schema: Value) -> Operation {
        let answer = value!({"description": description, "headers": request_id(), "content": {content_type: {"schema": schema}}});
        self.answers.insert(status, answer);
        self
    }

    /// Its answers have the version of what they show as their `ETag`.
    pub fn tagged(mut self) -> Operation {
        for answer in self.answers.values_mut() {
            answer["headers"]["ETag"] = etag();
        }
        self
    }

    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        self.method == "get"
    }

    /// What it may be refused with.
    pub fn refuses(mut self, codes: &[Code]) -> Operation {
        for code in codes {
            self.problem(Problem::rule(*code, ""));
        }
        self
    }

    /// What it may be refused with before or beside the rules.
    pub fn fails(mut self, transports: &[Transport]) -> Operation {
        for transport in transports {
            self.problem(Problem::transport(*transport, ""));
        }
        self
    }

    fn problem(&mut self, problem: Problem) {
        self.problems
            .entry(problem.status().as_u16())
            .or_default()
            .insert(problem.code());
    }

    /// The operation, the schemas of what it takes, and of what it answers.
    pub(super) fn finish(mut self) -> (Value, Schemas, Schemas) {
        let mut responses: Map<String, Value> = self
            .answers
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer))
            .collect();
        for (status, codes) in self.problems {
            responses.insert(status.to_string(), problem(status, &codes));
        }
        if !self.parameters.is_empty() {
            self.fields.insert("parameters".to_owned(), self.parameters.into());
        }
        self.fields.insert("responses".to_owned(), responses.into());
        (self.fields.into(), self.given, self.answered)
    }
}

/// Adds a type's own schema, under its name, and those that it refers to.
pub(super) fn collect<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// The answer of a status, with each of these codes.
fn problem(status: u16, codes: &BTreeSet<&'static str>) -> Value {
    let mut schemas = vec![
        value!({"$ref": "#/components/schemas/Problem"}),
        value!({"properties": {"status": {"const": status}, "code": {"enum": codes}}}),
    ];
    for (code, details) in [
        ("BILLING_LIMIT_EXCEEDED", "LimitExceeded"),
        ("BILLING_CAPACITY_LOCKED", "CapacityLocked"),
    ] {
        if codes.contains(code) {
            let details = format!("#/components/schemas/{details}");
            schemas.push(value!({
                "if": {"properties": {"code": {"const": code}}},
                "then": {"properties": {"details": {"$ref": details}}},
            }));
        }
    }
    let mut headers = request_id();
    match status {
        401 => headers["WWW-Authenticate"] = value!({"required": true, "schema": {"const": "Bearer"}}),
        412 => headers["ETag"] = etag(),
        429 | 503 => {
            headers["Retry-After"] = value!({
                "description": "Seconds after which to try again may help",
                "required": codes.iter().all(|code| RETRIED.contains(code)),
                "schema": {"type": "integer", "minimum": 0},
            });
        }
        _ => (),
    }
    let codes: Vec<&str> = codes.iter().copied().collect();
    value!({
        "description": codes.join(", "),
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"allOf": schemas}}},
    })
}

fn key() -> Value {
    value!({"type": "string", "pattern": shapes::visible(IDEMPOTENCY_KEY_CHARACTERS)})
}

fn request_id() -> Value {
    value!({"X-Request-Id": {"$ref": "#/components/headers/RequestId"}})
}

fn etag() -> Value {
    value!({"required": true, "schema": {"type": "string", "pattern": "^\"[0-9]+\"$"}})
}

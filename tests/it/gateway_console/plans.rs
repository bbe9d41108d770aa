//! Plans, over HTTP.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::gateway::{TestGateway, answer, refusal, without_instants};

const PLANS: &str = "/api/console/billing/plans";

fn key() -> String {
    format!("key-{:016x}", getrandom::u64().unwrap())
}

fn post(gateway: &TestGateway, body: &Value) -> RequestBuilder {
    gateway
        .as_admin(Method::POST, PLANS)
        .header("Idempotency-Key", key())
        .json(body)
}

fn patch(gateway: &TestGateway, id: u64, if_match: &str, body: &Value) -> RequestBuilder {
    gateway
        .as_admin(Method::PATCH, &format!("{PLANS}/{id}"))
        .header("Idempotency-Key", key())
        .header("If-Match", if_match)
        .json(body)
}

async fn tagged(request: RequestBuilder) -> (u16, String, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    (status, tag, response.json().await.unwrap())
}

fn pro() -> Value {
    json!({
        "code": "pro", "name": "Pro", "providerPriceIds": ["price_year", "price_month"],
        "entitlements": [
            {"code": "projects.max", "valueJson": {"limit": 10}},
            {"code": "ai.credits", "schemaVersion": 1, "valueJson": {"amount": 0, "max": 500, "grantKind": "plan_bonus",
             "effectivePolicy": "on_period_paid", "durationPolicy": "fixed_duration", "durationDays": 30}},
        ],
    })
}

#[tokio::test]
async fn a_plan_is_made_once_read_and_edited() {
    let gateway = TestGateway::start().await;
    let make = || {
        gateway
            .as_admin(Method::POST, PLANS)
            .header("Idempotency-Key", "one")
            .json(&pro())
    };
    let (status, tag, first) = tagged(make()).await;
    assert_eq!((status, tag.as_str()), (201, "\"1\""), "{first}");
    let shown = json!({"plan": {
        "id": 1, "code": "pro", "name": "Pro", "archivedAt": null, "version": 1, "providerPriceIds": ["price_month", "price_year"],
        "entitlements": [
            {"code": "ai.credits", "schemaVersion": 1, "valueJson": {"amount": 500, "grantKind": "plan_bonus",
             "effectivePolicy": "on_period_paid", "durationPolicy": "fixed_duration", "durationDays": 30}},
            {"code": "projects.max", "schemaVersion": 1, "valueJson": {"amount": 10, "grantKind": "plan_base",
             "effectivePolicy": "on_assignment_current", "durationPolicy": "while_current"}},
        ],
        "createdAt": "now", "updatedAt": "now",
    }});
    assert_eq!(without_instants(first.clone()), shown);
    assert_eq!(tagged(make()).await, (200, "\"1\"".into(), first.clone()));
    let one = format!("{PLANS}/1");
    let get = || gateway.as_admin(Method::GET, &one);
    assert_eq!(tagged(get()).await, (200, "\"1\"".into(), first.clone()));

    // What was read, written again, is no edit.
    let same = json!({"name": first["plan"]["name"], "providerPriceIds": first["plan"]["providerPriceIds"],
                      "entitlements": first["plan"]["entitlements"]});
    assert_eq!(
        tagged(patch(&gateway, 1, "\"1\"", &same)).await,
        (200, "\"1\"".into(), first)
    );

    // What is left out stays, [] clears, an array replaces.
    let (status, tag, body) = tagged(patch(&gateway, 1, "\"1\"", &json!({"name": "Pro 2"}))).await;
    assert_eq!((status, tag.as_str()), (200, "\"2\""), "{body}");
    assert_eq!(body["plan"]["name"], "Pro 2");
    assert_eq!(body["plan"]["entitlements"], shown["plan"]["entitlements"]);
    assert_eq!(body["plan"]["providerPriceIds"], shown["plan"]["providerPriceIds"]);
    let replaced =
        json!({"providerPriceIds": [], "entitlements": [{"code": "workspace.access", "valueJson": {"max": 1}}]});
    let (_, tag, body) = tagged(patch(&gateway, 1, "W/\"2\"", &replaced)).await;
    assert_eq!((tag.as_str(), &body["plan"]["providerPriceIds"]), ("\"3\"", &json!([])));
    assert_eq!(body["plan"]["entitlements"][0]["code"], "workspace.access");
    let (_, tag, body) = tagged(patch(&gateway, 1, "*", &json!({"entitlements": []}))).await;
    assert_eq!((tag.as_str(), &body["plan"]["entitlements"]), ("\"4\"", &json!([])));
    assert_eq!(tagged(get()).await, (200, "\"4\"".into(), body));
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let gateway = TestGateway::start().await;
    assert_eq!(answer(post(&gateway, &pro())).await.0, 201);
    let body = json!({
        "code": "Pro", "name": "", "archived": "no", "colour": 1, "providerPriceIds": ["price_month", "a b"],
        "entitlements": [{"code": "projects.max", "valueJson": {"limit": 0}}, {"code": "no.such", "valueJson": {"limit": 1}}],
    });
    let (status, problem) = answer(post(&gateway, &body)).await;
    assert_eq!((status, &problem["code"]), (400, &json!("VALIDATION_FAILED")));
    assert_eq!(
        problem["fieldErrors"],
        json!({
            "code": "must be 1 to 64 of a-z, 0-9, _, . and -, a letter first",
            "name": "must be 1 to 160 characters, not only blanks",
            "archived": "must be true or false",
            "colour": "is not known here: code, name, archived, providerPriceIds and entitlements are",
            "providerPriceIds[0]": "belongs to the plan pro",
            "providerPriceIds[1]": "must be 1 to 255 visible ASCII characters",
            "entitlements[0].valueJson": "must have a positive whole number as amount, limit or max",
            "entitlements[1].code": "no entitlement definition has this code",
        })
    );
    assert_eq!(problem["details"]["fieldErrors"], problem["fieldErrors"]);

    let unknown = json!({"code": "x", "name": "X", "entitlements": [{"code": "no.such", "valueJson": {"limit": 1}}]});
    let priced = json!({"code": "x", "name": "X", "providerPriceIds": ["price_new", "price_month"]});
    for (body, status, code, path) in [
        (unknown, 422, "UNKNOWN_ENTITLEMENT_CODE", "entitlements[0].code"),
        (priced, 409, "PRICE_TAKEN", "providerPriceIds[1]"),
        (json!({"code": "pro", "name": "X"}), 409, "CODE_TAKEN", "code"),
        (json!({"code": "x", "name": 7}), 400, "VALIDATION_FAILED", "name"),
        (json!([]), 400, "VALIDATION_FAILED", "body"),
    ] {
        let refused = refusal(post(&gateway, &body)).await;
        assert_eq!(refused, (status, code.into(), vec![path.into()]), "{body}");
    }
    let (_, list) = answer(gateway.as_admin(Method::GET, PLANS)).await;
    assert_eq!(
        list["entries"].as_array().unwrap().len(),
        1,
        "something was written: {list}"
    );
}

#[tokio::test]
async fn an_edit_says_which_version_it_edits() {
    let gateway = TestGateway::start().await;
    assert_eq!(answer(post(&gateway, &pro())).await.0, 201);
    let edit = json!({"name": "Other"});
    let unsaid = gateway
        .as_admin(Method::PATCH, &format!("{PLANS}/1"))
        .header("Idempotency-Key", key())
        .json(&edit);
    assert_eq!(refusal(unsaid).await, (428, "PRECONDITION_REQUIRED".into(), vec![]));
    for tag in ["1", "\"one\"", "\"1\", \"2\"", "\"-1\""] {
        let refused = refusal(patch(&gateway, 1, tag, &edit)).await;
        assert_eq!(
            refused,
            (400, "VALIDATION_FAILED".into(), vec!["if-match".into()]),
            "{tag}"
        );
    }
    let (status, tag, problem) = tagged(patch(&gateway, 1, "\"7\"", &edit)).await;
    assert_eq!((status, tag.as_str()), (412, "\"1\""));
    assert_eq!(
        (&problem["code"], &problem["details"]),
        (&json!("VERSION_CONFLICT"), &json!({"currentVersion": 1}))
    );
    assert_eq!(
        refusal(patch(&gateway, 1, "\"1\"", &json!({"code": "other"}))).await,
        (400, "VALIDATION_FAILED".into(), vec!["code".into()])
    );
    assert_eq!(
        refusal(patch(&gateway, 9, "\"1\"", &edit)).await,
        (404, "PLAN_NOT_FOUND".into(), vec![])
    );
    let keyless = gateway
        .as_admin(Method::PATCH, &format!("{PLANS}/1"))
        .header("If-Match", "\"1\"")
        .json(&edit);
    assert_eq!(refusal(keyless).await.1, "IDEMPOTENCY_KEY_REQUIRED");

    // The same request again, as after a lost answer, is no conflict with itself.
    let again = || {
        gateway
            .as_admin(Method::PATCH, &format!("{PLANS}/1"))
            .header("Idempotency-Key", "again")
            .header("If-Match", "\"1\"")
            .json(&edit)
    };
    let first = tagged(again()).await;
    assert_eq!((first.0, first.1.as_str()), (200, "\"2\""));
    assert_eq!(tagged(again()).await, first);
}

#[tokio::test]
async fn of_edits_of_one_version_at_once_one_wins() {
    let gateway = TestGateway::start().await;
    assert_eq!(answer(post(&gateway, &pro())).await.0, 201);
    let edits = (0..8).map(|number| {
        let name = format!("Name {number}");
        let request = patch(&gateway, 1, "\"1\"", &json!({"name": name}));
        tokio::spawn(async move {
            let (status, tag, body) = tagged(request).await;
            (status, tag, body["plan"]["name"].as_str().map(str::to_owned), name)
        })
    });
    let mut winners = Vec::new();
    for edit in edits.collect::<Vec<_>>() {
        let (status, tag, written, name) = edit.await.unwrap();
        assert_eq!(tag, "\"2\"");
        match status {
            200 => {
                assert_eq!(written.as_deref(), Some(name.as_str()));
                winners.push(name);
            }
            status => assert_eq!(status, 412),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let (_, body) = answer(gateway.as_admin(Method::GET, &format!("{PLANS}/1"))).await;
    assert_eq!(body["plan"]["name"], winners[0]);
}

#[tokio::test]
async fn a_plan_is_archived_and_brought_back() {
    let gateway = TestGateway::start().await;
    assert_eq!(answer(post(&gateway, &pro())).await.0, 201);
    let archive = |key: &str| {
        gateway
            .as_admin(Method::POST, &format!("{PLANS}/1/archive"))
            .header("Idempotency-Key", key)
    };
    let first = tagged(archive("one")).await;
    assert_eq!((first.0, first.1.as_str()), (200, "\"2\""));
    assert!(first.2["plan"]["archivedAt"].is_string(), "{}", first.2);
    assert_eq!(tagged(archive("one")).await, first);
    // It is archived already: nothing to edit.
    assert_eq!(tagged(archive("two")).await, first);
    let (_, tag, body) = tagged(patch(&gateway, 1, "\"2\"", &json!({"archived": false}))).await;
    assert_eq!((tag.as_str(), &body["plan"]["archivedAt"]), ("\"3\"", &Value::Null));
    let nowhere = gateway
        .as_admin(Method::POST, &format!("{PLANS}/9/archive"))
        .header("Idempotency-Key", "three");
    assert_eq!(refusal(nowhere).await, (404, "PLAN_NOT_FOUND".into(), vec![]));
    assert_eq!(
        refusal(gateway.as_admin(Method::POST, &format!("{PLANS}/1/archive")))
            .await
            .1,
        "IDEMPOTENCY_KEY_REQUIRED"
    );
}

#[tokio::test]
async fn plans_are_listed_page_by_page_to_operators_only() {
    let gateway = TestGateway::start().await;
    for code in ["c", "a", "b"] {
        assert_eq!(
            answer(post(&gateway, &json!({"code": code, "name": code}))).await.0,
            201
        );
    }
    let page = async |query: &str| {
        let (status, list) = answer(gateway.as_admin(Method::GET, &format!("{PLANS}{query}"))).await;
        assert_eq!(status, 200, "{list}");
        let codes: Vec<_> = list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|plan| plan["code"].clone())
            .collect();
        (json!(codes), list["nextCursor"].clone())
    };
    assert_eq!(page("?limit=2").await, (json!(["c", "a"]), json!("2")));
    assert_eq!(page("?limit=2&cursor=2").await, (json!(["b"]), Value::Null));
    assert_eq!(page("?cursor=99999999999").await, (json!([]), Value::Null));

    for (method, path, allowed) in [
        (Method::DELETE, PLANS.to_owned(), "GET, POST"),
        (Method::PUT, format!("{PLANS}/1"), "GET, PATCH"),
        (Method::GET, format!("{PLANS}/1/archive"), "POST"),
    ] {
        let response = gateway.as_admin(method, &path).send().await.unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["allow"].to_str().unwrap()
            ),
            (405, allowed)
        );
    }
    for (method, path) in [
        (Method::GET, PLANS.to_owned()),
        (Method::POST, PLANS.to_owned()),
        (Method::GET, format!("{PLANS}/1")),
        (Method::PATCH, format!("{PLANS}/1")),
        (Method::POST, format!("{PLANS}/1/archive")),
    ] {
        let body = json!({});
        assert_eq!(
            refusal(gateway.as_service(method.clone(), &path).json(&body)).await.0,
            403,
            "{method} {path}"
        );
        assert_eq!(
            refusal(gateway.request(method.clone(), &path).json(&body)).await.0,
            401,
            "{method} {path}"
        );
    }
}

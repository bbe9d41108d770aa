//! `/openapi.json` against the routes: all of them are in it, and nothing else is. What they take and answer, `.ci/fuzz` checks.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;

use crate::law::{files, read};
use crate::support::gateway::{TestGateway, answer};

/// The contract: every path beside those of the application, with its methods.
const PATHS: &[(&str, &[&str])] = &[
    ("/api/billing/check", &["POST"]),
    ("/api/billing/check/batch", &["POST"]),
    ("/api/billing/consume", &["POST"]),
    ("/api/billing/consume/batch", &["POST"]),
    ("/api/billing/entities/{entityType}/{entityRef}", &["PUT"]),
    ("/api/billing/holds", &["POST"]),
    ("/api/billing/holds/{holdId}", &["GET"]),
    ("/api/billing/holds/{holdId}/commit", &["POST"]),
    ("/api/billing/holds/{holdId}/release", &["POST"]),
    ("/api/billing/limitations", &["GET"]),
    ("/api/billing/limitations/{code}/history", &["GET"]),
    ("/api/billing/limitations/{code}/ledger", &["GET"]),
    ("/api/billing/limits/refresh", &["POST"]),
    ("/api/billing/plan-state", &["GET"]),
    ("/api/billing/resources/{resourceCode}", &["PUT"]),
    ("/api/billing/resources/{resourceCode}/release", &["POST"]),
    ("/api/billing/webhooks/stripe", &["POST"]),
    ("/api/billing/workspace-tokens", &["POST"]),
    ("/api/console/billing/due", &["GET"]),
    ("/api/console/billing/entities", &["GET"]),
    ("/api/console/billing/entitlement-definitions", &["GET", "POST"]),
    (
        "/api/console/billing/entitlement-definitions/{definitionId}",
        &["GET", "PATCH"],
    ),
    ("/api/console/billing/events", &["GET"]),
    ("/api/console/billing/events/{eventId}", &["GET"]),
    ("/api/console/billing/events/{eventId}/replay", &["POST"]),
    ("/api/console/billing/failing", &["GET"]),
    ("/api/console/billing/grants", &["GET", "POST"]),
    ("/api/console/billing/grants/{grantId}/revoke", &["POST"]),
    ("/api/console/billing/late", &["GET"]),
    ("/api/console/billing/over-limit", &["GET"]),
    ("/api/console/billing/plan-assignments", &["GET", "POST"]),
    ("/api/console/billing/plan-assignments/{assignmentId}/cancel", &["POST"]),
    ("/api/console/billing/plan-changes", &["GET"]),
    ("/api/console/billing/plans", &["GET", "POST"]),
    ("/api/console/billing/plans/{planId}", &["GET", "PATCH"]),
    ("/api/console/billing/plans/{planId}/archive", &["POST"]),
    ("/api/console/billing/procedures", &["GET"]),
    ("/api/console/billing/products", &["GET", "POST"]),
    ("/api/console/billing/products/{productId}", &["GET", "PATCH"]),
    ("/api/console/billing/purchases", &["GET"]),
    ("/api/console/billing/purchases/{purchaseId}/void", &["POST"]),
    ("/api/console/billing/verify", &["POST"]),
    ("/api/realtime/events", &["GET"]),
    ("/healthz", &["GET"]),
    ("/metrics", &["GET"]),
    ("/openapi.json", &["GET"]),
    ("/readyz", &["GET"]),
];

/// The application's own paths lie elsewhere: whoever builds on this chooses them.
const OURS: [&str; 3] = ["/api/billing/", "/api/console/", "/api/realtime/"];

/// What a path that is nobody's is answered with.
const NOTHING: &str = "There is nothing at this path";

/// The described paths, with their methods.
pub async fn described(gateway: &TestGateway) -> BTreeMap<String, BTreeSet<String>> {
    let (status, description) = answer(gateway.request(Method::GET, "/openapi.json")).await;
    assert_eq!((status, &description["openapi"]), (200, &"3.1.0".into()));
    let paths = description["paths"].as_object().unwrap();
    let methods = |item: &Value| {
        item.as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect()
    };
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn the_contract_is_described_and_nothing_more() {
    let gateway = TestGateway::start().await;
    let mut described = described(&gateway).await;
    described.retain(|path, _| !path.starts_with("/api/") || OURS.iter().any(|ours| path.starts_with(ours)));
    let owned = |methods: &[&str]| methods.iter().map(|method| (*method).to_owned()).collect();
    let contract: BTreeMap<String, BTreeSet<String>> = PATHS
        .iter()
        .map(|(path, methods)| ((*path).to_owned(), owned(methods)))
        .collect();
    assert_eq!(described, contract);
}

#[tokio::test]
async fn every_route_of_the_source_is_described() {
    let gateway = TestGateway::start().await;
    let mut routes = BTreeSet::new();
    for file in files("src/gateway", &["rs"]) {
        for route in read(&file).split("path!(").skip(1) {
            let segments = route
                .split(')')
                .next()
                .unwrap()
                .split('/')
                .map(|segment| match segment.trim() {
                    literal if literal.starts_with('"') => literal.trim_matches('"').to_owned(),
                    _ => "{}".to_owned(),
                });
            routes.insert(format!("/{}", segments.collect::<Vec<_>>().join("/")));
        }
    }
    let described = described(&gateway).await;
    let named = |path: &String| {
        let segments = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "{}" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    };
    assert_eq!(described.keys().map(named).collect::<BTreeSet<_>>(), routes);
}

#[tokio::test]
async fn what_is_described_is_answered_and_no_other_method_is() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    for (path, methods) in described(&gateway).await {
        let segments = path.split('/').map(|segment| match segment {
            "{entityType}" => "workspace",
            "{entityRef}" => "acme",
            "{code}" | "{resourceCode}" => "projects",
            id if id.starts_with('{') => "1",
            literal => literal,
        });
        let place = segments.collect::<Vec<_>>().join("/");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let response = gateway.as_admin(method.clone(), &place).send().await.unwrap();
            let status = response.status().as_u16();
            if methods.contains(method.as_str()) {
                assert_ne!(status, 405, "{method} {path}");
                // A thing that is not there is another answer than a path that is not.
                if status == 404 {
                    let body: Value = response.json().await.unwrap();
                    assert_ne!(body["detail"], NOTHING, "{method} {path}");
                }
                continue;
            }
            assert_eq!(status, 405, "{method} {path}");
            let allowed = response.headers()["allow"].to_str().unwrap();
            let allowed: BTreeSet<String> = allowed.split(", ").map(str::to_owned).collect();
            assert_eq!(allowed, methods, "{method} {path}");
        }
    }
    // And the walk would see a path that is not there.
    let (status, body) = answer(gateway.as_admin(Method::GET, "/api/billing/nothing")).await;
    assert_eq!((status, &body["detail"]), (404, &NOTHING.into()));
}

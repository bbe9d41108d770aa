//! Who gets in: every route, and every caller. One table, which is held complete against the description.

mod forged;
mod rates;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use consumable::gateway::Secret;
use consumable::procedures::access;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::openapi::described;
use crate::support::gateway::{TOKEN_SECRET, TestGateway, answer};
use crate::support::stripe::signature;

const MANAGE: &str = "workspace.billing.manage";

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Everybody.
    Open,
    /// A user of the workspace that the request is about, and who may do more.
    Workspace,
    /// A user of that workspace who manages its billing, and who may do more.
    Manager,
    /// An application's backend, and an operator.
    Service,
    /// An operator.
    Admin,
    /// The payment provider, and nobody else, whatever he may do elsewhere.
    Provider,
}

use Door::{Admin, Manager, Open, Provider, Service, Workspace};

/// Every route beside those of the application: its path as it is described, and where else than there it is called; its methods.
const ROUTES: &[(&str, &str, &[&str], Door)] = &[
    ("/api/billing/check", "", &["POST"], Service),
    ("/api/billing/check/batch", "", &["POST"], Service),
    ("/api/billing/consume", "", &["POST"], Service),
    ("/api/billing/consume/batch", "", &["POST"], Service),
    (
        "/api/billing/entities/{entityType}/{entityRef}",
        "/api/billing/entities/workspace/acme",
        &["PUT"],
        Service,
    ),
    ("/api/billing/holds", "", &["POST"], Service),
    ("/api/billing/holds/{holdId}", "/api/billing/holds/1", &["GET"], Service),
    (
        "/api/billing/holds/{holdId}/commit",
        "/api/billing/holds/1/commit",
        &["POST"],
        Service,
    ),
    (
        "/api/billing/holds/{holdId}/release",
        "/api/billing/holds/1/release",
        &["POST"],
        Service,
    ),
    ("/api/billing/limitations", "", &["GET"], Workspace),
    (
        "/api/billing/limitations/{code}/history",
        "/api/billing/limitations/ai.credits/history",
        &["GET"],
        Workspace,
    ),
    (
        "/api/billing/limitations/{code}/ledger",
        "/api/billing/limitations/ai.credits/ledger",
        &["GET"],
        Workspace,
    ),
    ("/api/billing/limits/refresh", "", &["POST"], Admin),
    ("/api/billing/plan-state", "", &["GET"], Workspace),
    (
        "/api/billing/resources/{resourceCode}",
        "/api/billing/resources/projects",
        &["PUT"],
        Service,
    ),
    (
        "/api/billing/resources/{resourceCode}/release",
        "/api/billing/resources/projects/release",
        &["POST"],
        Service,
    ),
    ("/api/billing/webhooks/stripe", "", &["POST"], Provider),
    ("/api/billing/workspace-tokens", "", &["POST"], Service),
    ("/api/console/billing/due", "", &["GET"], Admin),
    ("/api/console/billing/entities", "", &["GET"], Admin),
    (
        "/api/console/billing/entitlement-definitions",
        "",
        &["GET", "POST"],
        Admin,
    ),
    (
        "/api/console/billing/entitlement-definitions/{definitionId}",
        "/api/console/billing/entitlement-definitions/1",
        &["GET", "PATCH"],
        Admin,
    ),
    ("/api/console/billing/events", "", &["GET"], Admin),
    (
        "/api/console/billing/events/{eventId}",
        "/api/console/billing/events/1",
        &["GET"],
        Admin,
    ),
    (
        "/api/console/billing/events/{eventId}/replay",
        "/api/console/billing/events/1/replay",
        &["POST"],
        Admin,
    ),
    ("/api/console/billing/failing", "", &["GET"], Admin),
    ("/api/console/billing/grants", "", &["GET", "POST"], Admin),
    (
        "/api/console/billing/grants/{grantId}/revoke",
        "/api/console/billing/grants/1/revoke",
        &["POST"],
        Admin,
    ),
    ("/api/console/billing/late", "", &["GET"], Admin),
    ("/api/console/billing/over-limit", "", &["GET"], Admin),
    ("/api/console/billing/plan-assignments", "", &["GET", "POST"], Admin),
    (
        "/api/console/billing/plan-assignments/{assignmentId}/cancel",
        "/api/console/billing/plan-assignments/1/cancel",
        &["POST"],
        Admin,
    ),
    ("/api/console/billing/plan-changes", "", &["GET"], Admin),
    ("/api/console/billing/plans", "", &["GET", "POST"], Admin),
    (
        "/api/console/billing/plans/{planId}",
        "/api/console/billing/plans/1",
        &["GET", "PATCH"],
        Admin,
    ),
    (
        "/api/console/billing/plans/{planId}/archive",
        "/api/console/billing/plans/1/archive",
        &["POST"],
        Admin,
    ),
    ("/api/console/billing/procedures", "", &["GET"], Admin),
    ("/api/console/billing/products", "", &["GET", "POST"], Admin),
    (
        "/api/console/billing/products/{productId}",
        "/api/console/billing/products/1",
        &["GET", "PATCH"],
        Admin,
    ),
    ("/api/console/billing/purchases", "", &["GET"], Admin),
    (
        "/api/console/billing/purchases/{purchaseId}/void",
        "/api/console/billing/purchases/1/void",
        &["POST"],
        Admin,
    ),
    ("/api/console/billing/verify", "", &["POST"], Admin),
    (
        "/api/realtime/events",
        "/api/realtime/events?topic=workspace_billing_limits&surface=app",
        &["GET"],
        Workspace,
    ),
    (
        "/api/realtime/events",
        "/api/realtime/events?topic=workspace_billing_limits&surface=admin",
        &["GET"],
        Manager,
    ),
    ("/healthz", "", &["GET"], Open),
    ("/metrics", "", &["GET"], Open),
    ("/openapi.json", "", &["GET"], Open),
    ("/readyz", "", &["GET"], Open),
];

/// What a caller hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// Whatever the route says to those whom it lets in.
    In,
    /// That he has proved nothing.
    Unauthenticated,
    /// That this is not for him.
    Forbidden,
}

/// What a caller may do who has proved who he is. Everything further down needs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    None,
    Elsewhere,
    Workspace,
    Manager,
    Service,
    Admin,
}

impl Proof {
    fn hears(self, door: Door) -> Heard {
        let needed = match door {
            Open => return Heard::In,
            // Whatever else he proves, he has not signed the body.
            Provider => return Heard::Unauthenticated,
            Workspace => Proof::Workspace,
            Manager => Proof::Manager,
            Service => Proof::Service,
            Admin => Proof::Admin,
        };
        match self {
            Proof::None => Heard::Unauthenticated,
            proof if proof >= needed => Heard::In,
            _ => Heard::Forbidden,
        }
    }
}

/// Every caller: who he is, what he sends as `Authorization`, and what that proves.
async fn callers(gateway: &TestGateway) -> Vec<(&'static str, Option<String>, Proof)> {
    let database = gateway.test.connect().await;
    let revoked = Secret::generate().unwrap();
    let key = access::create_key(&database, "gone", "admin", revoked.sha256())
        .await
        .unwrap();
    access::revoke_key(&database, key.id).await.unwrap();
    database.disconnect().await.unwrap();
    let unknown = Secret::generate().unwrap();
    let plain = gateway.token("acme", "app", &[], 900).await;
    let manager = gateway.token("acme", "admin", &[MANAGE], 900).await;
    let other = gateway.token("other", "admin", &[MANAGE], 900).await;
    let bearer = |proof: &str| Some(format!("Bearer {proof}"));
    let mut callers = vec![
        ("nobody", None, Proof::None),
        ("no word", Some(String::new()), Proof::None),
        ("a scheme without a proof", Some("Bearer".into()), Proof::None),
        ("no key", bearer("ck_garbage"), Proof::None),
        ("a key of nobody", bearer(unknown.reveal()), Proof::None),
        ("a key that was revoked", bearer(revoked.reveal()), Proof::None),
        (
            "an admin by another scheme",
            Some(format!("Basic {}", gateway.admin)),
            Proof::None,
        ),
        (
            "an admin's key without its last letter",
            bearer(&gateway.admin[..45]),
            Proof::None,
        ),
        (
            "an admin's key in small letters",
            bearer(&gateway.admin.to_lowercase()),
            Proof::None,
        ),
        ("the secret of tokens", bearer(TOKEN_SECRET), Proof::None),
        ("another workspace's user", bearer(&other), Proof::Elsewhere),
        ("the workspace's user", bearer(&plain), Proof::Workspace),
        ("the workspace's manager", bearer(&manager), Proof::Manager),
        (
            "the same by a token made anew",
            bearer(&forged::unchanged(&manager)),
            Proof::Manager,
        ),
        ("a service", bearer(&gateway.service), Proof::Service),
        (
            "a service by a small scheme",
            Some(format!("bearer {}", gateway.service)),
            Proof::Service,
        ),
        ("an admin", bearer(&gateway.admin), Proof::Admin),
    ];
    callers.extend(
        forged::all(&manager)
            .into_iter()
            .map(|(what, token)| (what, bearer(&token), Proof::None)),
    );
    callers
}

/// The table, as far as it is not the application's own, and the application's own.
async fn routes(gateway: &TestGateway) -> Vec<(Method, String, Door)> {
    let mut described = described(gateway).await;
    let mut routes = Vec::new();
    let mut told: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, place, methods, door) in ROUTES {
        for method in *methods {
            told.entry(path).or_default().insert((*method).to_owned());
            let place = if place.is_empty() { path } else { place };
            routes.push((method.parse().unwrap(), (*place).to_owned(), *door));
        }
    }
    for (path, methods) in told {
        assert_eq!(described.remove(path), Some(methods), "{path} is described otherwise");
    }
    // Whatever an application adds stands behind one gate.
    for (path, methods) in described {
        let is_ours = ["/api/billing/", "/api/console/", "/api/realtime/"]
            .iter()
            .any(|ours| path.starts_with(ours));
        assert!(path.starts_with("/api/") && !is_ours, "{path} is missing in the table");
        let segments = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "1" } else { segment });
        let place = segments.collect::<Vec<_>>().join("/");
        routes.extend(
            methods
                .iter()
                .map(|method| (method.parse().unwrap(), place.clone(), Workspace)),
        );
    }
    // What a browser loads before anybody has signed in.
    routes.push((Method::GET, "/".to_owned(), Open));
    routes
}

#[tokio::test]
async fn who_gets_in() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    assert_eq!(answer(other.json(&json!({"workspaceSlug": "other"}))).await.0, 201);
    let (callers, routes) = (callers(&gateway).await, routes(&gateway).await);
    let (mut wrong, mut tried) = (Vec::new(), 0);
    let mut words: BTreeMap<Heard, BTreeSet<String>> = BTreeMap::new();
    for (method, path, door) in &routes {
        for (who, authorization, proof) in &callers {
            let mut request = gateway.request(method.clone(), path).header("X-Workspace-Slug", "acme");
            if let Some(authorization) = authorization {
                request = request.header("Authorization", authorization);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let heard = match status {
                401 => Heard::Unauthenticated,
                403 => Heard::Forbidden,
                _ => Heard::In,
            };
            let expected = proof.hears(*door);
            if heard != expected || status >= 500 {
                wrong.push(format!("{method} {path}: {who} hears {status}, not as {expected:?}"));
            }
            if heard != Heard::In {
                let challenge = response.headers().get("www-authenticate").cloned();
                let is_asked = challenge.is_some_and(|scheme| scheme == "Bearer");
                assert!(
                    *door == Provider || is_asked == (status == 401),
                    "{method} {path}: {who}"
                );
                // The provider's own door has words of its own.
                if *door != Provider {
                    words.entry(heard).or_default().insert(response.text().await.unwrap());
                }
            }
            tried += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(
        words.values().all(|words| words.len() == 1),
        "an outsider is told more than one thing: {words:?}"
    );
    assert!(tried > 1_000 && words.len() == 2, "{tried} times");

    // And he whom the provider's door is for.
    let body = br#"{"id": "evt_1", "type": "customer.created", "created": 1, "data": {"object": {}}}"#;
    let signed: RequestBuilder = gateway.webhook(Some(&signature(body)), body);
    assert_eq!(answer(signed).await.0, 200);
    let read = gateway
        .request(Method::GET, "/api/billing/limitations")
        .header("X-Workspace-Slug", "acme");
    assert_eq!(
        read.header("Stripe-Signature", signature(body))
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
}

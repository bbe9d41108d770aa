//! No route but the signed webhook makes a purchase grant: all of them are walked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gateway::TestGateway;
use crate::support::shop::Event;

/// Every path that the gateway's source gives a route, with something in the places of its parameters.
fn paths() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            for found in text.split("path!(").skip(1) {
                let inside = found.split(')').next().unwrap();
                let parts = inside.split('/').map(|part| match part.trim() {
                    literal if literal.starts_with('"') => literal.trim_matches('"').to_owned(),
                    "u64" | "u32" | "i64" => "1".to_owned(),
                    _ => "acme".to_owned(),
                });
                paths.insert(format!("/{}", parts.collect::<Vec<_>>().join("/")));
            }
        }
    }
    paths
}

/// Bodies that ask for a purchase in any words that some route might understand.
fn bodies(entity: u64) -> Vec<Value> {
    let event = Event::current("checkout.session.completed").now().0;
    let session = event["data"]["object"].clone();
    let grant = |kind: &str| json!({"billableEntityId": entity, "code": "shop.credits", "amount": 100, "kind": kind, "source": "purchase", "purchaseId": 1, "reason": "x"});
    let plain =
        json!({"billableEntityId": entity, "code": "shop.credits", "amount": 100, "kind": "topup", "reason": "x"});
    vec![
        json!({"priceId": "price_pack", "quantity": 1, "sessionId": "cs_pack", "billableEntityId": entity, "status": "paid"}),
        json!({"reason": "x"}),
        json!({}),
        grant("topup"),
        grant("promo"),
        plain,
        session,
        event,
    ]
}

async fn purchase_grants(session: &mut Conn) -> (u64, u64, u64) {
    let counted: Option<(u64, u64, u64)> = session
        .query_first(
            "SELECT (SELECT COUNT(*) FROM billing_purchases), (SELECT COUNT(*) FROM billing_purchase_grants),
                    (SELECT COUNT(*) FROM billing_entitlement_grants WHERE source = 'purchase' OR grant_kind IN ('topup', 'addon_timeboxed'))",
        )
        .await
        .unwrap();
    counted.unwrap()
}

#[tokio::test]
async fn no_other_route_makes_a_purchase_grant() {
    let (gateway, entity) = TestGateway::with_shop().await;
    let mut session = gateway.test.session().await;
    let mut paths = paths();
    for known in [
        "/api/billing/webhooks/stripe",
        "/api/billing/consume",
        "/api/console/billing/grants",
        "/api/console/billing/purchases/1/void",
        "/api/console/billing/events/1/replay",
        "/api/billing/entities/acme/acme",
    ] {
        assert!(paths.contains(known), "the walk misses {known}: {paths:?}");
    }
    // Where a shop's customer comes back to, and where somebody might look for a way in.
    for tried in [
        "/?session_id=cs_pack&status=paid",
        "/success?session_id=cs_pack",
        "/api/billing/checkout/success?session_id=cs_pack",
        "/api/billing/purchases",
        "/api/console/billing/purchases",
        "/api/billing/webhooks",
        "/api/billing/webhooks/stripe?access_token=x",
    ] {
        paths.insert(tried.to_owned());
    }
    let mut answered = 0;
    for path in &paths {
        for key in [None, Some(&gateway.service), Some(&gateway.admin)] {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let bodies = match method {
                    Method::GET | Method::DELETE => vec![json!({})],
                    _ => bodies(entity),
                };
                for (n, body) in bodies.into_iter().enumerate() {
                    let mut request = gateway
                        .request(method.clone(), path)
                        .header("X-Workspace-Slug", "acme")
                        .header("Idempotency-Key", format!("key-{method}-{n}-{answered}"))
                        .header("Stripe-Signature", "t=1,v1=00")
                        .json(&body);
                    if let Some(key) = key {
                        request = request.bearer_auth(key);
                    }
                    // Streams of events do not end: their heads are enough.
                    let status = request.send().await.unwrap().status().as_u16();
                    assert!(status < 500, "{method} {path}: {status}");
                    answered += 1;
                }
            }
        }
        assert_eq!(purchase_grants(&mut session).await, (0, 0, 0), "{path}");
    }
    println!("{answered} requests to {} paths made no purchase", paths.len());

    let (status, body) = gateway
        .receive(&Event::current("checkout.session.completed").now())
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(purchase_grants(&mut session).await, (1, 3, 3));
}

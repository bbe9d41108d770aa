//! One caller's requests are bounded, and nobody else's by them.

use consumable::config::Rate;
use consumable::serve::Settings;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::database::TestDatabase;
use crate::support::gateway::{TestGateway, answer, refusal, settings};

const LIMITATIONS: &str = "/api/billing/limitations";

/// So many more at once than in a second that no test is long enough to be given many.
const AT_ONCE: u32 = 20;

/// A gateway with that bound, whose keys have sent nothing.
async fn gateway() -> TestGateway {
    let test = TestDatabase::migrated().await;
    let mut dba = test.session().await;
    for slug in ["acme", "other"] {
        let put = format!("CALL billing_put_entity_v1('workspace', '{slug}', '{slug}', NULL, NULL, NULL)");
        mysql_async::prelude::Queryable::query_drop(&mut dba, put)
            .await
            .unwrap();
    }
    let url = test.gateway_url();
    let key_rate = Some(Rate {
        per_second: 1,
        at_once: AT_ONCE,
    });
    TestGateway::with(test, &url, Settings { key_rate, ..settings() }).await
}

/// Sends until it is refused; gives how often it was not.
async fn until_refused(request: impl Fn() -> RequestBuilder) -> u32 {
    for sent in 0..10 * AT_ONCE {
        let response = request().send().await.unwrap();
        if response.status() == 429 {
            assert_eq!(response.headers()["retry-after"], "1");
            assert!(response.text().await.unwrap().contains("KEY_RATE_EXCEEDED"));
            return sent;
        }
        assert_eq!(response.status(), 200);
    }
    panic!("never refused")
}

#[tokio::test]
async fn each_caller_is_bounded_by_himself() {
    let gateway = gateway().await;
    let tokens = [
        gateway.token("acme", "app", &[], 900).await,
        gateway.token("acme", "admin", &[], 900).await,
        gateway.token("other", "app", &[], 900).await,
    ];
    let read = |proof: &str| {
        gateway
            .request(Method::GET, LIMITATIONS)
            .header("X-Workspace-Slug", "acme")
            .bearer_auth(proof)
    };
    let service = until_refused(|| read(&gateway.service)).await;
    // Three of them made the tokens; while it sent the others, a few more became its own.
    assert!((AT_ONCE - 3..AT_ONCE + 10).contains(&service), "{service}");
    // It is told so whatever it asks for, and so is who has its key elsewhere.
    let batch = gateway
        .request(Method::POST, "/api/billing/consume/batch")
        .bearer_auth(&gateway.service);
    let refused = (429, "KEY_RATE_EXCEEDED".to_owned(), vec![]);
    until_refused(|| read(&gateway.service)).await;
    assert_eq!(refusal(batch.json(&json!({"requests": []}))).await, refused);

    // The others are let in: another key, and the users of each workspace, who count together.
    assert!(until_refused(|| read(&gateway.admin)).await >= AT_ONCE);
    let first = until_refused(|| read(&tokens[0])).await;
    assert!(first >= AT_ONCE, "{first}");
    assert!(until_refused(|| read(&tokens[1])).await < 5);
    let other = || gateway.request(Method::GET, LIMITATIONS).bearer_auth(&tokens[2]);
    assert!(until_refused(other).await >= AT_ONCE);

    // Nobody is nobody still, and health is told to all.
    for _ in 0..2 * AT_ONCE {
        let nobody = gateway.request(Method::GET, LIMITATIONS).bearer_auth("ck_garbage");
        assert_eq!(nobody.send().await.unwrap().status(), 401);
    }
    assert_eq!(answer(gateway.request(Method::GET, "/healthz")).await.0, 200);
    // And then it goes on, as it was told.
    let again = async { while read(&gateway.service).send().await.unwrap().status() == 429 {} };
    tokio::time::timeout(crate::support::gateway::PATIENCE, again)
        .await
        .expect("let in again");
}

//! One caller's requests are bounded, and nobody else's by them.

use consumable::config::Rate;
use consumable::serve::Settings;
use mysql_async::prelude::Queryable;
use reqwest::{Method, RequestBuilder};

use crate::support::database::TestDatabase;
use crate::support::gateway::{PATIENCE, TestGateway, answer, settings};

const LIMITATIONS: &str = "/api/billing/limitations";

/// So many more at once than in a second that none becomes his again while a test sends them.
const AT_ONCE: u32 = 20;

/// A gateway with that bound, whose keys have sent nothing.
async fn gateway() -> TestGateway {
    let test = TestDatabase::migrated().await;
    let mut dba = test.session().await;
    for slug in ["acme", "other"] {
        let put = format!("CALL billing_put_entity_v1('workspace', '{slug}', '{slug}', NULL, NULL, NULL)");
        dba.query_drop(put).await.unwrap();
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
    // Three of them made the tokens.
    assert!(until_refused(|| read(&gateway.service)).await >= AT_ONCE - 3);
    // It is told so whatever it asks for.
    let plan_state = || gateway.as_service(Method::GET, "/api/billing/plan-state");
    assert!(until_refused(plan_state).await < AT_ONCE);

    // The others are let in: another key, and the users of each workspace, who count together.
    assert!(until_refused(|| read(&gateway.admin)).await >= AT_ONCE);
    assert!(until_refused(|| read(&tokens[0])).await >= AT_ONCE);
    assert!(until_refused(|| read(&tokens[1])).await < AT_ONCE);
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
    tokio::time::timeout(PATIENCE, again).await.expect("let in again");
}

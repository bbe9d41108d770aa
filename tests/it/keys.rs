//! `consumable keys` and what `consumable serve` refuses.

use chrono::NaiveDateTime;
use mysql_async::prelude::Queryable;
use reqwest::Method;

use crate::support::command::consumable;
use crate::support::database::TestDatabase;
use crate::support::gateway::TestGateway;

#[tokio::test]
async fn a_key_is_made_listed_and_revoked() {
    let test = TestDatabase::migrated().await;
    let url = test.gateway_url();
    let (code, made, _) = consumable(&url, &["keys", "create", "--role", "service", "--name", "The shop"]);
    let secret = made.lines().last().unwrap();
    assert_eq!((code, secret.len(), &secret[..3]), (Some(0), 46, "ck_"));
    let (code, list, _) = consumable(&url, &["keys", "list"]);
    let line = list.lines().last().unwrap();
    assert!(
        code == Some(0) && line.contains("service") && line.ends_with("The shop"),
        "{list}"
    );
    assert!(!list.contains(secret));
    let (code, revoked, _) = consumable(&url, &["keys", "revoke", "1"]);
    assert!(
        code == Some(0) && revoked.starts_with("Key 1 of The shop (service) is revoked since "),
        "{revoked}"
    );

    let (code, _, error) = consumable(&url, &["keys", "revoke", "99"]);
    assert!(code == Some(1) && error.contains("API_KEY_NOT_FOUND"), "{error}");
    let (code, _, error) = consumable(&url, &["keys", "create", "--role", "admin", "--name", " "]);
    assert!(code == Some(1) && error.contains("must say whose key it is"), "{error}");
    let long = "n".repeat(121);
    assert_eq!(
        consumable(&url, &["keys", "create", "--role", "admin", "--name", &long]).0,
        Some(1)
    );
    assert_eq!(
        consumable(&url, &["keys", "create", "--role", "king", "--name", "x"]).0,
        Some(2)
    );
}

#[tokio::test]
async fn serve_refuses_what_it_cannot_serve() {
    let test = TestDatabase::empty().await;
    let (code, _, error) = consumable(&test.gateway_url(), &["serve", "--listen", "127.0.0.1:0"]);
    assert!(
        code == Some(1) && error.trim_end().ends_with("Run consumable migrate"),
        "{error}"
    );
    let (code, _, error) = consumable("mysql://u@localhost/x?socket=/nowhere", &["serve"]);
    assert!(code == Some(3) && error.contains("not available"), "{error}");
    for (url, listen) in [("", "127.0.0.1:0"), (test.gateway_url().as_str(), "8080")] {
        assert_eq!(consumable(url, &["serve", "--listen", listen]).0, Some(2));
    }
}

#[tokio::test]
async fn serve_names_a_port_that_is_taken() {
    let test = TestDatabase::migrated().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, error) = consumable(&test.gateway_url(), &["serve", "--listen", &address]);
    assert!(code == Some(1) && error.contains(&address), "{error}");
}

/// The status that a key is answered with.
async fn opens(gateway: &TestGateway, key: &str) -> u16 {
    let request = gateway
        .request(Method::GET, "/api/billing/limitations")
        .header("X-Workspace-Slug", "acme");
    request.bearer_auth(key).send().await.unwrap().status().as_u16()
}

/// The last line, which is the key.
fn last_line(said: &str) -> &str {
    said.lines().last().unwrap()
}

#[tokio::test]
async fn a_key_is_replaced_without_turning_anybody_out() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let url = gateway.test.gateway_url();
    let (_, made, _) = consumable(&url, &["keys", "create", "--role", "service", "--name", "The shop"]);
    let old = last_line(&made);
    let (code, replaced, error) = consumable(&url, &["keys", "rotate", "3"]);
    assert!(
        code == Some(0)
            && replaced.starts_with("Key 4 of The shop (service), in the place of key 3, which holds until "),
        "{replaced}{error}"
    );
    let new = last_line(&replaced);
    assert_eq!((opens(&gateway, old).await, opens(&gateway, new).await), (200, 200));
    let mut dba = gateway.test.session().await;
    let hours =
        "SELECT ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), revoked_at) / 3600) FROM billing_api_keys WHERE id = 3";
    assert_eq!(dba.query_first::<u32, _>(hours).await.unwrap(), Some(24));

    // Its time comes.
    dba.query_drop("UPDATE billing_api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = 3")
        .await
        .unwrap();
    assert_eq!((opens(&gateway, old).await, opens(&gateway, new).await), (401, 200));
    // Without an overlap, and sooner than was said: the later word counts.
    let (_, again, _) = consumable(&url, &["keys", "rotate", "4", "--overlap-hours", "0"]);
    let newest = last_line(&again);
    assert_eq!((opens(&gateway, new).await, opens(&gateway, newest).await), (401, 200));
    consumable(&url, &["keys", "rotate", "5"]);
    assert_eq!(opens(&gateway, newest).await, 200);
    assert_eq!(consumable(&url, &["keys", "revoke", "5"]).0, Some(0));
    assert_eq!(opens(&gateway, newest).await, 401);

    for id in ["3", "5", "99"] {
        let (code, _, error) = consumable(&url, &["keys", "rotate", id]);
        assert!(code == Some(1) && error.contains("API_KEY_NOT_FOUND"), "{error}");
    }
    assert_eq!(
        consumable(&url, &["keys", "rotate", "6", "--overlap-hours", "721"]).0,
        Some(2)
    );
    let rows = "SELECT COUNT(*) FROM billing_api_keys";
    assert_eq!(dba.query_first::<u32, _>(rows).await.unwrap(), Some(6));
}

#[tokio::test]
async fn the_last_use_of_a_key_is_written_once_a_minute() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let mut dba = gateway.test.session().await;
    let last_used = "SELECT last_used_at FROM billing_api_keys WHERE role = 'service'";
    let before: Option<NaiveDateTime> = dba.query_first(last_used).await.unwrap();
    assert!(before.is_some());
    for _ in 0..20 {
        assert_eq!(opens(&gateway, &gateway.service).await, 200);
    }
    assert_eq!(
        dba.query_first::<Option<NaiveDateTime>, _>(last_used).await.unwrap(),
        Some(before)
    );
    let ago = "UPDATE billing_api_keys SET last_used_at = UTC_TIMESTAMP(3) - INTERVAL 61 SECOND WHERE role = 'service'";
    dba.query_drop(ago).await.unwrap();
    assert_eq!(opens(&gateway, &gateway.service).await, 200);
    let after: Option<NaiveDateTime> = dba.query_first(last_used).await.unwrap();
    assert!(after > before, "{after:?}");
    // Who is refused has not used it.
    dba.query_drop("UPDATE billing_api_keys SET revoked_at = UTC_TIMESTAMP(3), last_used_at = NULL")
        .await
        .unwrap();
    assert_eq!(opens(&gateway, &gateway.service).await, 401);
    assert_eq!(
        dba.query_first::<Option<NaiveDateTime>, _>(last_used).await.unwrap(),
        Some(None)
    );
}

//! `consumable keys` and what `consumable serve` refuses.

use std::process::{Command, Output};

use crate::support::database::TestDatabase;

fn consumable(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_consumable"))
        .args(arguments)
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

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

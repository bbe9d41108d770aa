//! Who is believed.

use chrono::Utc;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;

use crate::support::gateway::{TestGateway, WEBHOOK_SECRETS, answer, refusal};
use crate::support::shop::Event;
use crate::support::stripe::{WEBHOOK, signature, v1};

const SECRETS: [&str; 2] = WEBHOOK_SECRETS;

#[tokio::test]
async fn only_a_signature_of_these_bytes_by_a_secret_of_now_is_believed() {
    let (gateway, _) = TestGateway::with_shop().await;
    let event = Event::current("customer.created");
    let body = event.body().into_bytes();
    let now = Utc::now().timestamp();
    let [old, new] = SECRETS;
    let good = v1(new, now, &body);
    let zeros = "0".repeat(64);
    let mut changed = body.clone();
    changed[0] = b' ';
    let mut spaced = body.clone();
    spaced.push(b'\n');
    // What is wrong (or right), the header, the body, whether it is believed.
    #[rustfmt::skip]
    let cases: Vec<(&str, Option<String>, &[u8], bool)> = vec![
        ("no header",                  None,                                                          &body, false),
        ("an empty header",            Some(String::new()),                                           &body, false),
        ("no time",                    Some(format!("v1={good}")),                                    &body, false),
        ("no signature",               Some(format!("t={now}")),                                      &body, false),
        ("a wrong secret",             Some(format!("t={now},v1={}", v1("whsec_of_somebody_else", now, &body))), &body, false),
        ("an empty secret",            Some(format!("t={now},v1={}", v1("", now, &body))),            &body, false),
        ("another time than signed",   Some(format!("t={},v1={good}", now + 1)),                      &body, false),
        ("too old",                    Some(format!("t={0},v1={1}", now - 310, v1(new, now - 310, &body))), &body, false),
        ("too far ahead",              Some(format!("t={0},v1={1}", now + 310, v1(new, now + 310, &body))), &body, false),
        ("an unknown scheme",          Some(format!("t={now},v0={good}")),                            &body, false),
        ("half a signature",           Some(format!("t={now},v1={}", &good[..32])),                   &body, false),
        ("not hex",                    Some(format!("t={now},v1={}", "z".repeat(64))),                &body, false),
        ("a changed byte",             Some(format!("t={now},v1={good}")),                            &changed, false),
        ("a byte more",                Some(format!("t={now},v1={good}")),                            &spaced, false),
        ("an empty body",              Some(format!("t={now},v1={good}")),                            b"", false),
        ("the new secret",             Some(format!("t={now},v1={good}")),                            &body, true),
        ("the old secret",             Some(format!("t={now},v1={}", v1(old, now, &body))),           &body, true),
        ("capital digits",             Some(format!("t={now},v1={}", good.to_uppercase())),           &body, true),
        ("several, the last is right", Some(format!("t={now},v1={zeros},v0={zeros},v1={good}")),      &body, true),
        ("several, the first is right", Some(format!("t={now},v1={good},v1={zeros}")),                &body, true),
        ("with blanks",                Some(format!("t={now}, v1={good}")),                           &body, true),
        ("almost too old",             Some(format!("t={0},v1={1}", now - 280, v1(new, now - 280, &body))), &body, true),
        ("almost too far ahead",       Some(format!("t={0},v1={1}", now + 280, v1(new, now + 280, &body))), &body, true),
    ];
    let mut refusals = Vec::new();
    for (what, header, body, is_believed) in cases {
        let request = gateway.webhook(header.as_deref(), body);
        if is_believed {
            let (status, body) = answer(request).await;
            assert_eq!((status, &body["received"]), (200, &json!(true)), "{what}: {body}");
        } else {
            let (status, body) = answer(request).await;
            assert_eq!(
                (status, &body["code"]),
                (401, &json!("UNAUTHENTICATED")),
                "{what}: {body}"
            );
            refusals.push(body);
        }
    }
    // Whatever was wrong, an outsider hears the same.
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

#[tokio::test]
async fn a_gateway_without_secrets_believes_nobody() {
    let test = crate::support::database::TestDatabase::migrated().await;
    let url = test.gateway_url();
    let gateway = TestGateway::with_secrets(test, &url, &[], &[]).await;
    let body = Event::current("customer.created").body();
    let signed = gateway.webhook(Some(&signature(body.as_bytes())), body);
    assert_eq!(refusal(signed).await, (401, "UNAUTHENTICATED".into(), vec![]));
}

#[tokio::test]
async fn the_body_is_kept_as_it_was_sent_and_is_bounded() {
    let (gateway, _) = TestGateway::with_shop().await;
    // Blanks, an escape and a key twice: what a parser would not write again like that.
    let odd = "{ \"id\":\"evt_odd\",\"type\" : \"a.b\",\n\"x\": 1, \"x\": \"\\u00e4ä\" }";
    let (status, body) = answer(gateway.webhook(Some(&signature(odd.as_bytes())), odd)).await;
    assert_eq!((status, body), (200, json!({"received": true, "outcome": "ignored"})));
    let mut session = gateway.test.session().await;
    let kept: Option<Vec<u8>> = session
        .query_first("SELECT payload FROM billing_events WHERE id = 1")
        .await
        .unwrap();
    assert_eq!(kept.as_deref(), Some(odd.as_bytes()));

    let padded = |bytes: usize| {
        let mut body = "{\"id\": \"evt_long\", \"type\": \"a.b\"".to_owned();
        body.extend(std::iter::repeat_n(' ', bytes - body.len() - 1));
        body + "}"
    };
    let whole = padded(1 << 20);
    let (status, body) = answer(gateway.webhook(Some(&signature(whole.as_bytes())), whole)).await;
    assert_eq!(status, 200, "{body}");
    let long = padded((1 << 20) + 1);
    let refused = refusal(gateway.webhook(Some(&signature(long.as_bytes())), long)).await;
    assert_eq!(refused, (413, "PAYLOAD_TOO_LARGE".into(), vec![]));
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_refused_by_name() {
    let (gateway, _) = TestGateway::with_shop().await;
    for (body, code, field) in [
        ("", "MALFORMED_JSON", "body"),
        ("{", "MALFORMED_JSON", "body"),
        ("[]", "VALIDATION_FAILED", "body"),
        ("{}", "VALIDATION_FAILED", "id"),
        ("{\"id\": 1, \"type\": \"x\"}", "VALIDATION_FAILED", "id"),
        ("{\"id\": \"\", \"type\": \"x\"}", "VALIDATION_FAILED", "id"),
        ("{\"id\": \"evt 1\", \"type\": \"x\"}", "VALIDATION_FAILED", "id"),
        ("{\"id\": \"evt_1\"}", "VALIDATION_FAILED", "type"),
        ("{\"id\": \"evt_1\", \"type\": \"ä\"}", "VALIDATION_FAILED", "type"),
        (
            "{\"id\": \"evt_1\", \"type\": \"x\", \"api_version\": \"\"}",
            "VALIDATION_FAILED",
            "api_version",
        ),
    ] {
        let refused = refusal(gateway.webhook(Some(&signature(body.as_bytes())), body)).await;
        assert_eq!(refused, (400, code.into(), vec![field.into()]), "{body}");
    }
    let get = gateway.request(Method::GET, WEBHOOK);
    assert_eq!(refusal(get).await.1, "METHOD_NOT_ALLOWED");
}

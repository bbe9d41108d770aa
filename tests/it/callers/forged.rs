//! Tokens that are none: made of one that is, by somebody who does not know the secret, or does not do with it what we do.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::gateway::TOKEN_SECRET;

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The signature of a token's first two parts.
fn signed(secret: &str, parts: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(parts.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// `token` as somebody makes it who knows a secret: its parts, changed, and what signs them.
fn made(token: &str, secret: &str, change: &dyn Fn(&mut Value, &mut Value)) -> (String, String) {
    let parts: Vec<&str> = token.split('.').collect();
    let (mut header, mut claims) = (decoded(parts[0]), decoded(parts[1]));
    change(&mut header, &mut claims);
    let parts = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = signed(secret, &parts);
    (parts, signature)
}

/// The same token made anew: whatever is wrong with those of [`all`] is what is changed in them.
pub fn unchanged(token: &str) -> String {
    let (parts, signature) = made(token, TOKEN_SECRET, &|_, _| ());
    format!("{parts}.{signature}")
}

/// What is wrong, and the token, for each way of making one from `token`.
pub fn all(token: &str) -> Vec<(&'static str, String)> {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token} is no token")
    };
    let made = |secret: &str, change: &dyn Fn(&mut Value, &mut Value)| made(token, secret, change);
    let whole = |(parts, signature): (String, String)| format!("{parts}.{signature}");
    let unsigned = |(parts, _): (String, String)| format!("{parts}.");
    let of_another = |_: &mut Value, claims: &mut Value| claims["workspace"] = json!("other");
    vec![
        (
            "a token of another secret",
            whole(made("another secret of 32 bytes or more", &|_, _| ())),
        ),
        ("a token of an empty secret", whole(made("", &|_, _| ()))),
        ("a token without its signature", format!("{header}.{claims}.")),
        ("a token of two parts", format!("{header}.{claims}")),
        (
            "a token with another's claims",
            format!("{header}.{}.{signature}", {
                let mut claims = decoded(claims);
                of_another(&mut Value::Null, &mut claims);
                encoded(&claims)
            }),
        ),
        (
            "a token that has ended",
            whole(made(TOKEN_SECRET, &|_, claims| claims["exp"] = json!(1_700_000_000))),
        ),
        (
            "a token without an end",
            whole(made(TOKEN_SECRET, &|_, claims| {
                claims.as_object_mut().unwrap().remove("exp");
            })),
        ),
        (
            "a token of no algorithm",
            unsigned(made(TOKEN_SECRET, &|header, _| header["alg"] = json!("none"))),
        ),
        (
            "a signed token of no algorithm",
            whole(made(TOKEN_SECRET, &|header, _| header["alg"] = json!("none"))),
        ),
        (
            "a token of NoNe",
            unsigned(made(TOKEN_SECRET, &|header, _| header["alg"] = json!("NoNe"))),
        ),
        (
            "a token that names no algorithm",
            whole(made(TOKEN_SECRET, &|header, _| {
                header.as_object_mut().unwrap().remove("alg");
            })),
        ),
        (
            "a token by our secret as a public key",
            whole(made(TOKEN_SECRET, &|header, _| header["alg"] = json!("RS256"))),
        ),
        (
            "a token that brings its own key",
            whole(made("another secret of 32 bytes or more", &|header, _| {
                header["jwk"] =
                    json!({"kty": "oct", "k": BASE64_URL_SAFE_NO_PAD.encode("another secret of 32 bytes or more")});
            })),
        ),
        (
            "a token by a secret of another name",
            whole(made(TOKEN_SECRET, &|header, _| header["kid"] = json!("00000000"))),
        ),
        (
            "a token by a file",
            whole(made("", &|header, _| header["kid"] = json!("../../dev/null"))),
        ),
        (
            "a token for another audience",
            whole(made(TOKEN_SECRET, &|_, claims| claims["aud"] = json!("other"))),
        ),
        (
            "a token of another issuer",
            whole(made(TOKEN_SECRET, &|_, claims| claims["iss"] = json!("other"))),
        ),
    ]
}

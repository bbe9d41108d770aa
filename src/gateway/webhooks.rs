//! `/api/billing/webhooks/…`: what the payment provider tells. The only routes that make purchases, and their proof is the
//! provider's signature.

use std::sync::Arc;

use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::path;
use warp::reply::Response;

use super::Gateway;
use super::description::shapes::Visible;
use super::description::{Description, Operation};
use super::problem::{Problem, Transport};
use super::request::{Answer, Request, json, request};
use super::wire::{self, Text, required, text};
use crate::error::Code;
use crate::meters::Repeated;
use crate::procedures::billing::purchases;

/// Seconds by which a signature may be older or younger than this machine's clock. A copy that somebody recorded is worth
/// nothing after that.
const TOLERANCE_SECONDS: u64 = 300;

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("api" / "billing" / "webhooks" / "stripe")
        .and(request(gateway))
        .then(|request: Request| request.answer("POST", stripe))
        .boxed()
}

/// What the route takes and answers.
pub fn describe(description: &mut Description) {
    let stripe = Operation::post(
        "receiveStripeEvent",
        "/api/billing/webhooks/stripe",
        "An event of the payment provider, signed by it",
    );
    description.add(
        stripe
            .or_by("signature")
            .body::<Envelope>()
            .answers::<Receipt>(200, "It is kept, and what it says is done")
            .refuses(&[Code::EventNotApplied]),
    );
}

/// What every event has. What else is in it, the procedure reads.
#[derive(Deserialize, ToSchema)]
struct Envelope {
    #[schema(value_type = Visible<64>)]
    id: Option<Text<64>>,
    #[schema(value_type = Visible<128>)]
    r#type: Option<Text<128>>,
    #[schema(value_type = Option<Visible<64>>)]
    api_version: Option<Text<64>>,
}

#[derive(Serialize, ToSchema)]
struct Receipt {
    received: bool,
    outcome: String,
}

async fn stripe(mut request: Request) -> Answer {
    let body = request.bytes().await?;
    let signature = request.header("stripe-signature").ok().flatten().unwrap_or_default();
    if !is_signed(
        signature,
        &body,
        &request.gateway.webhook_secrets,
        Utc::now().timestamp(),
    ) {
        let detail = "Send Stripe-Signature, made over this body within five minutes, with a secret of this endpoint";
        return Err(Problem::transport(Transport::Unauthenticated, detail));
    }
    let event: Envelope = wire::decode(&body)?;
    let id = required("id", event.id)?.0;
    let event_type = required("type", event.r#type)?.0;
    let database = &request.gateway.database;
    let received =
        purchases::receive_event(database, "stripe", &id, &event_type, text(&event.api_version), &body).await?;
    request.gateway.relay.written();
    if let Some(failure) = received.failure_code {
        tracing::warn!(event = id, failure, "an event of the provider could not be applied");
        let detail = format!("{failure}: the event is kept, and can be sent again");
        return Err(Problem::rule(Code::EventNotApplied, &detail));
    }
    let outcome = received.outcome;
    if outcome == "replayed" {
        request.gateway.meters.repeated(Repeated::Event);
    }
    Ok(json(
        StatusCode::OK,
        &Receipt {
            received: true,
            outcome,
        },
    ))
}

/// Whether `header` (`t=…,v1=…,v1=…`) has a signature of `body` by one of `secrets`, made about `now`, in seconds since 1970.
fn is_signed(header: &str, body: &[u8], secrets: &[String], now: i64) -> bool {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let Some(made_at) = parts().find(|(name, _)| *name == "t").map(|(_, value)| value) else {
        return false;
    };
    // The digits are signed as they stand, so a sign or a blank among them is another text.
    let is_digits = !made_at.is_empty() && made_at.bytes().all(|byte| byte.is_ascii_digit());
    let is_fresh = made_at
        .parse()
        .is_ok_and(|made_at: i64| is_digits && made_at.abs_diff(now) <= TOLERANCE_SECONDS);
    let signatures: Vec<[u8; 32]> = parts()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, value)| from_hex(value))
        .collect();
    let is_made_with = |secret: &String| {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(made_at.as_bytes());
        mac.update(b".");
        mac.update(body);
        // Compared in a time that does not tell how much of it is right.
        signatures
            .iter()
            .any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    is_fresh && secrets.iter().any(is_made_with)
}

/// The bytes of a SHA-256 in hex.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MAC of `1700000000.{}` under this key, made with OpenSSL.
    const SECRET: &str = "whsec_0123456789";
    const SIGNATURE: &str = "e8ec69c6219f3a491b21a99b08933bae2fd13c0876e0b79372e8be8ddb850a4a";

    #[test]
    fn a_signature_of_another_program_is_known() {
        let secrets = ["whsec_another_one".to_owned(), SECRET.to_owned()];
        let header = format!("t=1700000000,v1={SIGNATURE}");
        assert!(is_signed(&header, b"{}", &secrets, 1_700_000_300));
        assert!(is_signed(&header, b"{}", &secrets, 1_699_999_700));
        assert!(!is_signed(&header, b"{}", &secrets, 1_700_000_301));
        assert!(!is_signed(&header, b"{}", &secrets, 1_699_999_699));
        assert!(!is_signed(&header, b"{} ", &secrets, 1_700_000_000));
        assert!(!is_signed(&header, b"{}", &secrets[..1], 1_700_000_000));
        assert!(!is_signed(&header, b"{}", &[], 1_700_000_000));
    }

    #[test]
    fn a_header_that_is_none_signs_nothing() {
        let secrets = [SECRET.to_owned()];
        for wrong in [
            "",
            "t=",
            "v1=",
            "t=1700000000",
            &format!("v1={SIGNATURE}"),
            &format!("t=+1700000000,v1={SIGNATURE}"),
            &format!("t=1700000000,v0={SIGNATURE}"),
            &format!("t=1700000000,v1={}", &SIGNATURE[1..]),
            &format!("t=1700000000,v1={SIGNATURE}0"),
            &format!("t=1700000000,v1=ä{}", &SIGNATURE[2..]),
            "t=99999999999999999999,v1=",
        ] {
            assert!(!is_signed(wrong, b"{}", &secrets, 1_700_000_000), "{wrong}");
        }
        let several = format!("t=1700000000, v1=00, v1={}, v1={SIGNATURE}", "0".repeat(64));
        assert!(is_signed(&several, b"{}", &secrets, 1_700_000_000));
    }
}

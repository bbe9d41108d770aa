//! The payment provider's side of a webhook: it signs a body and sends it.

use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;

use super::gateway::{TestGateway, WEBHOOK_SECRETS, answer};
use super::shop::{BEGIN, DAY, Event, stock};

/// Where the provider sends its events.
pub const WEBHOOK: &str = "/api/billing/webhooks/stripe";

/// The signature of a body in hex, as the header's `v1` has it.
pub fn v1(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The header of a body signed now with the newest secret.
pub fn signature(body: &[u8]) -> String {
    let now = Utc::now().timestamp();
    format!("t={now},v1={}", v1(WEBHOOK_SECRETS[1], now, body))
}

impl Event {
    /// The same story told as if it had begun ten seconds ago: every instant in it is moved.
    pub fn now(mut self) -> Event {
        fn shift(value: &mut Value, by: i64) {
            match value {
                Value::Number(number) => {
                    if let Some(seconds) = number.as_i64().filter(|seconds| (seconds - BEGIN).abs() < 100 * DAY) {
                        *value = (seconds + by).into();
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
                Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, by)),
                _ => (),
            }
        }
        shift(&mut self.0, Utc::now().timestamp() - 10 - BEGIN);
        self
    }
}

impl TestGateway {
    /// A gateway with a catalogue, and the customer `cus_acme`, which is the entity of the workspace `acme`. Gives the entity's id too.
    pub async fn with_shop() -> (TestGateway, u64) {
        let gateway = TestGateway::start().await;
        stock(&mut gateway.test.session().await).await;
        let entity = gateway.customer("").await;
        (gateway, entity)
    }

    /// Makes the entity of the workspace `acme{mark}`, whose customer is `cus_acme{mark}`. Gives its id.
    pub async fn customer(&self, mark: &str) -> u64 {
        let body = json!({"workspaceSlug": format!("acme{mark}"), "providerCustomerId": format!("cus_acme{mark}")});
        let path = format!("/api/billing/entities/workspace/acme{mark}");
        let (status, body) = answer(self.as_service(Method::PUT, &path).json(&body)).await;
        assert_eq!(status, 201, "{body}");
        body["billableEntity"]["id"].as_u64().unwrap()
    }

    /// A body sent to the webhook under a header; none: without it.
    pub fn webhook(&self, header: Option<&str>, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let mut request = self
            .request(Method::POST, WEBHOOK)
            .header("Content-Type", "application/json; charset=utf-8")
            .body(body.into());
        if let Some(header) = header {
            request = request.header("Stripe-Signature", header);
        }
        request
    }

    /// Sends an event, signed. Gives status and answer.
    pub async fn receive(&self, event: &Event) -> (u16, Value) {
        let body = event.body();
        answer(self.webhook(Some(&signature(body.as_bytes())), body)).await
    }

    /// What is available of credits, quota and seats of the shop. Of what is not active, nothing.
    pub async fn available(&self, entity: u64) -> [i64; 3] {
        let path = format!("/api/billing/limitations?billableEntityId={entity}");
        let (status, body) = answer(self.request(Method::GET, &path).bearer_auth(&self.service)).await;
        assert_eq!(status, 200, "{body}");
        ["shop.credits", "shop.quota", "shop.seats"].map(|code| {
            let limitations = body["limitations"].as_array().unwrap();
            let found = limitations.iter().find(|limitation| limitation["code"] == code);
            found.map_or(0, |limitation| limitation["availableAmount"].as_i64().unwrap())
        })
    }
}

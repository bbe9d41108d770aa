//! The real gateway on a database of its own, in this process.

use std::time::Duration;

use consumable::database::Release;
use consumable::gateway::Secret;
use consumable::procedures::access;
use consumable::serve::{Settings, serve};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::database::TestDatabase;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// No test waits for a tick: what must happen by itself happens at a boundary, or with a change.
const TICK: Duration = Duration::from_secs(3_600);

/// As many as there are unless a setting says another number.
const LANES: usize = 2;

/// What the payment provider signs its events with: the old secret and the new one.
pub const WEBHOOK_SECRETS: [&str; 2] = ["whsec_old_0123456789abcdef", "whsec_new_fedcba9876543210"];

/// What the gateways of tests sign workspace tokens by.
pub const TOKEN_SECRET: &str = "the secret of the gateways of tests";

/// What the gateways of tests are set to, unless a test says otherwise.
pub fn settings() -> Settings {
    let owned = |secrets: &[&str]| secrets.iter().map(|secret| (*secret).to_owned()).collect();
    Settings {
        tick: TICK,
        lanes: LANES,
        token_secrets: owned(&[TOKEN_SECRET]),
        webhook_secrets: owned(&WEBHOOK_SECRETS),
        key_rate: None,
    }
}

/// A gateway with a service key and an admin key.
pub struct TestGateway {
    pub test: TestDatabase,
    pub service: String,
    pub admin: String,
    pub client: Client,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl TestGateway {
    /// A gateway to a database with this release.
    pub async fn start() -> TestGateway {
        let test = TestDatabase::migrated().await;
        let url = test.gateway_url();
        TestGateway::on(test, &url).await
    }

    /// A gateway that reaches the database by `database_url`.
    pub async fn on(test: TestDatabase, database_url: &str) -> TestGateway {
        TestGateway::with(test, database_url, settings()).await
    }

    /// The same, whose workspace tokens are by the first secrets, and which believes events that are signed with one of the others.
    pub async fn with_secrets(
        test: TestDatabase,
        database_url: &str,
        tokens: &[&str],
        webhooks: &[&str],
    ) -> TestGateway {
        let owned = |secrets: &[&str]| secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let settings = Settings {
            token_secrets: owned(tokens),
            webhook_secrets: owned(webhooks),
            ..settings()
        };
        TestGateway::with(test, database_url, settings).await
    }

    /// The same with these settings.
    pub async fn with(test: TestDatabase, database_url: &str, settings: Settings) -> TestGateway {
        let database = consumable::database::Database::connect(database_url).await.unwrap();
        let mut keys = Vec::new();
        for role in ["service", "admin"] {
            let secret = Secret::generate().unwrap();
            access::create_key(&database, role, role, secret.sha256())
                .await
                .unwrap();
            keys.push(secret.reveal().to_owned());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let database_url = database_url.to_owned();
        let running = tokio::spawn(async move {
            let release = Release::embedded().unwrap();
            let stopped = async { stopped.await.unwrap_or_default() };
            serve(database, &database_url, release, listener, settings, stopped)
                .await
                .unwrap();
        });
        TestGateway {
            test,
            admin: keys.pop().unwrap(),
            service: keys.pop().unwrap(),
            client: Client::new(),
            url,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Tells it to stop; gives what ends when it has.
    pub fn stop(&mut self) -> JoinHandle<()> {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.take().unwrap()
    }

    /// Where it listens, such as 127.0.0.1:4711.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// A request without a key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request of the service for the workspace `acme`.
    pub fn as_service(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
            .bearer_auth(&self.service)
            .header("X-Workspace-Slug", "acme")
    }

    /// A request of an operator for the workspace `acme`.
    pub fn as_admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path)
            .bearer_auth(&self.admin)
            .header("X-Workspace-Slug", "acme")
    }

    /// Makes the billable entity of the workspace `acme`, and gives its id.
    pub async fn acme(&self) -> u64 {
        let entity = self
            .as_service(Method::PUT, "/api/billing/entities/workspace/acme")
            .json(&json!({"workspaceSlug": "acme"}));
        let (status, body) = answer(entity).await;
        assert!(status == 200 || status == 201, "{body}");
        body["billableEntity"]["id"].as_u64().unwrap()
    }

    /// A token for a user of a workspace.
    pub async fn token(&self, workspace: &str, surface: &str, permissions: &[&str], ttl_seconds: u64) -> String {
        let mint = self
            .request(Method::POST, "/api/billing/workspace-tokens")
            .bearer_auth(&self.service)
            .json(
                &json!({"workspaceSlug": workspace, "userId": "user-1", "permissions": permissions, "surface": surface,
                          "ttlSeconds": ttl_seconds}),
            );
        let (status, body) = answer(mint).await;
        assert_eq!(status, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    /// Grants `amount` of `code` to `entity`.
    pub async fn grant(&self, entity: u64, code: &str, amount: u64) -> Value {
        let key = format!("grant-{:016x}", getrandom::u64().unwrap());
        let grant = self
            .as_admin(Method::POST, "/api/console/billing/grants")
            .header("Idempotency-Key", key)
            .json(
                &json!({"billableEntityId": entity, "code": code, "amount": amount, "kind": "promo", "reason": "test"}),
            );
        let (status, body) = answer(grant).await;
        assert_eq!(status, 201, "{body}");
        body
    }

    /// A use for the workspace `acme`.
    pub fn consume(&self, body: &Value) -> RequestBuilder {
        self.as_service(Method::POST, "/api/billing/consume").json(body)
    }

    /// Listens to the workspace `acme`, from `last_event_id` on if there is one.
    pub async fn listen(&self, last_event_id: Option<&str>) -> Events {
        let path = "/api/realtime/events?topic=workspace_billing_limits&surface=app";
        let mut request = self.as_service(Method::GET, path);
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }
}

/// Sends a request; gives status and body.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Sends a request that must be refused; gives status, code and the fields named.
pub async fn refusal(request: RequestBuilder) -> (u16, String, Vec<String>) {
    let response = request.send().await.unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "application/problem+json");
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status, "{body}");
    assert!(
        body["details"].is_object() && body["title"].is_string() && body["detail"].is_string(),
        "{body}"
    );
    let code = body["code"].as_str().unwrap().to_owned();
    let slug = code.to_lowercase().replace('_', "-");
    assert_eq!(body["type"], format!("urn:consumable:error:{slug}"));
    let fields = match body["fieldErrors"].as_object() {
        Some(fields) => fields.keys().cloned().collect(),
        None => Vec::new(),
    };
    (status, code, fields)
}

/// Replaces the instants of this run, which differ in each.
pub fn without_instants(mut value: Value) -> Value {
    fn replace(value: &mut Value) {
        match value {
            Value::String(text) if text.len() == 24 && text.starts_with("20") && text.ends_with('Z') => {
                *text = "now".into();
            }
            Value::Array(items) => items.iter_mut().for_each(replace),
            Value::Object(fields) => fields.values_mut().for_each(replace),
            _ => (),
        }
    }
    replace(&mut value);
    value
}

/// A frame of an event stream. What is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    pub id: String,
    pub event: String,
    pub data: String,
    pub retry: String,
}

/// A reader of realtime events.
pub struct Events {
    response: std::pin::Pin<Box<dyn futures_util::Stream<Item = Vec<u8>> + Send>>,
    text: String,
}

impl Events {
    pub fn new(response: Response) -> Events {
        let chunks = response.bytes_stream();
        Events {
            response: Box::pin(chunks.map_while(|chunk| chunk.ok().map(|chunk| chunk.to_vec()))),
            text: String::new(),
        }
    }

    /// The next frame that is not a comment; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.read()).await.expect("a frame in time")
    }

    /// As [`Events::next`], however long that takes.
    pub async fn read(&mut self) -> Option<Frame> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let text: String = self.text.drain(..end + 2).collect();
                let mut frame = Frame::default();
                for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
                    let (field, value) = line.split_once(": ").unwrap();
                    let place = match field {
                        "id" => &mut frame.id,
                        "event" => &mut frame.event,
                        "data" => &mut frame.data,
                        "retry" => &mut frame.retry,
                        _ => panic!("{line}"),
                    };
                    *place = value.to_owned();
                }
                if frame != Frame::default() {
                    return Some(frame);
                }
            }
            self.text += std::str::from_utf8(&self.response.next().await?).unwrap();
        }
    }
}

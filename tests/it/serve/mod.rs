//! `consumable serve`, the program itself: what it logs, and how it ends.

mod end;
mod logs;

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumable::database::Database;
use consumable::gateway::Secret;
use consumable::procedures::access;
use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::gateway::{Events, answer};

/// How long a test waits for what must come: the program starts, and others use the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running gateway, and what it has logged.
struct Served {
    child: Child,
    url: String,
    key: String,
    client: Client,
    log: Arc<(Mutex<Vec<String>>, Notify)>,
}

impl Served {
    /// Serves the database at `url`, with one lane, on a port of the system's choice. It logs as `format` says.
    async fn start(url: &str, format: &str) -> Served {
        let key = Secret::generate().unwrap();
        let database = Database::connect(url).await.unwrap();
        access::create_key(&database, "test", "admin", key.sha256())
            .await
            .unwrap();
        database.disconnect().await.unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_consumable"))
            .args(["serve", "--listen", "127.0.0.1:0", "--lanes", "1"])
            .env("DATABASE_URL", url)
            .env("CONSUMABLE_LOG_FORMAT", format)
            .env("RUST_LOG", "info,consumable=debug")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log: Arc<(Mutex<Vec<String>>, Notify)> = Arc::default();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.0.lock().unwrap().push(line);
                written.1.notify_one();
            }
        });
        let mut served = Served {
            child,
            url: String::new(),
            key: key.reveal().to_owned(),
            client: Client::new(),
            log,
        };
        let line = served.logged("it serves", |line| line.contains("serving")).await;
        let from = line.find("127.0.0.1:").expect("where it listens");
        let port = line[from + "127.0.0.1:".len()..].split(|letter: char| !letter.is_ascii_digit());
        served.url = format!("http://127.0.0.1:{}", port.into_iter().next().unwrap());
        served
    }

    /// All that it has logged.
    fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    /// The first line that is so, as soon as it is there.
    async fn logged(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let waiting = async {
            loop {
                if let Some(line) = self.log().into_iter().find(|line| is_so(line)) {
                    return line;
                }
                self.log.1.notified().await;
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(line) => line,
            Err(_) => panic!("{what}, in time: {:#?}", self.log()),
        }
    }

    /// A request for a workspace.
    fn request(&self, method: Method, path: &str, workspace: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .header("X-Workspace-Slug", workspace)
    }

    /// A use of one credit by a workspace, under `key`, which is the request's id, too.
    fn consume(&self, workspace: &str, key: &str) -> RequestBuilder {
        self.request(Method::POST, "/api/billing/consume", workspace)
            .header("X-Request-Id", key)
            .json(&json!({"limitationCode": "ai.credits", "usageEventKey": key}))
    }

    /// Makes a workspace with a hundred credits, and gives its billable entity.
    async fn workspace(&self, slug: &str) -> u64 {
        let path = format!("/api/billing/entities/workspace/{slug}");
        let entity = self
            .request(Method::PUT, &path, slug)
            .json(&json!({"workspaceSlug": slug}));
        let (status, body) = answer(entity).await;
        assert_eq!(status, 201, "{body}");
        let entity = body["billableEntity"]["id"].as_u64().unwrap();
        let grant = self
            .request(Method::POST, "/api/console/billing/grants", slug)
            .header("Idempotency-Key", format!("grant-{slug}"))
            .json(&json!({"billableEntityId": entity, "code": "ai.credits", "amount": 100, "kind": "promo", "reason": "test"}));
        assert_eq!(answer(grant).await.0, 201);
        entity
    }

    /// Listens to a workspace.
    async fn listen(&self, workspace: &str) -> Events {
        let path = "/api/realtime/events?topic=workspace_billing_limits&surface=app";
        let response = self.request(Method::GET, path, workspace).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    /// Waits until a metric has a value.
    async fn until_metric(&self, line: &str) {
        let asking = async {
            loop {
                let metrics = self.client.get(format!("{}/metrics", self.url)).send().await.unwrap();
                if metrics.text().await.unwrap().lines().any(|other| other == line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("{line}, in time"));
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(process, signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").unwrap()
    }
}

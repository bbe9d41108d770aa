//! A gateway as a process of its own, which knows the members of the group, and has the account that may only call.

use std::process::Stdio;
use std::time::Instant;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use crate::support::cluster::PATIENCE;
use crate::support::gateway::answer;

/// Workspaces, each with one entity, and more credits than a test uses.
pub const WORKSPACES: usize = 4;

pub struct Gateway {
    _process: Child,
    url: String,
    key: String,
    client: Client,
}

impl Gateway {
    /// Starts one on `database_url`, which an admin has given `key` for, and returns when it is ready.
    pub async fn start(database_url: &str, key: &str) -> Gateway {
        let mut process = Command::new(env!("CARGO_BIN_EXE_consumable"))
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", database_url])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = async {
            while let Some(line) = log.next_line().await.unwrap() {
                println!("gateway: {line}");
                if let Some((_, rest)) = line.split_once("address=") {
                    return rest.split(' ').next().unwrap_or(rest).to_owned();
                }
            }
            panic!("the gateway ended");
        };
        let address = timeout(PATIENCE, address).await.expect("a gateway in time");
        // Somebody must read it. What it says belongs to a test that fails.
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                println!("gateway: {line}");
            }
        });
        let gateway = Gateway {
            _process: process,
            url: format!("http://{address}"),
            key: key.to_owned(),
            client: Client::builder().timeout(Duration::from_secs(60)).build().unwrap(),
        };
        gateway.until_ready().await;
        gateway
    }

    /// A request for a workspace.
    pub fn request(&self, method: Method, path: &str, workspace: usize) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .header("X-Workspace-Slug", format!("w{workspace}"))
    }

    /// Waits until it says that it is ready.
    pub async fn until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.request(Method::GET, "/readyz", 0).send().await.unwrap().status() != 200 {
            assert!(Instant::now() < deadline, "not ready within {PATIENCE:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Makes the workspaces, their entities, and their credits.
    pub async fn make_workspaces(&self) {
        for workspace in 0..WORKSPACES {
            let entity = self
                .request(
                    Method::PUT,
                    &format!("/api/billing/entities/workspace/w{workspace}"),
                    workspace,
                )
                .json(&json!({"workspaceSlug": format!("w{workspace}")}));
            let (status, body) = answer(entity).await;
            assert_eq!(status, 201, "{body}");
            let grant = self
                .request(Method::POST, "/api/console/billing/grants", workspace)
                .header("Idempotency-Key", format!("grant-{workspace}"))
                .json(&json!({"billableEntityId": body["billableEntity"]["id"], "code": "ai.credits", "amount": 1_000_000_000,
                              "kind": "promo", "reason": "test"}));
            let (status, body) = answer(grant).await;
            assert_eq!(status, 201, "{body}");
        }
    }

    /// Uses one credit of a workspace. `None`: it was not answered, or answered that it is to come again.
    pub async fn consume(&self, workspace: usize, key: &str) -> Option<Value> {
        let request = self
            .request(Method::POST, "/api/billing/consume", workspace)
            .header("Idempotency-Key", key)
            .json(&json!({"limitationCode": "ai.credits", "amount": 1}));
        self.answer(request).await
    }

    /// What a workspace has used. `None` as for [`Gateway::consume`].
    pub async fn consumed(&self, workspace: usize) -> Option<u64> {
        let body = self
            .answer(self.request(Method::GET, "/api/billing/limitations", workspace))
            .await?;
        let limitations = body["limitations"].as_array().unwrap();
        let credits = limitations.iter().find(|one| one["code"] == "ai.credits").unwrap();
        Some(credits["consumedAmount"].as_u64().unwrap())
    }

    /// The stream of a workspace's changes.
    pub async fn listen(&self, workspace: usize) -> Response {
        let path = "/api/realtime/events?topic=workspace_billing_limits&surface=app";
        // Without the time within which a request is to be answered: this one has no end.
        let listening = Client::new()
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .header("X-Workspace-Slug", format!("w{workspace}"));
        let response = listening.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    async fn answer(&self, request: RequestBuilder) -> Option<Value> {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let comes_again = response.headers().contains_key("retry-after");
        let body: Value = response.json().await.unwrap();
        match status {
            200 => Some(body),
            503 if comes_again => None,
            _ => panic!("{status}: {body}"),
        }
    }
}

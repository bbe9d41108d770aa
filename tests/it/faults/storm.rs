//! A storm of deadlocks: many uses of several limits in opposing order, by the gateway and in transactions of others, together with holds,
//! changes of plans, and grants that end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::gateway::Gateway;
use super::load::Load;
use super::server::{CODES, Server, WORKSPACES};
use crate::support::plan::{Template, plan};

/// Sessions of applications that book several limits one by one, half of them in the one order and half in the other.
const APPLICATIONS: usize = 8;

/// Uses that are waited for at once.
const SOME: u64 = 50;

/// Who makes holds, and who changes plans, at once.
const OTHERS: usize = 4;

/// Uses both limits in a transaction of its own, one after the other. A deadlock undoes it, and it is done again with the same keys. Gives the
/// keys that were committed, and how many deadlocks there were.
async fn application(mut session: Conn, number: usize, is_over: Arc<AtomicBool>) -> (Vec<String>, u64) {
    let (mut keys, mut deadlocks) = (Vec::new(), 0);
    let mut codes = CODES;
    if number % 2 == 1 {
        codes.reverse();
    }
    session
        .query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await
        .unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let key = format!("application-{number}-{}", keys.len());
        // Two neighbours share a workspace, and want the same rows in opposing order.
        let subject = 1 + (number / 2 + keys.len()) % WORKSPACES;
        loop {
            let work = async {
                session.query_drop("START TRANSACTION").await?;
                for code in codes {
                    let request =
                        json!([{"subjectId": subject, "usageEventKey": key, "items": [{"limitationCode": code}]}]);
                    let call = "CALL entitlement_consume_in_tx_v1(?, @not_accepted)";
                    session.exec_drop(call, (request.to_string(),)).await?;
                }
                session.query_drop("COMMIT").await
            };
            match work.await {
                Ok(()) => break,
                Err(mysql_async::Error::Server(error)) if [1213, 1205].contains(&error.code) => {
                    deadlocks += u64::from(error.code == 1213);
                    session.query_drop("ROLLBACK").await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        keys.push(key);
    }
    (keys, deadlocks)
}

/// Who works by requests of the gateway.
#[derive(Clone)]
struct Other {
    client: Client,
    url: String,
    key: &'static str,
    is_over: Arc<AtomicBool>,
}

impl Other {
    /// Sends a request until it is answered, and gives the answer. Anything but success, and to come again, is wrong.
    async fn send(&self, path: &str, key: &str, workspace: Option<usize>, body: &Value) -> Value {
        loop {
            let mut request = self
                .client
                .request(Method::POST, format!("{}{path}", self.url))
                .bearer_auth(self.key)
                .header("Idempotency-Key", key)
                .json(body);
            if let Some(workspace) = workspace {
                request = request.header("X-Workspace-Slug", format!("w{workspace}"));
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            match status {
                200 | 201 => return body,
                503 => (),
                // A grant that waited for longer than it was to be there.
                400 if body["fieldErrors"]["expiresAt"] == "must be after effectiveAt" => return body,
                _ => panic!("{path}: {body}"),
            }
        }
    }

    /// Sets amounts aside, and uses or releases them. Gives how often.
    async fn hold(self, number: usize) -> u64 {
        let mut made = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let key = format!("hold-{number}-{made}");
            let code = CODES[made as usize % CODES.len()];
            let hold = json!({"limitationCode": code, "amount": 2, "ttlSeconds": 600});
            let answer = self
                .send("/api/billing/holds", &key, Some(number % WORKSPACES), &hold)
                .await;
            let id = &answer["hold"]["id"];
            let (end, body) = match made % 2 {
                0 => ("commit", json!({"amount": 1})),
                _ => ("release", json!({})),
            };
            self.send(&format!("/api/billing/holds/{id}/{end}"), &key, None, &body)
                .await;
            made += 1;
        }
        made
    }

    /// Changes plans, and makes grants that end a moment later. Gives how often.
    async fn change(self, number: usize) -> u64 {
        let mut made = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let entity = 1 + (number as u64 + made) % WORKSPACES as u64;
            let plan = ["small", "large"][made as usize / 2 % 2];
            let assign = json!({"billableEntityId": entity, "planCode": plan});
            let key = format!("plan-{number}-{made}");
            self.send("/api/console/billing/plan-assignments", &key, None, &assign)
                .await;
            let ends = chrono::Utc::now() + chrono::Duration::milliseconds(1_500);
            let grant = json!({"billableEntityId": entity, "code": CODES[made as usize % CODES.len()], "amount": 5, "kind": "promo",
                               "reason": "test", "expiresAt": ends.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()});
            let key = format!("grant-{number}-{made}");
            self.send("/api/console/billing/grants", &key, None, &grant).await;
            made += 1;
        }
        made
    }
}

async fn both<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

async fn storm(uses: u64) {
    let server = Server::start().await;
    let mut session = server.session().await;
    plan(&mut session, "small", &CODES.map(|code| Template::of(code, 10))).await;
    plan(&mut session, "large", &CODES.map(|code| Template::of(code, 1_000))).await;
    let gateway = Gateway::start(&server).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut applications = Vec::new();
    for number in 0..APPLICATIONS {
        let own = server.session().await;
        applications.push(tokio::spawn(application(own, number, is_over.clone())));
    }
    let other = |key| Other {
        client: gateway.client.clone(),
        url: gateway.url.clone(),
        key,
        is_over: is_over.clone(),
    };
    let holds = (0..OTHERS)
        .map(|number| tokio::spawn(other(server.service).hold(number)))
        .collect();
    let changes = (0..OTHERS)
        .map(|number| tokio::spawn(other(server.admin).change(number)))
        .collect();
    let load = Load::start(&server, &[&gateway.url], 32, &CODES);
    for _ in 0..uses / SOME {
        load.more(SOME).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let applications: Vec<(Vec<String>, u64)> = both(applications).await;
    let (held, changed): (u64, u64) = (both(holds).await.iter().sum(), both(changes).await.iter().sum());
    let count = load.end(&server).await;
    assert_eq!(count.cut, 0);

    let committed: usize = applications.iter().map(|(keys, _)| keys.len()).sum();
    let deadlocks: u64 = applications.iter().map(|(_, deadlocks)| deadlocks).sum();
    let booked = "SELECT COUNT(*) FROM billing_entitlement_consumptions WHERE usage_event_key LIKE 'application-%'";
    assert_eq!(
        session.query_first(booked).await.unwrap(),
        Some(committed * CODES.len())
    );
    assert!(deadlocks > 0 && held > 0 && changed > 0, "it was no storm");
    let all: Option<u64> = session
        .query_first("SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'")
        .await
        .unwrap();
    let beside = format!(
        "{} deadlocks; {committed} transactions of applications, {held} holds, {changed} plans and grants that end; {} requests told to come again",
        all.unwrap(),
        count.refusals
    );
    count.tell("deadlock storm", 1, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_deadlocks_loses_nothing() {
    storm(100).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_long_storm_of_deadlocks_loses_nothing() {
    storm(1_000).await;
}

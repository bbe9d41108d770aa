//! No secret is told: in no log at its loudest, no answer, no metric, no row of the database, and no complaint about a setting.

use std::process::{Output, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::{callers, forged, routes};
use crate::support::database::TestDatabase;
use crate::support::gateway::{PATIENCE, TOKEN_SECRET, TestGateway, WEBHOOK_SECRETS};
use crate::support::server::GATEWAY;
use crate::support::state::rows;
use crate::support::stripe::{WEBHOOK, signature, v1};

/// A gateway as a process, which tells all that it has to tell.
struct Loud {
    child: Child,
    lines: UnboundedReceiver<String>,
    said: Vec<String>,
}

impl Loud {
    fn start(database_url: &str) -> Loud {
        let mut child = Command::new(env!("CARGO_BIN_EXE_consumable"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RUST_LOG", "trace")
            .env("DATABASE_URL", database_url)
            .env("CONSUMABLE_TOKEN_SECRET", TOKEN_SECRET)
            .env("CONSUMABLE_STRIPE_WEBHOOK_SECRETS", WEBHOOK_SECRETS.join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (send, lines) = unbounded_channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let mut out = BufReader::new(out).lines();
        let told = send.clone();
        tokio::spawn(async move {
            while out
                .next_line()
                .await
                .unwrap()
                .is_some_and(|line| told.send(line).is_ok())
            {}
        });
        let mut err = BufReader::new(err).lines();
        tokio::spawn(async move {
            while err
                .next_line()
                .await
                .unwrap()
                .is_some_and(|line| send.send(line).is_ok())
            {}
        });
        Loud {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Reads until a line has these words; gives the line.
    async fn until(&mut self, words: &str) -> String {
        let reading = async {
            loop {
                let line = self.lines.recv().await.expect("it goes on");
                self.said.push(line.clone());
                if line.contains(words) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("said in time")
    }

    /// Ends it, and gives all that it said.
    async fn end(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        while let Some(line) = self.lines.recv().await {
            self.said.push(line);
        }
        self.said
    }
}

/// What nobody may read: each whole, or the part of it that counts.
fn opens(proof: &str) -> Vec<String> {
    match proof.split('.').collect::<Vec<_>>()[..] {
        // A token without its signature, which would do for whoever can make one, opens nothing.
        [_, claims, signature] if !signature.is_empty() => vec![claims.to_owned(), signature.to_owned()],
        _ => vec![proof.strip_prefix("ck_").unwrap_or(proof).to_owned()],
    }
}

#[tokio::test]
async fn no_secret_is_told() {
    // It makes the keys and tokens, which hold at every gateway of the installation.
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    let other = gateway.as_service(Method::PUT, "/api/billing/entities/workspace/other");
    other.json(&json!({"workspaceSlug": "other"})).send().await.unwrap();
    let (callers, routes) = (callers(&gateway).await, routes(&gateway).await);
    let token = gateway.token("acme", "app", &["workspace.billing.manage"], 900).await;
    let mut secrets = vec![
        GATEWAY.1.to_owned(),
        TOKEN_SECRET.to_owned(),
        WEBHOOK_SECRETS[0].to_owned(),
        WEBHOOK_SECRETS[1].to_owned(),
    ];
    secrets.extend(opens(&token));
    for (_, authorization, _) in &callers {
        let proof = authorization.as_deref().and_then(|words| words.split_once(' '));
        secrets.extend(
            proof
                .filter(|(_, proof)| proof.len() > 20)
                .into_iter()
                .flat_map(|(_, proof)| opens(proof)),
        );
    }
    secrets.extend(opens(&forged::unchanged(&token)));
    assert!(secrets.iter().all(|secret| secret.len() > 9) && secrets.len() > 30);

    let mut loud = Loud::start(&gateway.test.gateway_url());
    let line = loud.until("serving address=").await;
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let mut told = Vec::new();
    let client = reqwest::Client::new();
    let mut ask = async |method: &Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>| {
        let mut request = client
            .request(method.clone(), format!("http://{address}{path}"))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        told.push(format!("{:?}", response.headers()));
        let is_stream = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream");
        if !is_stream {
            told.push(response.text().await.unwrap());
        }
    };
    for (number, (method, path, _)) in routes.iter().enumerate() {
        // Each caller, and each route by some of them.
        for (_, authorization, _) in callers.iter().skip(number % 3).step_by(3) {
            let proof = authorization.as_deref().unwrap_or_default();
            let headers = [
                ("X-Workspace-Slug", "acme"),
                ("Authorization", proof),
                ("Content-Type", "application/json"),
            ];
            ask(method, path, &headers, b"{}".to_vec()).await;
        }
    }
    // Where a browser puts it, and where nobody should.
    for proof in callers
        .iter()
        .filter_map(|(_, authorization, _)| authorization.as_deref()?.split_once(' '))
    {
        for path in [
            "/api/realtime/events",
            "/api/billing/limitations",
            "/api/nothing",
            "/",
            "/api/billing/consume",
        ] {
            let path = format!(
                "{path}?topic=workspace_billing_limits&surface=app&workspaceSlug=acme&access_token={}",
                proof.1
            );
            ask(&Method::GET, &path, &[], Vec::new()).await;
        }
    }
    let events = format!("/api/realtime/events?topic=workspace_billing_limits&surface=app&access_token={token}");
    ask(&Method::GET, &events, &[], Vec::new()).await;
    for header in [
        signature(b"{}"),
        format!("t=1,v1={}", v1(WEBHOOK_SECRETS[0], 1, b"{}")),
        "v1=".into(),
    ] {
        ask(&Method::POST, WEBHOOK, &[("Stripe-Signature", &header)], b"{}".to_vec()).await;
    }
    // And while something is wrong with the database.
    let mut dba = gateway.test.session().await;
    for broken in [
        "DROP PROCEDURE access_authenticate_v1",
        "CREATE PROCEDURE access_authenticate_v1(p_key_sha256 BINARY(32)) SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1815, MESSAGE_TEXT = 'Internal error'",
    ] {
        dba.query_drop(broken).await.unwrap();
    }
    let admin = format!("Bearer {}", gateway.admin);
    ask(
        &Method::GET,
        "/api/console/billing/plans",
        &[("Authorization", &admin)],
        Vec::new(),
    )
    .await;
    ask(&Method::GET, "/metrics", &[], Vec::new()).await;
    loud.until("Internal error").await;
    let said = loud.end().await;
    let kept: Vec<String> = rows(&mut dba).await.into_values().flatten().collect();

    // It was loud, and of each kind there is something to look through.
    assert!(
        said.len() > routes.len() && said.iter().any(|line| line.contains("TRACE")),
        "{} lines",
        said.len()
    );
    assert!(told.len() > 2 * routes.len() && told.iter().any(|text| text.contains("consumable_requests_total")));
    assert!(kept.len() > 10);
    for (place, lines) in [("a log", &said), ("an answer", &told), ("a row", &kept)] {
        for secret in &secrets {
            let found = lines.iter().find(|line| line.contains(secret.as_str()));
            assert!(found.is_none(), "{secret} is in {place}: {found:?}");
        }
    }
}

/// What the program says when it is started with these settings, and cannot be.
async fn complaint(settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumable"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "trace")
        .envs(settings.iter().copied());
    let ended = timeout(Duration::from_secs(60), command.kill_on_drop(true).output()).await;
    let Output { status, stdout, stderr } = ended.expect("an end in time").unwrap();
    assert!(!status.success(), "{settings:?}");
    format!(
        "{}{}",
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap()
    )
}

#[tokio::test]
async fn no_complaint_about_a_setting_tells_it() {
    let test = TestDatabase::migrated().await;
    let good = test.gateway_url();
    let short = ("CONSUMABLE_TOKEN_SECRET", "SeCrEt-too-short");
    let blank = ("CONSUMABLE_STRIPE_WEBHOOK_SECRETS", "SeCrEt with a blank");
    let mut urls = vec![
        "SeCrEt".to_owned(),
        "mysql://u:SeCrEt@/db".into(),
        "mysql://u:SeCrEt@h".into(),
        "mysql://u:SeCrEt@h:port/db".into(),
        "postgres://u:SeCrEt@h/db".into(),
        "mysql://u:SeCrEt@h/db?nonsense=1".into(),
        "mysql://u:SeCrEt@h/db?ssl-mode=on".into(),
        "mysql://u:SeCrEt@h/db?ssl-ca=/nowhere".into(),
        "mysql://u:SeCrEt@localhost/db?socket=/nowhere".into(),
        "mysql://u:SeCrEt@127.0.0.1:1/db".into(),
        test.url_as("nobody", "SeCrEt"),
    ];
    for settings in [
        [("DATABASE_URL", good.as_str()), short],
        [("DATABASE_URL", good.as_str()), blank],
    ] {
        let said = complaint(&settings).await;
        assert!(said.contains(settings[1].0) && !said.contains("SeCrEt"), "{said}");
    }
    for url in urls.drain(..) {
        let said = complaint(&[("DATABASE_URL", &url)]).await;
        assert!(
            said.contains("consumable: ") && !said.contains("SeCrEt"),
            "{url}: {said}"
        );
    }
}

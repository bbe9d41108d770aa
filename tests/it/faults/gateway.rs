//! A gateway as a process of its own: the program itself, with the account that may only call.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::server::Server;

/// How long it may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Runs a program that must not outlive the test, not even when that is killed. It stays unwaited for, so that its number is nobody else's.
const GUARD: &str = r#"exec 3<&0; "$@" </dev/null >/dev/null 3<&- & echo $!; read -r _ <&3; kill -KILL $!"#;

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    _guard: Child,
    process: Pid,
    /// Where it listens, such as http://127.0.0.1:4711.
    pub url: String,
    pub client: Client,
    service: &'static str,
}

impl Gateway {
    /// Starts one for the server's database, and returns when it serves.
    pub async fn start(server: &Server) -> Gateway {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "gateway", env!("CARGO_BIN_EXE_consumable")])
            .args(["serve", "--listen", "127.0.0.1:0", "--tick-seconds", "3600"])
            .env("DATABASE_URL", &server.url)
            .env("RUST_LOG", "error,consumable::commands=info")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(guard.stdout.take().unwrap()).lines();
        let mut log = BufReader::new(guard.stderr.take().unwrap()).lines();
        let starting = async {
            let process = said.next_line().await.unwrap().unwrap().parse().unwrap();
            (process, address(&mut log).await)
        };
        let (process, address) = timeout(STARTS_WITHIN, starting).await.expect("a gateway in time");
        // Somebody must read it. What it says belongs to a test that fails.
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                println!("gateway {process}: {line}");
            }
        });
        Gateway {
            _guard: guard,
            process: Pid::from_raw(process).unwrap(),
            url: format!("http://{address}"),
            client: Client::new(),
            service: server.service,
        }
    }

    /// `kill -9`.
    pub fn kill(self) {
        kill_process(self.process, Signal::KILL).unwrap();
    }

    /// A request of the service.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(self.service)
    }

    /// The status of a path, whether it says when to come again, and how long that took.
    pub async fn status(&self, path: &str) -> (u16, bool, Duration) {
        let asked = Instant::now();
        let response = self.get(path).send().await.unwrap();
        let says_when = response.headers().contains_key("retry-after");
        (response.status().as_u16(), says_when, asked.elapsed())
    }

    /// What a metric without labels says.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(metric, _)| *metric == name).unwrap().1.parse().unwrap()
    }

    /// What it says of its readiness.
    pub async fn is_ready(&self) -> bool {
        self.status("/readyz").await.0 == 200
    }
}

/// Where it says that it serves.
async fn address(log: &mut Lines<BufReader<ChildStderr>>) -> String {
    let mut before = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        if let Some((_, rest)) = line.split_once("address=") {
            return rest.split(' ').next().unwrap_or(rest).to_owned();
        }
        before.push(line);
    }
    panic!("the gateway ended at once: {}", before.join("\n"));
}

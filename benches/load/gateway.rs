//! The gateway, as a process of its own: the program that people install.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::Outcome;
use crate::client::Connection;
use crate::engine::Engine;

/// How long it may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a program that must not outlive us, not even when we are killed: when our end of the pipe closes, it is ended. Ctrl-C is ours
/// to answer.
const GUARD: &str =
    r#"trap '' INT HUP; exec 3<&0; "$@" </dev/null >/dev/null 3<&- & echo $!; read -r _ <&3; kill -TERM $!; wait $!"#;

/// A gateway that serves a database.
pub struct Gateway {
    guard: Child,
    /// Its process number.
    pub process: u32,
    authority: String,
    key: String,
}

impl Gateway {
    /// Starts one for the engine's database, on a port that the system chooses, and returns when it serves.
    pub async fn start(engine: &Engine) -> Outcome<Gateway> {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "gateway", env!("CARGO_BIN_EXE_consumable"), "serve"])
            .args(["--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", &engine.gateway_url)
            .env("RUST_LOG", "warn,consumable::commands=info")
            .env_remove("CONSUMABLE_LISTEN")
            .env_remove("CONSUMABLE_TICK_SECONDS")
            .env_remove("CONSUMABLE_TOKEN_SECRET")
            // Not that of anybody: without one it warns.
            .env("CONSUMABLE_STRIPE_WEBHOOK_SECRETS", "whsec_of_the_load_program")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = guard.stdout.take().ok_or("a guard without output")?;
        let stderr = guard.stderr.take().ok_or("a guard without a log")?;
        let mut said = BufReader::new(stdout).lines();
        let process = timeout(PATIENCE, said.next_line())
            .await??
            .ok_or("the gateway did not start")?;
        let mut log = BufReader::new(stderr).lines();
        let authority = timeout(PATIENCE, address(&mut log))
            .await
            .map_err(|_| "the gateway did not serve in time")??;
        tokio::spawn(show(log));
        Ok(Gateway {
            guard,
            process: process.trim().parse()?,
            authority,
            key: engine.service_key.clone(),
        })
    }

    /// Connections of the service.
    pub async fn connect(&self, count: usize) -> Outcome<Vec<Connection>> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(Connection::open(&self.authority, &self.key).await?);
        }
        Ok(all)
    }

    /// Ends it, and returns when it is gone.
    pub async fn stop(mut self) -> Outcome<()> {
        drop(self.guard.stdin.take());
        timeout(PATIENCE, self.guard.wait())
            .await
            .map_err(|_| "the gateway did not end")??;
        Ok(())
    }
}

/// Where it says that it serves.
async fn address(log: &mut Lines<BufReader<ChildStderr>>) -> Outcome<String> {
    let mut before = Vec::new();
    while let Some(line) = log.next_line().await? {
        if let Some((_, rest)) = line.split_once("address=") {
            return Ok(rest.split(' ').next().unwrap_or(rest).to_owned());
        }
        before.push(line);
    }
    Err(format!("the gateway ended at once: {}", before.join("\n")).into())
}

/// Shows what it warns of, and sees to it that it never waits for a reader.
async fn show(mut log: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = log.next_line().await {
        if !line.contains(" INFO ") {
            eprintln!("gateway: {line}");
        }
    }
}

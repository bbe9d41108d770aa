//! The load program: what the engine does in a second, beside what the same server does without it.
//!
//! Every workload (P1 to P9) runs against a private MySQL server with full durability and a gateway in a process of its own,
//! with its baseline before and after it, so that what is compared was measured under one load. `benches/README.md` says how to
//! run it and keeps the last table.
//!
//! Read in this order: [`world`] starts the server, [`engine`] makes a database and what is in it, [`gateway`] serves it,
//! [`measure`] drives workers and counts, and a file per workload says what is compared with what.

mod baseline;
mod batch;
mod client;
mod consume;
mod engine;
mod gateway;
mod history;
mod idle;
mod machine;
mod measure;
mod proof;
mod read;
mod readers;
mod report;
mod settle;
mod stock;
mod uses;
mod world;

use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use report::{Report, Row};
use world::World;

/// What can go wrong is said in a sentence, and ends the run.
type Outcome<T> = Result<T, Failure>;

/// The sentence.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measure the engine against the same MySQL server without it, in one run.
///
/// Starts a private server and a gateway, runs each workload with its baseline before and after it, counts that every accepted use
/// is in the ledger once, and prints a table. Without workloads it runs all, in about ten minutes. Nothing stays: Ctrl-C ends it all.
#[derive(Parser)]
#[command(name = "cargo bench --bench load --", after_help = AFTER_HELP)]
struct Options {
    /// What to run; nothing: all.
    #[arg(value_enum, ignore_case = true, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// Seconds of each measured workload; a baseline takes half of it before, and half of it after.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Write the table, the settings and the CPU times to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The MySQL server program, or the word private for the private copy.
    #[arg(long, env = "CONSUMABLE_MYSQLD", value_name = "PROGRAM")]
    mysqld: Option<OsString>,
    // Cargo adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

const AFTER_HELP: &str = "Examples:
  cargo bench --bench load                            all of it
  cargo bench --bench load -- P1 P8 --seconds 5       two of them, and faster
  cargo bench --bench load -- P9 --json verify.json

Figures of a busy machine are worth little, ratios a little more: the load at the start and at the end is printed.
CPU is what client, gateway and MySQL used for one use: they share the cores, so that the client's part is a cost of measuring.

Exit codes: 0 measured, whether or not the goals are met; 1 the work failed, or a count was wrong; 2 wrong use.";

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// POST consume, one item, 64 connections, 1,000 subjects; beside a transaction written by hand.
    #[value(name = "P1")]
    Spread,
    /// The same on one subject.
    #[value(name = "P2")]
    Hot,
    /// POST consume/batch, 200 items, 4 connections; beside multi-row INSERT.
    #[value(name = "P3")]
    Batch,
    /// One subject with 1,000,000 earlier uses, beside one without; 100 active grants each, beside one.
    #[value(name = "P4")]
    History,
    /// GET limitations, 64 connections, 5 codes; beside a bare prepared SELECT of the same rows.
    #[value(name = "P5")]
    Read,
    /// Settling 10,000 due balances among 1,000,000; beside 10,000 among 20,000.
    #[value(name = "P6")]
    Settle,
    /// 5,000 readers of events of 500 workspaces, while uses come in.
    #[value(name = "P7")]
    Readers,
    /// One connection and an idle gateway: latency; beside a bare CALL.
    #[value(name = "P8")]
    Idle,
    /// entitlement_verify_v1 over 1,000,000 uses, while somebody writes.
    #[value(name = "P9")]
    Proof,
}

impl Workload {
    async fn run(self, world: &mut World) -> Outcome<Vec<Row>> {
        match self {
            Workload::Spread => consume::spread(world).await,
            Workload::Hot => consume::hot(world).await,
            Workload::Batch => batch::run(world).await,
            Workload::History => history::run(world).await,
            Workload::Read => read::run(world).await,
            Workload::Settle => settle::run(world).await,
            Workload::Readers => readers::run(world).await,
            Workload::Idle => idle::run(world).await,
            Workload::Proof => proof::run(world).await,
        }
    }
}

// One thread: the client takes as little of the cores as it can.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // `cargo test --all-targets` runs programs like this one, too, without a word.
    if std::env::args_os().len() == 1 {
        println!("This measures and tests nothing: cargo bench --bench load -- --help");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(error),
    }
}

fn refuse(error: Failure) -> ExitCode {
    eprintln!("load: {error}");
    ExitCode::FAILURE
}

/// Ends with Ctrl-C or SIGTERM, as an error.
async fn told_to_stop() -> Failure {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            // Without it, there is still Ctrl-C.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = terminated => (),
    }
    "stopped, as told".into()
}

async fn run(options: &Options) -> Outcome<()> {
    let all = Workload::value_variants();
    let chosen: Vec<Workload> = match options.workloads.is_empty() {
        true => all.to_vec(),
        false => all
            .iter()
            .copied()
            .filter(|one| options.workloads.contains(one))
            .collect(),
    };
    let seconds = Duration::from_secs(options.seconds);
    // Dropping what is under way ends its gateway, and the server: their guards notice.
    let mut told_to_stop = pin!(told_to_stop());
    let mut world = tokio::select! {
        world = World::start(options.mysqld.as_deref(), seconds, chosen.len()) => world?,
        told = &mut told_to_stop => return Err(told),
    };
    let mut report = Report::new(world.settings().await?);
    let mut failed = Ok(());
    for workload in chosen {
        let done = tokio::select! {
            done = workload.run(&mut world) => done,
            told = &mut told_to_stop => Err(told),
        };
        match done {
            Ok(rows) => report.rows.extend(rows),
            Err(error) => {
                // What was measured before it is worth seeing.
                let name = workload.to_possible_value().map(|value| value.get_name().to_owned());
                failed = Err(format!("{}: {error}", name.unwrap_or_default()).into());
                break;
            }
        }
        world.next();
    }
    report.ended()?;
    world.stop().await?;
    println!("{}", report.table());
    if let Some(file) = &options.json {
        std::fs::write(file, report.json()?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    failed
}

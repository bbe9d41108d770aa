//! The command line; nothing else.

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use commands::{Failure, keys, serve};
use consumable::config::{DatabaseSetting, LogSetting};
use consumable::database::{self, Progress, Release, Report, Weight};
use consumable::error::Error;
use indicatif::{ProgressBar, ProgressStyle};

/// An entitlements engine: may this customer do this, and how much is left?
///
/// The rules live in a MySQL database, as stored procedures. This program puts them there and serves them over HTTP.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogSetting,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the answer is no or the work failed, 2 wrong use, 3 the database cannot \
                          be reached.";

#[derive(Subcommand)]
enum Command {
    Migrate(Migrate),
    Serve(serve::Serve),
    Keys(keys::Keys),
}

/// Bring a database to this release: its tables, then its procedures.
///
/// Safe to run at any time, by several at once, and while the old release is serving: what is as it should be is left
/// alone, a procedure is replaced only after its new text has been proven to compile, and a run that was killed is
/// finished by the next one. The database must exist:
///
///   CREATE DATABASE name CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci
///
/// Procedures belong to a locked account, consumable_owner, which can add to the ledger but not change it. When the
/// migrating account may not make it, the procedures belong to the migrating account; this is then said.
#[derive(Args)]
#[command(after_help = EXIT_CODES)]
struct Migrate {
    #[command(flatten)]
    database: DatabaseSetting,
    /// Change nothing: list what differs, a procedure edited by hand included; exit code 1 when something does.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match cli.log.filter() {
        Ok(filter) => filter,
        Err(error) => return refuse(2, &error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match cli.command {
        Command::Migrate(options) => migrate(&options).await,
        Command::Serve(options) => exit(serve::run(&options).await),
        Command::Keys(options) => exit(keys::run(&options).await),
    }
}

fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => refuse(failure.code(), &failure),
    }
}

async fn migrate(options: &Migrate) -> ExitCode {
    let url = match options.database.url() {
        Ok(url) => url,
        Err(error) => return refuse(2, &error),
    };
    let answer = match Release::embedded() {
        Ok(release) if options.check => check(url, &release).await,
        Ok(release) => apply(url, &release).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error @ Error::Unavailable(_)) => refuse(3, &error),
        Err(error) => refuse(1, &error),
    }
}

async fn check(url: &str, release: &Release) -> Result<bool, Error> {
    let found = database::check(url, release).await?;
    for difference in &found {
        println!("{difference}");
    }
    let to_mend = found
        .iter()
        .filter(|difference| difference.weight() != Weight::Note)
        .count();
    match to_mend {
        0 => println!("The database has all of release {}.", release.version()),
        _ => println!(
            "{to_mend} to mend: consumable migrate brings the database to release {}.",
            release.version()
        ),
    }
    Ok(to_mend == 0)
}

async fn apply(url: &str, release: &Release) -> Result<bool, Error> {
    // Hidden by itself when the standard error is not a terminal; the log then tells the long waits.
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}")
            .expect("the template is tried by every run"),
    );
    let show = |progress: Progress<'_>| match progress {
        Progress::AwaitingTurn => tell(
            &bar,
            "another consumable migrate is at work on this database; waiting".into(),
        ),
        Progress::Tables(migrations) => bar.set_message(format!("tables: {migrations} migrations")),
        Progress::Routine { name, done, total } => {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(name.to_owned());
        }
        Progress::Busy(what) => tell(
            &bar,
            format!("{what} is held by an open transaction; trying again"),
        ),
    };
    let report = database::migrate(url, release, &show).await;
    bar.finish_and_clear();
    print(&report?, release);
    Ok(true)
}

fn tell(bar: &ProgressBar, sentence: String) {
    if std::io::stderr().is_terminal() {
        bar.set_message(sentence);
    } else {
        tracing::info!("{sentence}");
    }
}

fn print(report: &Report, release: &Release) {
    let done = [
        ("applied ", &report.migrations),
        ("created ", &report.created),
        ("replaced", &report.replaced),
    ];
    for (verb, names) in done {
        for name in names {
            println!("{verb} {name}");
        }
    }
    for notice in &report.notices {
        println!("note: {notice}");
    }
    println!(
        "Release {}: {} migrations applied, procedures: {} created, {} replaced, {} unchanged.",
        release.version(),
        report.migrations.len(),
        report.created.len(),
        report.replaced.len(),
        report.unchanged
    );
}

fn refuse(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("consumable: {error}");
    ExitCode::from(code)
}

//! `consumable migrate`: a database brought to this release, or compared with it.

use std::io::IsTerminal;

use clap::Args;
use consumable::config::DatabaseSetting;
use consumable::database::{self, Progress, Reach, Release, Report, Weight};
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;

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
///
/// Plans, products, assignments and purchases of your own are loaded in between: --before-bootstrap makes the tables for
/// them, the run without it turns them into grants and balances (docs/operating.md, Coming with data of your own).
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Migrate {
    #[command(flatten)]
    database: DatabaseSetting,
    /// Change nothing: list what differs, a procedure edited by hand included; exit code 1 when something does.
    #[arg(long)]
    check: bool,
    /// Make the tables that data of your own is loaded into, and stop before it is read.
    #[arg(long, conflicts_with = "check")]
    before_bootstrap: bool,
    /// There is no way back: restore the backup that was taken before.
    #[arg(long, hide = true)]
    down: bool,
}

/// Does what the command line asks, and prints it. `false`: the answer of `--check` is no.
pub async fn run(options: &Migrate) -> Result<bool, Failure> {
    if options.down {
        return Err(Failure::Use(
            "migrate goes one way only: to go back, restore the backup that was taken before it",
        ));
    }
    let url = options.database.url()?;
    let release = Release::embedded()?;
    if options.check {
        return check(url, &release).await;
    }
    let reach = if options.before_bootstrap {
        Reach::BeforeBootstrap
    } else {
        Reach::Release
    };
    print(&apply(url, &release, reach).await?, &release, reach);
    Ok(true)
}

async fn check(url: &str, release: &Release) -> Result<bool, Failure> {
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

/// Brings the database to the release, with a bar while it goes on.
pub(super) async fn apply(url: &str, release: &Release, reach: Reach) -> Result<Report, Failure> {
    // Hidden by itself when the standard error is not a terminal; the log then tells the long waits.
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("the template is tried by every run"),
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
        Progress::Opening { done, total } => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message("balances");
        }
        Progress::Busy(what) => tell(&bar, format!("{what} is held by an open transaction; trying again")),
    };
    let report = database::migrate_to(url, release, reach, &show).await;
    bar.finish_and_clear();
    Ok(report?)
}

fn tell(bar: &ProgressBar, sentence: String) {
    if std::io::stderr().is_terminal() {
        bar.set_message(sentence);
    } else {
        tracing::info!("{sentence}");
    }
}

fn print(report: &Report, release: &Release, reach: Reach) {
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
    if reach == Reach::BeforeBootstrap {
        // A notice says why there is nothing to load for.
        if report.notices.is_empty() {
            println!("The tables are there. Load your data, then run consumable migrate: it reads it.");
        }
        return;
    }
    if report.settled > 0 {
        println!("settled  {} balances that were due", report.settled);
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

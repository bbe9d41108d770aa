//! The command line; nothing else.

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{EXIT_CODES, Failure, archive, catalog, dev, keys, migrate, serve, verify};
use consumable::config::LogSetting;

/// An entitlements engine: may this customer do this, and how much is left?
///
/// The rules live in a MySQL database, as stored procedures. This program puts them there and serves them over HTTP.
/// To see it work: consumable dev
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogSetting,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Migrate(migrate::Migrate),
    Keys(keys::Keys),
    Verify(verify::Verify),
    Archive(archive::Archive),
    Catalog(catalog::Catalog),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = match cli.log.filter() {
        Ok(filter) => filter,
        Err(error) => return refuse(&error.into()),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let answer = match cli.command {
        Command::Dev(options) => dev::run(&options).await.map(|()| true),
        Command::Serve(options) => serve::run(&options).await.map(|()| true),
        Command::Migrate(options) => migrate::run(&options).await,
        Command::Keys(options) => keys::run(&options).await.map(|()| true),
        Command::Verify(options) => verify::run(&options).await,
        Command::Archive(options) => archive::run(&options).await.map(|()| true),
        Command::Catalog(options) => catalog::run(&options).await,
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => refuse(&failure),
    }
}

fn refuse(failure: &Failure) -> ExitCode {
    eprintln!("consumable: {failure}");
    ExitCode::from(failure.code())
}

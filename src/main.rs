//! The command line; nothing else.

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{EXIT_CODES, Failure, archive, catalog, dev, keys, migrate, serve, verify};
use consumable::config::{LogFormatSetting, LogSetting, SettingError};

/// An entitlements engine: may this customer do this, and how much is left?
///
/// The rules live in a MySQL database, as stored procedures. This program puts them there and serves them over HTTP.
/// To see it work: consumable dev
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    log: LogSetting,
    #[command(flatten)]
    log_format: LogFormatSetting,
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
    if let Err(error) = log(&cli) {
        return refuse(&error.into());
    }
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

/// Logs to the standard error from here on.
fn log(cli: &Cli) -> Result<(), SettingError> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(cli.log.filter()?)
        .with_writer(std::io::stderr);
    match cli.log_format.is_json()? {
        // Each line with the request that it is about, and with the call within that.
        true => log.json().flatten_event(true).with_current_span(false).init(),
        false => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

fn refuse(failure: &Failure) -> ExitCode {
    eprintln!("consumable: {failure}");
    ExitCode::from(failure.code())
}

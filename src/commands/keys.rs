//! `consumable keys`: the keys with which services and operators call the gateway.

use chrono::NaiveDateTime;
use clap::{Args, Subcommand, ValueEnum};
use consumable::config::DatabaseSetting;
use consumable::database::Database;
use consumable::gateway::Secret;
use consumable::procedures::access;

use super::Failure;

/// Rows that are asked for at a time.
const PAGE: u32 = 1_000;

/// Make, list, replace and revoke the keys with which services and operators call the gateway.
///
/// A key is shown once, when it is made: the database keeps only its SHA-256.
#[derive(Args)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a key. The last line printed is the key alone.
    Create {
        #[command(flatten)]
        database: DatabaseSetting,
        /// What its holder may do.
        #[arg(long)]
        role: Role,
        /// Whose it is, up to 120 characters: stands in the ledger beside what was done with it.
        #[arg(long)]
        name: String,
    },
    /// List all keys, the revoked ones included.
    List {
        #[command(flatten)]
        database: DatabaseSetting,
    },
    /// Make a key in the place of another, which holds for a while longer. The last line printed is the new key alone.
    Rotate {
        #[command(flatten)]
        database: DatabaseSetting,
        /// The number in the list of the key that is replaced.
        id: u64,
        /// How many hours the old key still holds: 0 to 720. Time for the new one to reach all who use it.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
        overlap_hours: u32,
    },
    /// Revoke a key: it is refused from the next request on.
    Revoke {
        #[command(flatten)]
        database: DatabaseSetting,
        /// Its number in the list.
        id: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// An application's backend: acts for any subject.
    Service,
    /// An operator: the console, and all that a service may.
    Admin,
}

/// Does what the command line asks, and prints it.
pub async fn run(keys: &Keys) -> Result<(), Failure> {
    match &keys.command {
        Command::Create { database, role, name } => {
            if name.chars().count() > 120 {
                return Err(Failure::Work("--name must be at most 120 characters".into()));
            }
            let role = match role {
                Role::Service => "service",
                Role::Admin => "admin",
            };
            let secret = secret()?;
            let database = Database::connect(database.url()?).await?;
            let key = access::create_key(&database, name, role, secret.sha256()).await?;
            database.disconnect().await?;
            println!("Key {} of {} ({}):", key.id, key.name, key.role);
            println!("{}", secret.reveal());
        }
        Command::List { database } => {
            let database = Database::connect(database.url()?).await?;
            println!("{}", line("id", "role", "created", "last used", "revoked", "name"));
            let mut after = 0;
            loop {
                let page = access::list_keys(&database, after, PAGE).await?;
                for key in &page {
                    let id = key.id.to_string();
                    let created = instant(Some(key.created_at));
                    let last_used = instant(key.last_used_at);
                    let revoked = instant(key.revoked_at);
                    println!("{}", line(&id, &key.role, &created, &last_used, &revoked, &key.name));
                }
                match page.last() {
                    Some(key) => after = key.id,
                    None => break,
                }
            }
            database.disconnect().await?;
        }
        Command::Rotate {
            database,
            id,
            overlap_hours,
        } => {
            let secret = secret()?;
            let database = Database::connect(database.url()?).await?;
            let key = access::rotate_key(&database, *id, secret.sha256(), overlap_hours * 3_600).await?;
            database.disconnect().await?;
            let until = instant(Some(key.replaced_until));
            println!(
                "Key {} of {} ({}), in the place of key {id}, which holds until {until}:",
                key.id, key.name, key.role
            );
            println!("{}", secret.reveal());
        }
        Command::Revoke { database, id } => {
            let database = Database::connect(database.url()?).await?;
            let key = access::revoke_key(&database, *id).await?;
            database.disconnect().await?;
            let since = instant(Some(key.revoked_at));
            println!(
                "Key {} of {} ({}) is revoked since {since}.",
                key.id, key.name, key.role
            );
        }
    }
    Ok(())
}

fn secret() -> Result<Secret, Failure> {
    Secret::generate().map_err(|error| Failure::Work(format!("no randomness for a key: {error}")))
}

fn line(id: &str, role: &str, created: &str, last_used: &str, revoked: &str, name: &str) -> String {
    format!("{id:>6}  {role:<7}  {created:<20}  {last_used:<20}  {revoked:<20}  {name}")
}

fn instant(instant: Option<NaiveDateTime>) -> String {
    instant.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

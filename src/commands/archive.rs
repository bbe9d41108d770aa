//! `consumable archive`: old uses, moved out of the way of new ones.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use clap::Args;
use consumable::config::DatabaseSetting;
use consumable::database::Database;
use consumable::procedures::billing::{self, Subject};
use consumable::procedures::operator;
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;

/// Move uses of windows that are long over from the ledger to its archive, a table of its own.
///
/// Nothing that anybody is answered changes: a key that comes again is known, the ledger page and the charts show what they showed, and `consumable
/// verify` goes on to compare all of it. What is gained is a small ledger, and an archive that may lie on cheaper storage (docs/operating.md, Retiring
/// old uses).
///
/// What may go is what was used before a settlement of its limit that was made for an instant up to --before; of a rolling window, what has come back, too.
/// It is safe to run while gateways serve, to stop it at any time and to run it again: it goes on where it stopped.
///
/// It works with the rights of the account in DATABASE_URL, which needs DELETE on billing_entitlement_consumptions. The gateway's account and the owner of
/// the procedures have not got that.
///
///   consumable archive --before 2026-01-01
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Archive {
    #[command(flatten)]
    database: DatabaseSetting,
    /// A day, such as 2026-01-01 (from its midnight, UTC), or an instant, such as 2026-01-01T06:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    before: NaiveDateTime,
    /// Only this billable entity.
    #[arg(long, value_name = "ID")]
    entity: Option<u64>,
    /// Uses moved at a time, 1 to 10000: as long as that takes, who uses the same limit waits.
    #[arg(long, value_name = "USES", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
}

/// Does what the command line asks, and prints it.
pub async fn run(options: &Archive) -> Result<(), Failure> {
    let database = Database::connect(options.database.url()?).await?;
    if let Some(id) = options.entity {
        // An entity that is not there has nothing to move either, which would read as if it were done.
        billing::find_subject(&database, &Subject::Entity(id)).await?;
    }
    // Hidden by itself when the standard error is not a terminal.
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} entity {pos}/{len} {wide_msg}")
            .expect("the template is tried by every run"),
    );
    let moved = walk(&database, options, &bar).await;
    bar.finish_and_clear();
    let moved = moved?;
    database.disconnect().await?;
    match moved {
        0 => println!("Nothing to move."),
        1 => println!("Moved 1 use."),
        many => println!("Moved {many} uses."),
    }
    Ok(())
}

/// Moves batch after batch, and says how many uses that were.
async fn walk(database: &Database, options: &Archive, bar: &ProgressBar) -> Result<u64, Failure> {
    let (mut moved, mut first) = (0, options.entity);
    loop {
        let batch = operator::archive(database, options.before, options.batch, first, options.entity).await?;
        moved += u64::from(batch.moved);
        let Some(next) = batch.next_subject_id else {
            return Ok(moved);
        };
        bar.set_length(batch.last_subject_id.unwrap_or(next));
        bar.set_position(next);
        bar.set_message(format!("{moved} uses moved"));
        first = Some(next);
    }
}

/// Reads a day or an instant.
fn instant(text: &str) -> Result<NaiveDateTime, String> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN));
    let instant = || Some(DateTime::parse_from_rfc3339(text).ok()?.naive_utc());
    day()
        .or_else(instant)
        .ok_or_else(|| "write a day, 2026-01-01, or an instant, 2026-01-01T06:00:00Z".into())
}

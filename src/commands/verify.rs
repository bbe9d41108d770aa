//! `consumable verify`: every projected number against the ledger.

use std::time::Duration;

use clap::Args;
use consumable::config::DatabaseSetting;
use consumable::database::Database;
use consumable::procedures::billing::{self, Subject};
use consumable::procedures::entitlement::{self, Mismatch};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Failure;

/// Time between two turns of the spinner.
const SPIN: Duration = Duration::from_millis(120);

/// Compare every number that the engine answers with the ledger that it follows from; exit code 1 when one differs.
///
/// Reads one consistent snapshot while all goes on, and changes nothing. It reads every use there ever was. What it finds
/// is mended by a refresh of the billable entity, which rebuilds the numbers from the ledger.
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Verify {
    #[command(flatten)]
    database: DatabaseSetting,
    /// Only this billable entity.
    #[arg(long, value_name = "ID")]
    entity: Option<u64>,
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

/// A difference, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference<'a> {
    billable_entity_id: u64,
    code: &'a str,
    what: &'a str,
    /// Of the segment, the grant or the hold; none for the balance itself.
    number: Option<u64>,
    projected: Option<i64>,
    ledger: Option<i64>,
}

/// Does what the command line asks, and prints it. `false`: something differs.
pub async fn run(options: &Verify) -> Result<bool, Failure> {
    let database = Database::connect(options.database.url()?).await?;
    if let Some(id) = options.entity {
        // An entity that is not there has no differences either, which would read like a proof.
        billing::find_subject(&database, &Subject::Entity(id)).await?;
    }
    // Hidden by itself when the standard error is not a terminal.
    let spinner = ProgressBar::new_spinner()
        .with_message("comparing with the ledger")
        .with_style(
            ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is tried by every run"),
        );
    spinner.enable_steady_tick(SPIN);
    let found = entitlement::verify(&database, options.entity).await;
    spinner.finish_and_clear();
    let found = found?;
    database.disconnect().await?;
    if options.json {
        let differences: Vec<_> = found.iter().map(Difference::from).collect();
        let text = serde_json::to_string_pretty(&differences)
            .map_err(|error| Failure::Work(format!("the differences have no JSON: {error}")))?;
        println!("{text}");
    } else if found.is_empty() {
        println!("No differences.");
    } else {
        print(&found);
    }
    Ok(found.is_empty())
}

impl<'a> From<&'a Mismatch> for Difference<'a> {
    fn from(row: &'a Mismatch) -> Self {
        Difference {
            billable_entity_id: row.subject_id,
            code: &row.code,
            what: &row.what,
            number: row.number,
            projected: row.projected,
            ledger: row.ledger,
        }
    }
}

fn print(found: &[Mismatch]) {
    println!("{}", line("entity", "code", "what", "number", "projected", "ledger"));
    for row in found {
        let number = row.number.map_or_else(|| "-".into(), |number| number.to_string());
        let amount = |amount: Option<i64>| amount.map_or_else(|| "-".into(), |amount| amount.to_string());
        println!(
            "{}",
            line(
                &row.subject_id.to_string(),
                &row.code,
                &row.what,
                &number,
                &amount(row.projected),
                &amount(row.ledger)
            )
        );
    }
    let differences = match found.len() {
        1 => "1 difference.".into(),
        many => format!("{many} differences."),
    };
    println!("{differences}");
}

fn line(entity: &str, code: &str, what: &str, number: &str, projected: &str, ledger: &str) -> String {
    format!("{entity:>8}  {code:<32}  {what:<18}  {number:>8}  {projected:>16}  {ledger:>16}")
}

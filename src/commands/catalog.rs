//! `consumable catalog`: definitions, plans and products as one file.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use consumable::config::DatabaseSetting;
use consumable::database::Database;
use consumable::procedures::billing::catalogue::{
    Applied, CatalogueChange, FieldProblem, apply_catalogue, export_catalogue,
};
use serde_json::{Map, Value, json};

use super::Failure;

/// Bytes of a file at most: the largest catalogue that the database takes is smaller.
const FILE_BYTES: u64 = 16 << 20;

/// The catalogue as a file: keep it in version control, and bring it from one installation to another.
///
/// The file holds definitions, plans and products, each known by its code, in the form in which the console's paths take
/// them. What a file does not hold stays as it is; so does a field that is left out. Nothing is ever deleted: a
/// definition has "isActive": false, a plan or product "archived": true.
#[derive(Args)]
#[command(after_help = super::EXIT_CODES)]
pub struct Catalog {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the catalogue to a file, or to the standard output.
    Export {
        #[command(flatten)]
        database: DatabaseSetting,
        #[command(flatten)]
        file: OutputFile,
    },
    /// Show what a file would change. Changes nothing.
    Plan {
        #[command(flatten)]
        database: DatabaseSetting,
        #[command(flatten)]
        file: InputFile,
        /// Exit with code 1 when something would change.
        #[arg(long)]
        check: bool,
        /// Print JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Make the catalogue what a file says, in one transaction.
    Apply {
        #[command(flatten)]
        database: DatabaseSetting,
        #[command(flatten)]
        file: InputFile,
        /// Print JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct OutputFile {
    /// Where to: a .json or .toml file, or - for the standard output.
    #[arg(value_name = "FILE", default_value = "-")]
    path: PathBuf,
    /// The format, whatever the file is called. The standard output is JSON unless this says otherwise.
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Args)]
struct InputFile {
    /// Which: a .json or .toml file, or - for the standard input.
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The format, whatever the file is called. The standard input is JSON unless this says otherwise.
    #[arg(long)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Toml,
}

/// Does what the command line asks, and prints it. `false`: the file has mistakes, or `--check` found differences.
pub async fn run(catalog: &Catalog) -> Result<bool, Failure> {
    match &catalog.command {
        Command::Export { database, file } => {
            let format = format(&file.path, file.format)?;
            let database = Database::connect(database.url()?).await?;
            let catalogue = export_catalogue(&database).await?;
            database.disconnect().await?;
            let text = match format {
                Format::Json => in_json(&catalogue)? + "\n",
                Format::Toml => in_toml(catalogue)?,
            };
            if is_standard(&file.path) {
                print!("{text}");
            } else {
                std::fs::write(&file.path, text)
                    .map_err(|error| Failure::Work(format!("cannot write {}: {error}", file.path.display())))?;
            }
            Ok(true)
        }
        Command::Plan {
            database,
            file,
            check,
            json,
        } => {
            let applied = apply(database, file, true).await?;
            let changes = show(&applied, *json, "would be ")?;
            Ok(changes.is_some_and(|changes| changes == 0 || !check))
        }
        Command::Apply { database, file, json } => {
            let applied = apply(database, file, false).await?;
            Ok(show(&applied, *json, "")?.is_some())
        }
    }
}

async fn apply(database: &DatabaseSetting, file: &InputFile, is_dry_run: bool) -> Result<Applied, Failure> {
    let catalogue = read(file)?;
    let database = Database::connect(database.url()?).await?;
    let applied = apply_catalogue(&database, &catalogue, is_dry_run).await?;
    database.disconnect().await?;
    Ok(applied)
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn format(path: &Path, told: Option<Format>) -> Result<Format, Failure> {
    let by_name = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Some(Format::Json),
        Some("toml") => Some(Format::Toml),
        _ if is_standard(path) => Some(Format::Json),
        _ => None,
    };
    told.or(by_name).ok_or_else(|| {
        Failure::Work(format!(
            "{} is neither a .json nor a .toml file: say --format json or --format toml",
            path.display()
        ))
    })
}

fn read(file: &InputFile) -> Result<Value, Failure> {
    let name = file.path.display();
    let format = format(&file.path, file.format)?;
    let unreadable = |error| Failure::Work(format!("cannot read {name}: {error}"));
    let source: Box<dyn Read> = match is_standard(&file.path) {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(&file.path).map_err(unreadable)?),
    };
    let mut text = String::new();
    source
        .take(FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(Failure::Work(format!("{name} is longer than {FILE_BYTES} bytes")));
    }
    match format {
        Format::Json => {
            serde_json::from_str(&text).map_err(|error| Failure::Work(format!("{name} is not JSON: {error}")))
        }
        Format::Toml => {
            let table: toml::Table = toml::from_str(&text)
                .map_err(|error| Failure::Work(format!("{name} is not TOML: {}", error.to_string().trim_end())))?;
            let value = toml::Value::Table(table);
            from_toml(value, "").map_err(|sentence| Failure::Work(format!("{name}: {sentence}")))
        }
    }
}

fn in_json(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Work(format!("the catalogue has no JSON: {error}")))
}

/// A field of a definition, plan or product that is null is written as an empty text, which says the same: TOML has no null.
fn in_toml(mut catalogue: Value) -> Result<String, Failure> {
    let items = catalogue
        .as_object_mut()
        .into_iter()
        .flat_map(|kinds| kinds.values_mut());
    let fields = items
        .filter_map(Value::as_array_mut)
        .flatten()
        .filter_map(Value::as_object_mut)
        .flat_map(|item| item.values_mut());
    for field in fields.filter(|field| field.is_null()) {
        *field = Value::from("");
    }
    let value = to_toml(catalogue, "").map_err(Failure::Work)?;
    toml::to_string_pretty(&value).map_err(|error| Failure::Work(format!("the catalogue has no TOML: {error}")))
}

fn to_toml(value: Value, path: &str) -> Result<toml::Value, String> {
    Ok(match value {
        Value::Null => return Err(format!("{path} is null, which TOML has not: export JSON")),
        Value::Bool(is) => toml::Value::Boolean(is),
        Value::String(text) => toml::Value::String(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => toml::Value::Integer(whole),
            (None, Some(real)) if number.is_f64() => toml::Value::Float(real),
            _ => return Err(format!("{path} is too large a number for TOML: export JSON")),
        },
        Value::Array(items) => toml::Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| to_toml(item, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => toml::Value::Table(
            fields
                .into_iter()
                .map(|(name, field)| {
                    let path = below(path, &name);
                    Ok((name, to_toml(field, &path)?))
                })
                .collect::<Result<_, String>>()?,
        ),
    })
}

fn from_toml(value: toml::Value, path: &str) -> Result<Value, String> {
    Ok(match value {
        toml::Value::Boolean(is) => Value::Bool(is),
        toml::Value::String(text) => Value::String(text),
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Integer(whole) => Value::from(whole),
        toml::Value::Float(real) => match serde_json::Number::from_f64(real) {
            Some(number) => Value::Number(number),
            None => return Err(format!("{path} is {real}, which is no number of JSON")),
        },
        toml::Value::Array(items) => Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| from_toml(item, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        toml::Value::Table(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, field)| {
                    let path = below(path, &name);
                    Ok((name, from_toml(field, &path)?))
                })
                .collect::<Result<Map<_, _>, String>>()?,
        ),
    })
}

fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// Prints what became of a file; gives how many things it makes or changes, none where it has mistakes.
fn show(applied: &Applied, as_json: bool, would: &str) -> Result<Option<usize>, Failure> {
    match applied {
        Ok(changes) => {
            let count = |action: &str| {
                let mut things: Vec<_> = changes
                    .iter()
                    .filter(|change| change.action == action)
                    .map(|change| (&change.kind, &change.code))
                    .collect();
                // The fields of one thing stand together.
                things.dedup();
                things.len()
            };
            let (created, updated) = (count("create"), count("update"));
            if as_json {
                let rows: Vec<_> = changes.iter().map(row).collect();
                println!("{}", in_json(&json!({ "changes": rows }))?);
            } else {
                print!("{}", lines(changes));
                let (unchanged, not_in_file) = (count("unchanged"), count("not_in_file"));
                println!(
                    "{created} {would}made, {updated} {would}changed, {unchanged} unchanged, {not_in_file} not in the file."
                );
            }
            Ok(Some(created + updated))
        }
        Err(problems) => {
            if as_json {
                let rows: Vec<_> = problems.iter().map(problem_row).collect();
                println!("{}", in_json(&json!({ "problems": rows }))?);
            } else {
                for problem in problems {
                    eprintln!("{}: {}", problem.path, problem.text);
                }
                eprintln!("Nothing was changed.");
            }
            Ok(None)
        }
    }
}

fn row(change: &CatalogueChange) -> Value {
    json!({ "kind": change.kind, "code": change.code, "action": change.action, "field": change.field,
            "before": change.before_value, "after": change.after_value })
}

fn problem_row(problem: &FieldProblem) -> Value {
    json!({ "path": problem.path, "code": problem.code.name(), "text": problem.text })
}

/// A line per thing that is made or changed, and below it a line per field.
fn lines(changes: &[CatalogueChange]) -> String {
    let mut text = String::new();
    let mut last = None;
    for change in changes {
        let is_change = matches!(change.action.as_str(), "create" | "update");
        let is_new = last.replace((&change.kind, &change.code)) != Some((&change.kind, &change.code));
        let written = match (is_change, is_new) {
            (true, true) => writeln!(text, "{} {} {}", change.action, change.kind, change.code),
            (false, _) if change.action == "not_in_file" => {
                writeln!(text, "not in the file: {} {}", change.kind, change.code)
            }
            _ => Ok(()),
        };
        written.expect("a text takes what is written to it");
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        if let (true, Some(field)) = (is_change, &change.field) {
            let (before, after) = (value(&change.before_value), value(&change.after_value));
            let line = match change.action.as_str() {
                "create" => format!("    {field}: {after}\n"),
                _ => format!("    {field}: {before} -> {after}\n"),
            };
            text.push_str(&line);
        }
    }
    text
}

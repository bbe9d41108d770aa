//! What a use would be answered.

use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};
use serde::Serialize;

use super::{Fresh, Limitation, fresh, rule};
use crate::database::Database;
use crate::error::Error;

/// What a check asks of one definition.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the parameters of entitlement_check_v1")]
pub struct CheckItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limitation_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_count: Option<i64>,
}

/// What became of one item of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The item names a limit.
    Limit(Box<CheckVerdict>),
    /// The item names none, or is wrong.
    Failed(Error),
}

/// What a limit says of a use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckVerdict {
    /// Why the use would not be allowed now.
    pub problem: Option<Error>,
    /// The limitation as it is.
    pub limitation: Limitation,
}

impl FromRow for CheckOutcome {
    fn from_row_opt(row: Row) -> Result<CheckOutcome, FromRowError> {
        #[derive(FromRow)]
        struct Problem {
            problem: Option<String>,
            code: Option<String>,
        }
        let found = Problem::from_row_opt(row.clone())?;
        match (found.problem.as_deref().map(rule), found.code) {
            (Some(error), None) => Ok(CheckOutcome::Failed(error)),
            (problem, _) => Ok(CheckOutcome::Limit(Box::new(CheckVerdict {
                problem,
                limitation: Limitation::from_row_opt(row)?,
            }))),
        }
    }
}

/// Whether a subject may use some of a definition.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_check_batch_v1")]
pub struct Pair {
    pub subject_id: u64,
    pub code: String,
    pub allowed: bool,
    pub available_amount: i64,
}

/// Says what a use of 1 to 100 items would be answered now, item by item.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, `VALIDATION_FAILED` for the call as a whole, and as [`Database::call`].
pub async fn check(database: &Database, subject_id: u64, items: &[CheckItem]) -> Result<Fresh<CheckOutcome>, Error> {
    let items = serde_json::to_string(items)
        .map_err(|error| Error::Internal(format!("the items of a check have no JSON: {error}")))?;
    fresh(database.read("entitlement_check_v1", (subject_id, items)).await?)
}

/// Says for up to 100 subjects and 100 codes whether each might use `amount` (1 if not said), in the order of both.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn check_batch(
    database: &Database,
    subject_ids: &[u64],
    codes: &[&str],
    amount: Option<i64>,
) -> Result<Fresh<Pair>, Error> {
    let list = |list: Result<String, serde_json::Error>| {
        list.map_err(|error| Error::Internal(format!("a list of a check has no JSON: {error}")))
    };
    let subject_ids = list(serde_json::to_string(subject_ids))?;
    let codes = list(serde_json::to_string(codes))?;
    let sets = database
        .read("entitlement_check_batch_v1", (subject_ids, codes, amount))
        .await?;
    fresh(sets)
}

//! Uses: requests to use something, and what becomes of them.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Limitation, Refusal, rule};
use crate::database::Database;
use crate::error::Error;

/// A request to use something: its items are booked all together or not at all.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the parameters of entitlement_consume_v1")]
pub struct ConsumeRequest {
    pub subject_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_event_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub items: Vec<ConsumeItem>,
}

impl ConsumeRequest {
    /// The request as [`consume`] sends it.
    ///
    /// # Errors
    /// [`Error::Internal`] when it has no JSON.
    pub fn encode(&self) -> Result<EncodedRequest, Error> {
        to_raw_value(self)
            .map(EncodedRequest)
            .map_err(|error| Error::Internal(format!("a consume request has no JSON: {error}")))
    }
}

/// A [`ConsumeRequest`] in JSON.
#[derive(Debug, Clone, Serialize)]
pub struct EncodedRequest(Box<RawValue>);

impl EncodedRequest {
    /// Bytes that it takes in a call.
    pub fn bytes(&self) -> usize {
        self.0.get().len()
    }
}

/// What a [`ConsumeRequest`] wants of one definition.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the parameters of entitlement_consume_v1")]
pub struct ConsumeItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limitation_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_sql")]
    pub occurred_at: Option<NaiveDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

fn as_sql<S: Serializer>(instant: &Option<NaiveDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    instant
        .map(|instant| instant.format("%Y-%m-%d %H:%M:%S%.3f").to_string())
        .serialize(serializer)
}

/// What became of one item of a [`ConsumeRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemOutcome {
    /// Place of its request in the call, from 1.
    pub request_no: u32,
    /// What became of its request.
    pub outcome: Outcome,
}

/// What became of a [`ConsumeRequest`], as one of its items tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is booked.
    Accepted {
        /// Whether it was booked by an earlier request with the same key; this one wrote nothing.
        replayed: bool,
        /// `SOFT_LIMIT_EXCEEDED`, when the item went over a limit that only warns.
        warning: Option<String>,
        /// What was booked for this item.
        consumption: Consumption,
        /// The limitation as this use left it.
        limitation: Limitation,
    },
    /// A limit leaves no room. Nothing is booked.
    Refused {
        /// Whether this item's limit is the one that refused.
        refused_by_this: bool,
        /// Why, and what would help.
        refusal: Refusal,
    },
    /// The request is wrong. Nothing is booked.
    Failed(Error),
}

/// One use, as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of entitlement_consume_v1")]
pub struct Consumption {
    pub code: String,
    pub amount: i64,
    pub usage_event_key: String,
    pub reason_code: Option<String>,
    /// Its number among the uses of its limit; a capacity's count has none.
    pub sequence_no: Option<u64>,
    pub occurred_at: NaiveDateTime,
    pub posted_at: NaiveDateTime,
}

/// The columns that say which of the others have values.
struct Verdict {
    request_no: u32,
    outcome: String,
    replayed: bool,
    problem: Option<String>,
    refused_code: Option<String>,
    code: Option<String>,
    amount: Option<i64>,
    warning: Option<String>,
    retry_after_seconds: Option<u64>,
    used_amount: Option<i64>,
    over_by_amount: Option<i64>,
}

impl FromRow for ItemOutcome {
    fn from_row_opt(row: Row) -> Result<ItemOutcome, FromRowError> {
        let verdict = from_columns!(row.get_opt => Verdict {
            request_no, outcome, replayed, problem, refused_code, code, amount, warning, retry_after_seconds, used_amount, over_by_amount,
        });
        let Some(verdict) = verdict else {
            return Err(FromRowError(row));
        };
        let consumption = from_columns!(row.get_opt => Consumption {
            code, amount, usage_event_key, reason_code, sequence_no, occurred_at, posted_at,
        });
        let problem = verdict.problem.as_deref().map(rule);
        let amounts = verdict.amount.zip(verdict.used_amount).zip(verdict.over_by_amount);
        let outcome = match (verdict.outcome.as_str(), problem, amounts, consumption) {
            ("accepted", None, _, Some(consumption)) => Outcome::Accepted {
                replayed: verdict.replayed,
                warning: verdict.warning,
                consumption,
                limitation: Limitation::from_row_opt(row)?,
            },
            ("refused", Some(error), Some(((amount, used_amount), over_by_amount)), _) => Outcome::Refused {
                refused_by_this: verdict.refused_code == verdict.code,
                refusal: Refusal {
                    error,
                    amount,
                    used_amount,
                    over_by_amount,
                    retry_after_seconds: verdict.retry_after_seconds,
                    limitation: Limitation::from_row_opt(row)?,
                },
            },
            ("failed", Some(error), ..) => Outcome::Failed(error),
            _ => return Err(FromRowError(row)),
        };
        Ok(ItemOutcome {
            request_no: verdict.request_no,
            outcome,
        })
    }
}

/// Decides 1 to 1,000 requests in one commit, and gives an outcome per item of each, in the order of requests and items.
///
/// # Errors
/// `VALIDATION_FAILED` for the call as a whole, and as [`Database::call`]. What is wrong with one request is its outcome.
pub async fn consume(database: &Database, requests: &[&EncodedRequest]) -> Result<Vec<Vec<Outcome>>, Error> {
    let encoded = serde_json::to_string(requests)
        .map_err(|error| Error::Internal(format!("consume requests have no JSON: {error}")))?;
    let rows: Vec<ItemOutcome> = database.call("entitlement_consume_v1", (encoded,)).await?.rows()?;
    let mut outcomes = vec![Vec::new(); requests.len()];
    for row in rows {
        let place = usize::try_from(row.request_no)
            .ok()
            .and_then(|number| number.checked_sub(1));
        match place.and_then(|place| outcomes.get_mut(place)) {
            Some(items) => items.push(row.outcome),
            None => {
                let number = row.request_no;
                return Err(Error::Internal(format!(
                    "entitlement_consume_v1 decided request {number} of {}",
                    requests.len()
                )));
            }
        }
    }
    Ok(outcomes)
}

//! What the payment provider said, what was bought, and what was paid back.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};

use crate::database::{Database, ResultSets};
use crate::error::Error;

/// What became of an event that was received.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_receive_event_v1")]
pub struct Received {
    pub event_id: u64,
    /// `applied`, `replayed`, `ignored`, `failed`.
    pub outcome: String,
    pub failure_code: Option<String>,
    pub subject_id: Option<u64>,
}

/// An event of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_list_events_v1")]
pub struct Event {
    pub id: u64,
    pub provider: String,
    pub provider_event_id: String,
    pub event_type: String,
    pub api_version: Option<String>,
    pub outcome: String,
    pub failure: Option<String>,
    pub ignored_because: Option<String>,
    pub attempts: u32,
    pub subject_id: Option<u64>,
    pub received_at: NaiveDateTime,
    pub resolved_at: Option<NaiveDateTime>,
}

/// An event of the inbox with its body, byte for byte as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventWithPayload {
    /// The event.
    pub event: Event,
    /// The body.
    pub payload: Vec<u8>,
}

impl FromRow for EventWithPayload {
    fn from_row_opt(mut row: Row) -> Result<EventWithPayload, FromRowError> {
        match row.take_opt("payload") {
            Some(Ok(payload)) => {
                let event = Event::from_row_opt(row)?;
                Ok(EventWithPayload { event, payload })
            }
            _ => Err(FromRowError(row)),
        }
    }
}

/// Which events a list is asked for.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parameters of billing_list_events_v1")]
pub struct EventsAsked<'a> {
    pub outcome: Option<&'a str>,
    pub subject_id: Option<u64>,
    pub before_id: Option<u64>,
    pub limit: u32,
}

/// What was bought by one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The purchase itself.
    pub head: PurchaseHead,
    /// What was bought, in the provider's order.
    pub lines: Vec<PurchaseLine>,
    /// What it granted, oldest first.
    pub grants: Vec<PurchaseGrant>,
    /// What was paid back.
    pub refunds: Vec<Refund>,
}

/// A purchase without its parts. Money is in the currency's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_purchases_in_tx_v1")]
pub struct PurchaseHead {
    pub id: u64,
    pub subject_id: u64,
    pub provider: String,
    pub provider_payment_id: String,
    pub event_id: Option<u64>,
    pub status: String,
    pub currency: String,
    pub paid_minor_units: i64,
    pub refunded_minor_units: i64,
    pub period_start_at: Option<NaiveDateTime>,
    pub period_end_at: Option<NaiveDateTime>,
    pub purchased_at: NaiveDateTime,
    pub created_at: NaiveDateTime,
    pub voided_at: Option<NaiveDateTime>,
    pub voided_by: Option<String>,
    pub void_reason: Option<String>,
}

/// A line of a purchase. Neither plan nor product: nobody in the catalogue bears the price.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_purchases_in_tx_v1")]
pub struct PurchaseLine {
    pub purchase_id: u64,
    pub line_no: u16,
    pub provider_price_id: String,
    pub plan_code: Option<String>,
    pub product_code: Option<String>,
    pub quantity: u32,
}

/// A grant of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_purchases_in_tx_v1")]
pub struct PurchaseGrant {
    pub purchase_id: u64,
    pub grant_id: u64,
    pub first_grant_id: u64,
    pub bought_amount: i64,
    pub code: String,
    pub grant_kind: String,
    pub amount: i64,
    pub effective_at: NaiveDateTime,
    pub expires_at: Option<NaiveDateTime>,
    pub revoked_at: Option<NaiveDateTime>,
    pub grant_state: String,
    pub reason: Option<String>,
}

/// What was paid back of one charge, in all.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_purchases_in_tx_v1")]
pub struct Refund {
    pub purchase_id: u64,
    pub provider_charge_id: String,
    pub currency: String,
    pub refunded_minor_units: i64,
    pub updated_at: NaiveDateTime,
}

/// Takes an event of `provider` into the inbox and does what it means. The caller has verified who sent `payload`, the body
/// exactly as sent, 1 MiB at most.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`]. An event that could not be applied is an outcome.
pub async fn receive_event(
    database: &Database,
    provider: &str,
    provider_event_id: &str,
    event_type: &str,
    api_version: Option<&str>,
    payload: &[u8],
) -> Result<Received, Error> {
    let params = (provider, provider_event_id, event_type, api_version, payload);
    database.call("billing_receive_event_v1", params).await?.row()
}

/// A page of the inbox, newest first.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn list_events(database: &Database, asked: EventsAsked<'_>) -> Result<Vec<Event>, Error> {
    let params = (asked.outcome, asked.subject_id, asked.before_id, asked.limit);
    database.read("billing_list_events_v1", params).await?.rows()
}

/// One event of the inbox.
///
/// # Errors
/// `EVENT_NOT_FOUND`, and as [`Database::call`].
pub async fn find_event(database: &Database, event_id: u64) -> Result<EventWithPayload, Error> {
    database.read("billing_find_event_v1", (event_id,)).await?.row()
}

/// Tries an event again, once for each key. It may fail again, which is no error.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REQUIRED`, `VALIDATION_FAILED`, `IDEMPOTENCY_CONFLICT`, `EVENT_NOT_FOUND`, and as [`Database::call`].
pub async fn replay_event(
    database: &Database,
    event_id: u64,
    idempotency_key: Option<&str>,
    created_by: &str,
) -> Result<EventWithPayload, Error> {
    let params = (event_id, idempotency_key, created_by);
    database.call("billing_replay_event_v1", params).await?.row()
}

/// A page of purchases, newest first, of one subject or of all.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn list_purchases(
    database: &Database,
    subject_id: Option<u64>,
    before_id: Option<u64>,
    limit: u32,
) -> Result<Vec<Purchase>, Error> {
    let params = (subject_id, before_id, limit);
    purchases(&mut database.read("billing_list_purchases_v1", params).await?)
}

/// Takes back all that a purchase granted.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REQUIRED`, `VALIDATION_FAILED`, `IDEMPOTENCY_CONFLICT`, `PURCHASE_NOT_FOUND`, and as [`Database::call`].
pub async fn void_purchase(
    database: &Database,
    purchase_id: u64,
    idempotency_key: Option<&str>,
    reason: Option<&str>,
    created_by: &str,
) -> Result<Purchase, Error> {
    let params = (purchase_id, idempotency_key, reason, created_by);
    let found = purchases(&mut database.call("billing_void_purchase_v1", params).await?)?;
    let gave_none = || Error::Internal("billing_void_purchase_v1 gave no purchase".to_owned());
    found.into_iter().next().ok_or_else(gave_none)
}

/// The four sets of billing_show_purchases_in_tx_v1, put together.
fn purchases(sets: &mut ResultSets) -> Result<Vec<Purchase>, Error> {
    let heads: Vec<PurchaseHead> = sets.rows()?;
    let places: HashMap<u64, usize> = heads.iter().enumerate().map(|(place, head)| (head.id, place)).collect();
    let mut purchases: Vec<Purchase> = heads
        .into_iter()
        .map(|head| Purchase {
            head,
            lines: Vec::new(),
            grants: Vec::new(),
            refunds: Vec::new(),
        })
        .collect();
    for line in sets.rows::<PurchaseLine>()? {
        if let Some(place) = places.get(&line.purchase_id) {
            purchases[*place].lines.push(line);
        }
    }
    for grant in sets.rows::<PurchaseGrant>()? {
        if let Some(place) = places.get(&grant.purchase_id) {
            purchases[*place].grants.push(grant);
        }
    }
    for refund in sets.rows::<Refund>()? {
        if let Some(place) = places.get(&refund.purchase_id) {
            purchases[*place].refunds.push(refund);
        }
    }
    Ok(purchases)
}

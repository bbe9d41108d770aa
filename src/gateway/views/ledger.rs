//! What was ever recorded of a limit, and how it stood over time.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Instant;
use crate::procedures::entitlement::{self, Fact};

/// One entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntry {
    /// When it was recorded; of a settlement, the boundary itself.
    at: Instant,
    #[serde(flatten)]
    fact: LedgerFact,
}

/// What an entry says, by its kind. `consumedAmount`, `heldAmount` and `availableAmount` are what it left.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum LedgerFact {
    #[serde(rename_all = "camelCase")]
    Grant {
        grant_id: u64,
        grant_kind: String,
        amount: i64,
        priority: u8,
        effective_at: Instant,
        expires_at: Option<Instant>,
        source: String,
        plan_assignment_id: Option<u64>,
        purchase_id: Option<u64>,
        reason: Option<String>,
        created_by: String,
    },
    #[serde(rename_all = "camelCase")]
    Revocation {
        grant_id: u64,
        revoked_at: Instant,
        reason: Option<String>,
        created_by: String,
    },
    #[serde(rename_all = "camelCase")]
    Consumption {
        amount: i64,
        usage_event_key: String,
        sequence_no: u64,
        reason_code: Option<String>,
        occurred_at: Instant,
        metadata: Option<Value>,
        consumed_amount: i64,
        held_amount: i64,
        available_amount: i64,
    },
    #[serde(rename_all = "camelCase")]
    Hold {
        hold_id: u64,
        amount: i64,
        usage_event_key: String,
        reason_code: Option<String>,
        expires_at: Instant,
        metadata: Option<Value>,
        consumed_amount: i64,
        held_amount: i64,
        available_amount: i64,
    },
    #[serde(rename_all = "camelCase")]
    HoldResolution {
        hold_id: u64,
        /// `committed`, `released`; an expiry is a settlement.
        resolution: String,
        amount: i64,
        consumed_amount: i64,
        held_amount: i64,
        available_amount: i64,
    },
    #[serde(rename_all = "camelCase")]
    CountChange {
        /// `consume`, `hold_commit`, `release`, `adapter`, `repair_recount`.
        change_kind: String,
        /// Below 0: fewer.
        amount: i64,
        usage_event_key: Option<String>,
        reason_code: Option<String>,
        occurred_at: Instant,
        metadata: Option<Value>,
        consumed_amount: i64,
        held_amount: i64,
        available_amount: i64,
    },
    #[serde(rename_all = "camelCase")]
    Settlement {
        segment_no: u32,
        cause: String,
        recorded_at: Instant,
        /// What was used in the segment that it closes, …
        closed_amount: i64,
        /// … what the allotment gave of that, …
        closed_allotment_gave: i64,
        /// … and what once-grants gave of it. The rest became overage.
        closed_grants_gave: i64,
        /// Open overage that became covered.
        overage_paid: i64,
        window_start_at: Instant,
        window_end_at: Instant,
        /// What it opens with.
        granted_amount: i64,
        consumed_amount: i64,
        /// What each once-grant gave, by its id.
        gave: Vec<Gift>,
    },
}

/// What one grant gave.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Gift {
    grant_id: u64,
    amount: i64,
}

impl From<entitlement::LedgerEntry> for LedgerEntry {
    fn from(entry: entitlement::LedgerEntry) -> Self {
        LedgerEntry {
            at: Instant(entry.entry_at),
            fact: entry.fact.into(),
        }
    }
}

impl From<Fact> for LedgerFact {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Grant(row) => LedgerFact::Grant {
                grant_id: row.grant_id,
                grant_kind: row.grant_kind,
                amount: row.amount,
                priority: row.priority,
                effective_at: Instant(row.effective_at),
                expires_at: row.expires_at.map(Instant),
                source: row.source,
                plan_assignment_id: row.plan_assignment_id,
                purchase_id: row.purchase_id,
                reason: row.reason,
                created_by: row.created_by,
            },
            Fact::Revocation(row) => LedgerFact::Revocation {
                grant_id: row.grant_id,
                revoked_at: Instant(row.revoked_at),
                reason: row.reason,
                created_by: row.created_by,
            },
            Fact::Consumption(row) => LedgerFact::Consumption {
                amount: row.amount,
                usage_event_key: row.usage_event_key,
                sequence_no: row.sequence_no,
                reason_code: row.reason_code,
                occurred_at: Instant(row.occurred_at),
                metadata: row.metadata.map(|metadata| metadata.0),
                consumed_amount: row.consumed_amount,
                held_amount: row.held_amount,
                available_amount: row.available_amount,
            },
            Fact::Hold(row) => LedgerFact::Hold {
                hold_id: row.hold_id,
                amount: row.amount,
                usage_event_key: row.usage_event_key,
                reason_code: row.reason_code,
                expires_at: Instant(row.expires_at),
                metadata: row.metadata.map(|metadata| metadata.0),
                consumed_amount: row.consumed_amount,
                held_amount: row.held_amount,
                available_amount: row.available_amount,
            },
            Fact::HoldResolution(row) => LedgerFact::HoldResolution {
                hold_id: row.hold_id,
                resolution: row.resolution,
                amount: row.amount,
                consumed_amount: row.consumed_amount,
                held_amount: row.held_amount,
                available_amount: row.available_amount,
            },
            Fact::CountChange(row) => LedgerFact::CountChange {
                change_kind: row.change_kind,
                amount: row.amount,
                usage_event_key: row.usage_event_key,
                reason_code: row.reason_code,
                occurred_at: Instant(row.occurred_at),
                metadata: row.metadata.map(|metadata| metadata.0),
                consumed_amount: row.consumed_amount,
                held_amount: row.held_amount,
                available_amount: row.available_amount,
            },
            Fact::Settlement(row) => {
                // JSON_ARRAYAGG has no order of its own.
                let mut gave = row.gave.map_or_else(Vec::new, |gave| gave.0);
                gave.sort_unstable_by_key(|gift| gift.grant_id);
                LedgerFact::Settlement {
                    segment_no: row.segment_no,
                    cause: row.cause,
                    recorded_at: Instant(row.recorded_at),
                    closed_amount: row.closed_amount,
                    closed_allotment_gave: row.closed_allotment_gave,
                    closed_grants_gave: row.closed_grants_gave,
                    overage_paid: row.overage_paid,
                    window_start_at: Instant(row.window_start_at),
                    window_end_at: Instant(row.window_end_at),
                    granted_amount: row.granted_amount,
                    consumed_amount: row.consumed_amount,
                    gave: gave.into_iter().map(Gift::from).collect(),
                }
            }
        }
    }
}

impl From<entitlement::Gift> for Gift {
    fn from(gift: entitlement::Gift) -> Self {
        Gift {
            grant_id: gift.grant_id,
            amount: gift.amount,
        }
    }
}

/// How a limit stood over time, for a chart.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    code: String,
    /// `hour`, `day`.
    step: String,
    points: Vec<Point>,
}

impl History {
    /// The chart of `code` from its rows.
    pub fn new(code: String, step: String, rows: Vec<entitlement::Point>) -> Self {
        History {
            code,
            step,
            points: rows.into_iter().map(Point::from).collect(),
        }
    }
}

/// How it stood at an instant.
#[derive(Debug, Serialize, ToSchema)]
struct Point {
    at: Instant,
    granted: i64,
    consumed: i64,
    available: i64,
}

impl From<entitlement::Point> for Point {
    fn from(row: entitlement::Point) -> Self {
        Point {
            at: Instant(row.point_at),
            granted: row.granted_amount,
            consumed: row.consumed_amount,
            available: row.available_amount,
        }
    }
}

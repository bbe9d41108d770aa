//! What is said when a limit leaves no room. All that a caller needs to tell his user what would help.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::{Code, Error};
use crate::gateway::problem::Problem;
use crate::gateway::views;
use crate::procedures::entitlement::Refusal;

/// `details` of `BILLING_LIMIT_EXCEEDED`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitExceeded {
    limitation_code: String,
    billable_entity_id: u64,
    reason: &'static str,
    requested_amount: i64,
    limit: i64,
    used: i64,
    remaining: i64,
    interval: Option<String>,
    enforcement: String,
    window_end_at: Option<views::Instant>,
    retry_after_seconds: Option<u64>,
}

/// `details` of `BILLING_CAPACITY_LOCKED`: time does not help, only less of it does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityLocked {
    limitation_code: String,
    used: i64,
    cap: i64,
    over_by: i64,
    lock_state: String,
    required_reduction: i64,
}

/// The answer to a request that a limit refused.
pub fn refused(refusal: Refusal) -> Problem {
    let limitation = refusal.limitation;
    let is_capacity = matches!(&refusal.error, Error::Rule { code, .. } if *code == Code::BillingCapacityLocked);
    let details = if is_capacity {
        serde_json::to_value(CapacityLocked {
            limitation_code: limitation.code,
            used: refusal.used_amount,
            cap: limitation.granted_amount,
            over_by: refusal.over_by_amount,
            lock_state: limitation.lock_state,
            required_reduction: refusal.over_by_amount,
        })
    } else {
        serde_json::to_value(LimitExceeded {
            limitation_code: limitation.code,
            billable_entity_id: limitation.subject_id,
            reason: "limit_exceeded",
            requested_amount: refusal.amount,
            limit: limitation.granted_amount,
            used: refusal.used_amount,
            remaining: limitation.available_amount,
            interval: limitation.window_interval,
            enforcement: limitation.enforcement_mode,
            // Where waiting does not help, neither does the end of the window.
            window_end_at: refusal
                .retry_after_seconds
                .and(limitation.window_end_at)
                .map(views::Instant),
            retry_after_seconds: refusal.retry_after_seconds,
        })
    };
    let details = match details {
        Ok(Value::Object(details)) => details,
        _ => Map::new(),
    };
    let problem = Problem::from(refusal.error).with_details(details);
    match refusal.retry_after_seconds {
        Some(seconds) if !is_capacity => problem.retry_after(seconds),
        _ => problem,
    }
}

//! `/api/billing/…`

mod capacity;
mod check;
mod consume;
mod consume_batch;
mod entity;
mod holds;
mod ledger;
mod limitations;
mod plan_state;
mod refusal;

use serde_json::{Value, json};

/// The limitation `ai.credits` of 100, of which `consumed` are used.
pub fn credits(granted: u64, consumed: u64) -> Value {
    json!({
        "code": "ai.credits", "name": "AI credits", "entitlementType": "balance", "enforcementMode": "hard_deny",
        "unit": "credit", "scale": 0, "windowInterval": null, "windowAnchor": null,
        "grantedAmount": granted, "consumedAmount": consumed, "heldAmount": 0,
        "effectiveAmount": granted - consumed, "availableAmount": granted - consumed, "hardLimitAmount": null,
        "overLimit": false, "lockState": "none", "nextChangeAt": null,
        "windowStartAt": "1970-01-01T00:00:00.000Z", "windowEndAt": "9999-12-31T23:59:59.999Z",
        "lastRecomputedAt": "now",
    })
}

pub fn use_of(amount: u64, key: &str) -> Value {
    json!({"limitationCode": "ai.credits", "amount": amount, "usageEventKey": key})
}

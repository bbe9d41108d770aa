//! What answers are made of. Fields may be added, never renamed: they are a contract of their own, beside the procedures'.

mod ledger;

use chrono::{NaiveDateTime, SecondsFormat};
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::procedures::{billing, entitlement};

pub use ledger::{History, LedgerEntry};

/// An instant as `2026-03-01T00:00:00.000Z`.
#[derive(Debug, Clone, Copy)]
pub struct Instant(pub NaiveDateTime);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An answer has dozens; a format of our own would be parsed for each.
        serializer.serialize_str(&self.0.and_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(
                "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z$",
            ))
            .into()
    }
}

impl ToSchema for Instant {}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    entries: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of at most `limit` entries, from rows of which one more was asked for. `cursor` names a row.
    pub fn new<R: Into<T>>(mut rows: Vec<R>, limit: u32, cursor: impl Fn(&R) -> String) -> List<T> {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        List {
            next_cursor: rows.last().filter(|_| has_more).map(cursor),
            entries: rows.into_iter().map(Into::into).collect(),
        }
    }

    /// A page whose procedure says itself where the next one begins.
    pub fn with_cursor<R: Into<T>>(rows: Vec<R>, next_cursor: Option<String>) -> List<T> {
        List {
            entries: rows.into_iter().map(Into::into).collect(),
            next_cursor,
        }
    }
}

/// Who holds entitlements.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillableEntity {
    id: u64,
    entity_type: String,
    entity_ref: String,
    workspace_id: Option<u64>,
    workspace_slug: Option<String>,
    workspace_name: Option<String>,
    owner_user_id: Option<String>,
    status: String,
    created_at: Instant,
    updated_at: Instant,
}

impl From<billing::BillableEntity> for BillableEntity {
    fn from(row: billing::BillableEntity) -> Self {
        BillableEntity {
            id: row.id,
            entity_type: row.entity_type,
            entity_ref: row.entity_ref,
            workspace_id: row.workspace_id,
            workspace_slug: row.workspace_slug,
            workspace_name: row.workspace_name,
            owner_user_id: row.owner_user_id,
            status: row.status,
            created_at: Instant(row.created_at),
            updated_at: Instant(row.updated_at),
        }
    }
}

/// What a subject may use of one definition.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limitation {
    code: String,
    name: String,
    entitlement_type: String,
    enforcement_mode: String,
    unit: String,
    scale: u8,
    window_interval: Option<String>,
    window_anchor: Option<String>,
    granted_amount: i64,
    consumed_amount: i64,
    held_amount: i64,
    effective_amount: i64,
    available_amount: i64,
    hard_limit_amount: Option<i64>,
    over_limit: bool,
    lock_state: String,
    next_change_at: Option<Instant>,
    window_start_at: Option<Instant>,
    window_end_at: Option<Instant>,
    last_recomputed_at: Option<Instant>,
}

impl From<entitlement::Limitation> for Limitation {
    fn from(row: entitlement::Limitation) -> Self {
        Limitation {
            code: row.code,
            name: row.name,
            entitlement_type: row.entitlement_type,
            enforcement_mode: row.enforcement_mode,
            unit: row.unit,
            scale: row.scale,
            window_interval: row.window_interval,
            window_anchor: row.window_anchor,
            granted_amount: row.granted_amount,
            consumed_amount: row.consumed_amount,
            held_amount: row.held_amount,
            effective_amount: row.effective_amount,
            available_amount: row.available_amount,
            hard_limit_amount: row.hard_limit_amount,
            over_limit: row.over_limit,
            lock_state: row.lock_state,
            next_change_at: row.next_change_at.map(Instant),
            window_start_at: row.window_start_at.map(Instant),
            window_end_at: row.window_end_at.map(Instant),
            last_recomputed_at: row.last_recomputed_at.map(Instant),
        }
    }
}

/// What a subject may use, of everything asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limitations {
    billable_entity: BillableEntity,
    generated_at: Instant,
    /// Never: what is due is settled before it is read.
    stale: bool,
    limitations: Vec<Limitation>,
}

impl Limitations {
    /// The answer for `entity` from its rows.
    pub fn new(entity: billing::BillableEntity, rows: Vec<entitlement::Limitation>) -> Self {
        // Without a row there is nothing that could have changed since: any clock will do.
        let generated_at = rows
            .first()
            .map_or_else(|| chrono::Utc::now().naive_utc(), |row| row.generated_at);
        Limitations {
            billable_entity: entity.into(),
            generated_at: Instant(generated_at),
            stale: false,
            limitations: rows.into_iter().map(Limitation::from).collect(),
        }
    }
}

/// One grant, with what is left of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    id: u64,
    billable_entity_id: u64,
    code: String,
    kind: String,
    amount: i64,
    priority: u8,
    effective_at: Instant,
    expires_at: Option<Instant>,
    revoked_at: Option<Instant>,
    state: String,
    given_amount: i64,
    remaining_amount: Option<i64>,
    source: String,
    plan_assignment_id: Option<u64>,
    purchase_id: Option<u64>,
    reason: Option<String>,
    created_by: String,
    created_at: Instant,
}

impl From<entitlement::Grant> for Grant {
    fn from(row: entitlement::Grant) -> Self {
        Grant {
            id: row.id,
            billable_entity_id: row.subject_id,
            code: row.code,
            kind: row.grant_kind,
            amount: row.amount,
            priority: row.priority,
            effective_at: Instant(row.effective_at),
            expires_at: row.expires_at.map(Instant),
            revoked_at: row.revoked_at.map(Instant),
            state: row.grant_state,
            given_amount: row.given_amount,
            remaining_amount: row.remaining_amount,
            source: row.source,
            plan_assignment_id: row.plan_assignment_id,
            purchase_id: row.purchase_id,
            reason: row.reason,
            created_by: row.created_by,
            created_at: Instant(row.created_at),
        }
    }
}

/// One use, as it stands in the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consumption {
    limitation_code: String,
    amount: i64,
    usage_event_key: String,
    reason_code: Option<String>,
    sequence_no: Option<u64>,
    occurred_at: Instant,
    posted_at: Instant,
}

impl From<entitlement::Consumption> for Consumption {
    fn from(row: entitlement::Consumption) -> Self {
        Consumption {
            limitation_code: row.code,
            amount: row.amount,
            usage_event_key: row.usage_event_key,
            reason_code: row.reason_code,
            sequence_no: row.sequence_no,
            occurred_at: Instant(row.occurred_at),
            posted_at: Instant(row.posted_at),
        }
    }
}

/// An amount that was set aside, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    id: u64,
    billable_entity_id: u64,
    limitation_code: String,
    amount: i64,
    status: String,
    usage_event_key: String,
    reason_code: Option<String>,
    created_at: Instant,
    expires_at: Instant,
    committed_amount: Option<i64>,
    resolved_at: Option<Instant>,
}

impl From<entitlement::Hold> for Hold {
    fn from(row: entitlement::Hold) -> Self {
        Hold {
            id: row.hold_id,
            billable_entity_id: row.subject_id,
            limitation_code: row.code,
            amount: row.hold_amount,
            status: row.status,
            usage_event_key: row.usage_event_key,
            reason_code: row.reason_code,
            created_at: Instant(row.created_at),
            expires_at: Instant(row.expires_at),
            committed_amount: row.committed_amount,
            resolved_at: row.resolved_at.map(Instant),
        }
    }
}

/// `data` of a `workspace.billing.limits.updated` event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsUpdated<'a> {
    workspace_id: u64,
    workspace_slug: &'a str,
    changed_codes: &'a [String],
    change_source: &'a str,
    changed_at: Instant,
}

impl<'a> LimitsUpdated<'a> {
    /// As a reader of this workspace is told it.
    pub fn new(workspace: &'a entitlement::ChangedWorkspace, change: &'a entitlement::Change) -> Self {
        LimitsUpdated {
            workspace_id: workspace.id,
            workspace_slug: &workspace.slug,
            changed_codes: &change.codes,
            change_source: &change.change_source,
            changed_at: Instant(change.changed_at),
        }
    }
}

//! `sql/billing/`: the subjects of limits, what there is to be sold, their plans and what they bought.

pub mod catalogue;
mod plans;
pub mod purchases;

use std::collections::HashMap;

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use mysql_async::{FromRowError, Row};

use crate::database::Database;
use crate::error::Error;

pub use plans::{
    AppliedChanges, AssignFields, Assignment, AvailablePlan, PlanEntitlement, PlanOfSubject, apply_due_assignments,
    assign_plan, cancel_assignment, list_assignments, plan_state,
};

/// Who holds entitlements, and the workspace whose users are told of changes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_show_entity_in_tx_v1")]
pub struct BillableEntity {
    pub id: u64,
    pub entity_type: String,
    pub entity_ref: String,
    pub workspace_id: Option<u64>,
    pub workspace_slug: Option<String>,
    pub workspace_name: Option<String>,
    pub owner_user_id: Option<String>,
    pub provider_customer_id: Option<String>,
    pub status: String,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    /// Whether this call made it.
    pub made: bool,
}

/// A billable entity of a list, by the name that it was found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntity {
    /// The entity.
    pub entity: BillableEntity,
    /// Its reference, or its workspace's slug.
    pub list_name: String,
}

impl FromRow for ListedEntity {
    fn from_row_opt(mut row: Row) -> Result<ListedEntity, FromRowError> {
        match row.take_opt("list_name") {
            Some(Ok(list_name)) => {
                let entity = BillableEntity::from_row_opt(row)?;
                Ok(ListedEntity { entity, list_name })
            }
            _ => Err(FromRowError(row)),
        }
    }
}

/// What [`put_entity`] is given. `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "the parameters of billing_put_entity_v1")]
pub struct EntityFields<'a> {
    pub workspace_slug: Option<&'a str>,
    pub workspace_name: Option<&'a str>,
    pub owner_user_id: Option<&'a str>,
    pub provider_customer_id: Option<&'a str>,
}

/// By what a subject is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The billable entity's id.
    Entity(u64),
    /// Its workspace's name in URLs, up to 64 characters.
    Workspace(String),
}

/// Finds the billable entity that a request is about.
///
/// # Errors
/// `SUBJECT_NOT_FOUND`, and as [`Database::call`].
pub async fn find_subject(database: &Database, subject: &Subject) -> Result<BillableEntity, Error> {
    let (entity_id, workspace_slug) = match subject {
        Subject::Entity(id) => (Some(*id), None),
        Subject::Workspace(slug) => (None, Some(slug)),
    };
    database
        .read("billing_find_subject_v1", (entity_id, workspace_slug))
        .await?
        .row()
}

/// The billable entity of each of these workspaces (1 to 1,000 slugs) that has one.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn find_subjects(database: &Database, workspace_slugs: &[&str]) -> Result<HashMap<String, u64>, Error> {
    let slugs = serde_json::Value::from(workspace_slugs).to_string();
    let rows: Vec<(String, u64)> = database.read("billing_find_subjects_v1", (slugs,)).await?.rows()?;
    Ok(rows.into_iter().collect())
}

/// Makes a billable entity, once, and keeps what is known of it up to date. Type and reference are its name.
///
/// # Errors
/// `VALIDATION_FAILED`, `PROVIDER_CUSTOMER_TAKEN`, and as [`Database::call`].
pub async fn put_entity(
    database: &Database,
    entity_type: &str,
    entity_ref: &str,
    fields: EntityFields<'_>,
) -> Result<BillableEntity, Error> {
    database
        .call(
            "billing_put_entity_v1",
            (
                entity_type,
                entity_ref,
                fields.workspace_slug,
                fields.workspace_name,
                fields.owner_user_id,
                fields.provider_customer_id,
            ),
        )
        .await?
        .row()
}

/// Up to `limit` (1 to 1,000) billable entities whose reference or workspace begins with `beginning`, by these names, from the
/// one after `after`, a name and an id.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn list_entities(
    database: &Database,
    beginning: Option<&str>,
    after: Option<(&str, u64)>,
    limit: u32,
) -> Result<Vec<ListedEntity>, Error> {
    let (name, id) = after.unzip();
    database
        .read("billing_list_entities_v1", (beginning, name, id, limit))
        .await?
        .rows()
}

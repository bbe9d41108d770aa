//! Definitions as operators write them.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use serde_json::Value as Json;

use crate::database::Database;
use crate::error::Error;
use crate::procedures::billing::catalogue::{Edit, EditFields, put};

/// A limit that can be granted and used.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_show_definitions_in_tx_v1")]
pub struct Definition {
    pub id: u32,
    pub code: String,
    pub name: String,
    pub description: Option<String>,
    pub entitlement_type: String,
    pub unit: String,
    pub scale: u8,
    pub window_interval: Option<String>,
    pub window_anchor: Option<String>,
    pub aggregation_mode: String,
    pub enforcement_mode: String,
    pub lock_label: Option<String>,
    pub resource_code: Option<String>,
    pub is_active: bool,
    pub metadata: Option<Json>,
    /// Grows with each edit.
    pub version: u32,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    /// Whether this call made it.
    pub made: bool,
}

/// Makes a definition or edits one.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn put_definition(database: &Database, edit: EditFields<'_>) -> Result<Edit<Definition>, Error> {
    put(database, "entitlement_put_definition_v1", edit).await
}

/// One definition.
///
/// # Errors
/// `DEFINITION_NOT_FOUND`, and as [`Database::call`].
pub async fn find_definition(database: &Database, definition_id: u32) -> Result<Definition, Error> {
    let code: Option<&str> = None;
    database
        .read("entitlement_find_definition_v1", (definition_id, code))
        .await?
        .row()
}

/// Up to `limit` (1 to 1,000) definitions after the one with the id `after`, the inactive ones too.
///
/// # Errors
/// As [`Database::call`].
pub async fn list_definitions(database: &Database, after: Option<u64>, limit: u32) -> Result<Vec<Definition>, Error> {
    database
        .read("entitlement_list_definitions_v1", (after, limit))
        .await?
        .rows()
}

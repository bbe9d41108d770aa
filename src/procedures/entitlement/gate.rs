//! Whether a state lets a subject through.

use mysql_async::prelude::FromRow;

use crate::database::Database;
use crate::error::Error;

/// What a state says of a subject.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of entitlement_gate_v1")]
pub struct Gate {
    pub code: String,
    pub is_open: bool,
    pub lock_state: String,
}

/// Says whether the state that `capability` stands for lets the subject through now.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn gate(database: &Database, subject_id: u64, capability: &str) -> Result<Gate, Error> {
    database
        .read("entitlement_gate_v1", (subject_id, capability))
        .await?
        .row()
}

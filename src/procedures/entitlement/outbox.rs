//! The outbox: what changed, in the order in which readers are told.

use chrono::NaiveDateTime;
use mysql_async::Deserialized;
use mysql_async::prelude::FromRow;

use crate::database::Database;
use crate::error::Error;

/// Where the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct OutboxState {
    /// The oldest change that is kept; `None` when there is none.
    pub oldest_sequence_no: Option<u64>,
    /// The newest one, 0 when there never was any.
    pub last_sequence_no: u64,
    /// Up to where the call looked.
    pub read_to_sequence_no: u64,
}

impl OutboxState {
    /// Whether all that was changed after `sequence_no` is still kept. Not, too, when the outbox never came to that number,
    /// as that of another or an older database.
    pub fn goes_on_after(&self, sequence_no: u64) -> bool {
        // Without any row, only who has all of them has missed none.
        let oldest = self.oldest_sequence_no.unwrap_or(self.last_sequence_no + 1);
        oldest <= sequence_no + 1 && sequence_no <= self.last_sequence_no
    }
}

/// These codes of a workspace's subjects changed, or of everybody's, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of entitlement_changes_since_v1")]
pub struct Change {
    pub sequence_no: u64,
    /// `None`: of every workspace.
    pub workspace: Option<ChangedWorkspace>,
    /// In alphabetical order.
    pub codes: Vec<String>,
    pub change_source: String,
    pub changed_at: NaiveDateTime,
}

/// Whose readers are told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of entitlement_changes_since_v1")]
pub struct ChangedWorkspace {
    pub id: u64,
    pub slug: String,
}

#[derive(FromRow)]
struct ChangeRow {
    sequence_no: u64,
    workspace_id: Option<u64>,
    workspace_slug: Option<String>,
    codes: Deserialized<Vec<String>>,
    change_source: String,
    changed_at: NaiveDateTime,
}

impl From<ChangeRow> for Change {
    fn from(row: ChangeRow) -> Change {
        let Deserialized(mut codes) = row.codes;
        // JSON_ARRAYAGG has no order of its own.
        codes.sort_unstable();
        Change {
            sequence_no: row.sequence_no,
            workspace: row
                .workspace_id
                .zip(row.workspace_slug)
                .map(|(id, slug)| ChangedWorkspace { id, slug }),
            codes,
            change_source: row.change_source,
            changed_at: row.changed_at,
        }
    }
}

/// What changed after `after`, among up to `limit` (1 to 10,000) outbox rows: of one workspace (and of every one), or of all. `None` as
/// `after` asks for no changes, only where the outbox stands.
///
/// # Errors
/// As [`Database::call`].
pub async fn changes_since(
    database: &Database,
    after: Option<u64>,
    workspace_id: Option<u64>,
    limit: u32,
) -> Result<(OutboxState, Vec<Change>), Error> {
    let mut sets = database
        .read("entitlement_changes_since_v1", (after, workspace_id, limit))
        .await?;
    let state = sets.row()?;
    let changes: Vec<ChangeRow> = sets.rows()?;
    Ok((state, changes.into_iter().map(Change::from).collect()))
}

/// Deletes up to `limit` (1 to 10,000) outbox rows older than `keep_seconds` (60 or more), and gives how many.
///
/// # Errors
/// As [`Database::call`].
pub async fn prune_changes(database: &Database, keep_seconds: u32, limit: u32) -> Result<u64, Error> {
    let mut sets = database
        .call("entitlement_prune_changes_v1", (keep_seconds, limit))
        .await?;
    let (deleted,): (u64,) = sets.row()?;
    Ok(deleted)
}

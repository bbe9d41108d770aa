//! `sql/scaffold/`: examples, to be deleted by whoever builds on this.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;

use super::entitlement::{ItemOutcome, Limitation, Outcome, Refusal};
use crate::database::{Database, ResultSets};
use crate::error::Error;

/// A project, which takes a place of a capacity while it is not archived.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of scaffold_show_project_in_tx_v1")]
pub struct Project {
    pub id: u64,
    pub subject_id: u64,
    pub name: String,
    pub status: String,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    pub deleted_at: Option<NaiveDateTime>,
    pub replayed: bool,
}

/// A calculation, which a quota meters.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "the columns of scaffold_annuity_record_v1")]
pub struct Calculation {
    pub id: u64,
    pub inputs: serde_json::Value,
    /// A decimal number with ten places.
    pub result: String,
    pub created_at: NaiveDateTime,
    pub replayed: bool,
}

/// What became of a write that may have to be paid for.
#[derive(Debug)]
pub enum Written<T> {
    /// It is done, now or by an earlier request with the same key; with the limitation that it moved.
    Done(T, Box<Limitation>),
    /// A limit leaves no room. Nothing was written.
    Refused(Box<Refusal>),
}

/// Makes a project, if there is room for it. Never `None`.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn create_project(
    database: &Database,
    subject_id: u64,
    name: &str,
    status: &str,
    usage_event_key: Option<&str>,
) -> Result<Option<Written<Project>>, Error> {
    let parameters = (subject_id, name, status, usage_event_key);
    project(database.call("scaffold_project_create_v1", parameters).await?)
}

/// Renames a project, archives it, or brings it back if there is room for it. `None` leaves a field as it is, and is the answer
/// when the subject has no such project.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn update_project(
    database: &Database,
    subject_id: u64,
    project_id: u64,
    name: Option<&str>,
    status: Option<&str>,
    usage_event_key: Option<&str>,
) -> Result<Option<Written<Project>>, Error> {
    let parameters = (subject_id, project_id, name, status, usage_event_key);
    project(database.call("scaffold_project_update_v1", parameters).await?)
}

/// Deletes a project, and gives its place back; `None` when the subject never had it.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn delete_project(
    database: &Database,
    subject_id: u64,
    project_id: u64,
) -> Result<Option<Written<Project>>, Error> {
    let parameters = (subject_id, project_id);
    project(database.call("scaffold_project_delete_v1", parameters).await?)
}

/// Reads what a write of a project gave: a use if it took one; then project and limitation, unless it was refused.
fn project(mut sets: ResultSets) -> Result<Option<Written<Project>>, Error> {
    if sets.remaining() == 0 {
        return Ok(None);
    }
    if sets.next_has("outcome")
        && let Err(refusal) = used(sets.row()?)?
    {
        return Ok(Some(Written::Refused(refusal)));
    }
    Ok(Some(Written::Done(sets.row()?, Box::new(sets.row()?))))
}

/// The limitation as a use left it, or why there is no room for that. What is wrong with it is an error here, as it would be of the
/// procedure.
fn used(item: ItemOutcome) -> Result<Result<Box<Limitation>, Box<Refusal>>, Error> {
    match item.outcome {
        Outcome::Accepted { limitation, .. } => Ok(Ok(Box::new(limitation))),
        Outcome::Refused { refusal, .. } => Ok(Err(Box::new(refusal))),
        Outcome::Failed(error) => Err(error),
    }
}

/// One project of a subject; `None` when it has none with this id.
///
/// # Errors
/// As [`Database::call`].
pub async fn find_project(database: &Database, subject_id: u64, project_id: u64) -> Result<Option<Project>, Error> {
    let mut sets = database
        .read("scaffold_project_find_v1", (subject_id, project_id))
        .await?;
    Ok(sets.rows()?.pop())
}

/// Up to `limit` (1 to 201) projects of a subject, by id, from the one after `after_id`.
///
/// # Errors
/// As [`Database::call`].
pub async fn list_projects(
    database: &Database,
    subject_id: u64,
    after_id: Option<u64>,
    limit: u32,
) -> Result<Vec<Project>, Error> {
    let parameters = (subject_id, after_id, limit);
    database.read("scaffold_project_list_v1", parameters).await?.rows()
}

/// Keeps a calculation, if the quota allows it. `result` is a decimal number.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn record_annuity(
    database: &Database,
    subject_id: u64,
    usage_event_key: Option<&str>,
    inputs: &serde_json::Value,
    result: &str,
) -> Result<Written<Calculation>, Error> {
    let parameters = (subject_id, usage_event_key, inputs.to_string(), result);
    let mut sets = database.call("scaffold_annuity_record_v1", parameters).await?;
    match used(sets.row()?)? {
        Ok(limitation) => Ok(Written::Done(sets.row()?, limitation)),
        Err(refusal) => Ok(Written::Refused(refusal)),
    }
}

/// Up to `limit` (1 to 201) calculations of a subject, newest first, from the one before `before_id`.
///
/// # Errors
/// As [`Database::call`].
pub async fn annuity_history(
    database: &Database,
    subject_id: u64,
    before_id: Option<u64>,
    limit: u32,
) -> Result<Vec<Calculation>, Error> {
    let parameters = (subject_id, before_id, limit);
    database.read("scaffold_annuity_history_v1", parameters).await?.rows()
}

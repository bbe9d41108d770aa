//! Plans and products as operators write them, and the catalogue as one document.

use std::time::Duration;

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;
use serde_json::Value as Json;

use crate::database::{Database, ResultSets};
use crate::error::{Code, Error};

/// How long a whole catalogue may take. Some milliseconds for each thing in it.
const CATALOGUE_DEADLINE: Duration = Duration::from_secs(120);

/// A plan or a product: they are written alike, and differ in the form of their entitlements.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(
    missing_docs,
    reason = "the columns of billing_show_plans_in_tx_v1 and billing_show_products_in_tx_v1"
)]
pub struct Item {
    pub id: u32,
    pub code: String,
    pub name: String,
    pub archived_at: Option<NaiveDateTime>,
    /// Grows with each edit.
    pub version: u32,
    /// An array of texts, sorted.
    pub provider_price_ids: Json,
    /// An array in the form in which it is written, by code and grant kind.
    pub entitlements: Json,
    pub created_at: NaiveDateTime,
    pub updated_at: NaiveDateTime,
    /// Whether this call made it.
    pub made: bool,
}

/// One thing that is wrong with what was to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// Which rule it breaks. The first one of an edit is the code of all.
    pub code: Code,
    /// Where, such as `entitlements[2].valueJson.amount`.
    pub path: String,
    /// One sentence without its subject, which is the path.
    pub text: String,
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit<T> {
    /// It is written; this is how the thing is now.
    Done(T),
    /// Nothing is written.
    Refused {
        /// All that is wrong, 1 to 100.
        problems: Vec<FieldProblem>,
        /// The thing as it is; none where it was to be made.
        current: Option<T>,
    },
}

/// What an edit is given.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the parameters of billing_put_plan_v1 and its like")]
pub struct EditFields<'a> {
    /// `None`: make one.
    pub id: Option<u32>,
    /// A JSON object.
    pub fields: &'a Json,
    /// `None`: edit whichever version there is.
    pub expected_version: Option<u32>,
    pub idempotency_key: Option<&'a str>,
    pub created_by: &'a str,
}

/// A difference that a document makes, or that it makes none.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[allow(missing_docs, reason = "the columns of billing_compare_catalogue_in_tx_v1")]
pub struct CatalogueChange {
    /// `definition`, `plan` or `product`.
    pub kind: String,
    pub code: String,
    /// `create`, `update`, `unchanged` or `not_in_file`.
    pub action: String,
    pub field: Option<String>,
    pub before_value: Option<Json>,
    pub after_value: Option<Json>,
}

/// What became of a catalogue: the changes, or all that is wrong with the document.
pub type Applied = Result<Vec<CatalogueChange>, Vec<FieldProblem>>;

#[derive(FromRow)]
struct ProblemRow {
    code: String,
    path: String,
    problem: String,
}

/// Makes a plan or edits one, with its prices and what it grants.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn put_plan(database: &Database, edit: EditFields<'_>) -> Result<Edit<Item>, Error> {
    put(database, "billing_put_plan_v1", edit).await
}

/// Makes a product or edits one, with its prices and what it grants.
///
/// # Errors
/// As the procedure says, and as [`Database::call`].
pub async fn put_product(database: &Database, edit: EditFields<'_>) -> Result<Edit<Item>, Error> {
    put(database, "billing_put_product_v1", edit).await
}

/// Keeps new subjects off a plan.
///
/// # Errors
/// `PLAN_NOT_FOUND`, as the procedure says, and as [`Database::call`].
pub async fn archive_plan(
    database: &Database,
    plan_id: u32,
    idempotency_key: Option<&str>,
    created_by: &str,
) -> Result<Item, Error> {
    database
        .call("billing_archive_plan_v1", (plan_id, idempotency_key, created_by))
        .await?
        .row()
}

/// One plan.
///
/// # Errors
/// `PLAN_NOT_FOUND`, and as [`Database::call`].
pub async fn find_plan(database: &Database, plan_id: u32) -> Result<Item, Error> {
    let code: Option<&str> = None;
    database.read("billing_find_plan_v1", (plan_id, code)).await?.row()
}

/// One product.
///
/// # Errors
/// `PRODUCT_NOT_FOUND`, and as [`Database::call`].
pub async fn find_product(database: &Database, product_id: u32) -> Result<Item, Error> {
    let code: Option<&str> = None;
    database
        .read("billing_find_product_v1", (product_id, code))
        .await?
        .row()
}

/// Up to `limit` (1 to 1,000) plans after the one with the id `after`, the archived ones too.
///
/// # Errors
/// As [`Database::call`].
pub async fn list_plans(database: &Database, after: Option<u64>, limit: u32) -> Result<Vec<Item>, Error> {
    database.read("billing_list_plans_v1", (after, limit)).await?.rows()
}

/// Up to `limit` (1 to 1,000) products after the one with the id `after`, the archived ones too.
///
/// # Errors
/// As [`Database::call`].
pub async fn list_products(database: &Database, after: Option<u64>, limit: u32) -> Result<Vec<Item>, Error> {
    database.read("billing_list_products_v1", (after, limit)).await?.rows()
}

/// The whole catalogue as one document, as it is at one moment.
///
/// # Errors
/// As [`Database::call`].
pub async fn export_catalogue(database: &Database) -> Result<Json, Error> {
    let mut sets = database
        .call_within(CATALOGUE_DEADLINE, "billing_export_catalogue_v1", ())
        .await?;
    let (catalogue,) = sets.row()?;
    Ok(catalogue)
}

/// Makes the catalogue what `catalogue` says, or only says what that would change.
///
/// # Errors
/// As [`Database::call`].
pub async fn apply_catalogue(database: &Database, catalogue: &Json, is_dry_run: bool) -> Result<Applied, Error> {
    // The database knows its user.
    let created_by: Option<&str> = None;
    let mut sets = database
        .call_within(
            CATALOGUE_DEADLINE,
            "billing_apply_catalogue_v1",
            (catalogue.to_string(), is_dry_run, created_by),
        )
        .await?;
    let problems = problems(&mut sets)?;
    if problems.is_empty() {
        return Ok(Ok(sets.rows()?));
    }
    Ok(Err(problems))
}

/// Calls a procedure that answers with what is wrong, then with the thing as it is.
pub(crate) async fn put<T: FromRow>(
    database: &Database,
    procedure: &str,
    edit: EditFields<'_>,
) -> Result<Edit<T>, Error> {
    let mut sets = database
        .call(
            procedure,
            (
                edit.id,
                edit.fields.to_string(),
                edit.expected_version,
                edit.idempotency_key,
                edit.created_by,
            ),
        )
        .await?;
    let problems = problems(&mut sets)?;
    if problems.is_empty() {
        return Ok(Edit::Done(sets.row()?));
    }
    Ok(Edit::Refused {
        problems,
        current: sets.rows()?.pop(),
    })
}

fn problems(sets: &mut ResultSets) -> Result<Vec<FieldProblem>, Error> {
    let read = |row: ProblemRow| {
        let code = Code::from_name(&row.code)
            .ok_or_else(|| Error::Internal(format!("a procedure answered the unknown code {}", row.code)))?;
        Ok(FieldProblem {
            code,
            path: row.path,
            text: row.problem,
        })
    };
    sets.rows()?.into_iter().map(read).collect()
}

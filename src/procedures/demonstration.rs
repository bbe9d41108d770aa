//! `sql/demonstration/`: something to look at.

use super::billing::BillableEntity;
use crate::database::Database;
use crate::error::Error;

/// Makes the demonstration: workspace `acme` on a plan, a product to buy, and credits to use. What is there stays.
///
/// # Errors
/// As [`Database::call`].
pub async fn seed(database: &Database) -> Result<BillableEntity, Error> {
    database.call("demonstration_seed_v1", ()).await?.row()
}

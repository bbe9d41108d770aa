//! `sql/access/`: API keys.

use chrono::NaiveDateTime;
use mysql_async::prelude::FromRow;

use crate::database::Database;
use crate::error::Error;

/// Whose key a secret is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Holder {
    /// The key's number.
    pub id: u64,
    /// Whose it is, 1 to 120 characters.
    pub name: String,
    /// `service` or `admin`.
    pub role: String,
}

/// An API key, without anything that opens a door.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of access_list_keys_v1")]
pub struct ApiKey {
    pub id: u64,
    pub name: String,
    pub role: String,
    pub created_at: NaiveDateTime,
    /// To the minute.
    pub last_used_at: Option<NaiveDateTime>,
    pub revoked_at: Option<NaiveDateTime>,
}

/// An API key that was revoked, and when that was.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of access_revoke_key_v1")]
pub struct RevokedKey {
    pub id: u64,
    pub name: String,
    pub role: String,
    pub revoked_at: NaiveDateTime,
}

/// Says whose key a secret is; `None` when it is nobody's or was revoked.
///
/// # Errors
/// As [`Database::call`].
pub async fn authenticate(database: &Database, key_sha256: [u8; 32]) -> Result<Option<Holder>, Error> {
    let mut sets = database
        .read("access_authenticate_v1", (key_sha256.as_slice(),))
        .await?;
    Ok(sets.rows()?.pop())
}

/// Makes an API key from the SHA-256 of its secret.
///
/// # Errors
/// `VALIDATION_FAILED`, and as [`Database::call`].
pub async fn create_key(database: &Database, name: &str, role: &str, key_sha256: [u8; 32]) -> Result<Holder, Error> {
    database
        .call("access_create_key_v1", (name, role, key_sha256.as_slice()))
        .await?
        .row()
}

/// Up to `limit` (1 to 1,000) API keys, by id, from the one after `after_id`.
///
/// # Errors
/// As [`Database::call`].
pub async fn list_keys(database: &Database, after_id: u64, limit: u32) -> Result<Vec<ApiKey>, Error> {
    database.read("access_list_keys_v1", (after_id, limit)).await?.rows()
}

/// An API key that was made in the place of another.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
#[allow(missing_docs, reason = "the columns of access_rotate_key_v1")]
pub struct RotatedKey {
    pub id: u64,
    pub name: String,
    pub role: String,
    pub replaced_until: NaiveDateTime,
}

/// Makes an API key from the SHA-256 of its secret, in the place of another, which holds for `overlap_seconds` longer: 30 days at most.
///
/// # Errors
/// `VALIDATION_FAILED`, `API_KEY_NOT_FOUND`, and as [`Database::call`].
pub async fn rotate_key(
    database: &Database,
    key_id: u64,
    key_sha256: [u8; 32],
    overlap_seconds: u32,
) -> Result<RotatedKey, Error> {
    let params = (key_id, key_sha256.as_slice(), overlap_seconds);
    database.call("access_rotate_key_v1", params).await?.row()
}

/// Ends an API key from the next request on.
///
/// # Errors
/// `API_KEY_NOT_FOUND`, and as [`Database::call`].
pub async fn revoke_key(database: &Database, key_id: u64) -> Result<RevokedKey, Error> {
    database.call("access_revoke_key_v1", (key_id,)).await?.row()
}

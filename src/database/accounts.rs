//! The two accounts of an installation. The owner is locked: nobody logs in as it, and the procedures run with its
//! rights. The gateway's account may only call them.

use mysql_async::{Conn, Value, prelude::Queryable};

use super::decode;
use super::hosts::primary;
use crate::error::Error;

/// The definer of every procedure.
pub(super) const OWNER: &str = "'consumable_owner'@'localhost'";

/// Append-only tables: the owner may insert and read, so that no procedure can ever change what happened.
const LEDGER: [&str; 12] = [
    "billing_entitlement_grants",
    "billing_entitlement_revocations",
    "billing_entitlement_consumptions",
    "billing_entitlement_consumption_archive",
    "billing_entitlement_settlements",
    "billing_entitlement_settlement_grants",
    "billing_entitlement_hold_resolutions",
    "billing_resource_changes",
    "billing_entitlement_lock_changes",
    "billing_purchase_lines",
    "billing_purchase_references",
    "billing_purchase_grants",
];

/// Written by `consumable migrate` alone.
const BOOK_KEEPING: [&str; 2] = ["refinery_schema_history", "consumable_routines"];

/// What became of the owner.
pub(super) enum Owner {
    /// It exists with all its rights.
    Ready,
    /// The migrating account may not make it; one sentence on what is missing.
    Refused(String),
}

/// Makes the owner and gives it its rights on the current database, as far as they are missing.
pub(super) async fn prepare_owner(conn: &mut Conn, database: &str) -> mysql_async::Result<Owner> {
    match grant_owner(conn, database).await {
        Ok(()) => Ok(Owner::Ready),
        Err(mysql_async::Error::Server(error)) if is_refusal(error.code) => Ok(Owner::Refused(format!(
            "the procedures belong to the migrating account, because it may not make {OWNER} or grant it rights on \
             `{database}`: it needs CREATE USER, GRANT OPTION on the database, and SELECT on mysql.* ({})",
            error.message
        ))),
        Err(error) => Err(error),
    }
}

/// Access denied in one of its forms, or a server that runs without accounts.
pub(super) fn is_refusal(number: u16) -> bool {
    matches!(number, 1044 | 1045 | 1142 | 1143 | 1227 | 1290 | 1410 | 1419)
}

async fn grant_owner(conn: &mut Conn, database: &str) -> mysql_async::Result<()> {
    let pattern = grant_pattern(conn, database).await?;
    // The grant tables by their key: information_schema would gather the rights of all accounts on all databases.
    let granted: Option<u8> = conn
        .exec_first(
            "SELECT 1 FROM mysql.db WHERE Host = 'localhost' AND User = 'consumable_owner' AND Db = ? \
             AND Select_priv = 'Y' AND Insert_priv = 'Y' AND Execute_priv = 'Y'",
            (&pattern,),
        )
        .await?;
    if granted.is_none() {
        conn.query_drop(format!("CREATE USER IF NOT EXISTS {OWNER} ACCOUNT LOCK"))
            .await?;
        conn.query_drop(format!(
            "GRANT SELECT, INSERT, EXECUTE ON {}.* TO {OWNER}",
            quoted(&pattern)
        ))
        .await?;
    }
    let bare: Vec<String> = conn
        .exec(
            "SELECT t.TABLE_NAME FROM information_schema.TABLES t \
             WHERE t.TABLE_SCHEMA = ? AND t.TABLE_TYPE = 'BASE TABLE' AND NOT EXISTS ( \
               SELECT 1 FROM mysql.tables_priv p \
               WHERE p.Host = 'localhost' AND p.User = 'consumable_owner' AND p.Db = ? AND p.Table_name = t.TABLE_NAME \
                 AND FIND_IN_SET('Update', p.Table_priv) AND FIND_IN_SET('Delete', p.Table_priv))",
            (database, database),
        )
        .await?;
    for table in bare
        .iter()
        .filter(|table| !LEDGER.contains(&&***table) && !BOOK_KEEPING.contains(&&***table))
    {
        let table = quoted(table);
        conn.query_drop(format!(
            "GRANT UPDATE, DELETE ON {}.{table} TO {OWNER}",
            quoted(database)
        ))
        .await?;
    }
    Ok(())
}

/// Makes the gateway's account `'name'@'localhost'`, or gives it this `password`, and lets it call the procedures of
/// the database in `url`, and nothing else. `url` must be of an account that may do so.
///
/// # Errors
/// [`Error::Unavailable`] without a connection, else [`Error::Internal`] with the server's words.
pub async fn make_gateway_account(url: &str, name: &str, password: &str) -> Result<(), Error> {
    let opts = primary(url).await?;
    let database = opts.db_name().unwrap_or_default().to_owned();
    let work = async {
        let mut conn = Conn::new(opts).await?;
        let account = format!("{}@'localhost'", literal(name));
        let password = literal(password);
        conn.query_drop(format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password}"))
            .await?;
        conn.query_drop(format!("ALTER USER {account} IDENTIFIED BY {password}"))
            .await?;
        let pattern = quoted(&grant_pattern(&mut conn, &database).await?);
        conn.query_drop(format!("GRANT EXECUTE ON {pattern}.* TO {account}"))
            .await?;
        conn.disconnect().await
    };
    work.await.map_err(decode)
}

/// In GRANT ON database.*, `_` and `%` stand for other characters unless escaped, or unless the server runs with
/// partial_revokes.
async fn grant_pattern(conn: &mut Conn, database: &str) -> mysql_async::Result<String> {
    let literal: Option<bool> = conn.query_first("SELECT @@GLOBAL.partial_revokes").await?;
    if literal == Some(true) {
        return Ok(database.to_owned());
    }
    Ok(database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

/// An identifier in back-quotes.
pub(super) fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// A string literal, for statements that take no parameters.
fn literal(text: &str) -> String {
    Value::from(text).as_sql(false)
}

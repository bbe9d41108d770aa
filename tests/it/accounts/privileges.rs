//! What the gateway's account and the owner of the procedures may not do, statement by statement.

use consumable::database::{Database, make_gateway_account};
use consumable::procedures::access;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row};

use crate::support::database::TestDatabase;
use crate::support::state::{rows, shape, tables};
use crate::support::story::{Grant, Story, definition};

/// Append-only tables: what happened, which nobody may change.
const LEDGER: [&str; 12] = [
    "billing_entitlement_consumption_archive",
    "billing_entitlement_consumptions",
    "billing_entitlement_grants",
    "billing_entitlement_revocations",
    "billing_entitlement_settlement_grants",
    "billing_entitlement_settlements",
    "billing_entitlement_hold_resolutions",
    "billing_entitlement_lock_changes",
    "billing_purchase_grants",
    "billing_purchase_lines",
    "billing_purchase_references",
    "billing_resource_changes",
];

/// What the server says to whom it does not let: access denied in one of its forms, of which 1401 is that of XA RECOVER.
const DENIED: [u16; 10] = [1044, 1045, 1095, 1142, 1143, 1227, 1370, 1401, 1410, 1419];

/// Statements on a table, `{t}`, with a column of it, `{c}`.
const ON_A_TABLE: &[&str] = &[
    "SELECT * FROM {t}",
    "SELECT COUNT(*) FROM {t}",
    "TABLE {t}",
    "SELECT 1 FROM {t} FOR UPDATE",
    "SELECT * FROM {t} INTO OUTFILE 'stolen'",
    "INSERT INTO {t} () VALUES ()",
    "INSERT INTO {t} SELECT * FROM {t}",
    "REPLACE INTO {t} () VALUES ()",
    "UPDATE {t} SET {c} = {c}",
    "DELETE FROM {t}",
    "TRUNCATE TABLE {t}",
    "LOAD DATA INFILE 'rows' INTO TABLE {t}",
    "HANDLER {t} OPEN",
    "LOCK TABLES {t} READ",
    "LOCK TABLES {t} WRITE",
    "ALTER TABLE {t} COMMENT = 'mine'",
    "DROP TABLE {t}",
    "RENAME TABLE {t} TO mine",
    "CREATE INDEX mine ON {t} ({c})",
    "CREATE TABLE mine LIKE {t}",
    "CREATE TABLE mine AS SELECT * FROM {t}",
    "CREATE VIEW mine AS SELECT * FROM {t}",
    "CREATE TRIGGER mine BEFORE INSERT ON {t} FOR EACH ROW SET @mine = 1",
    "SHOW CREATE TABLE {t}",
    "SHOW COLUMNS FROM {t}",
    "SHOW INDEX FROM {t}",
    "EXPLAIN SELECT * FROM {t}",
    "CHECKSUM TABLE {t}",
    "ANALYZE TABLE {t}",
    "OPTIMIZE TABLE {t}",
    "FLUSH TABLES {t}",
];

/// Statements on nothing in particular; `{d}` is the database, `{k}` a connection of somebody else.
const OTHERS: &[&str] = &[
    "CREATE TABLE mine (id INT)",
    "CREATE TEMPORARY TABLE mine (id INT)",
    "CREATE PROCEDURE mine() SELECT 1",
    "CREATE FUNCTION mine() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE DEFINER = 'consumable_owner'@'localhost' PROCEDURE mine() SELECT 1",
    "CREATE EVENT mine ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    "CREATE DATABASE mine",
    "ALTER DATABASE {d} COLLATE utf8mb4_bin",
    "DROP DATABASE {d}",
    "CREATE USER mine@localhost",
    "CREATE ROLE mine",
    "ALTER USER 'consumable_owner'@'localhost' ACCOUNT UNLOCK",
    "SET PASSWORD FOR 'consumable_owner'@'localhost' = 'mine'",
    "DROP USER 'consumable_owner'@'localhost'",
    "RENAME USER 'consumable_owner'@'localhost' TO mine@localhost",
    "GRANT ALL ON {d}.* TO CURRENT_USER",
    "GRANT EXECUTE ON {d}.* TO 'consumable_owner'@'localhost'",
    "REVOKE INSERT ON {d}.* FROM 'consumable_owner'@'localhost'",
    "SHOW GRANTS FOR 'consumable_owner'@'localhost'",
    "SELECT * FROM mysql.user",
    "SELECT * FROM mysql.db",
    "SELECT * FROM performance_schema.threads",
    "SELECT * FROM performance_schema.events_statements_history",
    "SET GLOBAL max_connections = 1",
    "SET PERSIST max_connections = 1",
    "SET GLOBAL general_log = ON",
    "SET SESSION sql_log_bin = OFF",
    "KILL {k}",
    "KILL QUERY {k}",
    "FLUSH PRIVILEGES",
    "FLUSH TABLES WITH READ LOCK",
    "LOCK INSTANCE FOR BACKUP",
    "PURGE BINARY LOGS BEFORE NOW()",
    "SHOW BINARY LOGS",
    "SHOW BINLOG EVENTS",
    "SHOW REPLICA STATUS",
    "SHOW ENGINE INNODB STATUS",
    "XA RECOVER",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'mine'",
    "INSTALL PLUGIN mine SONAME 'mine.so'",
    "INSTALL COMPONENT 'file://mine'",
    "CREATE FUNCTION mine RETURNS STRING SONAME 'mine.so'",
    "CREATE SERVER mine FOREIGN DATA WRAPPER mysql OPTIONS (USER 'mine')",
    "SELECT 1 INTO OUTFILE 'mine'",
    "SELECT 1 INTO DUMPFILE 'mine'",
    "SHUTDOWN",
    "RESTART",
];

/// Statements on a procedure, `{p}`.
const ON_A_PROCEDURE: &[&str] = &[
    "ALTER PROCEDURE {p} SQL SECURITY INVOKER",
    "DROP PROCEDURE {p}",
    "CREATE PROCEDURE {p}() SELECT 1",
];

/// What the server did with a statement, unless it refused it for want of a right.
async fn let_through(session: &mut Conn, statement: &str) -> Option<String> {
    match session.query_drop(statement).await {
        Err(mysql_async::Error::Server(error)) if DENIED.contains(&error.code) => None,
        Err(error) => Some(format!("{statement}: {error}")),
        Ok(()) => Some(format!("{statement}: done")),
    }
}

#[tokio::test]
async fn the_gateway_reads_no_table_and_runs_no_statement_but_calls() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story.consume(1).await;
    let account = format!("gateway_{:08x}", getrandom::u32().unwrap());
    let test = &story.database;
    make_gateway_account(&test.url(), &account, "secret").await.unwrap();
    let mut gateway = Conn::new(Opts::from_url(&test.url_as(&account, "secret")).unwrap())
        .await
        .unwrap();
    let dba = &mut story.session;
    let before = (shape(dba).await, rows(dba).await);
    assert!(before.0.len() > 100, "{} tables, procedures and rights", before.0.len());

    let mut statements = Vec::new();
    for table in tables(dba).await {
        let column = "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
        let column: String = dba.exec_first(column, (&table,)).await.unwrap().unwrap();
        for statement in ON_A_TABLE {
            statements.push(statement.replace("{t}", &table).replace("{c}", &column));
        }
    }
    let procedures: Vec<String> = dba
        .query("SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()")
        .await
        .unwrap();
    for procedure in &procedures {
        for statement in ON_A_PROCEDURE {
            statements.push(statement.replace("{p}", procedure));
        }
    }
    let (name, of_others) = (test.name(), dba.id().to_string());
    for statement in OTHERS {
        statements.push(statement.replace("{d}", name).replace("{k}", &of_others));
    }
    assert!(statements.len() > 1_000, "{} statements", statements.len());
    let mut found = Vec::new();
    for statement in &statements {
        found.extend(let_through(&mut gateway, statement).await);
    }
    assert_eq!(found, Vec::<String>::new());

    // What is answered, and says nothing.
    for (query, seen) in [
        (
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
            0,
        ),
        (
            "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()",
            0,
        ),
        (
            "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_DEFINITION IS NOT NULL AND ROUTINE_SCHEMA = DATABASE()",
            0,
        ),
        ("SELECT COUNT(DISTINCT USER) FROM information_schema.PROCESSLIST", 1),
        ("SELECT LOAD_FILE('/etc/hostname') IS NOT NULL", 0),
    ] {
        assert_eq!(
            gateway.query_first::<u64, _>(query).await.unwrap(),
            Some(seen),
            "{query}"
        );
    }
    let grants: Vec<String> = gateway.query("SHOW GRANTS").await.unwrap();
    let pattern = name.replace('_', "\\_");
    assert_eq!(
        grants,
        [
            format!("GRANT USAGE ON *.* TO `{account}`@`localhost`"),
            format!("GRANT EXECUTE ON `{pattern}`.* TO `{account}`@`localhost`"),
        ]
    );

    // All that was done is what the account itself is: a call goes through, and nothing has changed.
    let dba = &mut story.session;
    let mut after = shape(dba).await;
    after.retain(|line| !line.starts_with(&account));
    let mut as_it_was = before.0;
    as_it_was.retain(|line| !line.starts_with(&account));
    assert_eq!(after, as_it_was);
    assert_eq!(rows(dba).await, before.1);
    let database = Database::connect(&story.database.url_as(&account, "secret"))
        .await
        .unwrap();
    assert_eq!(access::list_keys(&database, 0, 10).await.unwrap(), []);
    database.disconnect().await.unwrap();
    let dba = &mut story.session;
    dba.query_drop(format!("DROP USER {account}@localhost")).await.unwrap();
    story.end().await;
}

#[tokio::test]
async fn the_owner_cannot_change_what_happened_and_nobody_logs_in_as_it() {
    let test = TestDatabase::migrated().await;
    let mut dba = test.session().await;
    let may_change = "SELECT t.TABLE_NAME FROM information_schema.TABLES AS t JOIN mysql.tables_priv AS p
                         ON p.Db = t.TABLE_SCHEMA AND p.Table_name = t.TABLE_NAME AND p.User = 'consumable_owner'
                      WHERE t.TABLE_SCHEMA = DATABASE()";
    let may_change: Vec<String> = dba.query(may_change).await.unwrap();
    let mut never: Vec<String> = tables(&mut dba).await;
    never.retain(|table| !may_change.contains(table));
    let mut expected: Vec<&str> = LEDGER.to_vec();
    expected.extend(["consumable_routines", "refinery_schema_history"]);
    expected.sort_unstable();
    assert_eq!(never, expected);

    for table in &never {
        let column =
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?
                         AND GENERATION_EXPRESSION = '' ORDER BY ORDINAL_POSITION";
        let column: String = dba.exec_first(column, (table,)).await.unwrap().unwrap();
        for (statement, right) in [
            (format!("UPDATE {table} SET {column} = {column}"), "UPDATE"),
            (format!("DELETE FROM {table}"), "DELETE"),
            (format!("DELETE FROM {table} WHERE {column} IS NULL"), "DELETE"),
            (format!("REPLACE INTO {table} ({column}) VALUES (1)"), "DELETE"),
            (
                format!("INSERT INTO {table} ({column}) VALUES (1) ON DUPLICATE KEY UPDATE {column} = 2"),
                "UPDATE",
            ),
            (format!("TRUNCATE TABLE {table}"), "DROP"),
            (format!("DROP TABLE {table}"), "DROP"),
            (format!("ALTER TABLE {table} ADD COLUMN mine INT"), "ALTER"),
        ] {
            // Whatever runs with the owner's rights, as every procedure does.
            dba.query_drop("DROP PROCEDURE IF EXISTS as_owner").await.unwrap();
            let create = format!("CREATE DEFINER = 'consumable_owner'@'localhost' PROCEDURE as_owner() {statement}");
            dba.query_drop(create).await.unwrap();
            let error = dba.query_drop("CALL as_owner()").await.unwrap_err().to_string();
            let denied = error.contains(&format!("{right} command denied to user 'consumable_owner'"));
            assert!(denied, "{statement}: {error}");
        }
    }
    // Nor does a key of another table reach into it.
    let reaches = "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS
                    WHERE CONSTRAINT_SCHEMA = DATABASE()
                      AND (DELETE_RULE NOT IN ('NO ACTION', 'RESTRICT') OR UPDATE_RULE NOT IN ('NO ACTION', 'RESTRICT'))";
    assert_eq!(dba.query::<String, _>(reaches).await.unwrap(), Vec::<String>::new());

    let grants: Vec<Row> = dba
        .query("SHOW GRANTS FOR 'consumable_owner'@'localhost'")
        .await
        .unwrap();
    let global: String = grants[0].get(0).unwrap();
    assert_eq!(global, "GRANT USAGE ON *.* TO `consumable_owner`@`localhost`");
    let login = Conn::new(Opts::from_url(&test.url_as("consumable_owner", "")).unwrap()).await;
    let error = login.expect_err("a refusal").to_string();
    assert!(error.contains("Account is locked"), "{error}");
}

//! `Database::call`: what comes back, what is repeated, what is left behind.

use std::time::Duration;

use consumable::database::FromRow;
use consumable::error::{Code, Error};
use mysql_async::prelude::Queryable;

use crate::support::database::{TestDatabase, release};

#[derive(Debug, PartialEq, FromRow)]
struct Item {
    name: String,
    amount: Option<i64>,
}

#[tokio::test]
async fn all_result_sets_come_in_their_order_and_by_column_name() {
    let body = "(IN p_name VARCHAR(64), IN p_amount BIGINT) BEGIN
        SELECT p_amount AS amount, p_name AS name UNION ALL SELECT NULL, 'none';
        SELECT 'empty' AS name, 1 AS amount FROM DUAL WHERE FALSE;
        SELECT 'last' AS name, 3 AS amount; END";
    let test = TestDatabase::with(&release("1.0.0", &[("three_v1", body)])).await;
    let database = test.connect().await;

    let mut sets = database.call("three_v1", ("größe", 7)).await.unwrap();
    let item = |name: &str, amount| Item {
        name: name.into(),
        amount,
    };
    assert_eq!(
        sets.rows::<Item>().unwrap(),
        [item("größe", Some(7)), item("none", None)]
    );
    assert_eq!(sets.rows::<Item>().unwrap(), []);
    assert_eq!(sets.row::<Item>().unwrap(), item("last", Some(3)));
    assert!(matches!(sets.rows::<Item>(), Err(Error::Internal(text)) if text.contains("fewer result sets")));

    let mut sets = database.call("three_v1", ("x", 7)).await.unwrap();
    assert!(matches!(sets.row::<Item>(), Err(Error::Internal(text)) if text.contains("exactly one row")));
    #[derive(Debug, FromRow)]
    #[allow(dead_code, reason = "only its name matters")]
    struct Other {
        colour: String,
    }
    let mut sets = database.call("three_v1", ("x", 7)).await.unwrap();
    assert!(matches!(sets.rows::<Other>(), Err(Error::Internal(text)) if text.contains("[\"amount\", \"name\"]")));
}

#[tokio::test]
async fn a_signal_is_a_rule_also_after_a_result_set() {
    let signal = "SIGNAL SQLSTATE '45001' SET MYSQL_ERRNO = 52001, MESSAGE_TEXT = 'VALIDATION_FAILED: items[0].amount: too small';";
    let at_once = format!("() BEGIN {signal} END");
    let after = format!("() BEGIN SELECT 1 AS one; {signal} END");
    let test = TestDatabase::with(&release("1.0.0", &[("at_once_v1", &at_once), ("after_v1", &after)])).await;
    let database = test.connect().await;
    for procedure in ["at_once_v1", "after_v1"] {
        let expected = Error::Rule {
            code: Code::ValidationFailed,
            field: Some("items[0].amount".into()),
            text: "too small".into(),
        };
        assert_eq!(database.call(procedure, ()).await.unwrap_err(), expected, "{procedure}");
    }
}

#[tokio::test]
async fn a_session_keeps_the_contract_and_no_transaction() {
    let settings = "() BEGIN SELECT @@time_zone AS name, @@lock_wait_timeout AS amount
        UNION ALL SELECT @@transaction_isolation, @@innodb_lock_wait_timeout
        UNION ALL SELECT @@collation_connection, CONNECTION_ID(); END";
    let open = "() BEGIN START TRANSACTION; SELECT 1 AS one FROM consumable_routines LIMIT 1; END";
    let raise = "() BEGIN START TRANSACTION; SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 52104, MESSAGE_TEXT = 'GRANT_NOT_FOUND: no'; END";
    let is_open = "() BEGIN SELECT 'open' AS name, COUNT(*) AS amount FROM information_schema.INNODB_TRX
        WHERE trx_mysql_thread_id = CONNECTION_ID(); END";
    let routines = [
        ("settings_v1", settings),
        ("open_v1", open),
        ("raise_v1", raise),
        ("is_open_v1", is_open),
    ];
    let test = TestDatabase::with(&release("1.0.0", &routines)).await;
    // The owner lacks PROCESS, which INNODB_TRX needs.
    let mut dba = test.session().await;
    dba.query_drop(format!(
        "DROP PROCEDURE is_open_v1; CREATE PROCEDURE is_open_v1 {is_open}"
    ))
    .await
    .unwrap();

    let database = test.connect().await;
    let rows: Vec<Item> = database.call("settings_v1", ()).await.unwrap().rows().unwrap();
    assert_eq!(
        rows[0],
        Item {
            name: "+00:00".into(),
            amount: Some(5)
        }
    );
    assert_eq!(
        rows[1],
        Item {
            name: "READ-COMMITTED".into(),
            amount: Some(5)
        }
    );
    assert_eq!(rows[2].name, "utf8mb4_0900_ai_ci");
    let connection = rows[2].amount;

    let error = database.call("open_v1", ()).await.unwrap_err();
    assert_eq!(
        error,
        Error::Internal("open_v1 left a transaction open, which was rolled back".into())
    );
    assert!(matches!(
        database.call("raise_v1", ()).await,
        Err(Error::Rule {
            code: Code::GrantNotFound,
            ..
        })
    ));
    assert_eq!(
        database
            .call("is_open_v1", ())
            .await
            .unwrap()
            .row::<Item>()
            .unwrap()
            .amount,
        Some(0)
    );
    let rows: Vec<Item> = database.call("settings_v1", ()).await.unwrap().rows().unwrap();
    assert_eq!(
        rows[2].amount, connection,
        "the connection was not replaced, only cleaned"
    );
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let id = "() BEGIN SELECT CONNECTION_ID() AS id; END";
    let test = TestDatabase::with(&release("1.0.0", &[("id_v1", id)])).await;
    let database = test.connect().await;
    let mut dba = test.session().await;
    let first: (u64,) = database.call("id_v1", ()).await.unwrap().row().unwrap();
    dba.query_drop(format!("KILL {}", first.0)).await.unwrap();
    let second: (u64,) = database.call("id_v1", ()).await.unwrap().row().unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn deadlocks_are_repeated_until_both_are_done() {
    // Both take two rows in opposite order, and wait for each other in between: the first try is a sure deadlock.
    let body = "(IN p_first INT, IN p_second INT) BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
        START TRANSACTION;
        UPDATE pair SET n = n + 1 WHERE id = p_first;
        DO SLEEP(0.1);
        UPDATE pair SET n = n + 1 WHERE id = p_second;
        COMMIT; END";
    let test = TestDatabase::with(&release("1.0.0", &[("pair_v1", body)])).await;
    let mut dba = test.session().await;
    dba.query_drop("CREATE TABLE pair (id INT PRIMARY KEY, n INT); INSERT INTO pair VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    // The table is younger than the deployment that grants rights on tables.
    consumable::database::migrate(&test.url(), &release("1.0.0", &[("pair_v1", body)]), &|_| ())
        .await
        .unwrap();
    let database = test.connect().await;
    let (one, two) = tokio::join!(database.call("pair_v1", (1, 2)), database.call("pair_v1", (2, 1)));
    one.unwrap();
    two.unwrap();
    let sums: Vec<i32> = dba.query("SELECT n FROM pair").await.unwrap();
    assert_eq!(sums, [2, 2]);
}

#[tokio::test]
async fn a_procedure_that_stays_missing_is_an_error_after_two_seconds() {
    let test = TestDatabase::empty().await;
    let database = test.connect().await;
    let begun = std::time::Instant::now();
    let error = database.call("absent_v1", ()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Internal(text) if text.contains("absent_v1 does not exist")),
        "{error}"
    );
    assert!(begun.elapsed() > Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(4));
}

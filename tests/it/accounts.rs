//! Who owns the procedures, and what the accounts may do.

mod injected;
mod privileges;

use consumable::database::{Difference, Release, check, make_gateway_account, migrate};
use mysql_async::{Conn, Opts, prelude::Queryable};
use refinery::Migration;

use crate::deploy::{ONE, deploy};
use crate::support::database::{TestDatabase, release};
use crate::support::story::{Grant, Story, definition};

#[tokio::test]
async fn the_owner_appends_to_the_ledger_and_the_gateway_only_calls() {
    let write = "(IN p_what VARCHAR(8)) BEGIN
        IF p_what = 'insert' THEN INSERT INTO billing_entitlement_grants VALUES (1);
        ELSEIF p_what = 'ledger' THEN UPDATE billing_entitlement_grants SET id = 2;
        ELSE UPDATE billing_entitlement_balances SET id = 2; END IF; END";
    let mut migrations = release("1.0.0", &[]).migrations().to_vec();
    for (n, table) in ["billing_entitlement_grants", "billing_entitlement_balances"]
        .iter()
        .enumerate()
    {
        let sql = format!("CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY)");
        migrations.push(Migration::unapplied(&format!("V{}__t", 9000 + n), &sql).unwrap());
    }
    let release = Release::new(
        "1.0.0",
        migrations,
        release("1.0.0", &[("write_v1", write)]).routines().to_vec(),
    )
    .unwrap();
    let test = TestDatabase::with(&release).await;
    // A name of its own: other tests share the server.
    let gateway = format!("gateway_{:08x}", getrandom::u32().unwrap());
    for password in ["pass'\"word", "second"] {
        make_gateway_account(&test.url(), &gateway, password).await.unwrap();
    }

    let mut conn = Conn::new(Opts::from_url(&test.url_as(&gateway, "second")).unwrap())
        .await
        .unwrap();
    conn.query_drop("CALL write_v1('insert'); CALL write_v1('balance')")
        .await
        .unwrap();
    for (refused, what) in [
        (
            "CALL write_v1('ledger')",
            "UPDATE command denied to user 'consumable_owner'",
        ),
        ("SELECT * FROM billing_entitlement_balances", "SELECT command denied"),
        (
            "INSERT INTO billing_entitlement_grants VALUES (3)",
            "INSERT command denied",
        ),
    ] {
        let error = conn.query_drop(refused).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    // It may not read the registry, but sees which procedures there are.
    assert_eq!(check(&test.url_as(&gateway, "second"), &release).await.unwrap(), []);
    let mut dba = test.session().await;
    dba.query_drop("DROP PROCEDURE write_v1").await.unwrap();
    let found = check(&test.url_as(&gateway, "second"), &release).await.unwrap();
    assert_eq!(found, [Difference::MissingRoutine("write_v1".into())]);
    dba.query_drop(format!("DROP USER {gateway}@localhost")).await.unwrap();
}

#[tokio::test]
async fn an_account_with_rights_on_the_database_alone_owns_the_procedures() {
    let test = TestDatabase::empty().await;
    let user = format!("migrator_{:08x}", getrandom::u32().unwrap());
    let mut dba = test.session().await;
    let rights = format!(
        "CREATE USER {user}@localhost; GRANT ALL ON {}.* TO {user}@localhost",
        dba.opts().db_name().unwrap()
    );
    dba.query_drop(rights).await.unwrap();

    let (url, release) = (test.url_as(&user, ""), release("1.0.0", &[ONE]));
    let report = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!((report.created, report.notices.len()), (vec!["one_v1".to_owned()], 1));
    assert!(
        report.notices[0].starts_with("the procedures belong to the migrating account"),
        "{:?}",
        report.notices
    );
    let again = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!((again.unchanged, again.notices.len()), (1, 1));
    assert_eq!(check(&url, &release).await.unwrap(), []);

    // An account with the rights gives them to the owner.
    let report = deploy(&test, &release).await;
    assert_eq!((report.replaced, report.notices), (vec!["one_v1".to_owned()], vec![]));
    dba.query_drop(format!("DROP USER {user}@localhost")).await.unwrap();
}

#[tokio::test]
async fn an_account_that_may_not_set_a_definer_changes_nothing_the_second_time() {
    let (test, release) = (TestDatabase::empty().await, release("1.0.0", &[ONE]));
    let user = format!("migrator_{:08x}", getrandom::u32().unwrap());
    let mut dba = test.session().await;
    let database = dba.opts().db_name().unwrap();
    let rights = format!(
        "CREATE USER {user}@localhost; GRANT CREATE USER, SHOW_ROUTINE ON *.* TO {user}@localhost; \
         GRANT SELECT ON mysql.* TO {user}@localhost; GRANT ALL ON {database}.* TO {user}@localhost WITH GRANT OPTION"
    );
    dba.query_drop(rights).await.unwrap();

    let url = test.url_as(&user, "");
    let report = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!((report.created.len(), report.notices.len()), (1, 1));
    assert!(report.notices[0].contains("SET_ANY_DEFINER"), "{:?}", report.notices);
    let again = migrate(&url, &release, &|_| ()).await.unwrap();
    assert_eq!((again.unchanged, again.replaced.len(), again.notices.len()), (1, 0, 1));
    assert_eq!(check(&url, &release).await.unwrap(), []);
    dba.query_drop(format!("DROP USER {user}@localhost")).await.unwrap();
}

/// How many uses the ledger has, and the archive.
async fn kept(story: &mut Story) -> (u64, u64) {
    let count = "SELECT (SELECT COUNT(*) FROM billing_entitlement_consumptions), (SELECT COUNT(*) FROM billing_entitlement_consumption_archive)";
    story.session.query_first(count).await.unwrap().unwrap()
}

#[tokio::test]
async fn neither_the_owner_nor_the_gateway_archives_but_who_may_delete_from_the_ledger() {
    let mut story = Story::of(definition::BALANCE).await;
    story.grant(Grant::of("topup", 100)).await;
    story.consume(1).await;
    story.grant(Grant::of("topup", 100)).await;
    let name = story.database.name().to_owned();
    let number = getrandom::u32().unwrap();
    let (gateway, archivist) = (format!("gateway_{number:08x}"), format!("archivist_{number:08x}"));
    make_gateway_account(&story.database.url(), &gateway, "secret")
        .await
        .unwrap();
    let dba = &mut story.session;
    // Whatever runs with the owner's rights: the procedures that the gateway calls do.
    dba.query_drop(
        "CREATE DEFINER = 'consumable_owner'@'localhost' PROCEDURE as_owner()
         CALL operator_archive_v1('2026-03-01', 1000, NULL, NULL)",
    )
    .await
    .unwrap();
    for account in [
        format!("CREATE USER {archivist}@localhost IDENTIFIED BY 'secret'"),
        format!("GRANT SELECT ON {name}.* TO {archivist}@localhost"),
        format!("GRANT EXECUTE ON PROCEDURE {name}.operator_archive_v1 TO {archivist}@localhost"),
        format!("GRANT UPDATE ON {name}.billing_entitlement_balances TO {archivist}@localhost"),
        format!("GRANT INSERT ON {name}.billing_entitlement_consumption_archive TO {archivist}@localhost"),
        format!("GRANT DELETE ON {name}.billing_entitlement_consumptions TO {archivist}@localhost"),
    ] {
        dba.query_drop(account).await.unwrap();
    }
    let session = async |account: &str| {
        Conn::new(Opts::from_url(&story.database.url_as(account, "secret")).unwrap())
            .await
            .unwrap()
    };
    let (mut as_gateway, mut as_archivist) = (session(&gateway).await, session(&archivist).await);
    let archive = "CALL operator_archive_v1('2026-03-01', 1000, NULL, NULL)";
    for (call, denied) in [
        (archive, format!("SELECT command denied to user '{gateway}'")),
        (
            "CALL as_owner()",
            "DELETE command denied to user 'consumable_owner'".to_owned(),
        ),
    ] {
        let error = as_gateway.query_drop(call).await.unwrap_err().to_string();
        assert!(error.contains(&denied), "{call}: {error}");
        assert_eq!(kept(&mut story).await, (1, 0));
    }
    let moved: (u64, Option<u64>, u64) = as_archivist.query_first(archive).await.unwrap().unwrap();
    assert_eq!(moved.0, 1);
    assert_eq!(kept(&mut story).await, (0, 1));
    for account in [&gateway, &archivist] {
        let dba = &mut story.session;
        dba.query_drop(format!("DROP USER {account}@localhost")).await.unwrap();
    }
    story.end().await;
}

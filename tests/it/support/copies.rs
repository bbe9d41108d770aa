//! Databases with this release, made ahead of the tests that want them: `migrate` brings one to the release, and the others are
//! copies of its tables, rows, procedures and rights. A test waits for a database only when tests come faster than they
//! are made, and never for the end of one.

use std::sync::OnceLock;
use std::thread;

use consumable::database::{Release, check};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder, Row};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{Mutex, OnceCell};

use super::database::TestDatabase;

/// How many are made at once. Most of the time is waiting for the disk.
const MAKERS: usize = 3;

/// How many wait to be taken, besides those that are being made.
const AHEAD: usize = 2;

/// Whatever a session of `migrate` sets that a procedure or a column keeps.
const SESSION: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci, foreign_key_checks = OFF";

/// Takes a database with this release.
pub async fn take() -> TestDatabase {
    static COPIES: OnceLock<Mutex<Receiver<TestDatabase>>> = OnceLock::new();
    let copies = COPIES.get_or_init(|| {
        let (done, copies) = channel(AHEAD);
        in_background(async move {
            let template = Template::new().await;
            let make = || async {
                // Full: nobody wants more for now.
                while done.send(template.copy().await).await.is_ok() {}
            };
            futures_util::future::join_all((0..MAKERS).map(|_| make())).await;
        });
        Mutex::new(copies)
    });
    let copy = copies.lock().await.recv().await;
    copy.expect("a copy; why there is none has been said above")
}

/// Drops a database when the server comes to it. At the end of the run what is left goes with the server.
pub fn drop_later(url: String, name: String) {
    static DROPS: OnceLock<UnboundedSender<(String, String)>> = OnceLock::new();
    let drops = DROPS.get_or_init(|| {
        let (drops, mut to_do): (_, UnboundedReceiver<(String, String)>) = unbounded_channel();
        in_background(async move {
            while let Some((url, name)) = to_do.recv().await {
                // By itself: a test that left a transaction open must not hold up the others.
                tokio::spawn(async move {
                    if let Err(error) = drop_now(&url, &name).await {
                        eprintln!("{name} could not be dropped: {error}");
                    }
                });
            }
        });
        drops
    });
    // Refused only when the process is going down.
    let _ = drops.send((url, name));
}

async fn drop_now(url: &str, name: &str) -> mysql_async::Result<()> {
    let mut server = Conn::new(Opts::from_url(url)?).await?;
    server.query_drop(format!("DROP DATABASE {name}")).await?;
    // Rights outlive their database.
    server
        .exec_drop("DELETE FROM mysql.tables_priv WHERE Db = ?", (name,))
        .await?;
    server.disconnect().await
}

/// On a thread and a runtime of its own, as those of the tests come and go.
fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work);
    });
}

/// A migrated database, as the statements that make another one like it.
struct Template {
    name: String,
    statements: Vec<String>,
}

impl Template {
    async fn new() -> Template {
        static DATABASE: OnceCell<TestDatabase> = OnceCell::const_new();
        let database = DATABASE
            .get_or_init(|| async { TestDatabase::with(&Release::embedded().unwrap()).await })
            .await;
        let name = database.name().to_owned();
        let mut session = database.session().await;
        session.query_drop(SESSION).await.unwrap();
        let mut statements = Vec::new();
        for table in names(&mut session, TABLES).await {
            let made: Row = first(&mut session, &format!("SHOW CREATE TABLE {table}")).await;
            statements.push(made.get::<String, _>(1).unwrap());
            let rows: u64 = first(&mut session, &format!("SELECT COUNT(*) FROM {table}")).await;
            if rows > 0 {
                let plain = format!(
                    "SELECT column_name FROM information_schema.columns \
                     WHERE table_schema = DATABASE() AND table_name = '{table}' AND generation_expression = ''"
                );
                let columns = names(&mut session, &plain).await.join(", ");
                statements.push(format!(
                    "INSERT INTO {table} ({columns}) SELECT {columns} FROM {name}.{table}"
                ));
            }
        }
        for routine in names(&mut session, ROUTINES).await {
            let made: Row = first(&mut session, &format!("SHOW CREATE PROCEDURE {routine}")).await;
            let sql_mode: String = made.get("sql_mode").unwrap();
            statements.push(format!("SET sql_mode = '{sql_mode}'"));
            statements.push(made.get::<String, _>("Create Procedure").unwrap());
        }
        session.disconnect().await.unwrap();
        Template { name, statements }
    }

    async fn copy(&self) -> TestDatabase {
        let copy = TestDatabase::empty().await;
        let opts = OptsBuilder::from_opts(Opts::from_url(&copy.url()).unwrap()).setup(vec![SESSION]);
        let mut session = Conn::new(opts).await.unwrap();
        let (name, template) = (copy.name(), &self.name);
        // The owner's rights on each table, as one write instead of one GRANT each.
        let rights = format!(
            "INSERT INTO mysql.tables_priv (Host, Db, User, Table_name, Grantor, Table_priv, Column_priv)
             SELECT Host, '{name}', User, Table_name, Grantor, Table_priv, Column_priv FROM mysql.tables_priv WHERE Db = '{template}';
             GRANT SELECT, INSERT, EXECUTE ON `{}`.* TO consumable_owner@localhost;
             FLUSH PRIVILEGES",
            name.replace('_', "\\_")
        );
        // One by one: of several in one message, a procedure with a label keeps the semicolon after it.
        for statement in self.statements.iter().chain([&rights]) {
            session.query_drop(statement).await.unwrap();
        }
        session.disconnect().await.unwrap();
        copy
    }
}

const TABLES: &str =
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name";
const ROUTINES: &str =
    "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE() ORDER BY routine_name";

async fn names(session: &mut Conn, query: &str) -> Vec<String> {
    session.query(query).await.unwrap()
}

async fn first<T: FromRow + Send + 'static>(session: &mut Conn, query: &str) -> T {
    session.query_first(query).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_copy_is_what_migrate_makes() {
    let release = Release::embedded().unwrap();
    let (copy, migrated) = (take().await, TestDatabase::with(&release).await);
    assert_eq!(check(&copy.url(), &release).await.unwrap(), []);
    let (copy, migrated) = (all_of(&copy).await, all_of(&migrated).await);
    assert!(copy.len() > 50 && copy.len() == migrated.len());
    for (copy, migrated) in copy.iter().zip(&migrated) {
        assert_eq!(copy, migrated);
    }
}

/// Each table as the server has it, with the number of its rows; and each right that somebody has on the database.
async fn all_of(database: &TestDatabase) -> Vec<String> {
    let mut session = database.session().await;
    let mut all = Vec::new();
    for table in names(&mut session, TABLES).await {
        let row: Row = first(&mut session, &format!("SHOW CREATE TABLE {table}")).await;
        let rows: u64 = first(&mut session, &format!("SELECT COUNT(*) FROM {table}")).await;
        all.push(format!("{rows} rows in {}", row.get::<String, _>(1).unwrap()));
    }
    for rights in [
        "SELECT table_name, user, host, grantor, table_priv, column_priv FROM mysql.tables_priv WHERE db = DATABASE() ORDER BY 1, 2",
        "SELECT * FROM mysql.db WHERE REPLACE(db, '\\\\', '') = DATABASE()",
    ] {
        for row in session.query::<Row, _>(rights).await.unwrap() {
            let values: Vec<String> = row.unwrap().iter().map(|value| value.as_sql(true)).collect();
            all.push(values.join(" ").replace('\\', "").replace(database.name(), "it"));
        }
    }
    all
}

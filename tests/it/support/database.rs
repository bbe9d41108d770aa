//! One database per test.

use consumable::database::{Database, Release, Routine, migrate};
use mysql_async::{Conn, Opts, prelude::Queryable};

use super::copies;
use super::server::{GATEWAY, shared_server};

/// A database of its own for one test; dropped soon after this value, also when the test panics.
pub struct TestDatabase {
    name: String,
    socket: String,
}

impl TestDatabase {
    /// An empty database.
    pub async fn empty() -> TestDatabase {
        let socket = shared_server().await.socket().display().to_string();
        // Underlines, so that grants on a database whose name has them are met by every test.
        let name = format!("test_{:016x}", getrandom::u64().unwrap());
        let database = TestDatabase { name, socket };
        let mut server = Conn::new(Opts::from_url(&database.server_url("mysql")).unwrap())
            .await
            .unwrap();
        let create = "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci";
        server
            .query_drop(format!("CREATE DATABASE {} {create}", database.name))
            .await
            .unwrap();
        server.disconnect().await.unwrap();
        database
    }

    /// A database with the release that this program was built with, as `migrate` makes it.
    pub async fn migrated() -> TestDatabase {
        copies::take().await
    }

    /// A database with `release`.
    pub async fn with(release: &Release) -> TestDatabase {
        let database = TestDatabase::empty().await;
        migrate(&database.url(), release, &|_| ()).await.unwrap();
        database
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, for an account that may do everything.
    pub fn url(&self) -> String {
        self.server_url(&self.name)
    }

    /// Its URL for the gateway's account, which may only call.
    pub fn gateway_url(&self) -> String {
        self.url_as(GATEWAY.0, GATEWAY.1)
    }

    /// Its URL for the account `name`.
    pub fn url_as(&self, name: &str, password: &str) -> String {
        self.url().replace("root@", &format!("{name}:{password}@"))
    }

    /// A pool as the gateway has it.
    pub async fn connect(&self) -> Database {
        Database::connect(&self.gateway_url()).await.unwrap()
    }

    /// A plain session, as a DBA has it.
    pub async fn session(&self) -> Conn {
        Conn::new(Opts::from_url(&self.url()).unwrap()).await.unwrap()
    }

    fn server_url(&self, database: &str) -> String {
        format!("mysql://root@localhost/{database}?socket={}", self.socket)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        copies::drop_later(self.server_url("mysql"), self.name.clone());
    }
}

/// A release with these procedures, given as name and what follows the name, and of the tables only the registry.
pub fn release(version: &str, routines: &[(&str, &str)]) -> Release {
    let mut migrations = Release::embedded().unwrap().migrations().to_vec();
    migrations.retain(|migration| migration.name() == "consumable_routines");
    let routines = routines.iter().map(|(name, rest)| {
        let text = format!("-- {name}\nCREATE PROCEDURE {name} {rest}\n");
        Routine::parse(&format!("sql/test/{name}.sql"), &text).unwrap()
    });
    Release::new(version, migrations, routines.collect()).unwrap()
}

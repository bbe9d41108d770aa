//! One MySQL server for the whole test run.

use std::env;

use consumable::database::embedded::{EmbeddedServer, Progress, ServerProgram, Storage, find_server};
use mysql_async::{Conn, prelude::Queryable};
use tokio::sync::OnceCell;

use super::cluster::Cluster;
/// The account of the gateways of tests, and its password: as in production, it may call the procedures of its databases, and nothing else.
pub const GATEWAY: (&str, &str) = ("gateway_of_tests", "only-calls");

/// The server program that the tests run on. Fetches the private copy on the first run ever, and says so.
pub async fn server_program() -> ServerProgram {
    let wanted = env::var_os("CONSUMABLE_MYSQLD");
    find_server(wanted.as_deref(), Progress::Shown)
        .await
        .expect("a MySQL server for the tests")
}

/// The server of this test run, started by the first test that asks. Each test makes a database of its own in it. With
/// `CONSUMABLE_TEST_CLUSTER` in the environment it is the primary of a group of three.
///
/// Nothing stops it: a static is never dropped, but its guard notices the end of this process, a violent one too, and then
/// removes the server and its folder.
pub async fn shared_server() -> &'static EmbeddedServer {
    static SERVER: OnceCell<EmbeddedServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let server = if env::var_os("CONSUMABLE_TEST_CLUSTER").is_some() {
                let cluster = Cluster::start().await.expect("a server that has Group Replication");
                cluster.into_primary().await
            } else {
                let program = server_program().await;
                EmbeddedServer::start(&program, Storage::Scratch, Progress::Shown)
                    .await
                    .expect("the shared server")
            };
            // Once for the databases of all tests, by the beginning of their names.
            let (name, password) = GATEWAY;
            let mut session = Conn::new(server.connection()).await.unwrap();
            for statement in [
                format!("CREATE USER {name}@localhost IDENTIFIED BY '{password}'"),
                format!("GRANT EXECUTE ON `test\\_%`.* TO {name}@localhost"),
            ] {
                session.query_drop(statement).await.unwrap();
            }
            session.disconnect().await.unwrap();
            server
        })
        .await
}

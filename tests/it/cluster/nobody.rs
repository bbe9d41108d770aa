//! A list of hosts none of which is the primary of a group.

use consumable::config;
use consumable::database::Database;
use consumable::database::embedded::{EmbeddedServer, Progress, Storage};
use consumable::error::Error;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::cluster::free_ports;
use crate::support::server::server_program;

/// A server by itself, on a port; and the beginning of what is said of it.
async fn alone(port: u16, knows_groups: bool) -> (EmbeddedServer, String) {
    let options = ["--skip-networking=OFF", "--bind-address=127.0.0.1"].map(str::to_owned);
    let program = server_program()
        .await
        .with_options(options.into_iter().chain([format!("--port={port}")]));
    let server = EmbeddedServer::start(&program, Storage::Scratch, Progress::Silent)
        .await
        .unwrap();
    let host = format!("127.0.0.1:{port}");
    if !knows_groups {
        return (server, format!("{host} has no Group Replication"));
    }
    let mut session = Conn::new(server.connection()).await.unwrap();
    let installed = session
        .query_drop("INSTALL PLUGIN group_replication SONAME 'group_replication.so'")
        .await;
    let said = match installed {
        Ok(()) => "takes writes, but is in no group",
        Err(error) => {
            println!("not tried, as this server has no group_replication.so: {error}");
            "has no Group Replication"
        }
    };
    (server, format!("{host} {said}"))
}

#[tokio::test]
async fn each_host_is_told_with_what_it_is_instead() {
    let ports = free_ports(3);
    let (plain, is_plain) = alone(ports[0], false).await;
    let (stray, is_stray) = alone(ports[1], true).await;
    let hosts = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect::<Vec<_>>()
        .join(",");
    let refused = Database::connect(&format!("mysql://root@{hosts}/mysql"))
        .await
        .unwrap_err();
    let Error::Unavailable(sentence) = refused else {
        panic!("{refused:?}");
    };
    let is_gone = format!("127.0.0.1:{} cannot be asked (", ports[2]);
    for said in [is_plain, is_stray, is_gone] {
        assert!(sentence.contains(&said), "{said}: {sentence}");
    }
    assert!(
        sentence.starts_with("no host of DATABASE_URL is the primary of a group: ") && !sentence.contains('\n'),
        "{sentence}"
    );
    plain.stop().await.unwrap();
    stray.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_list_is_refused_before_anybody_is_asked() {
    let wrong = "mysql://root:secret@127.0.0.1:1,127.0.0.1:1/mysql";
    assert_eq!(config::urls(wrong), Err("names the host 127.0.0.1:1 twice".to_owned()));
    let refused = Database::connect(wrong).await.unwrap_err();
    assert_eq!(
        refused,
        Error::Internal("DATABASE_URL names the host 127.0.0.1:1 twice".to_owned())
    );
}

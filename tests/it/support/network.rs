//! A server of its own that is reached over TCP: the shared one has its socket alone.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;

use consumable::database::embedded::{EmbeddedServer, Progress, Storage, find_server};
use mysql_async::{Conn, prelude::Queryable};
use tempfile::TempDir;

use super::server::shared_server;

/// A server on a port of loopback.
pub struct NetworkServer {
    pub port: u16,
    server: EmbeddedServer,
    /// The program that adds the options.
    _folder: TempDir,
}

impl NetworkServer {
    /// Starts one with `options` besides those that it has anyway.
    pub async fn start(options: &[&str]) -> NetworkServer {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The command that runs the shared server, up to where its data begins, and behind all others the options of this one.
        let process = shared_server().await.process();
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap();
        let mut words = command
            .split(|byte| *byte == 0)
            .map(|word| OsString::from_vec(word.to_vec()));
        let launcher: Vec<_> = words.by_ref().take_while(|word| word != "--no-defaults").collect();
        let layout = words.take_while(|word| !word.as_bytes().starts_with(b"--datadir"));
        let ours = [
            "--skip-networking=OFF".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--caching-sha2-password-auto-generate-rsa-keys=ON".to_owned(),
        ];
        let ours = ours
            .into_iter()
            .chain(options.iter().map(|option| (*option).to_owned()));
        let quoted = |word: OsString| [b" '", word.as_bytes(), b"'"].concat();
        let mut script = b"#!/bin/sh\nfirst=$1\nshift\nexec".to_vec();
        script.extend(launcher.into_iter().flat_map(quoted));
        script.extend(b" \"$first\"");
        script.extend(layout.flat_map(quoted));
        script.extend(b" \"$@\"");
        script.extend(ours.map(OsString::from).flat_map(quoted));
        script.extend(b"\n");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("mysqld");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let program = find_server(Some(program.as_os_str()), Progress::Shown).await.unwrap();
        let server = EmbeddedServer::start(&program, Storage::Scratch, Progress::Shown)
            .await
            .unwrap();
        NetworkServer {
            port,
            server,
            _folder: folder,
        }
    }

    /// A session that may do everything, by the socket.
    pub async fn session(&self) -> Conn {
        Conn::new(self.server.connection()).await.unwrap()
    }

    /// A folder that the server reads.
    pub async fn data_folder(&self) -> String {
        let folder = self.session().await.query_first("SELECT @@datadir").await.unwrap();
        folder.unwrap()
    }

    /// The URL of the database `name` over TCP, for an account.
    pub fn url(&self, host: &str, account: (&str, &str), name: &str, parameters: &str) -> String {
        let (user, password) = account;
        format!("mysql://{user}:{password}@{host}:{}/{name}{parameters}", self.port)
    }
}

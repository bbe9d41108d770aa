//! The server's own programs, as operators use them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use consumable::database::embedded::EmbeddedServer;
use tokio::process::Command;

/// `mysql`, `mysqldump`, `mysqlbinlog`, … that fit the server: of the private copy, else from PATH.
fn program(server: &EmbeddedServer, name: &str) -> PathBuf {
    let beside = server.client().map(|client| client.with_file_name(name));
    beside.unwrap_or_else(|| name.into())
}

/// One of them on the server, by whoever may do everything there. Nothing of this machine's option files.
pub fn tool(server: &EmbeddedServer, name: &str) -> Command {
    let mut command = Command::new(program(server, name));
    command.arg("--no-defaults").kill_on_drop(true);
    if name != "mysqlbinlog" {
        let mut socket = std::ffi::OsString::from("--socket=");
        socket.push(server.socket());
        command.arg(socket).arg(format!("--user={}", server.user()));
    }
    command
}

/// Runs it with `from` as its input, and what it says written to `to`.
pub async fn run(mut command: Command, from: Option<&Path>, to: Option<&Path>) {
    if let Some(from) = from {
        command.stdin(File::open(from).unwrap());
    }
    if let Some(to) = to {
        command.stdout(File::create(to).unwrap());
    }
    let output = command.stderr(Stdio::piped()).spawn().expect("the tool is there");
    let output = output.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

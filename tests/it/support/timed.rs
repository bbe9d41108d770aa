//! A way to the shared server whose sessions have the clock that a test says, those of a pool too, which no test can reach.

use std::io::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use consumable::database::Database;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::database::TestDatabase;
use super::server::{GATEWAY, shared_server};

/// In front of each packet: three bytes of its length, one of its number in its command.
const HEADER: usize = 4;

/// A socket behind which the server is, with one difference: before a command goes to a session whose clock is not the test's, its clock is set.
/// It closes with this value.
pub struct TimedServer {
    now: Arc<AtomicI64>,
    folder: TempDir,
    accepting: JoinHandle<()>,
}

impl TimedServer {
    /// Opens it. Until the first [`TimedServer::set_clock`], sessions have the server's clock.
    pub async fn start() -> TimedServer {
        let server = shared_server().await.socket().to_path_buf();
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(0));
        let listener = UnixListener::bind(socket(&folder)).unwrap();
        TimedServer {
            accepting: tokio::spawn(accept(listener, server, now.clone())),
            folder,
            now,
        }
    }

    /// Sets the clock of all sessions, by their next command: milliseconds since 1970.
    pub fn set_clock(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// A pool as the gateway has it.
    pub async fn connect(&self, database: &TestDatabase) -> Database {
        let ((name, password), socket) = (GATEWAY, socket(&self.folder));
        let url = format!(
            "mysql://{name}:{password}@localhost/{}?socket={}",
            database.name(),
            socket.display()
        );
        Database::connect(&url).await.unwrap()
    }
}

impl Drop for TimedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("mysql.sock")
}

/// The statement that sets a session's clock.
pub fn set_clock(now: i64) -> String {
    format!("SET timestamp = {}.{:03}", now.div_euclid(1000), now.rem_euclid(1000))
}

async fn accept(listener: UnixListener, server: PathBuf, now: Arc<AtomicI64>) {
    let mut sessions = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = UnixStream::connect(&server).await.unwrap();
        // Whichever side leaves, the other one is told, and says what is to be said of it.
        sessions.spawn(relay(client, server, now.clone()));
    }
}

/// Carries one session's packets, until either side leaves.
async fn relay(mut client: UnixStream, mut server: UnixStream, now: Arc<AtomicI64>) -> Result<()> {
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut clock = 0;
    loop {
        tokio::select! {
            read = server.read_buf(&mut answered) => {
                if read? == 0 {
                    return Ok(());
                }
                client.write_all(&answered).await?;
                answered.clear();
            }
            read = client.read_buf(&mut asked) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(length) = packet(&asked) {
                    // What a client says with this number is a command, of which a session has one at a time: nothing of an older one's answer
                    // can still come.
                    let (begins_a_command, wanted) = (asked[3] == 0, now.load(Ordering::Relaxed));
                    if begins_a_command && clock != wanted {
                        command(&mut server, &set_clock(wanted)).await?;
                        clock = wanted;
                    }
                    server.write_all(&asked[..length]).await?;
                    asked.drain(..length);
                }
            }
        }
    }
}

/// How long the first packet is, if all of it is there.
fn packet(bytes: &[u8]) -> Option<usize> {
    let length = HEADER
        + usize::from(*bytes.first()?)
        + (usize::from(*bytes.get(1)?) << 8)
        + (usize::from(*bytes.get(2)?) << 16);
    (bytes.len() >= length).then_some(length)
}

/// Sends a statement of our own, and takes the server's word that it is done.
async fn command(server: &mut UnixStream, statement: &str) -> Result<()> {
    let length = u8::try_from(1 + statement.len()).map_err(Error::other)?;
    // COM_QUERY
    server
        .write_all(&[&[length, 0, 0, 0, 3], statement.as_bytes()].concat())
        .await?;
    let mut answer = vec![0; HEADER];
    server.read_exact(&mut answer).await?;
    answer.resize(HEADER + usize::from(answer[0]) + (usize::from(answer[1]) << 8), 0);
    server.read_exact(&mut answer[HEADER..]).await?;
    assert_eq!(answer[HEADER], 0, "{statement}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

//! Starts the server, waits until it answers, and stops it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::folder::{DataFolder, note_version};
use super::guard::{Ending, Guard};
use super::initial::{copy_folder, initialise, template};
use super::log::{ErrorLog, no_room};
use super::{EmbeddedError, Progress, ServerProgram, Version};

/// After a crash the server first replays its log.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// `sockaddr_un` has room for 104 bytes on some systems and 108 on others, one of them for the final zero.
const LONGEST_SOCKET_PATH: usize = 103;

/// Where an embedded server keeps its data.
#[derive(Debug, Clone)]
pub enum Storage {
    /// In this folder, to be found again at the next start.
    Persistent(PathBuf),
    /// In a folder of its own under the system's temporary folder, which vanishes with the server.
    Scratch,
}

/// A running MySQL server of ours, reachable only through its socket, by `root` without a password: the socket lies in a
/// folder that no other user may enter.
///
/// However this process ends, the server ends too. Dropping the value lets it end in the background.
pub struct EmbeddedServer {
    guard: Guard,
    socket: PathBuf,
    process: u32,
    program: ServerProgram,
    /// Released after the guard is told to end; `server.lock` keeps the next start waiting until it has.
    _data: Option<DataFolder>,
}

impl EmbeddedServer {
    /// Starts a server and returns when it answers.
    pub async fn start(program: &ServerProgram, storage: Storage, progress: Progress) -> Result<Self, EmbeddedError> {
        match storage {
            Storage::Persistent(folder) => Self::start_persistent(program, &folder, progress).await,
            Storage::Scratch => Self::start_scratch(program, progress).await,
        }
    }

    /// Removes the database in the data folder `folder`, and nothing else there. Refuses what we did not make, and a folder
    /// that is in use.
    pub async fn erase(folder: &Path) -> Result<(), EmbeddedError> {
        if folder.join("mysql").exists() {
            DataFolder::own(folder)?.erase().await?;
        }
        Ok(())
    }

    /// The server's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The user who may do everything. There is no password.
    pub fn user(&self) -> &'static str {
        "root"
    }

    /// The server's process number.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// The server's version.
    pub fn version(&self) -> &Version {
        self.program.version()
    }

    /// A `mysql` client that fits, if the server is the private copy.
    pub fn client(&self) -> Option<&Path> {
        self.program.client()
    }

    /// How to connect as [`EmbeddedServer::user`].
    pub fn connection(&self) -> OptsBuilder {
        connection(&self.socket)
    }

    /// Makes the database `name` if there is none, and gives its URL for [`EmbeddedServer::user`].
    pub async fn database(&self, name: &str) -> Result<String, EmbeddedError> {
        let make = async {
            let mut server = Conn::new(self.connection()).await?;
            server
                .query_drop(format!(
                    "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci"
                ))
                .await?;
            server.disconnect().await
        };
        make.await
            .map_err(|source: mysql_async::Error| EmbeddedError::io(&self.socket, io::Error::other(source)))?;
        Ok(self.url(self.user(), None, name))
    }

    /// The URL of the database `name` for an account of this server.
    pub fn url(&self, user: &str, password: Option<&str>, name: &str) -> String {
        let mut url = Url::parse("mysql://localhost").expect("a URL without parts that vary");
        let told = url.set_username(user).and_then(|()| url.set_password(password));
        told.expect("a URL with a host takes a user");
        url.set_path(name);
        url.query_pairs_mut()
            .append_pair("socket", &self.socket.to_string_lossy());
        url.into()
    }

    /// Whether nobody else uses the data folder `folder` now; an error that names the process if somebody does.
    pub fn is_free(folder: &Path) -> Result<(), EmbeddedError> {
        DataFolder::own(folder).map(drop)
    }

    /// Stops the server and returns when it is gone, and with it what must not stay.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        self.guard
            .stop()
            .await
            .map_err(|source| EmbeddedError::io(&self.socket, source))
    }

    async fn start_persistent(
        program: &ServerProgram,
        folder: &Path,
        progress: Progress,
    ) -> Result<Self, EmbeddedError> {
        let data = DataFolder::own(folder)?;
        let (home, server_lock) = data.server_folder().await?;
        let failed = |source| EmbeddedError::io(&home, source);
        if !home.join("data").exists() {
            let guards_lock = server_lock.try_clone().map_err(failed)?;
            initialise(program, &home, "data", Some(guards_lock), progress).await?;
        }
        // A server that was killed leaves these, and refuses to start if their process number is by now another's.
        for name in ["mysql.sock", "mysql.sock.lock", "mysql.pid"] {
            match fs::remove_file(home.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(source));
                }
                _ => {}
            }
        }
        let socket = home.join("mysql.sock");
        let fits = socket.as_os_str().len() <= LONGEST_SOCKET_PATH;
        let elsewhere = if fits { None } else { Some(fresh_folder()?) };
        let socket = elsewhere.as_ref().map_or(socket, |folder| folder.join("mysql.sock"));
        let command = serve(program, &home, &socket);
        let guard =
            Guard::prepare(&command, Ending::Orderly, elsewhere.as_deref(), Some(server_lock)).map_err(failed)?;
        let server = Self::launch(guard, program, &home, socket, Some(data)).await?;
        note_version(&home, &program.version().to_string())?;
        Ok(server)
    }

    async fn start_scratch(program: &ServerProgram, progress: Progress) -> Result<Self, EmbeddedError> {
        let template = template(program, progress).await?;
        let home = fresh_folder()?;
        let failed = |source| EmbeddedError::io(&home, source);
        let socket = home.join("mysql.sock");
        let command = serve(program, &home, &socket);
        // The guard removes the folder even if we are killed while we fill it.
        let guard = Guard::prepare(&command, Ending::Abrupt, Some(&home), None).map_err(failed)?;
        let (from, to) = (template, home.join("data"));
        tokio::task::spawn_blocking(move || copy_folder(&from, &to))
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(failed)?;
        Self::launch(guard, program, &home, socket, None).await
    }

    async fn launch(
        mut guard: Guard,
        program: &ServerProgram,
        home: &Path,
        socket: PathBuf,
        data: Option<DataFolder>,
    ) -> Result<Self, EmbeddedError> {
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(EmbeddedError::SocketPathTooLong(socket));
        }
        let failed = |source| EmbeddedError::io(home, source);
        if no_room(home) {
            return Err(EmbeddedError::DiskFull(home.to_path_buf()));
        }
        let log = ErrorLog::open(home)?;
        guard.launch().map_err(failed)?;
        let deadline = Instant::now() + ANSWERS_WITHIN;
        while !answers(&socket).await {
            let ended = guard.ended().map_err(failed)?.is_some();
            if ended || Instant::now() > deadline || log.tells_of_full_disk() {
                return Err(log.why(program, "it did not answer within a minute"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let number = fs::read_to_string(home.join("mysql.pid")).map_err(failed)?;
        let process = number.trim().parse().map_err(|error| failed(io::Error::other(error)))?;
        Ok(Self {
            guard,
            socket,
            process,
            program: program.clone(),
            _data: data,
        })
    }
}

fn connection(socket: &Path) -> OptsBuilder {
    OptsBuilder::default().socket(socket.to_str()).user(Some("root"))
}

async fn answers(socket: &Path) -> bool {
    match timeout(Duration::from_secs(5), Conn::new(connection(socket))).await {
        // The answer has been given; how the farewell goes does not matter.
        Ok(Ok(conn)) => {
            let _ = conn.disconnect().await;
            true
        }
        _ => false,
    }
}

/// Options that an initialisation and a start share.
pub(super) fn server(program: &ServerProgram, home: &Path, data: &str) -> Vec<OsString> {
    let mut command = program.launcher.clone();
    // Must be the first: this machine's option files are none of our business.
    command.push("--no-defaults".into());
    command.extend(program.layout.iter().cloned());
    command.push(option("datadir", &home.join(data)));
    command.push(option("log-error", &home.join("error.log")));
    if rustix::process::geteuid().is_root() {
        // Without this word the server refuses to run as root.
        command.push("--user=root".into());
    }
    let words = [
        // Modest, for a laptop. What makes a commit durable stays as the server has it.
        "--innodb-buffer-pool-size=128M",
        "--loose-innodb-redo-log-capacity=64M",
        // No statement reads or writes files. Else the compiled-in folder would have to exist.
        "--secure-file-priv=NULL",
        // Nobody speaks TLS or RSA over a private socket, and making the keys takes a second.
        "--loose-auto-generate-certs=OFF",
        "--loose-caching-sha2-password-auto-generate-rsa-keys=OFF",
        "--loose-sha256-password-auto-generate-rsa-keys=OFF",
    ];
    command.extend(words.map(OsString::from));
    command
}

fn serve(program: &ServerProgram, home: &Path, socket: &Path) -> Vec<OsString> {
    let mut command = server(program, home, "data");
    command.push(option("socket", socket));
    command.push(option("pid-file", &home.join("mysql.pid")));
    let words = [
        "--skip-networking",
        "--loose-mysqlx=OFF",
        "--default-time-zone=+00:00",
        "--max-connections=400",
        "--binlog-expire-logs-seconds=86400",
    ];
    command.extend(words.map(OsString::from));
    command.extend(program.options.iter().cloned());
    command
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(path);
    option
}

/// A folder that nobody else can enter or foresee.
fn fresh_folder() -> Result<PathBuf, EmbeddedError> {
    let parent = env::temp_dir();
    let failed = |source| EmbeddedError::io(&parent, source);
    let random = getrandom::u64().map_err(|error| failed(error.into()))?;
    let folder = parent.join(format!("consumable-{random:016x}"));
    DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
    Ok(folder)
}

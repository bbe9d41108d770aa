//! Chooses the MySQL server program.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::fetch::PrivateCopy;
use super::{EmbeddedError, Progress};

/// The oldest MySQL whose SQL the procedures use.
const OLDEST: [u32; 3] = [8, 0, 19];

/// A server's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    numbers: [u32; 3],
    text: String,
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// A MySQL server that runs here and is new enough.
#[derive(Debug, Clone)]
pub struct ServerProgram {
    /// The words before the server's options: its path, or for the private copy its own loader and libraries first.
    pub(super) launcher: Vec<OsString>,
    /// Options that say where the private copy's files are. An installed server knows.
    pub(super) layout: Vec<OsString>,
    /// What a server is started with besides ours, and rather than ours.
    pub(super) options: Vec<OsString>,
    version: Version,
    client: Option<PathBuf>,
}

impl ServerProgram {
    /// The version it reports.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The `mysql` client of the private copy. An installed server's client is found in PATH.
    pub fn client(&self) -> Option<&Path> {
        self.client.as_deref()
    }

    /// The same program, whose servers are started with these options, too: `--name=value`. They hold where ours say otherwise.
    #[must_use]
    pub fn with_options(mut self, options: impl IntoIterator<Item = String>) -> Self {
        self.options.extend(options.into_iter().map(OsString::from));
        self
    }

    /// Asks the program at the end of `launcher` for its version, and refuses what is not MySQL 8.0.19 or later.
    pub(super) async fn probe(
        launcher: Vec<OsString>,
        layout: Vec<OsString>,
        client: Option<PathBuf>,
    ) -> Result<Self, EmbeddedError> {
        let program = PathBuf::from(launcher.last().cloned().unwrap_or_default());
        let answer = ask_version(&launcher)
            .await
            .map_err(|reason| EmbeddedError::NotAServer {
                program: program.clone(),
                reason,
            })?;
        let Some(version) = parse_version(&answer) else {
            let reason = format!(
                "it answers --version with {:?}",
                answer.lines().next().unwrap_or_default()
            );
            return Err(EmbeddedError::NotAServer { program, reason });
        };
        if version.text.contains("MariaDB") {
            return Err(EmbeddedError::UnsuitableServer {
                program,
                version: format!("MariaDB {version}"),
            });
        }
        if version.numbers < OLDEST {
            return Err(EmbeddedError::UnsuitableServer {
                program,
                version: format!("MySQL {version}"),
            });
        }
        Ok(Self {
            launcher,
            layout,
            options: Vec::new(),
            version,
            client,
        })
    }
}

/// Finds a MySQL server, fetching the private copy if there is no other.
///
/// `wanted` is the setting `CONSUMABLE_MYSQLD`: a path, the word `private`, or nothing. Without it the server in PATH (or
/// `/usr/sbin`, which PATH often lacks) is taken; one that is too old is refused rather than passed over, because whoever
/// installed it should know.
pub async fn find_server(wanted: Option<&OsStr>, progress: Progress) -> Result<ServerProgram, EmbeddedError> {
    let program = match wanted.filter(|word| !word.is_empty()) {
        Some(word) if word == "private" => None,
        Some(path) if Path::new(path).is_file() => Some(PathBuf::from(path)),
        Some(path) => return Err(EmbeddedError::NoSuchProgram(path.into())),
        None => installed_server(),
    };
    match program {
        Some(program) => {
            // A bare file name would be looked up in PATH when it is run.
            let program = std::path::absolute(&program).map_err(|source| EmbeddedError::io(&program, source))?;
            ServerProgram::probe(vec![program.into_os_string()], Vec::new(), None).await
        }
        None => PrivateCopy::of_this_user()?.ensure(progress).await,
    }
}

fn installed_server() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("mysqld"))
        .find(|program| program.is_file())
}

async fn ask_version(launcher: &[OsString]) -> Result<String, String> {
    let [program, words @ ..] = launcher else {
        return Err("it has no name".to_owned());
    };
    let answer = Command::new(program)
        .args(words)
        .args(["--no-defaults", "--version"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(Duration::from_secs(20), answer).await {
        Err(_) => Err("it does not answer --version".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(output)) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Ok(output)) => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(complaint.lines().next().unwrap_or("it fails without a word").to_owned())
        }
    }
}

/// Reads `… Ver 9.7.4-2 for …`.
fn parse_version(answer: &str) -> Option<Version> {
    let text = answer.split_once("Ver ")?.1.split_whitespace().next()?;
    let mut numbers = [0; 3];
    let mut parts = text.split(|letter: char| !letter.is_ascii_digit());
    for number in &mut numbers {
        *number = parts.next()?.parse().ok()?;
    }
    Some(Version {
        numbers,
        text: text.to_owned(),
    })
}

//! Debian's package tools, run with a state of their own: they read this machine's mirror, proxy and keys, and change
//! nothing of it. None of this needs root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{interval, timeout};

use super::EmbeddedError;

/// Debian's own keys. The packages' signatures are checked against these where the file exists, else against the keys
/// that the machine trusts.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// MySQL is in Debian's unstable suite only. `mysql-server-core` is the server without the scripts that install it.
const SUITE: &str = "unstable";
const PACKAGES: [&str; 2] = ["mysql-server-core", "mysql-client-core"];

/// An apt whose lists, cache and sources lie in one folder.
pub(super) struct Apt {
    work: PathBuf,
}

impl Apt {
    /// Writes the private configuration into `work`.
    pub(super) async fn prepare(work: &Path) -> Result<Self, EmbeddedError> {
        let mirror = mirror().await?;
        let failed = |source| EmbeddedError::io(work, source);
        for folder in ["state/lists/partial", "cache/archives/partial", "root"] {
            fs::create_dir_all(work.join(folder)).map_err(failed)?;
        }
        let signed_by = if Path::new(KEYRING).is_file() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        fs::write(
            work.join("sources.list"),
            format!("deb {signed_by}{mirror} {SUITE} main\n"),
        )
        .map_err(failed)?;
        // An empty dpkg status makes apt fetch the C library too: the machine's own may be too old.
        fs::write(work.join("status"), "").map_err(failed)?;
        fs::write(work.join("apt.conf"), configuration(work)).map_err(failed)?;
        Ok(Self {
            work: work.to_path_buf(),
        })
    }

    /// Reads the suite's lists.
    pub(super) async fn update(&self) -> Result<(), EmbeddedError> {
        self.run(&["update"], Duration::from_secs(5 * 60)).await.map(drop)
    }

    /// How many bytes [`Apt::download`] will fetch.
    pub(super) async fn download_size(&self) -> Result<u64, EmbeddedError> {
        let words = [&["install", "--print-uris", "-qq", "-y"], &PACKAGES[..]].concat();
        let lines = self.run(&words, Duration::from_secs(60)).await?;
        // 'address' file size hash
        let size = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
        Ok(lines.lines().filter_map(size).sum())
    }

    /// Fetches the packages and all they need, telling how many bytes have come. Gives the files worth unpacking.
    pub(super) async fn download(&self, reached: impl Fn(u64)) -> Result<Vec<PathBuf>, EmbeddedError> {
        let archives = self.work.join("cache/archives");
        let words = [&["install", "--download-only", "-qq", "-y"], &PACKAGES[..]].concat();
        let download = self.run(&words, Duration::from_secs(20 * 60));
        tokio::pin!(download);
        let mut tick = interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                ended = &mut download => {
                    ended?;
                    break;
                }
                _ = tick.tick() => reached(bytes_in(&archives) + bytes_in(&archives.join("partial"))),
            }
        }
        let unreadable = |source| EmbeddedError::io(&archives, source);
        let mut packages = Vec::new();
        for entry in fs::read_dir(&archives).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Perl is there for scripts that we do not keep.
            if name.ends_with(".deb") && !name.starts_with("perl") && !name.starts_with("libperl") {
                packages.push(entry.path());
            }
        }
        Ok(packages)
    }

    async fn run(&self, words: &[&str], limit: Duration) -> Result<String, EmbeddedError> {
        let mut command = Command::new("apt-get");
        command.arg("-c").arg(self.work.join("apt.conf")).args(words);
        run(command, "apt-get", limit, &self.work).await
    }
}

/// Unpacks one package into `root`.
pub(super) async fn unpack(package: &Path, root: &Path) -> Result<(), EmbeddedError> {
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(package).arg(root);
    run(command, "dpkg-deb", Duration::from_secs(120), root).await.map(drop)
}

/// The file is read after the machine's own configuration, so that its proxy holds and its hooks do not: they would work
/// on the system's lists and cache.
fn configuration(work: &Path) -> String {
    let work = work.display();
    format!(
        r#"#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Cache::archives "{work}/cache/archives";
Dir::Etc::sourcelist "{work}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"#
    )
}

/// The address that this machine fetches Debian from.
async fn mirror() -> Result<String, EmbeddedError> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)",
        "Created-By: Packages",
    ]);
    let targets = run(command, "apt-get", Duration::from_secs(60), Path::new("/")).await?;
    choose_mirror(&targets)
        .map(str::to_owned)
        .ok_or_else(|| EmbeddedError::Fetch("apt's configuration names no Debian mirror".to_owned()))
}

/// A machine that never ran `apt-get update` does not know the origins yet and leaves their names as they are.
fn choose_mirror(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut fields = line.split('|');
        let (address, origin, label, component) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let known = origin == "Debian" && label == "Debian";
        let unknown = origin == "$(ORIGIN)" && !address.ends_with("-security/");
        (component == "main" && (known || unknown)).then_some(address)
    })
}

/// Runs a package tool to its end, for `limit` at most. What it prints is for the log; its own error line is repeated,
/// because "temporary failure resolving" tells more than we can guess.
async fn run(
    mut command: Command,
    tool: &'static str,
    limit: Duration,
    folder: &Path,
) -> Result<String, EmbeddedError> {
    let ended = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(limit, ended).await {
        Err(_) => {
            return Err(EmbeddedError::Fetch(format!(
                "{tool} took more than {} minutes",
                limit.as_secs() / 60
            )));
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(EmbeddedError::NotDebian(tool));
        }
        Ok(Err(error)) => {
            return Err(EmbeddedError::Fetch(format!("{tool} does not run: {error}")));
        }
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    tracing::debug!(tool, %complaint, "a package tool failed");
    if complaint.contains("No space left on device") || complaint.contains("enough free space") {
        return Err(EmbeddedError::DiskFull(folder.to_path_buf()));
    }
    let first_error = complaint
        .lines()
        .find_map(|line| line.strip_prefix("E: ").or(line.strip_prefix("dpkg-deb: ")));
    Err(EmbeddedError::Fetch(
        first_error.unwrap_or("no reason given").trim().to_owned(),
    ))
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::choose_mirror;

    #[test]
    fn the_mirror_is_debians_main_and_not_its_security_updates() {
        let known = "m:/other/|Other|Other|main\nm:/debian-security/|Debian|Debian-Security|main\n\
                     m:/debian/|Debian|Debian|contrib\nm:/debian/|Debian|Debian|main\n";
        assert_eq!(choose_mirror(known), Some("m:/debian/"));
        let never_updated = "m:/debian-security/|$(ORIGIN)|$(LABEL)|main\nm:/debian/|$(ORIGIN)|$(LABEL)|main\n";
        assert_eq!(choose_mirror(never_updated), Some("m:/debian/"));
        assert_eq!(choose_mirror("m:/ubuntu/|Ubuntu|Ubuntu|main\n"), None);
    }
}

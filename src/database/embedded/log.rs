//! Reads the server's error log to say in one sentence why it did not start.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::folder::written_by;
use super::{EmbeddedError, ServerProgram};

/// The last errors of a server that gives up name no cause.
const GIVING_UP: [&str; 5] = [
    "Aborting",
    "Cannot continue operation",
    "Data Dictionary initialization failed",
    "Failed to initialize DD Storage Engine",
    "Plugin initialization aborted",
];

/// With less room on the disk the server may still start, but the first commits then wait for ever for more.
const LEAST_ROOM: u64 = 32 << 20;

/// What the server wrote to its log since this value was made. The file stays readable after the guard has removed it.
pub(super) struct ErrorLog {
    home: PathBuf,
    file: File,
    start: u64,
}

impl ErrorLog {
    /// Opens the log in `home` and skips what it says already.
    pub(super) fn open(home: &Path) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::io(home, source);
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(home.join("error.log"))
            .map_err(failed)?;
        let start = file.metadata().map_err(failed)?.len();
        Ok(Self {
            home: home.to_path_buf(),
            file,
            start,
        })
    }

    fn text(&self) -> String {
        let length = self.file.metadata().map_or(self.start, |data| data.len());
        let mut bytes = vec![0; usize::try_from(length.saturating_sub(self.start)).unwrap_or_default()];
        match self.file.read_exact_at(&mut bytes, self.start) {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// A server on a full disk may also wait for room instead of ending.
    pub(super) fn tells_of_full_disk(&self) -> bool {
        let text = self.text();
        [
            "No space left on device",
            "errno: 28",
            "OS errno 28",
            "Disk full",
            "disk is full",
        ]
        .iter()
        .any(|sign| text.contains(sign))
    }

    /// The sentence for a server that did not start; `otherwise` if it says nothing itself.
    pub(super) fn why(&self, program: &ServerProgram, otherwise: &str) -> EmbeddedError {
        let text = self.text();
        tracing::debug!(log = %text, "the database server did not start");
        let folder = self.home.clone();
        if self.tells_of_full_disk() || no_room(&folder) {
            return EmbeddedError::DiskFull(folder);
        }
        let version_refused = [
            "Cannot downgrade from",
            "Cannot upgrade from",
            "Cannot boot server version",
        ];
        if version_refused.iter().any(|sign| text.contains(sign)) {
            let server = program.version().to_string();
            return EmbeddedError::OtherVersion {
                written_by: written_by(&folder),
                folder,
                server,
            };
        }
        let errors = text.lines().filter(|line| line.contains("[ERROR]"));
        let mut causes = errors.filter_map(|line| Some(line.rsplit_once("] ")?.1));
        let cause = causes.rfind(|cause| !GIVING_UP.iter().any(|words| cause.starts_with(words)));
        let reason = cause.unwrap_or(otherwise).trim_end_matches('.');
        EmbeddedError::DidNotStart {
            folder,
            reason: reason.to_owned(),
        }
    }
}

/// Whether the disk is as good as full. The log may not tell: there is no room for its lines either.
pub(super) fn no_room(folder: &Path) -> bool {
    let room = |disk: rustix::fs::StatVfs| disk.f_bavail.saturating_mul(disk.f_frsize);
    rustix::fs::statvfs(folder).is_ok_and(|disk| room(disk) < LEAST_ROOM)
}

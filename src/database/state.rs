//! What a database has, and how that differs from a release.

use std::collections::HashMap;
use std::fmt;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params};

use super::release::{PROBE, Release};

/// What the server keeps of a procedure, as one SHA-256: body, parameters, and all that changes how it runs. NULL when
/// the account may call it but not read it. The characters between the parts cannot be in a name or type.
const SERVER_SHA256: &str = "IF(r.ROUTINE_DEFINITION IS NULL, NULL, SHA2(CONCAT_WS('\\n', \
     r.ROUTINE_DEFINITION, r.DEFINER, r.SECURITY_TYPE, r.SQL_DATA_ACCESS, r.SQL_MODE, r.ROUTINE_COMMENT, \
     r.CHARACTER_SET_CLIENT, r.COLLATION_CONNECTION, r.DATABASE_COLLATION, \
     (SELECT GROUP_CONCAT(p.PARAMETER_MODE, ' ', p.PARAMETER_NAME, ' ', p.DTD_IDENTIFIER, ' ', \
               COALESCE(p.COLLATION_NAME, '') ORDER BY p.ORDINAL_POSITION) \
      FROM information_schema.PARAMETERS p \
      WHERE p.SPECIFIC_SCHEMA = r.ROUTINE_SCHEMA AND p.SPECIFIC_NAME = r.SPECIFIC_NAME)), 256))";

/// A row of `consumable_routines`.
#[derive(Debug, FromRow)]
struct Recorded {
    routine: String,
    content_sha256: String,
    server_sha256: Option<String>,
    release_version: String,
}

/// A procedure as the server has it.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Present {
    routine: String,
    definer: String,
    pub(super) server_sha256: Option<String>,
}

impl Present {
    /// Whether it runs as `definer`, `'user'@'host'`; without one, any will do.
    pub(super) fn belongs_to(&self, definer: Option<&str>) -> bool {
        definer.is_none_or(|account| account.replace('\'', "") == self.definer)
    }
}

/// A row of refinery's history.
#[derive(Debug, FromRow)]
struct Applied {
    version: i32,
    name: String,
    checksum: String,
}

/// All that a deployment needs to know of a database. Book-keeping that the account may not read is `None`: the
/// gateway's account sees only which procedures there are.
#[derive(Debug)]
pub(super) struct State {
    history: Option<Vec<Applied>>,
    registry: Option<HashMap<String, Recorded>>,
    present: HashMap<String, Present>,
}

impl State {
    pub(super) async fn read(conn: &mut Conn) -> mysql_async::Result<State> {
        let history = book(
            conn,
            "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version",
        )
        .await?;
        let registry: Option<Vec<Recorded>> = book(
            conn,
            "SELECT routine, content_sha256, server_sha256, release_version FROM consumable_routines ORDER BY routine",
        )
        .await?;
        let by_name = |rows: Vec<Recorded>| rows.into_iter().map(|row| (row.routine.clone(), row)).collect();
        Ok(State {
            history,
            registry: registry.map(by_name),
            present: present(conn, None).await?,
        })
    }

    /// The procedure of that name, as the server has it.
    pub(super) fn present(&self, name: &str) -> Option<&Present> {
        self.present.get(name)
    }

    /// Probes that a killed run left behind.
    pub(super) fn probes(&self) -> impl Iterator<Item = &str> {
        self.present
            .keys()
            .map(String::as_str)
            .filter(|name| name.ends_with(PROBE))
    }

    /// Everything in which the database is not what `release` asks for, tables first, each by name.
    pub(super) fn differences(&self, release: &Release) -> Vec<Difference> {
        let mut found = self
            .history
            .as_deref()
            .map_or_else(Vec::new, |history| tables(history, release));
        for routine in release.routines() {
            let name = || routine.name().to_owned();
            let Some(present) = self.present.get(routine.name()) else {
                found.push(Difference::MissingRoutine(name()));
                continue;
            };
            let Some(registry) = &self.registry else {
                continue;
            };
            let recorded = registry.get(routine.name());
            let same = recorded.is_some_and(|row| row.content_sha256 == routine.sha256());
            match recorded {
                _ if same => {}
                Some(row) if release.is_older_than(&row.release_version) => {
                    found.push(Difference::NewerRoutine(name(), row.release_version.clone()));
                }
                _ => found.push(Difference::OtherRoutine(name())),
            }
            let as_installed = recorded.and_then(|row| row.server_sha256.as_ref());
            if let (Some(then), Some(now)) = (as_installed, &present.server_sha256)
                && then != now
            {
                found.push(Difference::EditedRoutine(name()));
            }
        }
        let mut retired: Vec<_> = self.registry.iter().flat_map(HashMap::keys).collect();
        retired.retain(|name| release.routines().iter().all(|routine| routine.name() != name.as_str()));
        retired.sort();
        found.extend(retired.into_iter().cloned().map(Difference::UnknownRoutine));
        found
    }
}

fn tables(history: &[Applied], release: &Release) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut migrations: Vec<_> = release.migrations().iter().collect();
    migrations.sort();
    for migration in &migrations {
        match history.iter().find(|row| row.version == migration.version()) {
            None => found.push(Difference::PendingMigration(migration.to_string())),
            Some(row) if row.name != migration.name() || row.checksum != migration.checksum().to_string() => {
                found.push(Difference::ChangedMigration(migration.to_string()));
            }
            Some(_) => {}
        }
    }
    let newer = history
        .iter()
        .filter(|row| migrations.iter().all(|migration| migration.version() != row.version));
    found.extend(newer.map(|row| Difference::NewerMigration(format!("V{}__{}", row.version, row.name))));
    found
}

/// The server's view of one procedure, or of all.
pub(super) async fn present(conn: &mut Conn, only: Option<&[&str]>) -> mysql_async::Result<HashMap<String, Present>> {
    let mut query = format!(
        "SELECT r.ROUTINE_NAME AS routine, r.DEFINER AS definer, {SERVER_SHA256} AS server_sha256 \
         FROM information_schema.ROUTINES r WHERE r.ROUTINE_SCHEMA = DATABASE() AND r.ROUTINE_TYPE = 'PROCEDURE'"
    );
    let mut params = Params::Empty;
    if let Some(names) = only {
        query += &format!(" AND r.ROUTINE_NAME IN ({})", vec!["?"; names.len()].join(","));
        params = Params::Positional(names.iter().map(|name| (*name).into()).collect());
    }
    let rows: Vec<Present> = conn.exec(query, params).await?;
    Ok(rows.into_iter().map(|row| (row.routine.clone(), row)).collect())
}

/// Reads a book-keeping table: empty while it does not exist, `None` when the account may not read it.
async fn book<T: FromRow + Send + 'static>(conn: &mut Conn, query: &str) -> mysql_async::Result<Option<Vec<T>>> {
    match conn.query(query).await {
        Ok(rows) => Ok(Some(rows)),
        Err(mysql_async::Error::Server(error)) if error.code == 1146 => Ok(Some(Vec::new())),
        Err(mysql_async::Error::Server(error)) if error.code == 1142 => Ok(None),
        Err(error) => Err(error),
    }
}

/// How much a difference matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The database lacks what the program was built with: `serve` must not start, `migrate` mends it.
    Lack,
    /// The database has it, but not as it was released: `migrate` mends it, or says why it cannot.
    Drift,
    /// Worth knowing, nothing to mend.
    Note,
}

/// One thing in which a database is not what a release asks for. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A migration, such as `V2__grants`, has not run.
    PendingMigration(String),
    /// A migration's file is not the one that ran.
    ChangedMigration(String),
    /// The database has run a migration that the program does not know.
    NewerMigration(String),
    /// A procedure is missing.
    MissingRoutine(String),
    /// A procedure was installed from another text, or nobody recorded from which.
    OtherRoutine(String),
    /// A procedure is not as the deployment left it.
    EditedRoutine(String),
    /// A procedure was installed from another text by a later release, the second field.
    NewerRoutine(String, String),
    /// The registry has a procedure that the program does not know: an older or a newer release's.
    UnknownRoutine(String),
}

impl Difference {
    /// How much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Difference::PendingMigration(_) | Difference::MissingRoutine(_) | Difference::OtherRoutine(_) => {
                Weight::Lack
            }
            Difference::ChangedMigration(_) | Difference::EditedRoutine(_) => Weight::Drift,
            Difference::NewerMigration(_) | Difference::NewerRoutine(..) | Difference::UnknownRoutine(_) => {
                Weight::Note
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::PendingMigration(name) => {
                write!(f, "pending    {name}: this migration has not run")
            }
            Difference::ChangedMigration(name) => {
                write!(f, "changed    {name}: the file is not the one that ran")
            }
            Difference::NewerMigration(name) => write!(f, "newer      {name}: the database is newer than this program"),
            Difference::MissingRoutine(name) => {
                write!(f, "missing    {name}: the database has no such procedure")
            }
            Difference::OtherRoutine(name) => {
                write!(f, "differs    {name}: the database has another text of it")
            }
            Difference::EditedRoutine(name) => write!(f, "edited     {name}: changed by hand since it was installed"),
            Difference::NewerRoutine(name, release) => {
                write!(
                    f,
                    "newer      {name}: installed by release {release}, which is newer than this program"
                )
            }
            Difference::UnknownRoutine(name) => {
                write!(f, "unknown    {name}: installed by another release; left alone")
            }
        }
    }
}

//! Brings a database to a release: tables by refinery, then the procedures.
//!
//! Twice does nothing, eight at once do it once, and a run that was killed is finished by the next one: every step is
//! recorded after it is done, and may be done again.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts};
use refinery::Runner;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::accounts::{OWNER, Owner, is_refusal, prepare_owner};
use super::call::jittered;
use super::release::{Release, Routine, hex};
use super::state::{Difference, State, present};
use super::{check_server, decode, options, session};
use crate::error::Error;

/// How long a run waits for another one on the same database.
const TURN_SECONDS: u32 = 120;

/// How long one statement waits for what it changes. An open transaction that has called a procedure blocks its DROP,
/// and the waiting DROP blocks every new CALL: so wait briefly, let the callers pass, and try again.
const LOCK_WAIT_SECONDS: u32 = 1;

/// How long to try again in this way before giving up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest pause between two tries, in which callers pass unhindered.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What a run is doing, for a progress display.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Another run is at work on this database; this one waits for its turn.
    AwaitingTurn,
    /// So many migrations are about to run.
    Tables(usize),
    /// This procedure, the `done + 1`st of `total`, is about to be installed.
    Routine {
        /// Its name.
        name: &'a str,
        /// How many are done.
        done: usize,
        /// How many there are to do.
        total: usize,
    },
    /// This is held by an open transaction; trying again until it is free.
    Busy(&'a str),
}

/// What a run did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Migrations that ran, such as `V2__grants`.
    pub migrations: Vec<String>,
    /// Procedures that were missing.
    pub created: Vec<String>,
    /// Procedures that were other, or edited by hand, or another account's.
    pub replaced: Vec<String>,
    /// How many procedures were as they should be.
    pub unchanged: usize,
    /// One sentence each on what the operator should know.
    pub notices: Vec<String>,
}

/// Compares the database with `release`, without changing anything. Empty: they are the same.
///
/// # Errors
/// [`Error::Unavailable`] without a connection to a server we know; else [`Error::Internal`] with the server's words.
pub async fn check(url: &str, release: &Release) -> Result<Vec<Difference>, Error> {
    let opts = options(url)?;
    check_server(&opts).await?;
    let pool = deploying_pool(opts);
    let found = async {
        let mut conn = pool.get_conn().await?;
        Ok(State::read(&mut conn).await?.differences(release))
    };
    let found = found.await.map_err(decode);
    pool.disconnect().await.map_err(decode)?;
    found
}

/// Brings the database in `url`, which must exist, to `release`, and tells `progress` of each step.
///
/// A database that has run migrations this release does not know is left alone, and so is a procedure that a later
/// release installed: both are notices. When one procedure does not compile, none is replaced.
///
/// # Errors
/// [`Error::Unavailable`] without a connection to a server we know; [`Error::Overloaded`] when another run or an open
/// transaction did not end in time; else [`Error::Internal`], with file, line and the server's words where there are any.
pub async fn migrate(
    url: &str,
    release: &Release,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Report, Error> {
    let opts = options(url)?;
    check_server(&opts).await?;
    let database = opts.db_name().unwrap_or_default().to_owned();
    let turn = take_turn(&opts, &database, progress).await?;
    let pool = deploying_pool(opts);
    let run = Run {
        pool: &pool,
        database: &database,
        release,
        progress,
        report: Report::default(),
    };
    let outcome = run.to_the_end().await;
    pool.disconnect().await.map_err(decode)?;
    // Closing the connection gives the turn to the next run.
    turn.disconnect().await.map_err(decode)?;
    outcome
}

/// One session, so that each step finds what the one before left: refinery takes its connection from a pool.
fn deploying_pool(opts: Opts) -> Pool {
    let one = PoolConstraints::new(0, 1).expect("0 <= 1");
    let pool_opts = PoolOpts::default()
        .with_constraints(one)
        .with_reset_connection(false);
    let setup = format!(
        "{}, group_concat_max_len = 1048576",
        session(LOCK_WAIT_SECONDS)
    );
    Pool::new(
        OptsBuilder::from_opts(opts)
            .pool_opts(pool_opts)
            .setup(vec![setup]),
    )
}

/// Waits until no other run works on this database. The turn lasts as long as the connection: a killed run gives it
/// back at once. Not the session of the work, whose loss would otherwise end the turn unnoticed in the middle.
async fn take_turn(
    opts: &Opts,
    database: &str,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Conn, Error> {
    let mut lock = format!("consumable migrate {database}");
    if lock.chars().count() > 64 {
        lock = hex(&Sha256::digest(lock.as_bytes()));
    }
    let turn = async {
        // The server must not think this connection idle while a long migration runs.
        let opts = OptsBuilder::from_opts(opts.clone()).setup(vec!["SET wait_timeout = 604800"]);
        let mut conn = Conn::new(opts).await?;
        let get_lock = "SELECT GET_LOCK(?, ?)";
        let mut taken: Option<Option<bool>> = conn.exec_first(get_lock, (&lock, 0)).await?;
        if taken.flatten() != Some(true) {
            progress(Progress::AwaitingTurn);
            taken = conn.exec_first(get_lock, (&lock, TURN_SECONDS)).await?;
        }
        Ok((conn, taken.flatten() == Some(true)))
    };
    match turn.await.map_err(decode)? {
        (conn, true) => Ok(conn),
        (_, false) => Err(Error::Overloaded(format!(
            "another consumable migrate has been at work on `{database}` for {TURN_SECONDS} seconds; run it again later"
        ))),
    }
}

struct Run<'a> {
    pool: &'a Pool,
    database: &'a str,
    release: &'a Release,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    report: Report,
}

impl Run<'_> {
    async fn to_the_end(mut self) -> Result<Report, Error> {
        let mut conn = self.pool.get_conn().await.map_err(decode)?;
        self.check_collation(&mut conn).await?;
        let state = State::read(&mut conn).await.map_err(decode)?;
        let differences = state.differences(self.release);
        if let Some(newer) = differences
            .iter()
            .find(|found| matches!(found, Difference::NewerMigration(_)))
        {
            let version = self.release.version();
            self.report.notices.push(format!(
                "nothing was done, because this program is release {version}: {newer}"
            ));
            return Ok(self.report);
        }
        drop(conn);
        self.make_tables(&differences).await?;

        let mut conn = self.pool.get_conn().await.map_err(decode)?;
        let mut definer = match prepare_owner(&mut conn, self.database)
            .await
            .map_err(decode)?
        {
            Owner::Ready => Some(OWNER),
            Owner::Refused(sentence) => {
                self.report.notices.push(sentence);
                None
            }
        };
        for probe in state.probes() {
            self.change(
                &mut conn,
                probe,
                &format!("DROP PROCEDURE IF EXISTS {probe}"),
            )
            .await
            .map_err(decode)?;
        }
        self.install(&mut conn, &state, &differences, &mut definer)
            .await?;
        Ok(self.report)
    }

    /// Text parameters and variables of a procedure take the database's collation.
    async fn check_collation(&self, conn: &mut Conn) -> Result<(), Error> {
        let collation: Option<String> = conn
            .query_first("SELECT @@collation_database")
            .await
            .map_err(decode)?;
        match collation.as_deref() {
            Some("utf8mb4_0900_ai_ci") => Ok(()),
            other => Err(Error::Internal(format!(
                "the database `{}` has the collation {}, by which the procedures would compare wrongly: run ALTER \
                 DATABASE `{0}` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
                self.database,
                other.unwrap_or("none"),
            ))),
        }
    }

    async fn make_tables(&mut self, differences: &[Difference]) -> Result<(), Error> {
        let tables = |found: &&Difference| {
            matches!(
                found,
                Difference::PendingMigration(_) | Difference::ChangedMigration(_)
            )
        };
        let pending = differences.iter().filter(tables).count();
        if pending == 0 {
            return Ok(());
        }
        (self.progress)(Progress::Tables(pending));
        let runner = Runner::new(self.release.migrations());
        let mut patience = Patience::new();
        loop {
            match runner.run_async(&mut self.pool.clone()).await {
                Ok(report) => {
                    self.report
                        .migrations
                        .extend(report.applied_migrations().iter().map(ToString::to_string));
                    return Ok(());
                }
                Err(error) => {
                    // What was applied before the failure is in the history; the next try goes on behind it.
                    let applied = error
                        .report()
                        .map(|report| report.applied_migrations().as_slice());
                    self.report
                        .migrations
                        .extend(applied.unwrap_or_default().iter().map(ToString::to_string));
                    let cause =
                        std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
                    if !patience.outlasts(cause, "a table", self.progress).await {
                        return Err(Error::Internal(format!(
                            "the tables could not be made: {error}"
                        )));
                    }
                }
            }
        }
    }

    async fn install(
        &mut self,
        conn: &mut Conn,
        state: &State,
        differences: &[Difference],
        definer: &mut Option<&'static str>,
    ) -> Result<(), Error> {
        let release = self.release;
        let (mut missing, mut other) = (Vec::new(), Vec::new());
        for routine in release.routines() {
            let differs = |found: &Difference| {
                let (Difference::OtherRoutine(name) | Difference::EditedRoutine(name)) = found
                else {
                    return false;
                };
                name == routine.name()
            };
            let newer = |found: &Difference| matches!(found, Difference::NewerRoutine(name, _) if name == routine.name());
            match state.present(routine.name()) {
                None => missing.push(routine),
                Some(_) if differences.iter().any(newer) => {}
                Some(present)
                    if differences.iter().any(differs) || !present.belongs_to(*definer) =>
                {
                    other.push(routine)
                }
                Some(_) => self.report.unchanged += 1,
            }
        }
        let newer = differences
            .iter()
            .filter(|found| matches!(found, Difference::NewerRoutine(..)));
        self.report
            .notices
            .extend(newer.map(|found| format!("left alone: {found}")));

        let total = missing.len() + other.len();
        let progress = self.progress;
        // Nothing is replaced before everything is known to compile.
        for routine in &other {
            self.probe(conn, routine, definer).await?;
        }
        for (done, routine) in missing.iter().enumerate() {
            progress(Progress::Routine {
                name: routine.name(),
                done,
                total,
            });
            self.create(conn, routine, routine.name(), definer).await?;
        }
        // One write for all of them: what a killed run has not recorded is replaced by the next one.
        self.record(conn, &missing).await?;
        self.report
            .created
            .extend(missing.iter().map(|routine| routine.name().to_owned()));
        for (done, routine) in other.iter().enumerate() {
            progress(Progress::Routine {
                name: routine.name(),
                done: missing.len() + done,
                total,
            });
            self.create(conn, routine, routine.name(), definer).await?;
            self.record(conn, &[*routine]).await?;
            self.report.replaced.push(routine.name().to_owned());
        }
        Ok(())
    }

    async fn probe(
        &mut self,
        conn: &mut Conn,
        routine: &Routine,
        definer: &mut Option<&'static str>,
    ) -> Result<(), Error> {
        let probe = routine.probe_name();
        let compiled = self.create(conn, routine, &probe, definer).await;
        self.change(conn, &probe, &format!("DROP PROCEDURE IF EXISTS {probe}"))
            .await
            .map_err(decode)?;
        compiled
    }

    /// Creates or replaces a routine. By the text protocol: the prepared one refuses CREATE PROCEDURE (1295). Both
    /// statements go in one packet, so that the procedure is missing for a moment only, also when this process dies.
    async fn create(
        &mut self,
        conn: &mut Conn,
        routine: &Routine,
        name: &str,
        definer: &mut Option<&'static str>,
    ) -> Result<(), Error> {
        loop {
            let create = routine.create(name, *definer);
            match self
                .change(
                    conn,
                    name,
                    &format!("DROP PROCEDURE IF EXISTS {name};{create}"),
                )
                .await
            {
                Ok(()) => return Ok(()),
                Err(mysql_async::Error::Server(error))
                    if definer.is_some() && is_refusal(error.code) =>
                {
                    *definer = None;
                    self.report.notices.push(format!(
                        "the procedures belong to the migrating account, because it may not make them {OWNER}'s: it \
                         needs SET_ANY_DEFINER, or SET_USER_ID before MySQL 8.2 ({})",
                        error.message
                    ));
                }
                Err(mysql_async::Error::Server(error)) if error.code != 1205 => {
                    return Err(Error::Internal(routine.locate(&error.message)));
                }
                Err(error) => return Err(decode(error)),
            }
        }
    }

    /// Runs one change of a procedure, again and again while an open transaction holds it.
    async fn change(
        &self,
        conn: &mut Conn,
        name: &str,
        statement: &str,
    ) -> mysql_async::Result<()> {
        let mut patience = Patience::new();
        loop {
            let Err(error) = conn.query_drop(statement).await else {
                return Ok(());
            };
            if !patience.outlasts(Some(&error), name, self.progress).await {
                return Err(error);
            }
        }
    }

    /// Writes down what was just installed, with what the server made of it.
    async fn record(&self, conn: &mut Conn, routines: &[&Routine]) -> Result<(), Error> {
        if routines.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = routines.iter().map(|routine| routine.name()).collect();
        let present = present(conn, Some(&names)).await.map_err(decode)?;
        let row = "(?, ?, ?, ?, UTC_TIMESTAMP(3), SUBSTRING(USER(), 1, 128))";
        let statement = format!(
            "INSERT INTO consumable_routines \
             (routine, content_sha256, server_sha256, release_version, installed_at, installed_by) \
             VALUES {} AS new ON DUPLICATE KEY UPDATE content_sha256 = new.content_sha256, \
             server_sha256 = new.server_sha256, release_version = new.release_version, \
             installed_at = new.installed_at, installed_by = new.installed_by",
            vec![row; routines.len()].join(", ")
        );
        let values = routines.iter().flat_map(|routine| {
            let kept = present
                .get(routine.name())
                .and_then(|present| present.server_sha256.clone());
            [
                routine.name().into(),
                routine.sha256().into(),
                kept.into(),
                self.release.version().into(),
            ]
        });
        conn.exec_drop(statement, Params::Positional(values.collect()))
            .await
            .map_err(decode)
    }
}

/// Tries again while something is held, with pauses that grow, up to a bound.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            until: Instant::now() + PATIENCE,
            pause: Duration::from_millis(250),
        }
    }

    /// Pauses and gives `true` when `error` is a lock wait that is worth another try.
    async fn outlasts(
        &mut self,
        error: Option<&mysql_async::Error>,
        what: &str,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> bool {
        let held = matches!(error, Some(mysql_async::Error::Server(error)) if error.code == 1205);
        if !held || Instant::now() > self.until {
            return false;
        }
        progress(Progress::Busy(what));
        sleep(jittered(self.pause)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}

//! Brings a database to a release: tables by refinery, then the procedures.
//!
//! Twice does nothing, eight at once do it once, and a run that was killed is finished by the next one: every step is
//! recorded after it is done, and may be done again.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use refinery::{Runner, Target};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::accounts::{OWNER, Owner, prepare_owner};
use super::bootstrap::refused_by_bootstrap;
use super::call::jittered;
use super::hosts::primary;
use super::release::{Release, hex};
use super::state::{Difference, State};
use super::{decode, session};
use crate::error::Error;

/// How long a run waits for another one on the same database.
const TURN_SECONDS: u32 = 120;

/// How long one statement waits for what it changes. An open transaction that has called a procedure blocks its DROP,
/// and the waiting DROP blocks every new CALL: so wait briefly, let the callers pass, and try again.
const LOCK_WAIT_SECONDS: u32 = 1;

/// How long to try again in this way before giving up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

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
    /// Balances that are due are being settled: after a bootstrap, all.
    Opening {
        /// How many are done.
        done: u64,
        /// How many were due at the beginning.
        total: u64,
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
    /// How many balances were due, and are settled.
    pub settled: u64,
    /// One sentence each on what the operator should know.
    pub notices: Vec<String>,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All the way: tables, bootstrap, procedures, balances.
    Release,
    /// To the tables that data from elsewhere is loaded into: the bootstrap has not read them, and there are no procedures.
    BeforeBootstrap,
}

/// Compares the database with `release`, without changing anything. Empty: they are the same.
///
/// # Errors
/// [`Error::Unavailable`] without a connection to a server we know; else [`Error::Internal`] with the server's words.
pub async fn check(url: &str, release: &Release) -> Result<Vec<Difference>, Error> {
    let opts = primary(url).await?;
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
pub async fn migrate(url: &str, release: &Release, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Report, Error> {
    migrate_to(url, release, Reach::Release, progress).await
}

/// As [`migrate`], but only as far as `reach` says.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(
    url: &str,
    release: &Release,
    reach: Reach,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Report, Error> {
    let opts = primary(url).await?;
    let database = opts.db_name().unwrap_or_default().to_owned();
    let turn = take_turn(&opts, &database, progress).await?;
    let pool = deploying_pool(opts);
    let run = Run {
        pool: &pool,
        database: &database,
        release,
        progress,
        report: Report::default(),
        definer: None,
    };
    let outcome = run.finish(reach).await;
    pool.disconnect().await.map_err(decode)?;
    // Closing the connection gives the turn to the next run.
    turn.disconnect().await.map_err(decode)?;
    outcome
}

/// One session, so that each step finds what the one before left: refinery takes its connection from a pool.
fn deploying_pool(opts: Opts) -> Pool {
    // At least one, too: the driver closes what is above the lower bound.
    let one = PoolConstraints::new(1, 1).expect("1 <= 1");
    let pool_opts = PoolOpts::default().with_constraints(one).with_reset_connection(false);
    let setup = format!("{}, group_concat_max_len = 1048576", session(LOCK_WAIT_SECONDS));
    Pool::new(OptsBuilder::from_opts(opts).pool_opts(pool_opts).setup(vec![setup]))
}

/// Waits until no other run works on this database. The turn lasts as long as the connection: a killed run gives it
/// back at once. Not the session of the work, whose loss would otherwise end the turn unnoticed in the middle.
async fn take_turn(opts: &Opts, database: &str, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Conn, Error> {
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

/// One run, while it has the turn. The procedures' part is in `install.rs`.
pub(super) struct Run<'a> {
    pool: &'a Pool,
    database: &'a str,
    pub(super) release: &'a Release,
    pub(super) progress: &'a (dyn Fn(Progress<'_>) + Sync),
    pub(super) report: Report,
    /// The owner of the procedures; without one, the migrating account.
    pub(super) definer: Option<&'static str>,
}

impl Run<'_> {
    async fn finish(mut self, reach: Reach) -> Result<Report, Error> {
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
        self.make_tables(&differences, reach).await?;
        if reach == Reach::BeforeBootstrap {
            return Ok(self.report);
        }

        let mut conn = self.pool.get_conn().await.map_err(decode)?;
        match prepare_owner(&mut conn, self.database).await.map_err(decode)? {
            Owner::Ready => self.definer = Some(OWNER),
            Owner::Refused(sentence) => self.report.notices.push(sentence),
        }
        self.install(&mut conn, &state, &differences).await?;
        self.settle_due(&mut conn).await?;
        Ok(self.report)
    }

    /// Text parameters and variables of a procedure take the database's collation.
    async fn check_collation(&self, conn: &mut Conn) -> Result<(), Error> {
        let collation: Option<String> = conn.query_first("SELECT @@collation_database").await.map_err(decode)?;
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

    async fn make_tables(&mut self, differences: &[Difference], reach: Reach) -> Result<(), Error> {
        let tables =
            |found: &&Difference| matches!(found, Difference::PendingMigration(_) | Difference::ChangedMigration(_));
        let pending = differences.iter().filter(tables).count();
        let target = match reach {
            Reach::Release => Target::Latest,
            Reach::BeforeBootstrap => self.before_bootstrap(differences)?,
        };
        if pending == 0 {
            return Ok(());
        }
        (self.progress)(Progress::Tables(pending));
        let runner = Runner::new(self.release.migrations()).set_target(target);
        let mut patience = Patience::new();
        loop {
            let outcome = runner.run_async(&mut self.pool.clone()).await;
            // What was applied before a failure is in the history; the next try goes on behind it.
            let applied = outcome.as_ref().map_or_else(refinery::Error::report, Some);
            let applied = applied.map(|report| report.applied_migrations().as_slice());
            let names = applied.unwrap_or_default().iter().map(ToString::to_string);
            self.report.migrations.extend(names);
            let Err(error) = outcome else { return Ok(()) };
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
            if !patience.outlasts(cause, "a table", self.progress).await {
                return Err(refused_by_bootstrap(cause)
                    .unwrap_or_else(|| Error::Internal(format!("the tables could not be made: {error}"))));
            }
        }
    }
}

/// Tries again while something is held, with pauses that grow, up to a bound.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience {
            until: Instant::now() + PATIENCE,
            pause: Duration::from_millis(250),
        }
    }

    /// Pauses and gives `true` when `error` is a lock wait, or a deadlock, that is worth another try.
    pub(super) async fn outlasts(
        &mut self,
        error: Option<&mysql_async::Error>,
        what: &str,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> bool {
        let held = matches!(error, Some(mysql_async::Error::Server(error)) if [1205, 1213].contains(&error.code));
        if !held || Instant::now() > self.until {
            return false;
        }
        progress(Progress::Busy(what));
        sleep(jittered(self.pause)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}

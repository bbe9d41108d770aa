//! The private server that everything runs on, and who says how far it is.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use consumable::database::embedded::{EmbeddedServer, Progress, Storage, find_server};
use indicatif::{ProgressBar, ProgressStyle};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::time::{sleep, timeout};

use crate::Outcome;
use crate::machine::{Machine, Settings};

/// The database of the baselines, and of the numbers that rows are made from.
pub const BESIDE: &str = "beside";

/// Rows that can be made in one go: `beside.numbers` has 0 to this, excluded.
pub const NUMBERS: u64 = 1_000_000;

/// As much as a small server has. The engine's own default is that of a laptop; the figures should not be those of its disk's reads.
const MEMORY: &str = "1073741824";

/// How long pages that a preparation left dirty may take to be written.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// How long any other thing of the server may take.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The server, and how long each measurement takes.
pub struct World {
    /// The private server.
    pub server: EmbeddedServer,
    /// Time of a measured workload.
    pub seconds: Duration,
    root: Conn,
    machine: Machine,
    bar: ProgressBar,
}

impl World {
    /// Starts a server whose data goes with it.
    pub async fn start(mysqld: Option<&OsStr>, seconds: Duration, workloads: usize) -> Outcome<World> {
        let bar = ProgressBar::new(workloads as u64);
        bar.set_style(ProgressStyle::with_template(
            "{spinner} {bar:24} {pos}/{len} {wide_msg} {elapsed}",
        )?);
        if std::io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let machine = Machine::look()?;
        let program = find_server(mysqld, Progress::Shown).await?;
        let server = EmbeddedServer::start(&program, Storage::Scratch, Progress::Shown).await?;
        let mut root = Conn::new(Opts::from_url(&server.database(BESIDE).await?)?).await?;
        root.query_drop(format!("SET GLOBAL innodb_buffer_pool_size = {MEMORY}"))
            .await?;
        root.query_drop(format!("SET GLOBAL innodb_redo_log_capacity = {MEMORY}"))
            .await?;
        root.query_drop("CREATE TABLE numbers (n INT UNSIGNED NOT NULL PRIMARY KEY)")
            .await?;
        let digits = "JSON_TABLE('[0,1,2,3,4,5,6,7,8,9]', '$[*]' COLUMNS (d INT PATH '$'))";
        root.query_drop(format!(
            "INSERT INTO numbers SELECT a.d * 100000 + b.d * 10000 + c.d * 1000 + d.d * 100 + e.d * 10 + f.d AS n
               FROM {digits} AS a, {digits} AS b, {digits} AS c, {digits} AS d, {digits} AS e, {digits} AS f ORDER BY n"
        ))
        .await?;
        Ok(World {
            server,
            seconds,
            root,
            machine,
            bar,
        })
    }

    /// Says what goes on.
    pub fn say(&self, what: &str) {
        match self.bar.is_hidden() {
            true => eprintln!("{what} …"),
            false => self.bar.set_message(what.to_owned()),
        }
    }

    /// One workload is done.
    pub fn next(&self) {
        self.bar.inc(1);
    }

    /// How to connect to a database of the server as the one who may do everything.
    pub fn url(&self, database: &str) -> String {
        self.server.url(self.server.user(), None, database)
    }

    /// What all figures were measured under.
    pub async fn settings(&mut self) -> Outcome<Settings> {
        self.durable().await?;
        let row = "SELECT @@version, CAST(@@innodb_flush_log_at_trx_commit AS CHAR), CAST(@@sync_binlog AS CHAR), CAST(@@log_bin AS CHAR), \
                   CAST(@@innodb_buffer_pool_size DIV 1048576 AS CHAR), CAST(@@innodb_redo_log_capacity DIV 1048576 AS CHAR)";
        let server = self
            .root
            .query_first(row)
            .await?
            .ok_or("the server does not say its settings")?;
        Ok(Settings::new(&self.machine, server, self.seconds.as_secs()))
    }

    /// Makes preparations fast: what is lost in a crash is made again.
    pub async fn hasty(&mut self) -> Outcome<()> {
        self.root
            .query_drop("SET GLOBAL innodb_flush_log_at_trx_commit = 0, GLOBAL sync_binlog = 0")
            .await?;
        Ok(())
    }

    /// Makes each commit durable again, and waits until the preparation's pages are written. Nothing is measured before.
    pub async fn durable(&mut self) -> Outcome<()> {
        for statement in [
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1, GLOBAL sync_binlog = 1",
            "FLUSH BINARY LOGS",
            "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, GLOBAL innodb_max_dirty_pages_pct = 0",
        ] {
            self.root.query_drop(statement).await?;
        }
        let since = Instant::now();
        loop {
            let dirty = "SELECT CAST(variable_value AS UNSIGNED) FROM performance_schema.global_status \
                         WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'";
            let dirty: u64 = self
                .root
                .query_first(dirty)
                .await?
                .ok_or("the server does not say what is dirty")?;
            if dirty < 500 {
                break;
            }
            if since.elapsed() > QUIET_WITHIN {
                return Err(format!("{dirty} pages are still to be written after {QUIET_WITHIN:?}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.root
            .query_drop(
                "SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT, GLOBAL innodb_max_dirty_pages_pct_lwm = DEFAULT",
            )
            .await?;
        Ok(())
    }

    /// Row locks that anybody had to wait for since the server started.
    pub async fn row_lock_waits(&mut self) -> Outcome<u64> {
        let waits = "SELECT CAST(variable_value AS UNSIGNED) FROM performance_schema.global_status WHERE variable_name = 'Innodb_row_lock_waits'";
        Ok(self
            .root
            .query_first(waits)
            .await?
            .ok_or("the server does not count lock waits")?)
    }

    /// Runs a statement as the one who may do everything.
    pub async fn execute(&mut self, statement: &str) -> Outcome<()> {
        timeout(PATIENCE, self.root.query_drop(statement)).await??;
        Ok(())
    }

    /// Ends the server, and with it all data.
    pub async fn stop(self) -> Outcome<()> {
        self.bar.finish_and_clear();
        self.root.disconnect().await?;
        Ok(self.server.stop().await?)
    }
}

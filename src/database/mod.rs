//! The way to the server: a bounded pool whose sessions all keep the same contract, [`Database::call`] on top of it,
//! and the deployment of tables and procedures. Only this module holds SQL text.

mod accounts;
mod bootstrap;
mod call;
mod deploy;
pub mod embedded;
mod group;
mod hosts;
mod install;
mod pulse;
mod release;
mod state;
mod tls;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::{Conn, DriverError, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tokio::sync::SemaphorePermit;

use self::group::Term;
use self::hosts::{Hosts, Pools};
use self::writers::Writers;
use crate::error::Error;

pub use accounts::make_gateway_account;
pub use call::ResultSets;
pub use deploy::{Progress, Reach, Report, check, migrate, migrate_to};
pub use mysql_async::{Params, Value, prelude::FromRow};
pub use release::{Release, Routine};
pub use state::{Difference, Weight};

/// Connections at most. The server works on about as many calls at once as it has cores; more only queue inside it,
/// holding locks, instead of in front of it. Small enough that with their lanes seven gateways fit MySQL's default of 151
/// connections.
const POOL_MAX: usize = 16;

/// Connections of those that only procedures get which do nothing but read, so that no lock keeps all of them waiting.
const KEPT_FOR_READS: usize = 4;

/// How long a caller waits for a connection, made or returned, before it hears that the database is not available.
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection stays open without use. The driver's default is to close it on return, with all that it has
/// prepared.
const IDLE: Duration = Duration::from_secs(300);

/// Silence after which a connection is probed: frees the place of one whose peer vanished without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Prepared statements kept per connection. There is one per procedure, so all of them stay prepared.
const STATEMENTS_KEPT: usize = 64;

/// Seconds a gateway session waits for a metadata lock. More than `consumable migrate` ever holds one up.
const CALL_LOCK_WAIT_SECONDS: u32 = 5;

/// Seconds an impatient session waits for a row: longer than any call holds one, shorter than those behind it would notice.
const IMPATIENT_LOCK_WAIT_SECONDS: u32 = 1;

/// The oldest server with all we need: 8.0.19 has CHECK constraints, row aliases and fixed recursive bounds.
const OLDEST: (u16, u16, u16) = (8, 0, 19);

/// A pool of sessions to one database. Cloning shares the pool.
#[derive(Debug, Clone)]
pub struct Database {
    hosts: Hosts,
    pool: Pools,
    /// Places of calls that may write.
    writers: Arc<Writers>,
    /// Whether a call is sent again whose locks stayed taken.
    waits_again: bool,
}

/// What a procedure does, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Read,
    Write,
}

/// How a pool's connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those there are.
    pub open: usize,
    /// Those that nobody uses.
    pub idle: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

impl Database {
    /// Opens the pool, after asking the server whether it is one we know.
    ///
    /// `url` is `mysql://user:password@host:port/name`, see [`crate::config::DatabaseSetting`]. Of several hosts the primary is taken, and
    /// whichever becomes the primary later.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server cannot be reached, refuses the account, is too old, or is MariaDB.
    pub async fn connect(url: &str) -> Result<Database, Error> {
        let hosts = Hosts::of(url).await?;
        hosts.primary().await?;
        Ok(Database {
            pool: hosts.pools(|opts| pool(opts, POOL_MAX, vec![session(CALL_LOCK_WAIT_SECONDS)])),
            hosts,
            writers: Arc::new(Writers::new(POOL_MAX - KEPT_FOR_READS)),
            waits_again: true,
        })
    }

    /// The same database through `connections` of their own, which nobody else takes, and for calls that others wait behind: one whose
    /// row locks stay taken for a second has failed, and is not sent again.
    pub fn impatient(&self, connections: usize) -> Database {
        let hurry = format!("SET innodb_lock_wait_timeout = {IMPATIENT_LOCK_WAIT_SECONDS}");
        let setup = vec![session(CALL_LOCK_WAIT_SECONDS), hurry];
        Database {
            pool: self.hosts.pools(|opts| pool(opts, connections, setup.clone())),
            hosts: self.hosts.clone(),
            writers: Arc::new(Writers::new(connections.max(1))),
            waits_again: false,
        }
    }

    /// Ends when the server no longer answers anything, at once if it is so already.
    pub async fn silence(&self) {
        self.hosts.silence().await;
    }

    /// Closes the idle connections, and waits for those in use.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a connection could not be closed in an orderly way.
    pub async fn disconnect(self) -> Result<(), Error> {
        self.pool.disconnect().await.map_err(decode)
    }

    /// The connections of the pool, now.
    pub fn connections(&self) -> Connections {
        let pool = self.pool.connections();
        Connections {
            waiting: pool.waiting + self.writers.waiting(),
            ..pool
        }
    }

    /// A connection, and the place that goes with it.
    async fn connection(&self, term: Term, does: Does) -> Result<(Conn, Option<SemaphorePermit<'_>>), Error> {
        let getting = async {
            let place = match does {
                Does::Read => None,
                Does::Write => self.writers.place().await,
            };
            self.pool.get_conn(term).await.map(|connection| (connection, place))
        };
        match tokio::time::timeout(ACQUIRE_DEADLINE, getting).await {
            Ok(found) => found.map_err(decode),
            Err(_) => Err(Error::Unavailable(format!("no connection within {ACQUIRE_DEADLINE:?}"))),
        }
    }
}

fn pool(opts: &Opts, connections: usize, setup: Vec<String>) -> Pool {
    let pool_opts = PoolOpts::default()
        .with_constraints(PoolConstraints::new(0, connections.max(1)).expect("0 <= 1"))
        .with_inactive_connection_ttl(IDLE)
        // A reset would drop the prepared statements; `call` sees to it that no session state is left behind.
        .with_reset_connection(false);
    let opts = OptsBuilder::from_opts(opts.clone())
        .pool_opts(pool_opts)
        .stmt_cache_size(STATEMENTS_KEPT)
        .tcp_keepalive(Some(KEEPALIVE))
        .setup(setup);
    Pool::new(opts)
}

/// The contract of every session, as one statement to save round trips.
///
/// A routine stores the collation and sql_mode of the session that creates it, and the rules compare and round by them:
/// nothing of it may come from the server's configuration.
fn session(lock_wait_seconds: u32) -> String {
    // @@SESSION: without it, the isolation level would hold for the next transaction only.
    format!(
        "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci, \
         sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE,\
         ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', \
         time_zone = '+00:00', \
         @@SESSION.transaction_isolation = 'READ-COMMITTED', \
         innodb_lock_wait_timeout = 5, \
         lock_wait_timeout = {lock_wait_seconds}"
    )
}

/// Reads the answer to `SELECT VERSION()`, such as `8.0.36`, `9.7.4-2` or `5.5.5-10.11.6-MariaDB-1`.
fn supported(version: &str) -> Result<(), String> {
    if version.to_ascii_lowercase().contains("mariadb") {
        return Err(format!(
            "the server is MariaDB ({version}), whose locks, errors and collations differ: use MySQL 8.0.19 or later"
        ));
    }
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u16>().ok());
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST {
        return Err(format!(
            "the server is MySQL {version}, which is too old: use MySQL 8.0.19 or later"
        ));
    }
    Ok(())
}

/// Says in our words what the driver or the server reported.
fn decode(error: mysql_async::Error) -> Error {
    use mysql_async::Error::{Driver, Io, Server};
    match error {
        Server(server) => match server.code {
            // Too many connections, of all or of this account; locks that stayed taken.
            1040 | 1203 | 1226 | 1205 | 1213 => Error::Overloaded(server.to_string()),
            // No access, by this account or without TLS, no such database; the server is shutting down, read-only, offline, or has closed
            // the session; its group did not let it commit; it has no room on its disk for a table, a file, its log.
            1044 | 1045 | 1049 | 1053 | 1290 | 1836 | 3032 | 3100 | 3101 | 3118 | 3159 | 3169 | 4031 | 1021 | 1026
            | 1114 | 1598 => Error::Unavailable(server.to_string()),
            number => Error::from_signal(number, &server.message)
                .unwrap_or_else(|| Error::Internal(format!("the server refused: {server}"))),
        },
        Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::Unavailable("the server has no TLS, which ssl-mode asks for".into())
        }
        lost @ (Io(_) | Driver(DriverError::ConnectionClosed | DriverError::PoolDisconnected)) => {
            Error::Unavailable(lost.to_string())
        }
        other => Error::Internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::{decode, supported};
    use crate::error::Error;

    #[test]
    fn a_server_without_room_is_away() {
        for code in [1021, 1026, 1114, 1598] {
            let error = ServerError {
                code,
                message: "The table 'billing_entitlement_consumptions' is full".into(),
                state: "HY000".into(),
            };
            assert!(matches!(decode(error.into()), Error::Unavailable(_)), "{code}");
        }
    }

    #[test]
    fn mysql_from_8_0_19_is_supported() {
        for version in ["8.0.19", "8.0.36-28", "8.4.3", "9.7.4-2", "9.7.4", "10.0"] {
            assert_eq!(supported(version), Ok(()), "{version}");
        }
    }

    #[test]
    fn older_servers_and_mariadb_are_refused_in_one_sentence() {
        for version in ["8.0.18", "5.7.44-log", "8", ""] {
            assert!(supported(version).unwrap_err().contains("too old"), "{version}");
        }
        for version in ["10.11.6-MariaDB-0+deb12u1", "5.5.5-10.11.6-mariadb", "11.4.2-MariaDB"] {
            let sentence = supported(version).unwrap_err();
            assert!(
                sentence.starts_with("the server is MariaDB") && !sentence.contains('\n'),
                "{version}"
            );
        }
    }
}

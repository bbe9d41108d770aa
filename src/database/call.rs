//! The single place that sends CALL.

use std::time::{Duration, Instant};

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, DriverError, Params, Row};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::{Database, Does, decode};
use crate::error::Error;

/// How long a call may take, with all its attempts, unless it says otherwise. Past it the client has gone, and the locks should go too.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How often a call is sent when it loses a deadlock, waits too long for a lock, or loses its connection, or its server the primacy.
const ATTEMPTS: u32 = 5;

/// A call that took this long is told, with its connection: the number by which the server's process list, its slow log and
/// `sys.innodb_lock_waits` call it.
const SLOW: Duration = Duration::from_secs(1);

/// How long a missing procedure is waited for: a deployment replaces it within milliseconds, or within a second when an
/// open transaction holds it.
const REDEPLOY_GRACE: Duration = Duration::from_secs(2);

impl Database {
    /// Calls `procedure` with positional `params` and gives all its result sets.
    ///
    /// The call is sent again, with the same parameters, when it loses a deadlock, a lock wait or its connection, and
    /// for two seconds when the procedure is missing because a deployment is replacing it. That is safe because every
    /// procedure that writes is idempotent by its key. In all it takes ten seconds at most.
    ///
    /// # Errors
    /// [`Error::Rule`] for a SIGNAL of the catalogue, also when it comes after a result set; [`Error::Unavailable`]
    /// when there is no connection or no answer in time; [`Error::Overloaded`] when locks stayed taken; else
    /// [`Error::Internal`].
    pub async fn call(&self, procedure: &str, params: impl Into<Params> + Send) -> Result<ResultSets, Error> {
        self.call_within(CALL_DEADLINE, procedure, params).await
    }

    /// As [`Database::call`], for a procedure that only reads: there is a connection for it even when all that write wait for locks.
    ///
    /// # Errors
    /// As [`Database::call`].
    pub async fn read(&self, procedure: &str, params: impl Into<Params> + Send) -> Result<ResultSets, Error> {
        self.send(Does::Read, CALL_DEADLINE, procedure, params.into()).await
    }

    /// As [`Database::call`], but it may take up to `deadline`: for what no client waits for and what holds no locks.
    ///
    /// # Errors
    /// As [`Database::call`].
    pub async fn call_within(
        &self,
        deadline: Duration,
        procedure: &str,
        params: impl Into<Params> + Send,
    ) -> Result<ResultSets, Error> {
        self.send(Does::Write, deadline, procedure, params.into()).await
    }

    async fn send(&self, does: Does, deadline: Duration, procedure: &str, params: Params) -> Result<ResultSets, Error> {
        let places = match &params {
            Params::Empty => 0,
            Params::Positional(values) => values.len(),
            Params::Named(_) => {
                return Err(Error::Internal(format!("{procedure} was called with named parameters")));
            }
        };
        let statement = format!("CALL {procedure}({})", vec!["?"; places].join(","));
        let begun = Instant::now();
        let mut sent = Sent::default();
        let calling = self.send_until_final(does, procedure, &statement, &params, &mut sent);
        let span = tracing::debug_span!("call", procedure);
        // A future that is dropped takes its connection with it, so that no late answer meets the next caller.
        let outcome = tokio::select! {
            biased;
            () = self.hosts.silence() => Err(Error::Unavailable("the server is silent".into())),
            called = timeout(deadline, calling.instrument(span)) => match called {
                Ok(outcome) => outcome,
                Err(_) => Err(Error::Unavailable(format!(
                    "{procedure} did not answer within {deadline:?}"
                ))),
            },
        };
        let elapsed = begun.elapsed();
        let (Sent { connection, times }, milliseconds) = (sent, elapsed.as_millis());
        match elapsed < SLOW {
            true => tracing::debug!(procedure, connection, times, milliseconds, "called"),
            false => tracing::warn!(procedure, connection, times, milliseconds, "a call was slow"),
        }
        outcome
    }

    async fn send_until_final(
        &self,
        does: Does,
        procedure: &str,
        statement: &str,
        params: &Params,
        sent: &mut Sent,
    ) -> Result<ResultSets, Error> {
        let mut failures = 0;
        let mut missing_since = None;
        loop {
            let term = self.hosts.term(failures > 0).await?;
            let (mut conn, place) = match self.connection(term, does).await {
                // By now another member of the group may be the primary.
                Err(Error::Unavailable(_)) if self.hosts.are_several() && failures + 1 < ATTEMPTS => {
                    failures += 1;
                    continue;
                }
                outcome => outcome?,
            };
            sent.connection = conn.id();
            sent.times += 1;
            let error = match self.hosts.during(term, send(&mut conn, statement, params)).await {
                Ok(sets) => {
                    self.hosts.heard();
                    return leave_no_transaction(conn, procedure).await.map(|()| ResultSets {
                        procedure: procedure.to_owned(),
                        sets: sets.into_iter(),
                    });
                }
                Err(error) => error,
            };
            if let mysql_async::Error::Server(_) = error {
                // A procedure that raises inside a transaction without a handler would hand it on to the next caller.
                // If this fails, the connection is lost and the pool drops it.
                let _ = conn.query_drop("ROLLBACK").await;
            }
            drop((conn, place));
            let pause = match self.remedy(&error) {
                Remedy::None => return Err(decode(error)),
                Remedy::Repeat => {
                    failures += 1;
                    if failures == ATTEMPTS {
                        return Err(decode(error));
                    }
                    Duration::from_millis(10 << failures)
                }
                Remedy::AwaitProcedure => {
                    if missing_since.get_or_insert_with(Instant::now).elapsed() > REDEPLOY_GRACE {
                        return Err(decode(error));
                    }
                    Duration::from_millis(20)
                }
            };
            tracing::debug!(procedure, %error, "calling again");
            sleep(jittered(pause)).await;
        }
    }

    fn remedy(&self, error: &mysql_async::Error) -> Remedy {
        use mysql_async::Error::{Driver, Io, Server};
        match error {
            Server(server) => match server.code {
                1205 if !self.waits_again => Remedy::None,
                // Lock wait, deadlock; a statement whose procedure changed again and again while it was prepared; a session
                // that the server closed: shutdown, KILL, idle for too long; a commit that the server's group did not let pass.
                1205 | 1213 | 1615 | 1053 | 3169 | 4031 | 3100 | 3101 => Remedy::Repeat,
                1305 => Remedy::AwaitProcedure,
                _ => Remedy::None,
            },
            Io(_) | Driver(DriverError::ConnectionClosed) => Remedy::Repeat,
            _ => Remedy::None,
        }
    }
}

async fn send(conn: &mut Conn, statement: &str, params: &Params) -> mysql_async::Result<Vec<Vec<Row>>> {
    let mut result = conn.exec_iter(statement, params.clone()).await?;
    let mut sets = Vec::new();
    while !result.is_empty() {
        sets.push(result.collect().await?);
    }
    // An error behind the last set counts as empty above. It comes out here; else it would meet the next caller.
    result.drop_result().await?;
    Ok(sets)
}

/// A session goes back to the pool as it came. The last packet says whether a transaction is open, without a round trip.
async fn leave_no_transaction(mut conn: Conn, procedure: &str) -> Result<(), Error> {
    let open = |ok: &mysql_async::OkPacket<'_>| ok.status_flags().contains(StatusFlags::SERVER_STATUS_IN_TRANS);
    if !conn.last_ok_packet().is_some_and(open) {
        return Ok(());
    }
    conn.query_drop("ROLLBACK").await.map_err(decode)?;
    Err(Error::Internal(format!(
        "{procedure} left a transaction open, which was rolled back"
    )))
}

/// How a call was sent: on which connection last, and how often.
#[derive(Default)]
struct Sent {
    connection: u32,
    times: u32,
}

enum Remedy {
    None,
    Repeat,
    AwaitProcedure,
}

/// Half of `pause` to all of it, so that callers who collided do not meet again.
pub(super) fn jittered(pause: Duration) -> Duration {
    // Without a source of randomness the pause is merely the longest one.
    let part = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    pause.mul_f64(0.5 + part / 2.0)
}

/// The result sets of one call, taken in their order.
#[derive(Debug)]
pub struct ResultSets {
    procedure: String,
    sets: std::vec::IntoIter<Vec<Row>>,
}

impl ResultSets {
    /// Takes the next result set. `T` reads its columns by name: `#[derive(FromRow)]`.
    ///
    /// # Errors
    /// [`Error::Internal`] when there are no more sets, or when a column is missing or of another type.
    pub fn rows<T: FromRow>(&mut self) -> Result<Vec<T>, Error> {
        let rows = self
            .sets
            .next()
            .ok_or_else(|| self.broken("gave fewer result sets than it promises"))?;
        rows.into_iter()
            .map(T::from_row_opt)
            .collect::<Result<_, _>>()
            .map_err(|error| {
                let columns = error.0.columns();
                let names: Vec<_> = columns.iter().map(mysql_async::Column::name_str).collect();
                self.broken(&format!(
                    "gave a row that {} cannot be read from: {names:?}",
                    std::any::type_name::<T>()
                ))
            })
    }

    /// Takes the next result set, which must be one row.
    ///
    /// # Errors
    /// As [`ResultSets::rows`], and when there is not exactly one row.
    pub fn row<T: FromRow>(&mut self) -> Result<T, Error> {
        let mut rows = self.rows()?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            _ => Err(self.broken("did not give exactly one row")),
        }
    }

    /// How many result sets have not been taken. Some procedures give fewer where they refuse.
    pub fn remaining(&self) -> usize {
        self.sets.len()
    }

    /// Whether the next result set has rows with this column. Some procedures begin with another set where there was more to do.
    pub fn next_has(&self, column: &str) -> bool {
        let first = self.sets.as_slice().first().and_then(|rows| rows.first());
        first.is_some_and(|row| row.columns_ref().iter().any(|other| other.name_str() == column))
    }

    fn broken(&self, what: &str) -> Error {
        Error::Internal(format!("{} {what}", self.procedure))
    }
}

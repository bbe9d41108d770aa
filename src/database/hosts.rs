//! The hosts of a database URL: one server, or the members of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select_ok;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Metrics, Opts, Pool};
use tokio::time::timeout;

use super::group::{Group, Term};
use super::pulse::Pulse;
use super::{ACQUIRE_DEADLINE, Connections, decode, supported, tls};
use crate::config;
use crate::error::Error;

/// How long the farewell to the members of a group may take: one that stands still does not say it back.
const FAREWELL: Duration = Duration::from_secs(2);

/// The hosts of one URL. Cloning shares what is known of them.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    members: Arc<[Opts]>,
    /// `None` for one server, which is asked without further ado.
    group: Option<Arc<Group>>,
    /// Of the only server. A group feels that of its primary by its proofs.
    pulse: Pulse,
}

impl Hosts {
    /// Reads `url`, asks whoever answers first whether it is a server that we know, and begins to look for the primary if there are several. The members
    /// of a group are set up alike: as one of them is reached, with TLS or without, so are all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none can be reached, or refuses the account, is too old, or is MariaDB.
    pub async fn of(url: &str) -> Result<Hosts, Error> {
        let wrong = |what| Error::Internal(format!("DATABASE_URL {what}"));
        let urls = config::urls(url).map_err(wrong)?;
        let ways: Vec<Vec<Opts>> = urls.iter().map(|url| tls::ways(url)).collect::<Result<_, _>>()?;
        let place = match timeout(
            ACQUIRE_DEADLINE,
            select_ok(ways.iter().map(|ways| Box::pin(known(ways)))),
        )
        .await
        {
            Ok(reached) => reached?.0,
            Err(_) => return Err(Error::Unavailable(format!("no answer within {ACQUIRE_DEADLINE:?}"))),
        };
        let members: Arc<[Opts]> = ways.into_iter().map(|mut ways| ways.swap_remove(place)).collect();
        let group = (members.len() > 1).then(|| Arc::new(Group::start(members.clone())));
        let pulse = Pulse::new(&members[0]);
        Ok(Hosts { members, group, pulse })
    }

    /// The only server, or who is the primary now.
    pub async fn primary(&self) -> Result<&Opts, Error> {
        Ok(&self.members[self.term(false).await?.place])
    }

    /// Whether there may be another one to ask.
    pub fn are_several(&self) -> bool {
        self.group.is_some()
    }

    /// Notes that the server has said something, whatever it was.
    pub fn heard(&self) {
        self.pulse.heard();
    }

    /// Ends when the only server is silent, at once if it is so already.
    pub async fn silence(&self) {
        match &self.group {
            None => self.pulse.silence().await,
            Some(_) => std::future::pending().await,
        }
    }

    /// The term in which the next call is made. `in_doubt`: the last one failed, which the end of a term may be the reason of.
    pub async fn term(&self, in_doubt: bool) -> Result<Term, Error> {
        match &self.group {
            None => Ok(Term::ONLY),
            Some(group) => group.term(in_doubt).await,
        }
    }

    /// What `work` gives, if `term` has not ended then. A term that ends meanwhile ends the work.
    pub async fn during<T>(
        &self,
        term: Term,
        work: impl Future<Output = mysql_async::Result<T>>,
    ) -> mysql_async::Result<T> {
        let Some(group) = &self.group else {
            return work.await;
        };
        let outcome = tokio::select! { outcome = work => outcome, () = group.end(term) => return Err(ended()) };
        // What a server refuses it refuses by what it knows.
        let is_told = matches!(outcome, Ok(_) | Err(mysql_async::Error::Server(_)));
        if is_told && !group.lasts(term).await {
            return Err(ended());
        }
        outcome
    }

    /// A pool for each.
    pub fn pools(&self, pool: impl Fn(&Opts) -> Pool) -> Pools {
        Pools(self.members.iter().map(pool).collect())
    }
}

/// The place of the way by which a server is reached that we know. Asked on a connection of its own, without the session contract, which an unknown
/// server would not understand.
async fn known(ways: &[Opts]) -> Result<usize, Error> {
    let asked = async {
        let (mut conn, place) = tls::first(ways).await?;
        let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
        conn.disconnect().await?;
        Ok((version, place))
    };
    let (version, place) = asked.await.map_err(decode)?;
    supported(&version.unwrap_or_default()).map_err(Error::Unavailable)?;
    Ok(place)
}

/// What is said of a call whose answer does not count: as if the connection had been lost.
fn ended() -> mysql_async::Error {
    std::io::Error::other("another member became the primary").into()
}

/// The primary among the hosts of `url`, for work on a connection of its own.
pub(super) async fn primary(url: &str) -> Result<Opts, Error> {
    Hosts::of(url).await?.primary().await.cloned()
}

/// A pool for each host. Only that of the primary has connections in use.
#[derive(Debug, Clone)]
pub(super) struct Pools(Arc<[Pool]>);

impl Pools {
    /// A connection to the server of `term`.
    pub async fn get_conn(&self, term: Term) -> mysql_async::Result<Conn> {
        self.0[term.place].get_conn().await
    }

    /// The connections of all, now.
    pub fn connections(&self) -> Connections {
        let sum = |count: fn(&Metrics) -> &AtomicUsize| {
            let of_each = self.0.iter().map(|pool| count(&pool.metrics()).load(Ordering::Relaxed));
            of_each.sum()
        };
        Connections {
            open: sum(|metrics| &metrics.connection_count),
            idle: sum(|metrics| &metrics.connections_in_pool),
            waiting: sum(|metrics| &metrics.active_wait_requests),
        }
    }

    /// Closes the idle connections, and waits for those in use.
    pub async fn disconnect(self) -> mysql_async::Result<()> {
        if let [pool] = &*self.0 {
            return pool.clone().disconnect().await;
        }
        let farewells = self.0.iter().map(|pool| timeout(FAREWELL, pool.clone().disconnect()));
        // What is lost of a farewell is not missed: another member may have been the primary for long.
        futures_util::future::join_all(farewells).await;
        Ok(())
    }
}

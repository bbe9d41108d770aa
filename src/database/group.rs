//! The members of a group of servers, of which one at a time is the primary: it alone takes writes, and it alone is asked.
//!
//! No member knows by itself that it is the primary. One that was cut off, or stood still for a while, takes itself for it until it
//! hears of the others, and would answer with what was true before. So there are *proofs*: a statement that the member may only answer
//! after the group has agreed, from then on, on all that came before. An answer counts if a proof that began after it succeeds. One
//! task proves for all who wait, so that a proof costs one short message through the group, whatever the load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use mysql_async::{Conn, Opts, Row, prelude::Queryable};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// How long a member may take for a proof. Far more than one takes under load, and less than the five seconds after which a group
/// begins to replace a member that stands still.
const PROVEN_WITHIN: Duration = Duration::from_secs(3);

/// Time between two proofs that nobody asks for. A primary that stands still is noticed by them, as calls just wait for it.
const BEAT: Duration = Duration::from_secs(1);

/// Pause before a member that was not the primary is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How long a caller waits for a primary. A group has another one after some seven seconds; a call may take ten in all.
const ELECTED_WITHIN: Duration = Duration::from_secs(8);

/// A variable that only a server with the plugin has.
const GROUP: &str = "SELECT @@group_replication_group_name";

/// With it, a statement that reads a table waits for the group. It is not the level of the calls: those would wait at every statement.
const BEFORE: &str = "SET @@SESSION.group_replication_consistency = 'BEFORE'";

/// The derived table makes it a statement that reads a table.
const PROOF: &str = "SELECT @@super_read_only FROM (SELECT 1) AS once";

/// How often the member has waited for its group. One that is in none does not wait, and does not count.
const WAITS: &str = "SHOW GLOBAL STATUS LIKE 'Gr_transactions_consistency_before_begin_count'";

/// A group, and the task that proves. Dropping it ends the task.
#[derive(Debug)]
pub(super) struct Group {
    known: Arc<Known>,
    prover: JoinHandle<()>,
}

/// The time of one primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    number: u64,
    /// Which of the members it is.
    pub place: usize,
}

impl Term {
    /// That of the only server, which does not end.
    pub const ONLY: Term = Term { number: 0, place: 0 };
}

#[derive(Debug)]
struct Known {
    standing: watch::Sender<Standing>,
    /// How many proofs have begun; each has the number that it made.
    begun: AtomicU64,
    asked: Notify,
    /// Why each member is not the primary, as far as it was asked.
    refusals: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Of the present primary or, without one, of the next.
    term: u64,
    primary: Option<usize>,
    /// The last proof that succeeded.
    proof: u64,
}

impl Group {
    /// Begins to look for the primary among `members`.
    pub fn start(members: Arc<[Opts]>) -> Group {
        let standing = Standing {
            term: 1,
            primary: None,
            proof: 0,
        };
        let known = Arc::new(Known {
            standing: watch::Sender::new(standing),
            begun: AtomicU64::new(0),
            asked: Notify::new(),
            refusals: Mutex::default(),
        });
        let prover = tokio::spawn(prove(members, known.clone()));
        Group { known, prover }
    }

    /// The term of the present primary, which is waited for. `in_doubt`: only if it is proven from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`], which says what each member is instead.
    pub async fn term(&self, in_doubt: bool) -> Result<Term, Error> {
        let needed = if in_doubt { self.known.ask() } else { 0 };
        let mut standing = self.known.standing.subscribe();
        let stands = standing.wait_for(|now| now.primary.is_some() && now.proof >= needed);
        if let Ok(Ok(now)) = timeout(ELECTED_WITHIN, stands).await
            && let Some(place) = now.primary
        {
            return Ok(Term {
                number: now.term,
                place,
            });
        }
        let refusals = self.known.refusals();
        Err(Error::Unavailable(format!(
            "no host of DATABASE_URL is the primary of a group: {}",
            refusals.join("; ")
        )))
    }

    /// Whether `term` still lasts, as of now.
    pub async fn lasts(&self, term: Term) -> bool {
        let needed = self.known.ask();
        let mut standing = self.known.standing.subscribe();
        let known = standing.wait_for(|now| now.term != term.number || now.proof >= needed);
        known.await.is_ok_and(|now| now.term == term.number)
    }

    /// Waits for the end of `term`.
    pub async fn end(&self, term: Term) {
        // The sender lives as long as this group.
        let _ = self
            .known
            .standing
            .subscribe()
            .wait_for(|now| now.term != term.number)
            .await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.prover.abort();
    }
}

impl Known {
    /// Asks for a proof that begins from now on. Gives the least number that it can have.
    fn ask(&self) -> u64 {
        let needed = self.begun.load(Ordering::SeqCst) + 1;
        self.asked.notify_one();
        needed
    }

    /// Begins a proof.
    fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refused(&self, place: usize, why: String) {
        if let Some(refusal) = self
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(place)
        {
            *refusal = why;
        }
    }
}

/// Finds the primary, proves it for as long as that succeeds, and begins anew.
async fn prove(members: Arc<[Opts]>, known: Arc<Known>) {
    loop {
        let proof = known.begin();
        let (place, mut session) = find(&members, &known).await;
        let host = name(&members[place]);
        known.standing.send_modify(|now| {
            now.primary = Some(place);
            now.proof = proof;
        });
        match proof {
            1 => tracing::debug!(host, "the primary of the group"),
            _ => tracing::info!(host, "the primary of the group is found"),
        }
        let why = loop {
            tokio::select! { () = known.asked.notified() => (), () = sleep(BEAT) => () }
            let proof = known.begin();
            match timeout(PROVEN_WITHIN, session.query_first(PROOF)).await {
                Ok(Ok(Some(false))) => known.standing.send_modify(|now| now.proof = proof),
                Ok(Ok(_)) => break "it does not take writes any more".to_owned(),
                Ok(Err(error)) => break error.to_string(),
                Err(_) => break format!("no proof within {PROVEN_WITHIN:?}"),
            }
        };
        known.standing.send_modify(|now| {
            now.term += 1;
            now.primary = None;
        });
        tracing::warn!(host, why, "the primary of the group is lost, and looked for");
    }
}

/// Asks all members, again and again, until one proves that it is the primary. Each by itself: one that stands still holds up none.
async fn find(members: &[Opts], known: &Known) -> (usize, Conn) {
    let nobody = members
        .iter()
        .map(|member| format!("{} was not asked yet", name(member)));
    *known.refusals.lock().unwrap_or_else(PoisonError::into_inner) = nobody.collect();
    let asking = members.iter().enumerate().map(|(place, member)| {
        Box::pin(async move {
            loop {
                let refusal = match timeout(PROVEN_WITHIN, ask(member)).await {
                    Ok(Ok(session)) => return (place, session),
                    Ok(Err(refusal)) => refusal,
                    Err(_) => format!("does not answer within {PROVEN_WITHIN:?}"),
                };
                known.refused(place, format!("{} {refusal}", name(member)));
                sleep(ASK_AGAIN).await;
            }
        })
    });
    select_all(asking).await.0
}

/// A session for proofs with `member`, if it is the primary; else why it is not.
async fn ask(member: &Opts) -> Result<Conn, String> {
    let unreachable = |error: mysql_async::Error| format!("cannot be asked ({error})");
    let mut session = Conn::new(member.clone()).await.map_err(unreachable)?;
    match session.query_drop(GROUP).await {
        Err(mysql_async::Error::Server(error)) if error.code == 1193 => {
            return Err("has no Group Replication".to_owned());
        }
        other => other.map_err(unreachable)?,
    }
    session.query_drop(BEFORE).await.map_err(unreachable)?;
    let waits = waits(&mut session).await.map_err(unreachable)?;
    match session.query_first(PROOF).await.map_err(unreachable)? {
        Some(false) => (),
        _ => return Err("takes no writes".to_owned()),
    }
    // Servers before 8.1 do not say how often they waited.
    if waits.is_some() && waits == self::waits(&mut session).await.map_err(unreachable)? {
        return Err("takes writes, but is in no group".to_owned());
    }
    Ok(session)
}

async fn waits(session: &mut Conn) -> mysql_async::Result<Option<String>> {
    let row: Option<Row> = session.query_first(WAITS).await?;
    Ok(row.and_then(|row| row.get(1)))
}

fn name(member: &Opts) -> String {
    format!("{}:{}", member.ip_or_hostname(), member.tcp_port())
}

//! Callers that use, callers that look, and readers, all the while that something breaks; and the count afterwards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqwest::Response;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_stream::StreamExt;

use super::gateway::{Gateway, WORKSPACES};
use crate::support::cluster::{Cluster, MEMBERS, PATIENCE};
use crate::support::story::differences;

/// Callers that use; each belongs to one workspace.
const CALLERS: usize = 12;

/// Before what was not answered is sent again, with the same key. Less than a polite caller waits, to see when it is taken first.
const AGAIN: Duration = Duration::from_millis(50);

/// What callers know of one workspace.
#[derive(Default)]
struct Known {
    /// Uses that were answered.
    used: AtomicU64,
    /// Looks that were answered.
    looked: AtomicU64,
}

/// A reader of a workspace.
struct Reader {
    workspace: usize,
    /// The changes that it was told, by number, behind the one where it began.
    told: Arc<Mutex<Vec<u64>>>,
    reading: JoinHandle<()>,
}

/// All of them, at work.
pub struct Load {
    known: Arc<Vec<Known>>,
    is_over: Arc<AtomicBool>,
    /// The longest that anybody waited for an answer to a use since this was asked last.
    longest: Arc<Mutex<Duration>>,
    callers: Vec<JoinHandle<Vec<String>>>,
    lookers: Vec<JoinHandle<()>>,
    readers: Vec<Reader>,
    database: String,
}

/// What a fault came to.
pub struct Count {
    pub answered: usize,
    pub found: usize,
    pub lost: usize,
    pub doubled: usize,
    pub looks: u64,
    pub told: usize,
}

impl Load {
    /// Begins, on the database of that name.
    pub async fn start(gateways: &[Arc<Gateway>], database: &str) -> Load {
        let known: Arc<Vec<Known>> = Arc::new((0..WORKSPACES).map(|_| Known::default()).collect());
        for (workspace, known) in known.iter().enumerate() {
            let used = gateways[0]
                .consumed(workspace)
                .await
                .expect("a look before anything breaks");
            known.used.store(used, Ordering::SeqCst);
        }
        let (is_over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Duration::ZERO)));
        let (mut readers, mut lookers) = (Vec::new(), Vec::new());
        for (workspace, gateway) in
            (0..WORKSPACES).flat_map(|workspace| gateways.iter().map(move |gateway| (workspace, gateway)))
        {
            let told = Arc::default();
            readers.push(Reader {
                workspace,
                reading: tokio::spawn(read(gateway.listen(workspace).await, Arc::clone(&told))),
                told,
            });
            lookers.push(tokio::spawn(look(
                gateway.clone(),
                known.clone(),
                workspace,
                is_over.clone(),
            )));
        }
        let callers = (0..CALLERS).map(|number| {
            let gateway = gateways[number / WORKSPACES % gateways.len()].clone();
            let known = known.clone();
            tokio::spawn(call(gateway, known, number, is_over.clone(), longest.clone()))
        });
        Load {
            callers: callers.collect(),
            lookers,
            readers,
            known,
            is_over,
            longest,
            database: database.to_owned(),
        }
    }

    /// Waits until so many more uses were answered in each workspace.
    pub async fn more(&self, uses: u64) {
        let used = |known: &Known| known.used.load(Ordering::SeqCst);
        let goals: Vec<u64> = self.known.iter().map(|known| used(known) + uses).collect();
        let deadline = Instant::now() + PATIENCE;
        while self.known.iter().zip(&goals).any(|(known, goal)| used(known) < *goal) {
            assert!(Instant::now() < deadline, "no uses are answered within {PATIENCE:?}");
            self.complain();
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The longest that anybody waited for an answer to a use since this was asked last.
    pub fn longest(&self) -> Duration {
        std::mem::take(&mut *self.longest.lock().unwrap())
    }

    /// Ends it, and compares every member with what was answered and told.
    pub async fn end(self, cluster: &Cluster, primary: usize) -> Count {
        self.is_over.store(true, Ordering::SeqCst);
        let mut answered = Vec::new();
        for caller in self.callers {
            answered.extend(caller.await.expect("a caller"));
        }
        for looker in self.lookers {
            looker.await.expect("a looker");
        }
        let told = told(cluster, primary, &self.database, &self.readers).await;
        for reader in self.readers {
            reader.reading.abort();
        }
        cluster.until_alike().await;
        let mut count = Count {
            answered: answered.len(),
            found: usize::MAX,
            lost: 0,
            doubled: 0,
            looks: self.known.iter().map(|known| known.looked.load(Ordering::SeqCst)).sum(),
            told,
        };
        for place in 0..MEMBERS {
            let mut session = session(cluster, place, &self.database).await;
            let mut found: HashMap<String, usize> = HashMap::new();
            let booked = "SELECT usage_event_key FROM billing_entitlement_consumptions";
            for key in session.query::<String, _>(booked).await.unwrap() {
                *found.entry(key).or_default() += 1;
            }
            // What has no answer is sent until it has one: nothing is booked that was not answered.
            count.found = count.found.min(found.len());
            count.lost += answered.iter().filter(|key| !found.contains_key(*key)).count();
            count.doubled += found.values().filter(|times| **times > 1).count();
            count.doubled += found.len().saturating_sub(answered.len());
            assert_eq!(differences(&mut session, None).await, [""; 0], "member {place}");
            assert_eq!(
                numbers(&mut session).await,
                (0, 1, told_to(&mut session).await),
                "member {place}"
            );
        }
        count
    }

    /// Says early what went wrong.
    fn complain(&self) {
        let mut all = self
            .lookers
            .iter()
            .chain(self.readers.iter().map(|reader| &reader.reading));
        assert!(!all.any(JoinHandle::is_finished), "a looker or a reader has ended");
        assert!(!self.callers.iter().any(JoinHandle::is_finished), "a caller has ended");
    }
}

/// Uses one credit after the other; gives the keys, all of which were answered.
async fn call(
    gateway: Arc<Gateway>,
    known: Arc<Vec<Known>>,
    number: usize,
    is_over: Arc<AtomicBool>,
    longest: Arc<Mutex<Duration>>,
) -> Vec<String> {
    let workspace = number % WORKSPACES;
    let mut keys = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let key = format!("use-{number}-{}", keys.len());
        let begun = Instant::now();
        while gateway.consume(workspace, &key).await.is_none() {
            assert!(begun.elapsed() < PATIENCE, "{key} is not answered within {PATIENCE:?}");
            sleep(AGAIN).await;
        }
        known[workspace].used.fetch_add(1, Ordering::SeqCst);
        keys.push(key);
        let mut longest = longest.lock().unwrap();
        *longest = longest.max(begun.elapsed());
    }
    keys
}

/// Looks again and again. Whoever looks sees all uses that were answered before he asked.
async fn look(gateway: Arc<Gateway>, known: Arc<Vec<Known>>, workspace: usize, is_over: Arc<AtomicBool>) {
    let known = &known[workspace];
    while !is_over.load(Ordering::SeqCst) {
        let used = known.used.load(Ordering::SeqCst);
        match gateway.consumed(workspace).await {
            Some(seen) => {
                assert!(seen >= used, "a look saw {seen} uses after {used} were answered");
                known.looked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
            }
            None => sleep(AGAIN).await,
        }
    }
}

/// Keeps what a stream tells.
async fn read(stream: Response, told: Arc<Mutex<Vec<u64>>>) {
    let mut chunks = stream.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = chunks.next().await {
        text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        while let Some(end) = text.find("\n\n") {
            let frame: String = text.drain(..end + 2).collect();
            assert!(!frame.contains("resync"), "a reader missed something: {frame}");
            let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
            told.lock().unwrap().extend(id.map(|id| id.parse::<u64>().unwrap()));
        }
    }
}

/// Waits until each reader was told the last change of its workspace, and sees that it was told each once, in their order. Gives how
/// many changes were told in all.
async fn told(cluster: &Cluster, primary: usize, database: &str, readers: &[Reader]) -> usize {
    let mut session = session(cluster, primary, database).await;
    let mut all = 0;
    for Reader {
        workspace, told: known, ..
    } in readers
    {
        let began = known.lock().unwrap()[0];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let expected: Vec<u64> = session
                .exec(
                    "SELECT DISTINCT c.sequence_no
                       FROM billing_limit_changes AS c
                       JOIN JSON_TABLE(c.changes, '$[*]' COLUMNS (subject_id BIGINT UNSIGNED PATH '$.subjectId')) AS j
                       JOIN billable_entities AS e ON e.id = j.subject_id
                      WHERE e.entity_ref = ? AND c.sequence_no > ?
                      ORDER BY c.sequence_no",
                    (format!("w{workspace}"), began),
                )
                .await
                .unwrap();
            let told = known.lock().unwrap()[1..].to_vec();
            if told.last() == expected.last() {
                assert_eq!(told, expected, "what the reader of w{workspace} was told");
                all += told.len();
                break;
            }
            assert!(
                Instant::now() < deadline,
                "w{workspace} was told {:?} of {:?}",
                told.last(),
                expected.last()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    all
}

/// Changes without a number, the first number, and how many there are.
async fn numbers(session: &mut Conn) -> (u64, u64, u64) {
    let numbers =
        "SELECT COUNT(*) - COUNT(c.sequence_no), MIN(c.sequence_no), COUNT(*) FROM billing_limit_changes AS c";
    session.query_first(numbers).await.unwrap().unwrap()
}

/// The last number, by the counter.
async fn told_to(session: &mut Conn) -> u64 {
    let last = "SELECT MAX(c.sequence_no) FROM billing_limit_changes AS c
                 HAVING MAX(c.sequence_no) = (SELECT n.last_sequence_no FROM billing_limit_change_counter AS n WHERE n.id = 1)";
    session.query_first(last).await.unwrap().unwrap()
}

/// A session of `root` with a member, in the database.
async fn session(cluster: &Cluster, place: usize, database: &str) -> Conn {
    let mut session = cluster.session(place).await;
    session.query_drop(format!("USE {database}")).await.unwrap();
    session
}

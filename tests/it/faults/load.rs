//! Callers that use something all the time, as applications should: each use has a key, and what was not answered is sent again with the same
//! key. They keep which keys were answered, and the ledger is compared with that.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::server::{Server, WORKSPACES};

/// How long a test waits for what must come on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller hangs up after this. No gateway may take as long.
const HANGS_UP_AFTER: Duration = Duration::from_secs(60);

/// Before the same use is sent again: far less than `Retry-After` says, so that the first moment at which it is taken is seen.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// Gateways that callers go to, by their addresses, which may change. Who is not heard at one goes to the next.
pub type Targets = Arc<Mutex<Vec<String>>>;

/// What all callers have seen.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    /// By caller: uses that were answered.
    answered: Vec<AtomicU64>,
    /// The slowest answer that was no use, since somebody asked.
    slowest_refusal: Mutex<Duration>,
    refusals: AtomicU64,
    /// Connections that broke, or were refused.
    cut: AtomicU64,
    /// Answers that should never come.
    wrong: Mutex<Vec<String>>,
}

/// Callers at work.
pub struct Load {
    seen: Arc<Seen>,
    targets: Targets,
    callers: Vec<JoinHandle<Keys>>,
    /// Limits that each use takes something of.
    codes: u64,
    /// What its keys begin with, as no other's do.
    prefix: String,
}

/// The keys of one caller.
struct Keys {
    answered: Vec<String>,
    /// It was sent, and what became of it nobody said.
    unanswered: Option<String>,
}

/// What a fault came to: one row of the table in docs/faults.md.
pub struct Count {
    pub answered: usize,
    pub found: usize,
    pub lost: usize,
    pub doubled: usize,
    pub refusals: u64,
    pub cut: u64,
}

impl Load {
    /// Begins with so many callers, who have the server's workspaces and `codes` in turn.
    pub fn start(server: &Server, urls: &[&str], callers: usize, codes: &[&str]) -> Load {
        let targets: Targets = Arc::new(Mutex::new(urls.iter().map(|url| (*url).to_owned()).collect()));
        let seen = Arc::new(Seen {
            answered: (0..callers).map(|_| AtomicU64::new(0)).collect(),
            ..Seen::default()
        });
        let prefix = format!("load-{:08x}-", getrandom::u32().unwrap());
        let client = Client::builder().timeout(HANGS_UP_AFTER).build().unwrap();
        let callers = (0..callers)
            .map(|number| {
                let caller = Caller {
                    number,
                    prefix: prefix.clone(),
                    codes: codes.iter().map(|code| (*code).to_owned()).collect(),
                    client: client.clone(),
                    key: server.service,
                    targets: targets.clone(),
                    seen: seen.clone(),
                };
                tokio::spawn(caller.run())
            })
            .collect();
        Load {
            seen,
            targets,
            callers,
            codes: codes.len() as u64,
            prefix,
        }
    }

    /// Where its callers go, for others who go there.
    pub fn targets(&self) -> Targets {
        self.targets.clone()
    }

    /// Says that a gateway is elsewhere now.
    pub fn moved(&self, place: usize, url: &str) {
        self.targets.lock().unwrap()[place] = url.to_owned();
    }

    /// Waits until so many more uses were answered.
    pub async fn more(&self, uses: u64) {
        let sum = || {
            self.seen
                .answered
                .iter()
                .map(|one| one.load(Ordering::Relaxed))
                .sum::<u64>()
        };
        let goal = sum() + uses;
        until("uses are answered", || sum() >= goal).await;
    }

    /// Waits until each caller was answered once more, and gives how long that took.
    pub async fn all_are_answered(&self) -> Duration {
        let begun = Instant::now();
        let now = || {
            let counters = self.seen.answered.iter();
            counters.map(|one| one.load(Ordering::Relaxed)).collect::<Vec<_>>()
        };
        let before = now();
        until("each caller is answered", || {
            before.iter().zip(now()).all(|(before, now)| *before < now)
        })
        .await;
        begun.elapsed()
    }

    /// Waits until so many more were told to come again.
    pub async fn refused(&self, times: u64) {
        let goal = self.seen.refusals.load(Ordering::Relaxed) + times;
        until("callers are refused", || {
            self.seen.refusals.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// How long the slowest refusal took since this was asked last.
    pub fn slowest_refusal(&self) -> Duration {
        std::mem::take(&mut *self.seen.slowest_refusal.lock().unwrap())
    }

    /// Ends it, and compares the ledger with what was answered.
    pub async fn end(self, server: &Server) -> Count {
        self.seen.is_over.store(true, Ordering::Relaxed);
        let (mut answered, mut unanswered) = (Vec::new(), HashSet::new());
        for caller in self.callers {
            let keys = caller.await.unwrap();
            answered.extend(keys.answered);
            unanswered.extend(keys.unanswered);
        }
        assert_eq!(*self.seen.wrong.lock().unwrap(), [""; 0]);
        let mut session = server.session().await;
        let mut found: HashMap<String, u64> = HashMap::new();
        let booked = "SELECT usage_event_key FROM billing_entitlement_consumptions WHERE usage_event_key LIKE ?";
        let like = format!("{}%", self.prefix);
        for key in session.exec::<String, _, _>(booked, (like,)).await.unwrap() {
            *found.entry(key).or_default() += 1;
        }
        // A part of a use is as bad as none.
        let is_whole = |key: &&String| found.get(*key).is_some_and(|times| *times >= self.codes);
        let lost = answered.iter().filter(|key| !is_whole(key)).count();
        let doubled = found.values().filter(|times| **times > self.codes).count();
        let tried: HashSet<&String> = answered.iter().chain(&unanswered).collect();
        let foreign: Vec<_> = found.keys().filter(|key| !tried.contains(key)).collect();
        assert!(foreign.is_empty(), "booked, and sent by nobody: {foreign:?}");
        assert_eq!(tried.len(), answered.len() + unanswered.len(), "a key was used twice");
        let differences: Vec<Row> = session.query("CALL entitlement_verify_v1(NULL)").await.unwrap();
        assert!(differences.is_empty(), "{differences:?}");
        let parts: Vec<_> = found.iter().filter(|(_, times)| **times < self.codes).collect();
        assert!(parts.is_empty(), "booked in part: {parts:?}");
        let found = answered.len() - lost + unanswered.iter().filter(is_whole).count();
        Count {
            answered: answered.len(),
            found,
            lost,
            doubled,
            refusals: self.seen.refusals.load(Ordering::Relaxed),
            cut: self.seen.cut.load(Ordering::Relaxed),
        }
    }
}

impl Count {
    /// Prints the row of a fault, and sees that nothing was lost or doubled.
    pub fn tell(&self, fault: &str, times: usize, beside: &str) {
        let Count {
            answered,
            found,
            lost,
            doubled,
            ..
        } = self;
        println!("\n| {fault} | {times} | {answered} | {found} | {lost} | {doubled} | {beside} |");
        assert_eq!((self.lost, self.doubled), (0, 0), "{fault}");
        assert!(self.answered > 0 && self.found >= self.answered, "{fault}");
    }
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

struct Caller {
    number: usize,
    prefix: String,
    codes: Vec<String>,
    client: Client,
    key: &'static str,
    targets: Targets,
    seen: Arc<Seen>,
}

/// What became of a request.
enum Heard {
    Accepted,
    ComeAgain,
    Nothing,
}

impl Caller {
    async fn run(self) -> Keys {
        let mut answered = Vec::new();
        let mut place = self.number;
        for use_no in 0_usize.. {
            let key = format!("{}{}-{use_no}", self.prefix, self.number);
            loop {
                if self.seen.is_over.load(Ordering::Relaxed) {
                    return Keys {
                        answered,
                        unanswered: Some(key),
                    };
                }
                match self.send(place, &key, use_no).await {
                    Heard::Accepted => break,
                    Heard::ComeAgain => sleep(SENT_AGAIN_AFTER).await,
                    Heard::Nothing => {
                        place += 1;
                        sleep(SENT_AGAIN_AFTER).await;
                    }
                }
            }
            answered.push(key);
            self.seen.answered[self.number].fetch_add(1, Ordering::Relaxed);
        }
        unreachable!("nobody uses so much")
    }

    async fn send(&self, place: usize, key: &str, use_no: usize) -> Heard {
        let url = {
            let targets = self.targets.lock().unwrap();
            targets[place % targets.len()].clone()
        };
        let codes: Vec<_> = (0..self.codes.len())
            .map(|index| json!({"limitationCode": self.codes[(self.number + use_no + index) % self.codes.len()]}))
            .collect();
        let asked = Instant::now();
        let request = self
            .client
            .post(format!("{url}/api/billing/consume"))
            .bearer_auth(self.key)
            .header("X-Workspace-Slug", format!("w{}", self.number % WORKSPACES))
            .header("Idempotency-Key", key)
            .json(&json!({"items": codes}));
        let Ok(response) = request.send().await else {
            self.seen.cut.fetch_add(1, Ordering::Relaxed);
            return Heard::Nothing;
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").is_some_and(|after| after == "1");
        let Ok(body) = response.text().await else {
            self.seen.cut.fetch_add(1, Ordering::Relaxed);
            return Heard::Nothing;
        };
        match (status, retry_after) {
            (200, _) => Heard::Accepted,
            (503, true) => {
                self.seen.refusals.fetch_add(1, Ordering::Relaxed);
                let mut slowest = self.seen.slowest_refusal.lock().unwrap();
                *slowest = slowest.max(asked.elapsed());
                Heard::ComeAgain
            }
            _ => {
                self.seen.wrong.lock().unwrap().push(format!("{status}: {body}"));
                Heard::ComeAgain
            }
        }
    }
}

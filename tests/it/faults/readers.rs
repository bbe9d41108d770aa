//! Readers of realtime events, as browsers are: whose stream ends comes again, perhaps elsewhere, and says what it had last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use reqwest::Client;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::load::{Targets, until};
use super::server::{Server, WORKSPACES};
use crate::support::gateway::Events;

/// Before a reader comes again. Browsers wait for longer.
const COMES_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// One reader.
struct Reader {
    /// The id of each event, as it came.
    heard: Mutex<Vec<u64>>,
    /// What else came.
    wrong: Mutex<Vec<String>>,
    streams: AtomicUsize,
}

/// Readers at work: of each of the server's workspaces in turn, and of each gateway in turn.
pub struct Readers {
    all: Vec<Arc<Reader>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Readers {
    /// So many, from the first event on. Returns when each has a stream.
    pub async fn start(server: &Server, targets: &Targets, count: usize) -> Readers {
        let client = Client::new();
        let (all, tasks): (Vec<_>, Vec<_>) = (0..count)
            .map(|number| {
                let reader = Arc::new(Reader {
                    heard: Mutex::default(),
                    wrong: Mutex::default(),
                    streams: AtomicUsize::new(0),
                });
                let (client, targets, key) = (client.clone(), targets.clone(), server.service);
                let task = tokio::spawn(read(reader.clone(), number, client, targets, key));
                (reader, task)
            })
            .unzip();
        let has_stream = |reader: &Arc<Reader>| reader.streams.load(Ordering::Relaxed) > 0;
        until("each reader has a stream", || all.iter().all(has_stream)).await;
        Readers { all, tasks }
    }

    /// How many streams each has had, in the order of the readers.
    pub fn streams(&self) -> Vec<usize> {
        let all = self.all.iter();
        all.map(|reader| reader.streams.load(Ordering::Relaxed)).collect()
    }

    /// Ends them when each has heard all changes of its workspace, once and in their order. Gives how many changes there were.
    pub async fn end(self, server: &Server) -> usize {
        server
            .until(
                "all changes have numbers",
                "SELECT COUNT(*) = 0 FROM billing_limit_changes WHERE sequence_no IS NULL",
            )
            .await;
        let changes: Vec<(u64, usize)> = server
            .session()
            .await
            .query(
                "SELECT c.sequence_no, j.subject_id
                   FROM billing_limit_changes AS c
                   JOIN JSON_TABLE(c.changes, '$[*]' COLUMNS (subject_id BIGINT UNSIGNED PATH '$.subjectId')) AS j
                  ORDER BY c.sequence_no",
            )
            .await
            .unwrap();
        let of_workspace: Vec<Vec<u64>> = (0..WORKSPACES)
            .map(|workspace| {
                let its = changes.iter().filter(|(_, subject)| *subject == workspace + 1);
                its.map(|(sequence_no, _)| *sequence_no).collect()
            })
            .collect();
        let expected = |number: usize| &of_workspace[number % WORKSPACES];
        let all_are_there = || {
            let mut all = self.all.iter().enumerate();
            all.all(|(number, reader)| reader.heard.lock().unwrap().len() >= expected(number).len())
        };
        until("each reader hears all", all_are_there).await;
        for (number, reader) in self.all.iter().enumerate() {
            assert_eq!(*reader.wrong.lock().unwrap(), [""; 0], "reader {number}");
            assert_eq!(*reader.heard.lock().unwrap(), *expected(number), "reader {number}");
        }
        for task in self.tasks {
            task.abort();
        }
        changes.len()
    }
}

async fn read(reader: Arc<Reader>, number: usize, client: Client, targets: Targets, key: &'static str) {
    let mut place = number;
    let mut last = "0".to_owned();
    loop {
        let url = {
            let targets = targets.lock().unwrap();
            targets[place % targets.len()].clone()
        };
        let request = client
            .get(format!(
                "{url}/api/realtime/events?topic=workspace_billing_limits&surface=app"
            ))
            .bearer_auth(key)
            .header("X-Workspace-Slug", format!("w{}", number % WORKSPACES))
            .header("Last-Event-ID", &last);
        if let Ok(response) = request.send().await
            && response.status() == 200
        {
            reader.streams.fetch_add(1, Ordering::Relaxed);
            let mut events = Events::new(response);
            while let Some(frame) = events.read().await {
                if frame.event == "workspace.billing.limits.updated" {
                    reader.heard.lock().unwrap().push(frame.id.parse().unwrap());
                    last = frame.id;
                } else {
                    reader.wrong.lock().unwrap().push(format!("{frame:?}"));
                }
            }
        }
        place += 1;
        sleep(COMES_AGAIN_AFTER).await;
    }
}

//! `GET /api/realtime/events`: changes as they are committed, as `text/event-stream`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json as value};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use warp::reply::{Reply, Response};
use warp::{Filter, path};

use super::caller::Needs;
use super::description::{Description, Operation, shapes};
use super::problem::{Problem, Transport};
use super::request::{Answer, Request, request};
use super::{Gateway, told_to_stop, views};
use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::{self, Change, ChangedWorkspace};
use crate::relay::{FellBehind, Subscription};

/// Silence after which a comment is sent: less than the half minute after which the stingiest proxies hang up.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// How long a stream lasts at most. The reader comes again, misses nothing, and must prove again who it is: a key that was
/// revoked hears for this long at most.
const STREAM_LIFETIME: Duration = Duration::from_secs(3_600);

/// Changes from the relay's position up to which a reader is brought up to date; beyond it, to refetch is cheaper for both.
const BACKFILL_CHANGES: u64 = 10_000;

/// Frames between a reader's task and its connection. The connection's own buffer comes on top.
const FRAMES: usize = 8;

/// Milliseconds after which readers come again when the gateway stops: as long as a restart takes …
const COME_AGAIN_AFTER: u32 = 500;

/// … and spread over so many more, for there may be thousands.
const COME_AGAIN_WITHIN: u32 = 2_000;

/// What can be heard of.
const TOPIC: &str = "workspace_billing_limits";

/// The event that says which limits have changed.
const UPDATED: &str = "workspace.billing.limits.updated";

/// The event that says that more was missed than is told.
const RESYNC: &str = "resync";

/// The routes of the family.
pub fn routes(gateway: &Arc<Gateway>) -> BoxedFilter<(Response,)> {
    path!("api" / "realtime" / "events")
        .and(request(gateway))
        .then(|request: Request| request.answer("GET", events))
        .boxed()
}

/// What the route takes and answers.
pub fn describe(description: &mut Description) {
    let events = Operation::get(
        "events",
        "/api/realtime/events",
        "Every change of a workspace's limits, as it is committed",
    );
    // Empty counts as none.
    let resume = || value!({"type": "string"});
    description.add(
        events
            .by(Needs::Workspace)
            .or_by("accessToken")
            .required("query", "topic", "What to hear of", value!({"enum": [TOPIC]}))
            .required(
                "query",
                "surface",
                "On which pages; admin wants workspace.billing.manage",
                value!({"enum": ["app", "admin"]}),
            )
            .parameter(
                "header",
                "Last-Event-ID",
                "Resumes after this event; what is no id of ours begins with a resync",
                resume(),
            )
            .parameter("query", "lastEventId", "The same, for who can set no header", resume())
            .subject()
            .answers_as(
                200,
                "It ends when the token does, and after an hour",
                "text/event-stream",
                event(),
            ),
    );
}

/// The schema of one event of the stream.
fn event() -> Value {
    value!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "event": {"enum": [UPDATED, RESYNC]},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"oneOf": [shapes::of::<views::LimitsUpdated>(), {"type": "object", "maxProperties": 0}]},
            },
        },
        "required": ["id", "event", "data"],
    })
}

async fn events(request: Request) -> Answer {
    if request.query("topic").as_deref() != Some(TOPIC) {
        return Err(Problem::field("topic", &format!("must be {TOPIC}")));
    }
    let needs_billing = match request.query("surface").as_deref() {
        Some("app") => false,
        Some("admin") => true,
        _ => return Err(Problem::field("surface", "must be app or admin")),
    };
    let caller = request.listener(Needs::Workspace).await?;
    if needs_billing && !caller.manages_billing() {
        return Err(Problem::transport(Transport::Forbidden, ""));
    }
    let gateway = request.gateway.clone();
    let entity = request.entity().await?;
    let workspace = entity.workspace_id.zip(entity.workspace_slug);
    let Some(workspace) = workspace.map(|(id, slug)| ChangedWorkspace { id, slug }) else {
        let text = "has no workspace whose changes could be told";
        return Err(Problem::field("billableEntityId", text));
    };
    let resume_after = match request.header("last-event-id")? {
        Some(id) => Some(id.to_owned()),
        None => request.query("lastEventId"),
    };
    let place = gateway
        .readers
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::transport(Transport::Overloaded, "Too many readers"))?;

    let subscription = gateway.relay.subscribe(workspace.id);
    let start = match resume_after {
        None => Start::Here,
        // What is no number was never an id of ours.
        Some(id) => id.parse().map_or(Start::Lost, Start::After),
    };
    // Who comes with a token comes again with the next one.
    let lifetime = caller
        .remaining()
        .map_or(STREAM_LIFETIME, |left| left.min(STREAM_LIFETIME));
    let (frames, stream) = mpsc::channel(FRAMES);
    let mut reader = Reader {
        gateway,
        workspace,
        subscription,
        told: 0,
        frames,
        _place: place,
    };
    tokio::spawn(async move {
        let closed = reader.frames.clone();
        let mut shutdown = reader.gateway.shutdown.clone();
        tokio::select! {
            () = reader.run(start) => (),
            () = closed.closed() => (),
            () = sleep(lifetime) => (),
            // Others, and this gateway's next run, are there for it; not all of them in the same instant.
            () = told_to_stop(&mut shutdown) => reader.say_come_again(),
        }
    });

    let stream = ReceiverStream::new(stream).map(Ok::<String, Infallible>);
    let mut response = warp::reply::stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back to fill a buffer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a reader begins.
enum Start {
    /// It is new.
    Here,
    /// It has all up to this sequence number.
    After(u64),
    /// It was somewhere that nobody knows.
    Lost,
}

/// One reader's side of its stream.
struct Reader {
    gateway: Arc<Gateway>,
    workspace: ChangedWorkspace,
    subscription: Subscription,
    /// All up to this sequence number was told.
    told: u64,
    frames: mpsc::Sender<String>,
    _place: OwnedSemaphorePermit,
}

/// The connection is gone, or the database is: nothing more to tell. The reader comes again, and resumes.
struct Ended;

impl Reader {
    async fn run(&mut self, start: Start) {
        // The end of the stream is all that its reader can be told.
        let Err(Ended) = self.tell(start).await;
    }

    async fn tell(&mut self, start: Start) -> Result<std::convert::Infallible, Ended> {
        // Something at once, so that proxies and clients see the stream open.
        self.send(": listening\n\n".into()).await?;
        match start {
            Start::Here => {
                self.told = self.subscription.position();
                // An id without data dispatches nothing, but from here the browser resumes.
                self.send(format!("id: {}\n\n", self.told)).await?;
            }
            Start::After(sequence_no) => match self.missed(sequence_no).await {
                Ok(Some(changes)) => {
                    self.told = sequence_no;
                    for change in changes {
                        self.update(&change).await?;
                    }
                    // Above the position, if another gateway, which is a little ahead, told the reader more.
                    self.told = self.told.max(self.subscription.position());
                }
                Ok(None) => self.resync().await?,
                Err(error) => {
                    tracing::warn!(%error, "a reader could not be brought up to date");
                    return Err(Ended);
                }
            },
            Start::Lost => self.resync().await?,
        }
        let first_comment = tokio::time::Instant::now() + COMMENT_EVERY;
        let mut comments = interval_at(first_comment, COMMENT_EVERY);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = self.subscription.next() => match change {
                    Ok(change) => self.update(&change).await?,
                    Err(FellBehind) => {
                        self.subscription = self.gateway.relay.subscribe(self.workspace.id);
                        self.resync().await?;
                    }
                },
                _ = comments.tick() => self.send(": here\n\n".into()).await?,
            }
        }
    }

    /// What the workspace's readers were told after `sequence_no` and before this subscription. `None` when that is not
    /// known any more, or too much.
    async fn missed(&self, sequence_no: u64) -> Result<Option<Vec<Change>>, Error> {
        let position = self.subscription.position();
        // Ahead, too: another gateway may be, but only a little.
        match sequence_no.abs_diff(position) {
            0 => Ok(Some(Vec::new())),
            1..=BACKFILL_CHANGES => {
                let database = &self.gateway.database;
                missed(database, self.workspace.id, sequence_no, position).await
            }
            _ => Ok(None),
        }
    }

    async fn update(&mut self, change: &Change) -> Result<(), Ended> {
        if change.sequence_no <= self.told {
            return Ok(());
        }
        // A change of every workspace is, to its reader, one of his.
        let workspace = change.workspace.as_ref().unwrap_or(&self.workspace);
        let data = serde_json::to_string(&views::LimitsUpdated::new(workspace, change)).map_err(|_| Ended)?;
        let id = change.sequence_no;
        self.send(format!("id: {id}\nevent: {UPDATED}\ndata: {data}\n\n"))
            .await?;
        self.told = id;
        Ok(())
    }

    /// Tells the reader to refetch. What comes after the subscription's position comes as always.
    async fn resync(&mut self) -> Result<(), Ended> {
        self.told = self.subscription.position();
        self.send(format!("id: {}\nevent: {RESYNC}\ndata: {{}}\n\n", self.told))
            .await
    }

    /// Tells the reader in how many milliseconds to come again. Who has not read what was told before finds the end of the stream.
    fn say_come_again(&self) {
        let random = getrandom::u32().unwrap_or_default() % COME_AGAIN_WITHIN;
        let _ = self
            .frames
            .try_send(format!("retry: {}\n\n", COME_AGAIN_AFTER + random));
    }

    async fn send(&self, frame: String) -> Result<(), Ended> {
        self.frames.send(frame).await.map_err(|_| Ended)
    }
}

/// Reads a workspace's changes after `sequence_no` up to `position`; `None` when some of them are no longer kept, or when
/// the outbox never came to `sequence_no`.
async fn missed(
    database: &Database,
    workspace_id: u64,
    sequence_no: u64,
    position: u64,
) -> Result<Option<Vec<Change>>, Error> {
    let mut missed = Vec::new();
    let mut after = sequence_no;
    loop {
        let limit = BACKFILL_CHANGES as u32;
        let (outbox, changes) = entitlement::changes_since(database, Some(after), Some(workspace_id), limit).await?;
        if !outbox.goes_on_after(after) {
            return Ok(None);
        }
        missed.extend(changes.into_iter().filter(|change| change.sequence_no <= position));
        after = outbox.read_to_sequence_no;
        if after >= position || after == outbox.last_sequence_no {
            return Ok(Some(missed));
        }
    }
}

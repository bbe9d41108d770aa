//! Tails the outbox of changes and fans them out to the readers of each workspace.
//!
//! The outbox alone is the source: what another gateway or a DBA commits arrives just as what this gateway commits. The
//! relay keeps one position. A change is handed to the channels, and the position moved past it, under one lock; a
//! subscription reads the position and joins its channel under the same lock. So all that is at or below a subscription's
//! position is not in its channel, and all above it is: nothing is missed between what a reader fetches and what it is
//! sent, and nothing comes twice.

mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, broadcast, watch};

use crate::database::Database;
use crate::error::Error;
use crate::procedures::entitlement::{self, Change};

/// Changes that a reader may be behind before it is told to refetch: two full polls, so that no single one, such as the
/// first after an outage, pushes out a reader that keeps up.
const CHANNEL_CHANGES: usize = 2 * tail::POLL_CHANGES as usize;

/// Silence of the outbox after which the relay no longer counts as current: some 50 polls.
const CURRENT_WITHIN: Duration = Duration::from_secs(5);

/// The hub between the outbox and the readers. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Relay {
    hub: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    state: Mutex<State>,
    written: Notify,
    /// The first reader has come.
    joined: Notify,
    /// The position again, for those who only want to know that it moved.
    moves: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// The last sequence number that was handed out.
    position: u64,
    /// By workspace id; a workspace without readers has none, and its changes go nowhere.
    channels: HashMap<u64, broadcast::Sender<Arc<Change>>>,
    /// When the outbox was last read to its end.
    current_at: Instant,
}

impl Relay {
    /// A relay that stands where the outbox stands now. It moves while [`Relay::run`] runs.
    ///
    /// # Errors
    /// When the database does not say where the outbox stands.
    pub async fn start(database: &Database) -> Result<Relay, Error> {
        let (outbox, _) = entitlement::changes_since(database, None, None, 1).await?;
        Ok(Relay::at(outbox.last_sequence_no))
    }

    fn at(position: u64) -> Relay {
        Relay {
            hub: Arc::new(Hub {
                state: Mutex::new(State {
                    position,
                    channels: HashMap::new(),
                    current_at: Instant::now(),
                }),
                written: Notify::new(),
                joined: Notify::new(),
                moves: watch::Sender::new(position),
            }),
        }
    }

    /// Says that this gateway has committed a change, so that the outbox is read now and not at the next poll.
    pub fn written(&self) {
        self.hub.written.notify_one();
    }

    /// Moves whenever a change was handed out, whosever it is.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.hub.moves.subscribe()
    }

    /// Whether readers hear of changes as they come.
    pub fn is_current(&self) -> bool {
        self.lag() < CURRENT_WITHIN
    }

    /// How long ago the outbox was last read to its end.
    pub fn lag(&self) -> Duration {
        self.hub.lock().current_at.elapsed()
    }

    /// The last sequence number that was handed out.
    pub fn position(&self) -> u64 {
        self.hub.lock().position
    }

    /// Joins the readers of a workspace, from the relay's present position on.
    pub fn subscribe(&self, workspace_id: u64) -> Subscription {
        let mut state = self.hub.lock();
        if state.channels.is_empty() {
            self.hub.joined.notify_one();
        }
        let channel = state
            .channels
            .entry(workspace_id)
            .or_insert_with(|| broadcast::Sender::new(CHANNEL_CHANGES));
        let receiver = channel.subscribe();
        Subscription {
            hub: self.hub.clone(),
            workspace_id,
            position: state.position,
            receiver,
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed, so a panic in it spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands changes out, in their order, and moves to `position`.
    fn publish(&self, changes: Vec<Change>, position: u64, is_end: bool) {
        let mut state = self.lock();
        for change in changes {
            let change = Arc::new(change);
            // Without a reader there is nobody to miss it; the last one that leaves removes the channel.
            let tell = |channel: &broadcast::Sender<_>| drop(channel.send(change.clone()));
            match &change.workspace {
                Some(workspace) => state.channels.get(&workspace.id).into_iter().for_each(tell),
                None => state.channels.values().for_each(tell),
            }
        }
        state.position = position;
        if is_end {
            state.current_at = Instant::now();
        }
        drop(state);
        self.moved_to(position);
    }

    /// Whether anybody would hear of a change.
    fn has_readers(&self) -> bool {
        !self.lock().channels.is_empty()
    }

    /// Moves to `position` without handing anything out, unless a reader has come meanwhile, who is owed what lies between.
    fn skip_to(&self, position: u64) -> bool {
        let mut state = self.lock();
        if !state.channels.is_empty() {
            return false;
        }
        state.position = position;
        state.current_at = Instant::now();
        drop(state);
        self.moved_to(position);
        true
    }

    /// Goes to a position that does not follow from the present one: a lower one, of another or an older database, or one
    /// beyond changes that are not kept any more. All readers lose their channel and are told.
    fn restart_at(&self, position: u64) {
        let mut state = self.lock();
        state.channels.clear();
        state.position = position;
        drop(state);
        self.moved_to(position);
    }

    fn moved_to(&self, position: u64) {
        self.moves
            .send_if_modified(|last| std::mem::replace(last, position) != position);
    }
}

/// A place among the readers of one workspace. Leaving is dropping it.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    workspace_id: u64,
    position: u64,
    receiver: broadcast::Receiver<Arc<Change>>,
}

/// Changes were lost to a reader: it did not keep up, the database went back to an older state, or they were not kept until
/// the relay could read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FellBehind;

impl Subscription {
    /// The sequence number after which this subscription hears every change.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next change. Can be cancelled without losing one.
    ///
    /// # Errors
    /// [`FellBehind`]: subscribe again.
    pub async fn next(&mut self) -> Result<Arc<Change>, FellBehind> {
        self.receiver.recv().await.map_err(|_| FellBehind)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        // This subscription still counts. It may be of a channel that `restart_at` has replaced; then the other one stays,
        // unless nobody reads it either.
        let is_last = state.channels.get(&self.workspace_id).is_some_and(|channel| {
            let own = usize::from(self.receiver.same_channel(&channel.subscribe()));
            channel.receiver_count() <= own
        });
        if is_last {
            state.channels.remove(&self.workspace_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedures::entitlement::ChangedWorkspace;

    fn change(sequence_no: u64, workspace_id: u64) -> Change {
        let slug = format!("workspace-{workspace_id}");
        Change {
            workspace: Some(ChangedWorkspace { id: workspace_id, slug }),
            ..change_of_all(sequence_no)
        }
    }

    fn change_of_all(sequence_no: u64) -> Change {
        Change {
            sequence_no,
            workspace: None,
            codes: vec!["projects.max".into()],
            change_source: "consumption".into(),
            changed_at: chrono::DateTime::UNIX_EPOCH.naive_utc(),
        }
    }

    #[tokio::test]
    async fn a_reader_gets_its_workspaces_changes_from_its_position_on() {
        let relay = Relay::at(7);
        relay.hub.publish(vec![change(8, 1)], 8, true);
        let mut reader = relay.subscribe(1);
        assert_eq!(reader.position(), 8);
        relay.hub.publish(vec![change(9, 2), change(10, 1)], 10, true);
        assert_eq!(reader.next().await.unwrap().sequence_no, 10);
        assert_eq!(relay.subscribe(1).position(), 10);
    }

    #[tokio::test]
    async fn a_change_of_every_workspace_goes_to_every_reader() {
        let relay = Relay::at(0);
        let (mut one, mut two) = (relay.subscribe(1), relay.subscribe(2));
        relay.hub.publish(vec![change_of_all(1), change(2, 2)], 2, true);
        assert_eq!(one.next().await.unwrap().sequence_no, 1);
        assert_eq!(two.next().await.unwrap().sequence_no, 1);
        assert_eq!(two.next().await.unwrap().sequence_no, 2);
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told() {
        let relay = Relay::at(0);
        let mut reader = relay.subscribe(1);
        let changes = (1..=CHANNEL_CHANGES as u64 + 1).map(|n| change(n, 1));
        relay.hub.publish(changes.collect(), CHANNEL_CHANGES as u64 + 1, true);
        assert_eq!(reader.next().await, Err(FellBehind));
    }

    #[tokio::test]
    async fn going_back_tells_every_reader() {
        let relay = Relay::at(50);
        let mut reader = relay.subscribe(1);
        relay.hub.restart_at(3);
        assert_eq!(reader.next().await, Err(FellBehind));
        let mut again = relay.subscribe(1);
        assert_eq!(again.position(), 3);
        drop(reader);
        relay.hub.publish(vec![change(4, 1)], 4, true);
        assert_eq!(again.next().await.unwrap().sequence_no, 4);
    }

    #[test]
    fn what_nobody_reads_is_skipped_and_a_reader_misses_nothing() {
        let relay = Relay::at(7);
        assert!(relay.hub.skip_to(20));
        let reader = relay.subscribe(1);
        assert_eq!(reader.position(), 20);
        assert!(!relay.hub.skip_to(30), "what lies between is the reader's");
        assert_eq!(relay.position(), 20);
        drop(reader);
        assert!(relay.hub.skip_to(30));
    }

    #[test]
    fn a_workspace_without_readers_costs_nothing() {
        let relay = Relay::at(0);
        let (one, two) = (relay.subscribe(1), relay.subscribe(1));
        drop(one);
        assert_eq!(relay.hub.lock().channels.len(), 1);
        drop(two);
        assert_eq!(relay.hub.lock().channels.len(), 0);
    }
}

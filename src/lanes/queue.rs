//! What waits for the next call, and whose turn it is.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::procedures::entitlement::{EncodedRequest, Outcome};

/// Requests of one call. More share a commit only slightly better, and hold their locks longer.
pub(super) const CALL_REQUESTS: usize = 256;

/// Items of one call: some thirty milliseconds of work.
const CALL_ITEMS: usize = 2_000;

/// Bytes of one call, far below what any server takes in one packet.
const CALL_BYTES: usize = 1 << 20;

/// Requests that wait, of all subjects: at a few thousand a second, the last of them waits for a few seconds, and its client
/// still listens.
const MOST_REQUESTS: usize = 16_384;

/// Bytes that wait. A request without metadata has some two hundred.
const MOST_BYTES: usize = 16 << 20;

/// One of so many parts of the room is a subject's at most, so that there is some for the others.
const SHARE: usize = 2;

/// What becomes of a request: an outcome per item, or why none is known.
pub(super) type Decided = Result<Vec<Outcome>, Error>;

/// A request that waits for its call.
pub(super) struct Waiting {
    /// Whose line it stands in.
    pub subject_id: u64,
    /// What the log calls it.
    pub request_id: Option<String>,
    pub request: EncodedRequest,
    pub items: usize,
    pub answer: oneshot::Sender<Decided>,
}

/// The requests of all lanes. Each subject has a line, in order of arrival, and lines take turns. While requests of a line are being
/// decided, it stands still, so that calls beside each other never wait for each other's rows.
#[derive(Default)]
pub(super) struct Queue {
    lines: HashMap<u64, Line>,
    /// Each line that has requests and does not stand still, once.
    turns: VecDeque<u64>,
    requests: usize,
    /// Those of lines that do not stand still.
    ready: usize,
    bytes: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    stands_still: bool,
}

impl Queue {
    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.requests
    }

    /// Requests that the next call may take.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Puts a request at the end of its subject's line. Gives it back where there is no room.
    pub fn push(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        let bytes = waiting.request.bytes();
        let subject_id = waiting.subject_id;
        let (requests_of, bytes_of) = self
            .lines
            .get(&subject_id)
            .map_or((0, 0), |line| (line.waiting.len(), line.bytes));
        let has_room = self.requests < MOST_REQUESTS
            && self.bytes + bytes <= MOST_BYTES
            && requests_of < MOST_REQUESTS / SHARE
            && bytes_of + bytes <= MOST_BYTES / SHARE;
        if !has_room {
            return Err(waiting);
        }
        let line = self.lines.entry(subject_id).or_default();
        if !line.stands_still {
            self.ready += 1;
            if line.waiting.is_empty() {
                self.turns.push_back(subject_id);
            }
        }
        line.bytes += bytes;
        line.waiting.push_back(waiting);
        self.requests += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes what goes into the next call: one request of each line in turn, until the call is full. What nobody waits for any more
    /// is thrown away. One request goes however large it is. The lines of what is taken stand still until they are [moved on](Queue::move_on).
    pub fn take(&mut self) -> Vec<Waiting> {
        let mut taken: Vec<Waiting> = Vec::new();
        let (mut items, mut bytes) = (0, 0);
        while taken.len() < CALL_REQUESTS
            && let Some(subject_id) = self.turns.pop_front()
        {
            let Some(line) = self.lines.get_mut(&subject_id) else {
                continue;
            };
            let Some(next) = line.waiting.pop_front() else {
                self.lines.remove(&subject_id);
                continue;
            };
            let (its_bytes, its_items) = (next.request.bytes(), next.items);
            let is_wanted = !next.answer.is_closed();
            if is_wanted && !taken.is_empty() && (items + its_items > CALL_ITEMS || bytes + its_bytes > CALL_BYTES) {
                line.waiting.push_front(next);
                self.turns.push_front(subject_id);
                break;
            }
            line.bytes -= its_bytes;
            self.requests -= 1;
            self.ready -= 1;
            self.bytes -= its_bytes;
            if line.waiting.is_empty() {
                self.lines.remove(&subject_id);
            } else if is_wanted {
                self.turns.push_back(subject_id);
            } else {
                self.turns.push_front(subject_id);
            }
            if is_wanted {
                items += its_items;
                bytes += its_bytes;
                taken.push(next);
            }
        }
        let subjects: HashSet<u64> = taken.iter().map(|waiting| waiting.subject_id).collect();
        for subject_id in &subjects {
            let line = self.lines.entry(*subject_id).or_default();
            line.stands_still = true;
            self.ready -= line.waiting.len();
        }
        self.turns.retain(|turn| !subjects.contains(turn));
        taken
    }

    /// Lets a subject's line move again.
    pub fn move_on(&mut self, subject_id: u64) {
        let Some(line) = self.lines.get_mut(&subject_id).filter(|line| line.stands_still) else {
            return;
        };
        line.stands_still = false;
        self.ready += line.waiting.len();
        match line.waiting.is_empty() {
            true => drop(self.lines.remove(&subject_id)),
            false => self.turns.push_back(subject_id),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::procedures::entitlement::{ConsumeItem, ConsumeRequest};

    /// A request with a number of items, and whoever waits for it.
    pub fn request(subject_id: u64, key: &str, items: usize) -> (Waiting, oneshot::Receiver<Decided>) {
        let item = ConsumeItem {
            capability: None,
            limitation_code: Some("x".to_owned()),
            amount: None,
            reason_code: None,
            occurred_at: None,
            metadata: None,
        };
        let consume = ConsumeRequest {
            subject_id,
            usage_event_key: Some(key.to_owned()),
            request_id: None,
            items: vec![item; items],
        };
        let (answer, waits) = oneshot::channel();
        let request = consume.encode().unwrap();
        let waiting = Waiting {
            subject_id,
            request_id: None,
            request,
            items,
            answer,
        };
        (waiting, waits)
    }

    /// Puts requests of subjects in line; gives who waits for them.
    fn line_up(queue: &mut Queue, subjects: impl IntoIterator<Item = u64>) -> Vec<oneshot::Receiver<Decided>> {
        let pushed = subjects.into_iter().map(|subject| {
            let (waiting, waits) = request(subject, "key", 1);
            assert!(queue.push(waiting).is_ok());
            waits
        });
        pushed.collect()
    }

    /// Takes a call's requests, and has them decided.
    fn call(queue: &mut Queue) -> Vec<Waiting> {
        let taken = queue.take();
        for waiting in &taken {
            queue.move_on(waiting.subject_id);
        }
        taken
    }

    fn subjects(taken: &[Waiting]) -> Vec<u64> {
        taken.iter().map(|waiting| waiting.subject_id).collect()
    }

    #[test]
    fn lines_take_turns_and_go_on_where_the_last_call_ended() {
        let mut queue = Queue::default();
        let many = [[1; 300].as_slice(), &[2, 3, 2]].concat();
        let _waits = line_up(&mut queue, many);
        let first = subjects(&call(&mut queue));
        assert_eq!((first.len(), &first[..6]), (256, [1, 2, 3, 1, 2, 1].as_slice()));
        let _later = line_up(&mut queue, [4]);
        assert_eq!(subjects(&call(&mut queue)), [[1, 4].as_slice(), &[1; 46]].concat());
        assert_eq!(
            (queue.len(), queue.bytes, queue.lines.len(), queue.turns.len()),
            (0, 0, 0, 0)
        );
        assert!(call(&mut queue).is_empty());
    }

    #[test]
    fn within_a_line_the_first_goes_first() {
        let mut queue = Queue::default();
        let mut waits = Vec::new();
        for key in ["a", "b", "c"] {
            let (waiting, wait) = request(1, key, 1);
            assert!(queue.push(waiting).is_ok());
            waits.push(wait);
        }
        let json = |waiting: &Waiting| serde_json::to_value(&waiting.request).unwrap()["usageEventKey"].take();
        let keys: Vec<_> = call(&mut queue).iter().map(json).collect();
        assert_eq!(keys, ["a", "b", "c"]);
    }

    #[test]
    fn a_call_ends_before_the_item_that_would_be_too_many() {
        let mut queue = Queue::default();
        let mut waits = Vec::new();
        for items in [1_500, 500, 1, 3_000, 1] {
            let (waiting, wait) = request(1, "key", items);
            assert!(queue.push(waiting).is_ok());
            waits.push(wait);
        }
        let calls: Vec<Vec<usize>> = (0..4)
            .map(|_| call(&mut queue).iter().map(|waiting| waiting.items).collect())
            .collect();
        assert_eq!(calls, [vec![1_500, 500], vec![1], vec![3_000], vec![1]]);
        // Neither do bytes.
        let long = "k".repeat(CALL_BYTES / 2);
        for _ in 0..2 {
            let (waiting, wait) = request(1, &long, 1);
            assert!(queue.push(waiting).is_ok());
            waits.push(wait);
        }
        assert_eq!([call(&mut queue).len(), call(&mut queue).len()], [1, 1]);
    }

    #[test]
    fn there_is_room_for_others_beside_a_subject_that_has_taken_its_share() {
        let mut queue = Queue::default();
        let share = MOST_REQUESTS / SHARE;
        let mut waits = line_up(&mut queue, std::iter::repeat_n(1, share));
        assert!(queue.push(request(1, "key", 1).0).is_err());
        waits.extend(line_up(&mut queue, std::iter::repeat_n(2, share)));
        assert!(queue.push(request(3, "key", 1).0).is_err());
        assert_eq!(call(&mut queue).len(), CALL_REQUESTS);
        waits.extend(line_up(&mut queue, [3, 1]));

        let mut queue = Queue::default();
        let long = "k".repeat(MOST_BYTES / SHARE - 500);
        let (waiting, _wait) = request(1, &long, 1);
        assert!(queue.push(waiting).is_ok());
        assert!(queue.push(request(1, &"k".repeat(500), 1).0).is_err());
        let (waiting, _wait) = request(2, &long, 1);
        assert!(queue.push(waiting).is_ok());
        assert!(queue.push(request(3, &"k".repeat(1_000), 1).0).is_err());
    }

    #[test]
    fn what_nobody_waits_for_is_not_called() {
        let mut queue = Queue::default();
        let mut waits = line_up(&mut queue, [1, 1, 2, 3, 1]);
        waits.remove(3);
        waits.remove(0);
        assert_eq!(queue.len(), 5);
        assert_eq!(subjects(&call(&mut queue)), [1, 2, 1]);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn a_line_stands_still_while_requests_of_it_are_decided() {
        let mut queue = Queue::default();
        let mut waits = line_up(&mut queue, [1, 2, 1]);
        assert_eq!(subjects(&queue.take()), [1, 2, 1]);
        waits.extend(line_up(&mut queue, [1, 3, 1, 4, 2]));
        assert_eq!((queue.ready(), queue.len()), (2, 5));
        assert_eq!(subjects(&queue.take()), [3, 4]);
        assert_eq!(queue.ready(), 0);
        assert!(queue.take().is_empty());
        queue.move_on(1);
        waits.extend(line_up(&mut queue, [3, 1]));
        assert_eq!((queue.ready(), queue.len()), (3, 5));
        assert_eq!(subjects(&queue.take()), [1, 1, 1]);
        for subject in 1..=4 {
            queue.move_on(subject);
        }
        assert_eq!(subjects(&call(&mut queue)), [2, 3]);
        assert_eq!((queue.len(), queue.ready(), queue.bytes), (0, 0, 0));
        assert!(queue.lines.is_empty() && queue.turns.is_empty());
    }
}

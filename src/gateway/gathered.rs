//! Questions that are asked together. Whoever asks while others are being answered waits for the next call, which is about all who wait by then: an
//! answer is never older than its question, an idle gateway asks at once, and a busy one asks for many at the price of a few.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::error::Error;

/// Questions of one call.
const CALL_QUESTIONS: usize = 64;

/// Calls at once: while one is answered, the next one is on its way.
const CALLS_AT_ONCE: usize = 2;

type Asked<Q, A> = (Q, oneshot::Sender<Result<A, Error>>);

/// Who waits for the next call. It keeps no answer. What may wait is bounded by the requests that may be under way.
pub(super) struct Gathered<Q, A> {
    state: Mutex<State<Q, A>>,
}

struct State<Q, A> {
    waiting: Vec<Asked<Q, A>>,
    calls: usize,
}

impl<Q, A> Default for Gathered<Q, A> {
    fn default() -> Self {
        let (waiting, calls) = (Vec::new(), 0);
        Gathered {
            state: Mutex::new(State { waiting, calls }),
        }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Gathered<Q, A> {
    /// The answer of a `call` that began after this was asked. A call gives as many answers as it is asked questions, in their order.
    ///
    /// # Errors
    /// As the call, for all who share it.
    pub(super) async fn ask<F>(
        self: &Arc<Self>,
        question: Q,
        call: impl Fn(Vec<Q>) -> F + Send + 'static,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Vec<A>, Error>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.push((question, answer));
            if state.calls < CALLS_AT_ONCE {
                state.calls += 1;
                tokio::spawn(Calls(self.clone()).serve(call));
            }
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::Internal("a call for several was lost".into())))
    }
}

impl<Q, A> Gathered<Q, A> {
    fn state(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that calls, for as long as somebody waits.
struct Calls<Q, A>(Arc<Gathered<Q, A>>);

impl<Q, A> Calls<Q, A> {
    async fn serve<F>(self, call: impl Fn(Vec<Q>) -> F)
    where
        F: Future<Output = Result<Vec<A>, Error>>,
    {
        while let Some(waiting) = self.take() {
            let (questions, askers): (Vec<Q>, Vec<_>) = waiting.into_iter().unzip();
            match AssertUnwindSafe(call(questions)).catch_unwind().await {
                Ok(Ok(answers)) => {
                    for (asker, answer) in askers.into_iter().zip(answers) {
                        // Some may have gone.
                        let _ = asker.send(Ok(answer));
                    }
                }
                Ok(Err(error)) => {
                    for asker in askers {
                        let _ = asker.send(Err(error.clone()));
                    }
                }
                // Those whom it was about are told so when their places go; the others have their call.
                Err(_) => tracing::error!("a call for several panicked"),
            }
        }
    }

    /// Those of the next call, without those who have gone. When nobody waits, this one is over, in the same instant.
    fn take(&self) -> Option<Vec<Asked<Q, A>>> {
        let mut state = self.0.state();
        state.waiting.retain(|(_, asker)| !asker.is_closed());
        if state.waiting.is_empty() {
            state.calls -= 1;
            return None;
        }
        let taken = state.waiting.len().min(CALL_QUESTIONS);
        Some(state.waiting.drain(..taken).collect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    type Numbers = Arc<Gathered<u32, u32>>;

    /// A call that has begun: what it is about, and how it ends.
    type Begun = (Vec<u32>, oneshot::Sender<Result<Vec<u32>, Error>>);

    /// Asks; calls are told to `begun` and end as the test says.
    fn ask(numbers: &Numbers, begun: &mpsc::UnboundedSender<Begun>, question: u32) -> JoinHandle<Result<u32, Error>> {
        let (numbers, begun) = (numbers.clone(), begun.clone());
        tokio::spawn(async move {
            let call = move |questions| {
                let (end, ended) = oneshot::channel();
                begun.send((questions, end)).unwrap();
                async { ended.await.expect("a test that says how it ends") }
            };
            numbers.ask(question, call).await
        })
    }

    fn doubled((questions, end): Begun) -> Vec<u32> {
        end.send(Ok(questions.iter().map(|question| 2 * question).collect()))
            .unwrap();
        questions
    }

    async fn until_waiting(numbers: &Numbers, count: usize) {
        while numbers.state().waiting.len() != count {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_asks_during_the_calls_is_in_the_next_one() {
        let numbers = Numbers::default();
        let (begun, mut calls) = mpsc::unbounded_channel();
        let mut askers = vec![ask(&numbers, &begun, 0)];
        let first = calls.recv().await.unwrap();
        askers.push(ask(&numbers, &begun, 1));
        let second = calls.recv().await.unwrap();
        assert_eq!((&first.0[..], &second.0[..]), (&[0][..], &[1][..]));
        for question in 2..102 {
            askers.push(ask(&numbers, &begun, question));
            until_waiting(&numbers, question as usize - 1).await;
        }
        // Who goes away is not asked for.
        askers.pop().unwrap().abort();
        doubled(first);
        let third = calls.recv().await.unwrap();
        assert_eq!(third.0, (2..66).collect::<Vec<_>>());
        doubled(second);
        let fourth = calls.recv().await.unwrap();
        assert_eq!(fourth.0, (66..101).collect::<Vec<_>>());
        doubled(third);
        doubled(fourth);
        for (question, asker) in (0..).zip(askers) {
            assert_eq!(asker.await.unwrap().unwrap(), 2 * question);
        }
        // Nobody calls any more, and whoever asks now is asked for.
        let late = ask(&numbers, &begun, 7);
        assert_eq!(doubled(calls.recv().await.unwrap()), [7]);
        assert_eq!(late.await.unwrap().unwrap(), 14);
    }

    #[tokio::test]
    async fn an_error_is_told_to_all_of_its_call_and_a_panic_blocks_nobody() {
        let numbers = Numbers::default();
        let (begun, mut calls) = mpsc::unbounded_channel();
        let one = ask(&numbers, &begun, 1);
        let (_, end) = calls.recv().await.unwrap();
        end.send(Err(Error::Unavailable("away".into()))).unwrap();
        assert_eq!(one.await.unwrap(), Err(Error::Unavailable("away".into())));
        for _ in 0..3 {
            let lost = ask(&numbers, &begun, 2);
            drop(calls.recv().await.unwrap());
            assert!(matches!(lost.await.unwrap(), Err(Error::Internal(_))));
        }
        let last = ask(&numbers, &begun, 3);
        doubled(calls.recv().await.unwrap());
        assert_eq!(last.await.unwrap().unwrap(), 6);
    }
}

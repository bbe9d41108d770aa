//! Drives workers, and counts what they did and how long each request took.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::Outcome;
use crate::machine::cpu_microseconds;

/// Before a measurement, so that statements are prepared, pages read and connections made.
const WARM_UP: Duration = Duration::from_secs(1);

/// How much longer than it should a measurement may take before it has failed.
const SLACK: Duration = Duration::from_secs(120);

/// One that sends a request, waits for its answer, and sends the next.
pub trait Worker {
    /// One request. Gives how many uses, rows or whatever is counted it was good for.
    async fn once(&mut self) -> Outcome<u64>;
}

/// Whose CPU is counted beside the client's own.
#[derive(Clone, Copy)]
pub struct Processes {
    pub server: u32,
    pub gateway: Option<u32>,
}

/// Microseconds of CPU for one of what is counted.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    pub client: f64,
    pub gateway: f64,
    pub mysql: f64,
}

/// What a measurement came to.
pub struct Figures {
    /// Of what is counted.
    pub done: u64,
    pub elapsed: Duration,
    pub cpu: Cpu,
    /// Of each request, sorted.
    latencies: Vec<Duration>,
}

impl Figures {
    /// What was counted, in a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds that this part of a thousand of the requests took at most.
    pub fn milliseconds(&self, permille: usize) -> f64 {
        milliseconds(&self.latencies, permille)
    }
}

/// Of sorted times, what this part of a thousand took at most.
pub fn milliseconds(sorted: &[Duration], permille: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (sorted.len() * permille / 1_000).min(last);
    sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

/// Drives all workers at once, for a time.
pub async fn drive<W: Worker>(workers: &mut [W], processes: Processes, time: Duration) -> Outcome<Figures> {
    timeout(WARM_UP + SLACK, until(workers, processes, sleep(WARM_UP))).await??;
    let (figures, ()) = timeout(time + SLACK, until(workers, processes, sleep(time))).await??;
    Ok(figures)
}

/// Drives all workers at once until `end`; requests that are under way are finished, and counted.
pub async fn until<W: Worker, T>(
    workers: &mut [W],
    processes: Processes,
    end: impl Future<Output = T>,
) -> Outcome<(Figures, T)> {
    let over = Cell::new(false);
    let cpu = Usage::now(processes)?;
    let begun = Instant::now();
    let work = try_join_all(workers.iter_mut().map(|worker| async {
        let (mut done, mut latencies) = (0, Vec::new());
        while !over.get() {
            let sent = Instant::now();
            done += worker.once().await?;
            latencies.push(sent.elapsed());
        }
        Outcome::Ok((done, latencies))
    }));
    let end = async {
        let ended = end.await;
        over.set(true);
        Ok(ended)
    };
    let (counts, ended) = tokio::try_join!(work, end)?;
    let elapsed = begun.elapsed();
    let done = counts.iter().map(|(done, _)| done).sum();
    let mut latencies: Vec<Duration> = counts.into_iter().flat_map(|(_, latencies)| latencies).collect();
    latencies.sort();
    let cpu = Usage::now(processes)?.since(&cpu, done);
    Ok((
        Figures {
            done,
            elapsed,
            cpu,
            latencies,
        },
        ended,
    ))
}

/// CPU used by now, in microseconds.
struct Usage {
    client: u64,
    gateway: u64,
    mysql: u64,
}

impl Usage {
    fn now(processes: Processes) -> Outcome<Usage> {
        Ok(Usage {
            client: cpu_microseconds(std::process::id())?,
            gateway: processes.gateway.map_or(Ok(0), cpu_microseconds)?,
            mysql: cpu_microseconds(processes.server)?,
        })
    }

    /// What was used since `before`, for each of `done`.
    fn since(&self, before: &Usage, done: u64) -> Cpu {
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / done.max(1) as f64;
        Cpu {
            client: each(self.client, before.client),
            gateway: each(self.gateway, before.gateway),
            mysql: each(self.mysql, before.mysql),
        }
    }
}

//! What is counted while serving, and its text for Prometheus. Every label has a fixed set of values: no subject, key or secret is in any.
//!
//! Each gateway has meters of its own, not the process, so that tests read those of theirs.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::sleep;

/// Families of routes, each with what its paths begin with. What no other has is `other`, the last.
const FAMILIES: [(&str, &str); 7] = [
    ("billing", "/api/billing/"),
    ("console", "/api/console/"),
    ("realtime", "/api/realtime/"),
    ("health", "/healthz"),
    ("health", "/readyz"),
    ("health", "/metrics"),
    ("other", ""),
];

/// Classes of status, from 200 on.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the buckets of durations, in seconds: from a use of an idle gateway to the deadline of a call.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Requests of a lane's call.
const LANE_CALLS: &str = "consumable_lane_call_requests";

/// Upper bounds of its buckets: from an idle lane to a full call.
const CALL_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Time between two clearings of the samples of durations, which otherwise are kept one by one until somebody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// The meters of one gateway.
pub struct Meters {
    handle: PrometheusHandle,
    requests: Vec<(Histogram, [Counter; 4])>,
    leased: Counter,
    settled: Counter,
    failed: Counter,
    grants: Counter,
    consumptions: Counter,
    recomputes: Counter,
    readers: Gauge,
    relay_lag: Gauge,
    lane_depth: Gauge,
    lane_calls: Histogram,
}

/// What the gateway says of itself when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnFigures {
    /// Readers of realtime events.
    pub readers: u32,
    /// How old what they were told last is.
    pub relay_lag: Duration,
    /// Uses that wait for their lane's call.
    pub waiting: u32,
}

/// What the database says of itself when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseFigures {
    /// Balances that are set aside because they could not be settled.
    pub balances_aside: u32,
    /// How often in a row the worst of them has failed.
    pub highest_failure_count: u32,
    /// Balances that are due and not settled, 10,000 at most.
    pub balances_due: u32,
    /// For how long the oldest of them has been due.
    pub oldest_due: Duration,
    /// Changes that this gateway's readers have not been told.
    pub outbox_lag: u32,
}

impl Meters {
    /// Meters at 0.
    pub fn start() -> Meters {
        let recorder = recorder();
        let request = |family: &'static str| {
            (
                histogram!("consumable_request_duration_seconds", "family" => family),
                CLASSES.map(|class| counter!("consumable_requests_total", "family" => family, "class" => class)),
            )
        };
        with_local_recorder(&recorder, || Meters {
            handle: recorder.handle(),
            requests: FAMILIES.iter().map(|(family, _)| request(family)).collect(),
            leased: counter!("consumable_settlements_leased_total"),
            settled: counter!("consumable_settlements_settled_total"),
            failed: counter!("consumable_settlements_failed_total"),
            grants: counter!("entitlement_grant_insert_total"),
            consumptions: counter!("entitlement_consumption_insert_total"),
            recomputes: counter!("entitlement_projection_recompute_total"),
            readers: gauge!("consumable_readers"),
            relay_lag: gauge!("consumable_relay_lag_seconds"),
            lane_depth: gauge!("consumable_lane_depth_requests"),
            lane_calls: histogram!(LANE_CALLS),
        })
    }

    /// A request to `path` was answered with `status` after `elapsed`.
    pub fn answered(&self, path: &str, status: u16, elapsed: Duration) {
        let is_of = |(_, start): &(&str, &str)| path.starts_with(start);
        let family = FAMILIES.iter().position(is_of).unwrap_or(FAMILIES.len() - 1);
        let (durations, classes) = &self.requests[family];
        durations.record(elapsed);
        classes[usize::from(status / 100).clamp(2, 5) - 2].increment(1);
    }

    /// The scheduler took `leased` balances, of which it settled `settled` and set `failed` aside.
    pub fn settled(&self, leased: u32, settled: u32, failed: u32) {
        self.leased.increment(leased.into());
        self.settled.increment(settled.into());
        self.failed.increment(failed.into());
    }

    /// A grant was made.
    pub fn granted(&self) {
        self.grants.increment(1);
    }

    /// Uses were booked.
    pub fn consumed(&self, uses: usize) {
        self.consumptions.increment(uses as u64);
    }

    /// A lane calls for so many requests.
    // No amount, and 256 at most.
    pub fn called(&self, requests: usize) {
        self.lane_calls.record(requests as f64);
    }

    /// A subject's projections were made again from the ledger.
    pub fn recomputed(&self) {
        self.recomputes.increment(1);
    }

    /// All of it in Prometheus' text format, with what is so now. Without `database`, its figures are left out, and
    /// `consumable_database_up` is 0.
    pub fn render(&self, own: OwnFigures, database: Option<DatabaseFigures>) -> String {
        self.readers.set(own.readers);
        self.relay_lag.set(own.relay_lag);
        self.lane_depth.set(own.waiting);
        // Of this look only: what the database said before is nothing to repeat while it is away.
        let now = recorder();
        with_local_recorder(&now, || {
            gauge!("consumable_database_up").set(u32::from(database.is_some()));
            if let Some(database) = database {
                gauge!("consumable_balances_aside").set(database.balances_aside);
                gauge!("consumable_balances_aside_failures_max").set(database.highest_failure_count);
                gauge!("consumable_balances_due").set(database.balances_due);
                gauge!("consumable_balances_due_oldest_seconds").set(database.oldest_due);
                gauge!("consumable_outbox_lag_changes").set(database.outbox_lag);
            }
        });
        self.handle.render() + &now.handle().render()
    }

    /// Keeps the samples of durations few for as long as it is polled. It never ends by itself.
    pub async fn keep(&self) {
        loop {
            sleep(UPKEEP).await;
            self.handle.run_upkeep();
        }
    }
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Full(LANE_CALLS.into()), &CALL_BUCKETS))
        .expect("there are buckets")
        .build_recorder()
}

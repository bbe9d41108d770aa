//! What is counted while serving, and its text for Prometheus. Every label has a fixed set of values: no subject, key or secret is in any.
//!
//! Each gateway has meters of its own, not the process, so that tests read those of theirs.

use std::collections::HashMap;
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

/// Names of [`Enforced`], in its order.
const ENFORCED: [&str; 3] = ["consume", "check", "hold"];

/// Names of [`Recomputed`], in its order.
const RECOMPUTED: [&str; 2] = ["refresh", "boundary"];

/// Names of [`Repeated`], in its order.
const REPEATED: [&str; 4] = ["consume", "hold", "grant", "event"];

/// What decides whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// A use, with the time that it waits for its lane's call; a batch of them is one.
    Consume,
    /// A question what a use would be answered; a batch of them is one.
    Check,
    /// A hold.
    Hold,
}

/// Why balances were made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recomputed {
    /// An operator asked for it: all of a subject's, from the ledger.
    Refresh,
    /// A look of the scheduler found some that were due.
    Boundary,
}

/// What came again under a key that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// A use.
    Consume,
    /// A hold, its commit or its release.
    Hold,
    /// A grant of an operator.
    Grant,
    /// An event of the payment provider.
    Event,
}

/// What one look of the scheduler came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// Balances that it took.
    pub leased: u32,
    /// Those of them that it settled.
    pub settled: u32,
    /// Those that it set aside.
    pub failed: u32,
    /// Plans that became current.
    pub plans_applied: u32,
    /// Plans that could not, and are set aside.
    pub plans_failed: u32,
    /// How long the balances took.
    pub elapsed: Duration,
}

/// Time between two clearings of the samples of durations, which otherwise are kept one by one until somebody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// The meters of one gateway.
pub struct Meters {
    handle: PrometheusHandle,
    requests: Vec<(Histogram, [Counter; 4])>,
    leased: Counter,
    settled: Counter,
    failed: Counter,
    plans_applied: Counter,
    plans_failed: Counter,
    consumptions: Counter,
    recomputes: Counter,
    recompute_durations: [Histogram; 2],
    enforcements: [Histogram; 3],
    repetitions: [Counter; 4],
    refreshed: Counter,
    denials: HashMap<&'static str, Counter>,
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
    /// Connections that all but lanes share.
    pub calls: Connections,
    /// Connections of lanes.
    pub lanes: Connections,
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those there are.
    pub open: u32,
    /// Those that nobody uses.
    pub idle: u32,
    /// Callers that wait for one.
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
    /// Locks of resources and states that came or went, ever.
    pub lock_changes: u64,
    /// Grants, ever, by whomever; those that were undone with their transactions, too.
    pub grants: u64,
}

impl Meters {
    /// Meters at 0. `codes` are all that an answer can be refused with.
    pub fn start(codes: &[&'static str]) -> Meters {
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
            plans_applied: counter!("consumable_plan_changes_applied_total"),
            plans_failed: counter!("consumable_plan_changes_failed_total"),
            consumptions: counter!("entitlement_consumption_insert_total"),
            recomputes: counter!("entitlement_projection_recompute_total"),
            recompute_durations: RECOMPUTED
                .map(|cause| histogram!("entitlement_recompute_duration_seconds", "cause" => cause)),
            enforcements: ENFORCED
                .map(|operation| histogram!("entitlement_enforcement_duration_seconds", "operation" => operation)),
            repetitions: REPEATED.map(|operation| counter!("entitlement_dedupe_hit_total", "operation" => operation)),
            refreshed: counter!("entitlement_stale_balance_refresh_total"),
            denials: codes
                .iter()
                .map(|code| (*code, counter!("entitlement_denial_total", "code" => *code)))
                .collect(),
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

    /// The scheduler found something to do.
    pub fn looked(&self, look: &Looked) {
        self.leased.increment(look.leased.into());
        self.settled.increment(look.settled.into());
        self.failed.increment(look.failed.into());
        self.plans_applied.increment(look.plans_applied.into());
        self.plans_failed.increment(look.plans_failed.into());
        if look.leased > 0 {
            self.recompute_durations[Recomputed::Boundary as usize].record(look.elapsed);
        }
    }

    /// The database was asked whether there is room, and answered after `elapsed`, whatever it said.
    pub fn enforced(&self, what: Enforced, elapsed: Duration) {
        self.enforcements[what as usize].record(elapsed);
    }

    /// A read found so many balances due, and settled them first.
    pub fn refreshed(&self, balances: u32) {
        self.refreshed.increment(balances.into());
    }

    /// Something came again, and was answered as before.
    pub fn repeated(&self, what: Repeated) {
        self.repetitions[what as usize].increment(1);
    }

    /// A request, one of a batch or a check was answered with this code.
    pub fn denied(&self, code: &'static str) {
        if let Some(denials) = self.denials.get(code) {
            denials.increment(1);
        }
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

    /// A subject's projections were made again from the ledger, in `elapsed`.
    pub fn recomputed(&self, elapsed: Duration) {
        self.recomputes.increment(1);
        self.recompute_durations[Recomputed::Refresh as usize].record(elapsed);
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
            for (pool, connections) in [("calls", own.calls), ("lanes", own.lanes)] {
                gauge!("consumable_pool_connections_open", "pool" => pool).set(connections.open);
                gauge!("consumable_pool_connections_idle", "pool" => pool).set(connections.idle);
                gauge!("consumable_pool_waiting_calls", "pool" => pool).set(connections.waiting);
            }
            if let Some(database) = database {
                gauge!("consumable_balances_aside").set(database.balances_aside);
                gauge!("consumable_balances_aside_failures_max").set(database.highest_failure_count);
                gauge!("consumable_balances_due").set(database.balances_due);
                gauge!("consumable_balances_due_oldest_seconds").set(database.oldest_due);
                gauge!("consumable_outbox_lag_changes").set(database.outbox_lag);
                counter!("entitlement_lock_state_transition_total").absolute(database.lock_changes);
                counter!("entitlement_grant_insert_total").absolute(database.grants);
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

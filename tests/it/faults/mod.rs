//! Nothing that was answered is lost, whatever breaks. Each fault hits a server of its own, and a gateway that is a process of its own, in the
//! middle of load; afterwards each answered use is in the ledger once. docs/faults.md has the command that runs all of it, and the last table.

mod clock;
mod cut;
mod exhausted;
mod full;
mod gateway;
mod gateway_killed;
mod load;
mod mysqld_killed;
mod readers;
mod restarts;
mod server;
mod several;
mod stopped;
mod storm;

use std::fmt;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use self::gateway::Gateway;
use self::load::Load;

/// How a database that is away is to be borne, and what was measured of it.
#[derive(Clone, Copy)]
struct Outage {
    /// A request is refused within this at most.
    refuses_within: Duration,
    /// From the server's first answer until every caller has one, and the gateway is ready.
    back_within: Duration,
    refused: Duration,
    back: Duration,
    ready: Duration,
}

/// What the gateway promises.
const STRICT: Outage = Outage::within(4, 2);

/// Where a machine does other things, too.
const RELAXED: Outage = Outage::within(15, 15);

/// What the gateway promises, if this machine has little else to do.
fn strict_if_idle() -> Outage {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Option<f64> = load.split(' ').next().and_then(|load| load.parse().ok());
    match load {
        // The test before this one was some of it.
        Some(load) if load < 3.0 * cores as f64 => STRICT,
        _ => {
            println!("the machine is busy, and given more time");
            RELAXED
        }
    }
}

/// What needs the database, besides uses.
const REFUSED: [&str; 4] = [
    "/readyz",
    "/api/billing/limitations?workspaceSlug=w0",
    "/api/realtime/events?topic=workspace_billing_limits&surface=app&workspaceSlug=w0",
    "/api/console/billing/plans",
];

impl Outage {
    const fn within(refuses: u64, back: u64) -> Outage {
        Outage {
            refuses_within: Duration::from_secs(refuses),
            back_within: Duration::from_secs(back),
            refused: Duration::ZERO,
            back: Duration::ZERO,
            ready: Duration::ZERO,
        }
    }

    /// While the database is away: every request is refused in time, `/readyz` says so, `/healthz` does not.
    async fn while_away(&mut self, gateway: &Gateway, load: &Load) {
        load.slowest_refusal();
        load.refused(100).await;
        let begun = Instant::now();
        while gateway.is_ready().await {
            assert!(begun.elapsed() < self.refuses_within, "ready without a database");
            sleep(Duration::from_millis(20)).await;
        }
        self.ready = self.ready.max(begun.elapsed());
        for path in REFUSED {
            let (status, says_when, refused) = gateway.status(path).await;
            assert_eq!((status, says_when), (503, true), "{path}");
            self.refused = self.refused.max(refused);
        }
        for path in ["/healthz", "/metrics", "/openapi.json"] {
            let (status, _, answered) = gateway.status(path).await;
            assert_eq!(status, 200, "{path}");
            self.refused = self.refused.max(answered);
        }
        self.refused = self.refused.max(load.slowest_refusal());
        assert!(self.refused < self.refuses_within, "a refusal took {:?}", self.refused);
    }

    /// When the database answers again: every caller is served, and readiness says so.
    async fn is_back(&mut self, gateway: &Gateway, load: &Load) {
        let begun = Instant::now();
        load.all_are_answered().await;
        self.back = self.back.max(begun.elapsed());
        while !gateway.is_ready().await {
            sleep(Duration::from_millis(20)).await;
        }
        let ready = begun.elapsed();
        self.ready = self.ready.max(ready);
        let slower = self.back.max(ready);
        assert!(
            slower < self.back_within,
            "back after {:?}, ready after {ready:?}",
            self.back
        );
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outage {
            refused, back, ready, ..
        } = self;
        write!(
            out,
            "refused within {refused:.2?}, back within {back:.2?}, readiness {ready:.2?}"
        )
    }
}

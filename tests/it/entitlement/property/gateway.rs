//! What a gateway asks with, at the instant of a sequence: a pool, and lanes over it.

use std::sync::Arc;

use consumable::database::Database;
use consumable::lanes::Lanes;
use tokio::task::JoinHandle;

use super::rules::Instant;
use crate::support::database::TestDatabase;
use crate::support::timed::TimedServer;

/// As many as make a difference between subjects.
const LANES: usize = 2;

/// A pool and lanes that run, for one sequence after the other.
pub struct Gateway {
    server: TimedServer,
    pub database: Database,
    pub lanes: Lanes,
    running: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(database: &TestDatabase) -> Gateway {
        let server = TimedServer::start().await;
        let (database, lanes) = (server.connect(database).await, Lanes::new(LANES));
        let running = tokio::spawn({
            let (lanes, database, impatient) = (lanes.clone(), database.clone(), database.impatient(LANES));
            async move { lanes.run(&database, &impatient, Arc::new(|_| ())).await }
        });
        Gateway {
            server,
            database,
            lanes,
            running,
        }
    }

    pub fn set_clock(&self, now: Instant) {
        self.server.set_clock(now);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.running.abort();
    }
}

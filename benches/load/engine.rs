//! A database of this release, an account that may only call its procedures, and the count of what is in its ledger.

use std::collections::BTreeMap;

use consumable::database::{Database, Release, make_gateway_account, migrate};
use consumable::gateway::Secret;
use consumable::procedures::access;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Row};
use tokio::time::timeout;

use crate::Outcome;
use crate::uses::EARLIER;
use crate::world::{PATIENCE, World};

/// The password of the gateway's account. The server has no door but its socket, in a folder that is ours alone.
const PASSWORD: &str = "load";

/// A session that makes rows of which the tables' owner need not convince the server.
const SESSION: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci, time_zone = '+00:00', foreign_key_checks = OFF, unique_checks = OFF, \
                       sql_log_bin = OFF";

/// A limit that ends in every year, so that a balance of last year is due now.
pub const YEARLY: &str = "load.yearly";

/// A database of its own for one workload: what others left there would be measured, too.
pub struct Engine {
    name: String,
    /// For the gateway, which has EXECUTE and nothing else.
    pub gateway_url: String,
    /// The API key of a service.
    pub service_key: String,
    /// May do everything.
    pub root: Conn,
}

impl Engine {
    /// Makes the database `name`. Preparations are hasty until [`World::durable`].
    pub async fn new(world: &mut World, name: &str) -> Outcome<Engine> {
        world.hasty().await?;
        let url = world.server.database(name).await?;
        migrate(&url, &Release::embedded()?, &|_| ()).await?;
        make_gateway_account(&url, name, PASSWORD).await?;
        let secret = Secret::generate()?;
        let database = Database::connect(&url).await?;
        access::create_key(&database, "load", "service", secret.sha256()).await?;
        database.disconnect().await?;
        let mut root = Conn::new(Opts::from_url(&url)?).await?;
        root.query_drop(SESSION).await?;
        root.query_drop(format!(
            "INSERT INTO billing_entitlement_definitions
               (code, name, entitlement_type, unit, window_interval, window_anchor, created_at, updated_at)
             VALUES ('{YEARLY}', 'Of a year', 'metered_quota', 'use', 'year', 'calendar_utc', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))"
        ))
        .await?;
        Ok(Engine {
            name: name.to_owned(),
            gateway_url: world.server.url(name, Some(PASSWORD), name),
            service_key: secret.reveal().to_owned(),
            root,
        })
    }

    /// A session of the gateway's account, without a gateway.
    pub async fn session(&self) -> Outcome<Conn> {
        Ok(Conn::new(Opts::from_url(&self.gateway_url)?).await?)
    }

    /// Runs a preparation's statement.
    pub async fn execute(&mut self, statement: &str) -> Outcome<()> {
        timeout(PATIENCE, self.root.query_drop(statement)).await??;
        Ok(())
    }

    /// Fails unless each use that was answered as accepted is in the ledger once, and nothing else is; and unless all that is
    /// projected is what the ledger says. `accepted` is, for each worker, how many of its uses were: those numbered from 0.
    pub async fn must_hold(&mut self, accepted: impl IntoIterator<Item = (u64, u64)>) -> Outcome<()> {
        let wanted: BTreeMap<u64, u64> = accepted.into_iter().filter(|(_, uses)| *uses > 0).collect();
        let count = format!(
            "SELECT CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(c.usage_event_key, '-', 2), '-', -1) AS UNSIGNED) AS worker, COUNT(*),
                    MAX(CAST(SUBSTRING_INDEX(c.usage_event_key, '-', -1) AS UNSIGNED))
               FROM billing_entitlement_consumptions AS c
              WHERE c.usage_event_key NOT LIKE '%-{EARLIER}-%'
              GROUP BY worker"
        );
        let rows: Vec<(u64, u64, u64)> = timeout(PATIENCE, self.root.query(count)).await??;
        // A use that is there twice, for two subjects, makes the count larger than the highest number.
        let found: BTreeMap<u64, u64> = rows.iter().map(|(worker, count, _)| (*worker, *count)).collect();
        let is_gapless = rows.iter().all(|(_, count, highest)| *count == highest + 1);
        if found != wanted || !is_gapless {
            let sum = |uses: &BTreeMap<u64, u64>| uses.values().sum::<u64>();
            let (wanted, found) = (sum(&wanted), sum(&found));
            return Err(format!(
                "WRONG COUNT in {}: {wanted} uses were accepted, {found} are in the ledger; or not the same ones",
                self.name
            )
            .into());
        }
        self.must_verify("NULL").await
    }

    /// Fails unless all that is projected of a subject, or with `NULL` of all, is what the ledger says.
    pub async fn must_verify(&mut self, subject: &str) -> Outcome<()> {
        let verify = format!("CALL entitlement_verify_v1({subject})");
        let differences: Vec<Row> = timeout(PATIENCE, self.root.query(verify)).await??;
        match differences.first() {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} DIFFERENCES in {}, the first: {first:?}",
                differences.len(),
                self.name
            )
            .into()),
        }
    }

    /// Ends the database.
    pub async fn drop(self, world: &mut World) -> Outcome<()> {
        self.root.disconnect().await?;
        world.hasty().await?;
        world.execute(&format!("DROP DATABASE {}", self.name)).await
    }
}

//! The procedures' part of a run: prove, create, replace, record.

use mysql_async::{Conn, Params, prelude::Queryable};

use super::accounts::{OWNER, is_refusal};
use super::decode;
use super::deploy::{PATIENCE, Patience, Progress, Run};
use super::release::Routine;
use super::state::{Difference, State, present};
use crate::error::Error;

impl Run<'_> {
    /// Installs what is missing or other. `state` and `differences` are from before the run.
    pub(super) async fn install(
        &mut self,
        conn: &mut Conn,
        state: &State,
        differences: &[Difference],
    ) -> Result<(), Error> {
        for probe in state.probes() {
            self.drop_routine(conn, probe).await?;
        }
        let (mut missing, mut present, mut newer) = (Vec::new(), Vec::new(), 0);
        for found in differences {
            if let Difference::NewerRoutine(..) = found {
                newer += 1;
                self.report.notices.push(format!("left alone: {found}"));
            }
        }
        for routine in self.release.routines() {
            let is_newer =
                |found: &Difference| matches!(found, Difference::NewerRoutine(name, _) if name == routine.name());
            let differs = |found: &Difference| matches!(found, Difference::OtherRoutine(name) | Difference::EditedRoutine(name) if name == routine.name());
            match state.present(routine.name()) {
                None => missing.push(routine),
                Some(_) if differences.iter().any(is_newer) => {}
                Some(server) => present.push((routine, server, differences.iter().any(differs))),
            }
        }

        // Nothing is replaced before everything is known to compile. The first probe may also show that the procedures
        // cannot be the owner's; then those that only lack him stay as they are.
        for (routine, server, differs) in &present {
            if *differs || !server.belongs_to(self.definer) {
                self.probe(conn, routine).await?;
            }
        }
        present.retain(|(_, server, differs)| *differs || !server.belongs_to(self.definer));
        let total = missing.len() + present.len();
        self.report.unchanged = self.release.routines().len() - total - newer;

        for (done, routine) in missing.iter().enumerate() {
            (self.progress)(Progress::Routine {
                name: routine.name(),
                done,
                total,
            });
            self.create(conn, routine, routine.name()).await?;
        }
        // One write for all of them: what a killed run has not recorded is replaced by the next one.
        self.record(conn, &missing).await?;
        self.report
            .created
            .extend(missing.iter().map(|routine| routine.name().to_owned()));
        for (done, (routine, ..)) in present.iter().enumerate() {
            let done = missing.len() + done;
            (self.progress)(Progress::Routine {
                name: routine.name(),
                done,
                total,
            });
            self.create(conn, routine, routine.name()).await?;
            self.record(conn, &[routine]).await?;
            self.report.replaced.push(routine.name().to_owned());
        }
        Ok(())
    }

    async fn probe(&mut self, conn: &mut Conn, routine: &Routine) -> Result<(), Error> {
        let probe = routine.probe_name();
        let compiled = self.create(conn, routine, &probe).await;
        self.drop_routine(conn, &probe).await?;
        compiled
    }

    /// Creates or replaces a routine. By the text protocol: the prepared one refuses CREATE PROCEDURE (1295). Both
    /// statements go in one packet, so that the procedure is missing for a moment only, also when this process dies.
    async fn create(&mut self, conn: &mut Conn, routine: &Routine, name: &str) -> Result<(), Error> {
        loop {
            let create = routine.create(name, self.definer);
            let statement = format!("DROP PROCEDURE IF EXISTS {name};{create}");
            let error = match self.change(conn, name, &statement).await {
                Ok(()) => return Ok(()),
                Err(mysql_async::Error::Server(error)) => error,
                Err(error) => return Err(decode(error)),
            };
            if error.code == 1205 {
                return Err(Error::Overloaded(format!(
                    "{name} has been held by an open transaction for {PATIENCE:?}: end it and run consumable migrate again"
                )));
            }
            if self.definer.is_some() && is_refusal(error.code) {
                self.definer = None;
                self.report.notices.push(format!(
                    "the procedures belong to the migrating account, because it may not make them {OWNER}'s: it needs \
                     SET_ANY_DEFINER, or SET_USER_ID before MySQL 8.2 ({})",
                    error.message
                ));
                continue;
            }
            let exists = present(conn, Some(&[name])).await.map_err(decode)?.contains_key(name);
            if exists {
                // The text ends too early, and the rest of the file is no statement.
                self.drop_routine(conn, name).await?;
            }
            return Err(Error::Internal(routine.locate(&error.message, exists)));
        }
    }

    async fn drop_routine(&self, conn: &mut Conn, name: &str) -> Result<(), Error> {
        self.change(conn, name, &format!("DROP PROCEDURE IF EXISTS {name}"))
            .await
            .map_err(decode)
    }

    /// Runs one change of a procedure, again and again while an open transaction holds it.
    async fn change(&self, conn: &mut Conn, name: &str, statement: &str) -> mysql_async::Result<()> {
        let mut patience = Patience::new();
        loop {
            let Err(error) = conn.query_drop(statement).await else {
                return Ok(());
            };
            if !patience.outlasts(Some(&error), name, self.progress).await {
                return Err(error);
            }
        }
    }

    /// Writes down what was just installed, with what the server made of it.
    async fn record(&self, conn: &mut Conn, routines: &[&Routine]) -> Result<(), Error> {
        if routines.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = routines.iter().map(|routine| routine.name()).collect();
        let present = present(conn, Some(&names)).await.map_err(decode)?;
        let row = "(?, ?, ?, ?, UTC_TIMESTAMP(3), SUBSTRING(USER(), 1, 128))";
        let statement = format!(
            "INSERT INTO consumable_routines \
             (routine, content_sha256, server_sha256, release_version, installed_at, installed_by) \
             VALUES {} AS new ON DUPLICATE KEY UPDATE content_sha256 = new.content_sha256, \
             server_sha256 = new.server_sha256, release_version = new.release_version, \
             installed_at = new.installed_at, installed_by = new.installed_by",
            vec![row; routines.len()].join(", ")
        );
        let values = routines.iter().flat_map(|routine| {
            let kept = present
                .get(routine.name())
                .and_then(|present| present.server_sha256.clone());
            [
                routine.name().into(),
                routine.sha256().into(),
                kept.into(),
                self.release.version().into(),
            ]
        });
        conn.exec_drop(statement, Params::Positional(values.collect()))
            .await
            .map_err(decode)
    }
}

//! Whom a request is about.

use tracing::Instrument;

use super::problem::{Problem, Transport};
use super::request::Request;
use super::wire;
use crate::error::{Code, Error};
use crate::procedures::billing::{self, BillableEntity, Subject};
use crate::procedures::entitlement::{self, Limitation, LimitationsRequest};

impl Request {
    /// The subject that the request names, in this order: `X-Billable-Entity-Id`, the query `billableEntityId`,
    /// `X-Workspace-Slug`, the query `workspaceSlug`, the workspace of the token that the caller came with.
    ///
    /// # Errors
    /// `SUBJECT_REQUIRED` when it names none, `VALIDATION_FAILED` when a name cannot be one, be it one that does not count.
    pub fn subject(&self) -> Result<Subject, Problem> {
        let entities = [
            self.header("x-billable-entity-id")?.map(str::to_owned),
            self.query("billableEntityId"),
        ];
        let slugs = [
            self.header("x-workspace-slug")?.map(str::to_owned),
            self.query("workspaceSlug"),
        ];
        let entities = entities.into_iter().flatten().map(|text| {
            let id = wire::digits(&text).map(Subject::Entity);
            id.ok_or_else(|| Problem::field("billableEntityId", "must be a billable entity's id"))
        });
        let slugs = slugs.into_iter().flatten().map(|slug| {
            let is_bounded = wire::bounded(&slug, 64).map_err(|text| Problem::field("workspaceSlug", &text));
            is_bounded.map(|()| Subject::Workspace(slug))
        });
        let named: Vec<Subject> = entities.chain(slugs).collect::<Result<_, Problem>>()?;
        if let Some(subject) = named.into_iter().next() {
            return Ok(subject);
        }
        if let Some(user) = self.user.get() {
            return Ok(Subject::Workspace(user.workspace_slug.clone()));
        }
        let text = "give the header X-Billable-Entity-Id or X-Workspace-Slug";
        Err(Problem::transport(Transport::SubjectRequired, text).with_field("billableEntityId", text))
    }

    /// The id of a subject. For who comes with a key, that of an entity is not looked up: the procedure says itself when there is
    /// no such entity.
    ///
    /// # Errors
    /// `SUBJECT_NOT_FOUND` for a workspace without one; `FORBIDDEN` as [`Request::entity`].
    pub async fn subject_id(&self, subject: Subject) -> Result<u64, Problem> {
        match subject {
            Subject::Entity(id) if self.user.get().is_none() => Ok(id),
            subject => Ok(self.find(&subject).await?.id),
        }
    }

    /// The billable entity that the request is about.
    ///
    /// # Errors
    /// As [`Request::subject`]; `SUBJECT_NOT_FOUND`; `FORBIDDEN` to who comes with the token of another workspace, whether there is
    /// such an entity or not.
    pub async fn entity(&self) -> Result<BillableEntity, Problem> {
        self.find(&self.subject()?).await
    }

    async fn find(&self, subject: &Subject) -> Result<BillableEntity, Problem> {
        self.own(billing::find_subject(&self.gateway.database, subject).await)
    }

    /// What was found, if this caller may see it.
    fn own(&self, found: Result<BillableEntity, Error>) -> Result<BillableEntity, Problem> {
        let Some(user) = self.user.get() else {
            return Ok(found?);
        };
        let own = Some(&user.workspace_slug);
        match found {
            Ok(entity) if entity.workspace_slug.as_ref() == own => Ok(entity),
            Ok(_)
            | Err(Error::Rule {
                code: Code::SubjectNotFound,
                ..
            }) => Err(Problem::transport(Transport::Forbidden, "")),
            Err(error) => Err(error.into()),
        }
    }

    /// The billable entity that the request is about, with what it may use now. Whoever asks at the same time is asked for in the same call.
    ///
    /// # Errors
    /// As [`Request::entity`], and what the database reports.
    pub async fn limitations(&self, held_only: bool) -> Result<(BillableEntity, Vec<Limitation>), Problem> {
        let subject_id = match self.subject()? {
            Subject::Entity(id) => id,
            subject => self.find(&subject).await?.id,
        };
        let asked = (LimitationsRequest { subject_id, held_only }, self.id().to_owned());
        let database = self.gateway.database.clone();
        let call = move |questions: Vec<(LimitationsRequest, String)>| {
            let database = database.clone();
            let (requests, ids): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
            // So that whoever sees the call in the log finds all whom it answers.
            let span = tracing::info_span!("reads", ids = ids.join(" "));
            async move { entitlement::limitations_batch(&database, &requests).await }.instrument(span)
        };
        let Some(found) = self.gateway.limitations.ask(asked, call).await? else {
            // The procedure that looks for it says so in its own words.
            return Ok((self.find(&Subject::Entity(subject_id)).await?, Vec::new()));
        };
        let entity = self.own(Ok(found.entity))?;
        if !found.is_due {
            return Ok((entity, found.limitations));
        }
        let settled = entitlement::limitations(&self.gateway.database, subject_id, None, held_only).await?;
        self.gateway.meters.refreshed(settled.refreshed);
        Ok((entity, settled.rows))
    }
}

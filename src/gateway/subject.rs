//! Whom a request is about.

use super::problem::{Problem, Transport};
use super::request::Request;
use super::wire;
use crate::error::{Code, Error};
use crate::procedures::billing::{self, BillableEntity, Subject};

impl Request {
    /// The subject that the request names, in this order: `X-Billable-Entity-Id`, the query `billableEntityId`,
    /// `X-Workspace-Slug`, the query `workspaceSlug`, the workspace of the token that the caller came with.
    ///
    /// # Errors
    /// `SUBJECT_REQUIRED` when it names none, `VALIDATION_FAILED` when the name cannot be one.
    pub fn subject(&self) -> Result<Subject, Problem> {
        let named = |header: &'static str, parameter: &str| match self.header(header)? {
            Some(text) => Ok::<_, Problem>(Some(text.to_owned())),
            None => Ok(self.query(parameter)),
        };
        if let Some(text) = named("x-billable-entity-id", "billableEntityId")? {
            // Rust's own parser would take a leading +.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            return text
                .parse()
                .ok()
                .filter(|_| is_number)
                .map(Subject::Entity)
                .ok_or_else(|| Problem::field("billableEntityId", "must be a billable entity's id"));
        }
        if let Some(slug) = named("x-workspace-slug", "workspaceSlug")? {
            wire::bounded(&slug, 64).map_err(|text| Problem::field("workspaceSlug", &text))?;
            return Ok(Subject::Workspace(slug));
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
        let found = billing::find_subject(&self.gateway.database, subject).await;
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
}

//! Whom a request is about.

use super::problem::{Problem, Transport};
use super::request::Request;
use super::wire;
use crate::procedures::billing::{self, BillableEntity, Subject};

impl Request {
    /// The subject that the request names, in this order: `X-Billable-Entity-Id`, the query `billableEntityId`,
    /// `X-Workspace-Slug`, the query `workspaceSlug`. (A workspace token's workspace will be the last.)
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
        let text = "give the header X-Billable-Entity-Id or X-Workspace-Slug";
        Err(Problem::transport(Transport::SubjectRequired, text).with_field("billableEntityId", text))
    }

    /// The billable entity that the request is about.
    ///
    /// # Errors
    /// As [`Request::subject`]; `SUBJECT_NOT_FOUND`.
    pub async fn entity(&self) -> Result<BillableEntity, Problem> {
        Ok(billing::find_subject(&self.gateway.database, &self.subject()?).await?)
    }
}

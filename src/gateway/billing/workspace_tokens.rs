//! `POST /api/billing/workspace-tokens`: what a browser of the application proves itself by.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use utoipa::ToSchema;
use warp::http::StatusCode;

use crate::error::{Code, Error};
use crate::gateway::caller::Needs;
use crate::gateway::description::shapes::Visible;
use crate::gateway::description::{Description, Operation, shapes};
use crate::gateway::problem::{Problem, Transport};
use crate::gateway::request::{Answer, Request, json};
use crate::gateway::tokens::{Surface, WorkspaceUser};
use crate::gateway::views::Instant;
use crate::gateway::wire::{Text, Whole, required};
use crate::procedures::billing::{self, Subject};

/// Seconds for which a token holds, unless the request says another number.
const TTL_DEFAULT: i64 = 900;

/// Seconds for which a token holds at most. It cannot be taken back, so it ends soon.
const TTL_AT_MOST: i64 = 86_400;

/// Permissions in a token at most. With them it still fits a header.
const MAX_PERMISSIONS: usize = 64;

/// What the route takes and answers.
pub(super) fn describe(description: &mut Description) {
    let make = Operation::post(
        "makeWorkspaceToken",
        "/api/billing/workspace-tokens",
        "A token for a user of a workspace",
    );
    let mut schema = shapes::of::<MakeToken>();
    let fields = &mut schema["properties"];
    fields["userId"]["minLength"] = value!(1);
    fields["permissions"] = shapes::array(shapes::of::<Visible<64>>(), 0, MAX_PERMISSIONS);
    fields["permissions"]["type"] = value!(["array", "null"]);
    fields["surface"] = value!({"enum": ["app", "admin"]});
    fields["ttlSeconds"] =
        value!({"type": ["integer", "null"], "minimum": 1, "maximum": TTL_AT_MOST, "default": TTL_DEFAULT});
    description.add(
        make.by(Needs::Service)
            .body_as::<MakeToken>(schema)
            .example(value!({"workspaceSlug": "acme", "userId": "user-1", "permissions": [], "surface": "app"}))
            .answers::<TokenAnswer>(201, "It cannot be taken back, and ends soon")
            .refuses(&[Code::SubjectNotFound])
            .fails(&[Transport::TokensNotConfigured]),
    );
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MakeToken {
    #[schema(value_type = Text<64>)]
    workspace_slug: Option<Text<64>>,
    #[schema(value_type = String, max_length = 128)]
    user_id: Option<Text<128>>,
    #[schema(value_type = Option<Vec<String>>)]
    permissions: Option<Vec<Text<64>>>,
    #[schema(value_type = String)]
    surface: Option<Text<16>>,
    #[schema(value_type = Option<i64>)]
    ttl_seconds: Option<Whole>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer {
    token: String,
    expires_at: Instant,
}

pub(super) async fn make(mut request: Request) -> Answer {
    request.caller(Needs::Service).await?;
    let body: MakeToken = request.json().await?;
    let workspace_slug = required("workspaceSlug", body.workspace_slug)?.0;
    let user_id = required("userId", body.user_id)?.0;
    if user_id.is_empty() {
        return Err(Problem::field("userId", "must be 1 to 128 characters"));
    }
    let permissions: Vec<String> = body
        .permissions
        .unwrap_or_default()
        .into_iter()
        .map(|text| text.0)
        .collect();
    if permissions.len() > MAX_PERMISSIONS {
        return Err(Problem::field("permissions", "must be at most 64"));
    }
    let is_name = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(place) = permissions.iter().position(|text| !is_name(text)) {
        let path = format!("permissions[{place}]");
        return Err(Problem::field(&path, "must be 1 to 64 visible ASCII characters"));
    }
    let surface = match required("surface", body.surface)?.0.as_str() {
        "app" => Surface::App,
        "admin" => Surface::Admin,
        _ => return Err(Problem::field("surface", "must be app or admin")),
    };
    let ttl = body.ttl_seconds.map_or(TTL_DEFAULT, |seconds| seconds.0);
    if !(1..=TTL_AT_MOST).contains(&ttl) {
        let sentence = format!("must be a whole number of seconds from 1 to {TTL_AT_MOST}");
        return Err(Problem::field("ttlSeconds", &sentence));
    }
    let subject = Subject::Workspace(workspace_slug);
    let entity = billing::find_subject(&request.gateway.database, &subject).await?;

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let expires_at = now.saturating_add_signed(ttl);
    let token = request.gateway.tokens.sign(WorkspaceUser {
        workspace_slug: entity.workspace_slug.unwrap_or_default(),
        user_id,
        permissions,
        surface,
        expires_at,
    });
    let token = token.ok_or_else(|| {
        let detail = "Whoever runs it sets CONSUMABLE_TOKEN_SECRET, to the same on every gateway";
        Problem::transport(Transport::TokensNotConfigured, detail)
    })?;
    let expires_at = i64::try_from(expires_at)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map(|instant| Instant(instant.naive_utc()))
        .ok_or_else(|| Error::Internal("the clock is beyond the calendar".into()))?;
    Ok(json(StatusCode::CREATED, &TokenAnswer { token, expires_at }))
}

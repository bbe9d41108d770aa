//! `/api/projects`: things of which there may be so many.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use utoipa::ToSchema;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use crate::error::{Code, Error};
use crate::gateway::application::{Admission, Admitted, admitted, answer};
use crate::gateway::billing::refusal::refused;
use crate::gateway::description::{Description, Operation, shapes};
use crate::gateway::problem::{Problem, Transport};
use crate::gateway::request::{Answer, first_of, json};
use crate::gateway::views::{self, Instant, List};
use crate::gateway::wire::{Text, required, text};
use crate::procedures::scaffold::{self, Written};

/// The routes of projects.
pub fn routes(admission: &BoxedFilter<(Admission,)>) -> BoxedFilter<(Response,)> {
    let all = path!("api" / "projects")
        .and(admission.clone())
        .then(|admission| answer(admission, all));
    let one = path!("api" / "projects" / u64)
        .and(admission.clone())
        .then(|project_id, admission| answer(admission, move |admitted| one(admitted, project_id)));
    first_of([all.boxed(), one.boxed()])
}

/// What the routes take and answer.
pub fn describe(description: &mut Description) {
    let list = Operation::get("listProjects", "/api/projects", "A workspace's projects");
    description.add(
        admitted(list)
            .page_by_id()
            .answers::<List<Project>>(200, "A page of projects"),
    );
    let create = Operation::post("createProject", "/api/projects", "Makes a project, and takes its place");
    description.add(
        admitted(create)
            .once()
            .content(schema(&["name"]))
            .example(value!({"name": "Apollo"}))
            .makes::<ProjectAnswer>()
            .refuses(REFUSALS),
    );
    let path = "/api/projects/{projectId}";
    let find = Operation::get("findProject", path, "A project");
    description.add(
        admitted(find)
            .id("projectId", 64)
            .answers::<ProjectAnswer>(200, "As it is"),
    );
    let patch = Operation::patch(
        "patchProject",
        path,
        "Changes what is given of a project; to bring it back takes its place",
    );
    description.add(
        admitted(patch)
            .id("projectId", 64)
            .once_if("where it takes something of a limit")
            .content(schema(&[]))
            .example(value!({"name": "Apollo 11"}))
            .answers::<ProjectAnswer>(200, "As it is now")
            .refuses(REFUSALS),
    );
    let put = Operation::put("putProject", path, "The same, of which nothing may be left out");
    description.add(
        admitted(put)
            .id("projectId", 64)
            .once_if("where it takes something of a limit")
            .content(schema(&["name", "status"]))
            .example(value!({"name": "Apollo 11", "status": "archived"}))
            .answers::<ProjectAnswer>(200, "As it is now")
            .refuses(REFUSALS),
    );
    let delete = Operation::delete("deleteProject", path, "Deletes a project, and frees its place");
    description.add(
        admitted(delete)
            .id("projectId", 64)
            .answers::<ProjectAnswer>(200, "As it was")
            .refuses(&[Code::DefinitionNotFound]),
    );
}

/// What a write may be refused with.
const REFUSALS: &[Code] = &[
    Code::DefinitionNotFound,
    Code::DefinitionInactive,
    Code::NotConsumable,
    Code::BillingLimitExceeded,
    Code::BillingCapacityLocked,
];

/// The schema of a body, with fields that must be there.
fn schema(required: &[&str]) -> Value {
    let mut fields = value!({"name": shapes::name(160), "status": {"enum": ["active", "archived"]}});
    if !required.contains(&"name") {
        fields["name"]["type"] = value!(["string", "null"]);
    }
    if !required.contains(&"status") {
        fields["status"]["enum"] = value!(["active", "archived", null]);
    }
    shapes::object(fields, required)
}

async fn all(admitted: Admitted) -> Answer {
    match admitted.request.method().as_str() {
        "GET" => list(admitted).await,
        "POST" => create(admitted).await,
        _ => Err(Problem::method("GET, POST")),
    }
}

async fn one(admitted: Admitted, project_id: u64) -> Answer {
    match admitted.request.method().as_str() {
        "GET" => find(admitted, project_id).await,
        "PATCH" => patch(admitted, project_id).await,
        "PUT" => put(admitted, project_id).await,
        "DELETE" => delete(admitted, project_id).await,
        _ => Err(Problem::method("GET, PATCH, PUT, DELETE")),
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Project {
    id: u64,
    billable_entity_id: u64,
    name: String,
    status: String,
    created_at: Instant,
    updated_at: Instant,
    deleted_at: Option<Instant>,
}

impl From<scaffold::Project> for Project {
    fn from(row: scaffold::Project) -> Self {
        Project {
            id: row.id,
            billable_entity_id: row.subject_id,
            name: row.name,
            status: row.status,
            created_at: Instant(row.created_at),
            updated_at: Instant(row.updated_at),
            deleted_at: row.deleted_at.map(Instant),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ProjectAnswer {
    project: Project,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limitation: Option<views::Limitation>,
}

async fn list(admitted: Admitted) -> Answer {
    let page = admitted.request.page()?;
    let database = &admitted.request.gateway.database;
    let rows = scaffold::list_projects(database, admitted.subject_id, page.after, page.limit + 1).await?;
    let list: List<Project> = List::new(rows, page.limit, |row| row.id.to_string());
    Ok(json(StatusCode::OK, &list))
}

async fn find(admitted: Admitted, project_id: u64) -> Answer {
    let database = &admitted.request.gateway.database;
    let row = scaffold::find_project(database, admitted.subject_id, project_id).await?;
    let project = row.ok_or_else(no_project)?.into();
    let limitation = None;
    Ok(json(StatusCode::OK, &ProjectAnswer { project, limitation }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    name: Option<Text<160>>,
    status: Option<Text<32>>,
}

async fn create(mut admitted: Admitted) -> Answer {
    let body: Fields = admitted.request.json().await?;
    let key = admitted.request.idempotency_key()?;
    let name = required("name", body.name)?.0;
    let status = text(&body.status).unwrap_or("active");
    let database = &admitted.request.gateway.database;
    let written = scaffold::create_project(database, admitted.subject_id, &name, status, key.as_deref()).await;
    written_answer(&admitted, StatusCode::CREATED, written)
}

async fn patch(mut admitted: Admitted, project_id: u64) -> Answer {
    let body = admitted.request.json().await?;
    change(admitted, project_id, body).await
}

/// As PATCH, but nothing may be left out: a status that is not said could be taken for either.
async fn put(mut admitted: Admitted, project_id: u64) -> Answer {
    let body: Fields = admitted.request.json().await?;
    let whole = Fields {
        name: Some(required("name", body.name)?),
        status: Some(required("status", body.status)?),
    };
    change(admitted, project_id, whole).await
}

async fn change(admitted: Admitted, project_id: u64, body: Fields) -> Answer {
    let key = admitted.request.idempotency_key()?;
    let database = &admitted.request.gateway.database;
    let written = scaffold::update_project(
        database,
        admitted.subject_id,
        project_id,
        text(&body.name),
        text(&body.status),
        key.as_deref(),
    )
    .await;
    written_answer(&admitted, StatusCode::OK, written)
}

async fn delete(admitted: Admitted, project_id: u64) -> Answer {
    let database = &admitted.request.gateway.database;
    let written = scaffold::delete_project(database, admitted.subject_id, project_id).await;
    written_answer(&admitted, StatusCode::OK, written)
}

fn written_answer(
    admitted: &Admitted,
    made: StatusCode,
    written: Result<Option<Written<scaffold::Project>>, Error>,
) -> Answer {
    match written?.ok_or_else(no_project)? {
        Written::Done(row, limitation) => {
            let status = if row.replayed { StatusCode::OK } else { made };
            admitted.request.gateway.relay.written();
            let (project, limitation) = (row.into(), Some((*limitation).into()));
            Ok(json(status, &ProjectAnswer { project, limitation }))
        }
        Written::Refused(refusal) => Err(refused(*refusal)),
    }
}

fn no_project() -> Problem {
    Problem::transport(Transport::NotFound, "There is no such project")
}

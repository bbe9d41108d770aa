//! What is the same for every route: what is no request, health, and an orderly end. Who may call which is in `callers`.

use mysql_async::prelude::Queryable;
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::support::database::TestDatabase;
use crate::support::gateway::{PATIENCE, TestGateway, answer, refusal};
use crate::support::session::cut_others;

const EVENTS: &str = "/api/realtime/events?topic=workspace_billing_limits";

/// Routes with one method each.
fn routes() -> Vec<(Method, String)> {
    vec![
        (Method::PUT, "/api/billing/entities/workspace/acme".into()),
        (Method::GET, "/api/billing/limitations".into()),
        (Method::GET, "/api/billing/limitations/ai.credits/ledger".into()),
        (Method::GET, "/api/billing/limitations/ai.credits/history".into()),
        (Method::POST, "/api/billing/resources/projects/release".into()),
        (Method::POST, "/api/billing/consume".into()),
        (Method::GET, format!("{EVENTS}&surface=app")),
        (Method::GET, format!("{EVENTS}&surface=admin")),
        (Method::POST, "/api/billing/consume/batch".into()),
        (Method::POST, "/api/billing/workspace-tokens".into()),
        (Method::POST, "/api/billing/limits/refresh".into()),
        (Method::POST, "/api/console/billing/grants".into()),
        (Method::POST, "/api/console/billing/grants/1/revoke".into()),
    ]
}

#[tokio::test]
async fn a_proof_in_the_query_is_for_events_alone() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    // A browser's EventSource cannot set headers.
    let by_query = |token: &str| {
        gateway.request(
            Method::GET,
            &format!("{EVENTS}&surface=app&workspaceSlug=acme&access_token={token}"),
        )
    };
    assert_eq!(by_query(&gateway.service).send().await.unwrap().status(), 200);
    assert_eq!(refusal(by_query("ck_garbage")).await.0, 401);
    // Only there.
    let limitations = format!(
        "/api/billing/limitations?workspaceSlug=acme&access_token={}",
        gateway.service
    );
    assert_eq!(refusal(gateway.request(Method::GET, &limitations)).await.0, 401);
}

#[tokio::test]
async fn what_is_no_request_is_told_why() {
    let gateway = TestGateway::start().await;
    gateway.acme().await;
    for path in [
        "/nothing",
        "/api",
        "/api/billing/limitations/x",
        "/api/billing/entities/a",
        "/api/nothing",
    ] {
        assert_eq!(
            refusal(gateway.request(Method::GET, path)).await,
            (404, "NOT_FOUND".into(), vec![]),
            "{path}"
        );
    }
    for (method, path) in routes()
        .into_iter()
        .chain([(Method::GET, "/healthz".into()), (Method::GET, "/readyz".into())])
    {
        let response = gateway.request(Method::PATCH, &path).send().await.unwrap();
        // Grants are listed there, too.
        let allowed = match path.as_str() {
            "/api/console/billing/grants" => "GET, POST",
            _ => method.as_str(),
        };
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["allow"].to_str().unwrap()
            ),
            (405, allowed),
            "{path}"
        );
    }

    let post = |content_type: &'static str, body: Body| {
        gateway
            .as_service(Method::POST, "/api/billing/consume")
            .header("Content-Type", content_type)
            .body(body)
    };
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        assert_eq!(refusal(post(content_type, "{}".into())).await.0, 415, "{content_type}");
    }
    assert_eq!(
        refusal(gateway.as_service(Method::POST, "/api/billing/consume"))
            .await
            .0,
        415
    );
    for body in ["", "{", "nonsense", "{\"amount\": 01}", "{}{}"] {
        let refused = refusal(post("Application/JSON; charset=utf-8", body.into())).await;
        assert_eq!(refused, (400, "MALFORMED_JSON".into(), vec!["body".into()]), "{body}");
    }

    let mebibyte = 1 << 20;
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert_eq!(refusal(post("application/json", padded(mebibyte).into())).await.0, 400);
    assert_eq!(
        refusal(post("application/json", padded(mebibyte + 1).into())).await.0,
        413
    );
    let chunks = vec![Ok::<_, std::io::Error>(" ".repeat(mebibyte)), Ok("{}".into())];
    let unannounced = Body::wrap_stream(futures_util::stream::iter(chunks));
    assert_eq!(
        refusal(post("application/json", unannounced)).await,
        (413, "PAYLOAD_TOO_LARGE".into(), vec![])
    );
}

#[tokio::test]
async fn a_request_has_an_id() {
    let gateway = TestGateway::start().await;
    let id = async |given: Option<&str>| {
        let mut request = gateway.request(Method::GET, "/healthz");
        if let Some(given) = given {
            request = request.header("X-Request-Id", given);
        }
        request.send().await.unwrap().headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(id(Some("mine-1")).await, "mine-1");
    assert_eq!(id(Some("two words")).await.len(), 16);
    assert_ne!(id(None).await, id(None).await);
}

#[tokio::test]
async fn health_is_told_to_anybody() {
    let gateway = TestGateway::start().await;
    assert_eq!(
        answer(gateway.request(Method::GET, "/healthz")).await,
        (200, json!({"status": "alive"}))
    );
    let ready =
        json!({"status": "ready", "checks": {"database": "reachable", "procedures": "asBuilt", "relay": "current"}});
    assert_eq!(answer(gateway.request(Method::GET, "/readyz")).await, (200, ready));
}

#[tokio::test]
async fn a_database_that_lacks_a_procedure_is_not_ready() {
    let gateway = TestGateway::start().await;
    let mut session = gateway.test.session().await;
    session
        .query_drop("DROP PROCEDURE billing_put_entity_v1")
        .await
        .unwrap();
    let response = gateway.request(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "NOT_READY");
    assert_eq!(
        body["details"],
        json!({"database": "reachable", "procedures": "lacking", "relay": "current"})
    );
}

#[tokio::test]
async fn a_database_that_goes_away_is_said_and_found_again() {
    let test = TestDatabase::migrated().await;
    let direct = test.gateway_url();
    let (before, socket) = direct.split_once("socket=").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("s");
    std::os::unix::fs::symlink(socket, &link).unwrap();
    let gateway = TestGateway::on(test, &format!("{before}socket={}", link.display())).await;
    gateway.acme().await;
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();

    std::fs::remove_file(&link).unwrap();
    let mut dba = gateway.test.session().await;
    cut_others(&mut dba).await;
    let response = gateway
        .as_service(Method::GET, "/api/billing/limitations")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let body = response.text().await.unwrap();
    assert!(
        body.contains("DATABASE_UNAVAILABLE") && !body.contains("os error"),
        "{body}"
    );
    let ready = async || gateway.request(Method::GET, "/readyz").send().await.unwrap().status();
    until(async || ready().await == 503).await;
    dba.query_drop(
        "CALL entitlement_grant_v1(1, 'ai.credits', 7, 'promo', NULL, NULL, NULL, 'away', 'by hand', 'dba')",
    )
    .await
    .unwrap();

    std::os::unix::fs::symlink(socket, &link).unwrap();
    until(async || ready().await == 200).await;
    assert!(events.next().await.unwrap().data.contains("ai.credits"));
}

#[tokio::test]
async fn the_end_is_orderly() {
    let mut gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, "ai.credits", 100).await;
    let mut events = gateway.listen(None).await;
    events.next().await.unwrap();
    let mut holder = gateway.test.session().await;
    holder
        .query_drop("START TRANSACTION; SELECT * FROM billing_entitlement_balances FOR UPDATE")
        .await
        .unwrap();
    let under_way = tokio::spawn(
        gateway
            .consume(&json!({"limitationCode": "ai.credits", "usageEventKey": "k"}))
            .send(),
    );
    let mut dba = gateway.test.session().await;
    let waiting = "SELECT COUNT(*) FROM performance_schema.data_lock_waits AS w \
                   JOIN performance_schema.data_locks AS l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID \
                   WHERE l.OBJECT_SCHEMA = DATABASE()";
    until(async || dba.query_first::<u32, _>(waiting).await.unwrap() != Some(0)).await;

    let stopping = gateway.stop();
    // What was told before may still be under way; then it is told when to come again, and the stream ends.
    let mut last = None;
    while let Some(frame) = events.next().await {
        last = Some(frame);
    }
    let retry = last.expect("a last word").retry;
    assert!((500..2_500).contains(&retry.parse().unwrap_or(0)), "{retry:?}");
    until(async || tokio::net::TcpStream::connect(gateway.address()).await.is_err()).await;
    assert!(!stopping.is_finished());
    holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(under_way.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

/// Asks again and again until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("in time");
}

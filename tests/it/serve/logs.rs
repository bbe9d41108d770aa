use consumable::database::embedded::{EmbeddedServer, Progress, Storage};
use consumable::database::{Release, make_gateway_account, migrate};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::Value;

use super::Served;
use crate::support::gateway::answer;
use crate::support::server::server_program;

/// A line, if it is the call of a use with exactly these ids in it.
fn call_of(line: &str, ids: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).unwrap();
    let lane = line["spans"].as_array()?.iter().find(|span| span["name"] == "lane")?;
    let is_it = lane["ids"] == ids && line["message"] == message && line["procedure"] == "entitlement_consume_v1";
    is_it.then_some(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_is_found_from_either_side() {
    // A server of its own, for its slow log is told to log everything.
    let server = EmbeddedServer::start(&server_program().await, Storage::Scratch, Progress::Silent)
        .await
        .unwrap();
    let owner = server.database("slow").await.unwrap();
    migrate(&owner, &Release::embedded().unwrap(), &|_| ()).await.unwrap();
    make_gateway_account(&owner, "slow_gateway", "password").await.unwrap();
    let mut dba = Conn::new(server.connection().db_name(Some("slow"))).await.unwrap();
    dba.query_drop("SET GLOBAL log_output = 'TABLE', GLOBAL slow_query_log = ON, GLOBAL long_query_time = 0")
        .await
        .unwrap();
    let mut served = Served::start(&server.url("slow_gateway", Some("password"), "slow"), "json").await;
    served.workspace("acme").await;
    served.workspace("beta").await;

    // The id is answered, and in the log of the call with its connection.
    let one = served.consume("acme", "order-1").send().await.unwrap();
    assert_eq!(
        (one.status().as_u16(), &one.headers()["x-request-id"]),
        (200, &"order-1".parse().unwrap())
    );
    let is_call = |ids: &'static str, message: &'static str| move |line: &str| call_of(line, ids, message).is_some();
    let line = served.logged("its call", is_call("order-1", "called")).await;
    let connection = call_of(&line, "order-1", "called").unwrap()["connection"].as_u64();
    // A DBA who finds the call in the server's slow log finds the id in it, and the connection.
    let slow: Vec<(u64, String)> = dba
        .query("SELECT thread_id, CONVERT(sql_text USING utf8mb4) FROM mysql.slow_log WHERE sql_text LIKE '%entitlement\\_consume\\_v1%' AND sql_text LIKE '%order-1%'")
        .await
        .unwrap();
    assert!(
        slow.iter().any(|(thread, _)| Some(*thread) == connection),
        "{connection:?} of {slow:?}"
    );

    // A call that hangs is told, with its connection; two that waited meanwhile are one call, whose line names both.
    let mut holder = Conn::new(server.connection().db_name(Some("slow"))).await.unwrap();
    holder
        .query_drop("START TRANSACTION; SELECT b.* FROM billing_entitlement_balances AS b JOIN billable_entities AS e ON e.id = b.subject_id WHERE e.entity_ref = 'acme' FOR UPDATE")
        .await
        .unwrap();
    let hangs = tokio::spawn(served.consume("acme", "order-2").send());
    served.until_metric("consumable_lane_call_requests_count 2").await;
    let waiting = ["order-3", "order-4"].map(|key| tokio::spawn(served.consume("beta", key).send()));
    let line = served.logged("it is slow", is_call("order-2", "a call was slow")).await;
    assert!(call_of(&line, "order-2", "a call was slow").unwrap()["connection"].as_u64() > Some(0));
    holder.query_drop("ROLLBACK").await.unwrap();
    for request in waiting.into_iter().chain([hangs]) {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    let together = |line: &str| {
        call_of(line, "order-3 order-4", "called").is_some() || call_of(line, "order-4 order-3", "called").is_some()
    };
    served.logged("both in one call", together).await;

    // Reads share their call as uses do; any other call is logged within its request.
    for (path, id, procedure, place) in [
        ("limitations", "read-1", "entitlement_limitations_batch_v1", "ids"),
        ("plan-state", "read-2", "billing_plan_state_v1", "id"),
    ] {
        let read = served.request(Method::GET, &format!("/api/billing/{path}"), "acme");
        assert_eq!(answer(read.header("X-Request-Id", id)).await.0, 200);
        let is_read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let has_id = |spans: &Vec<Value>| spans.iter().any(|span| span[place] == id);
            line["procedure"] == procedure
                && line["message"] == "called"
                && line["spans"].as_array().is_some_and(has_id)
        };
        served.logged(procedure, is_read).await;
    }
    // Whatever an id may have in it goes the whole way; what cannot be one is replaced.
    let odd = served
        .request(Method::POST, "/api/billing/consume", "acme")
        .header("X-Request-Id", r#"o"d'd\{}--"#)
        .json(&serde_json::json!({"limitationCode": "ai.credits", "usageEventKey": "order-5"}));
    let odd = odd.send().await.unwrap();
    assert_eq!(
        (odd.status().as_u16(), &odd.headers()["x-request-id"]),
        (200, &r#"o"d'd\{}--"#.parse().unwrap())
    );
    let blank = served
        .request(Method::GET, "/healthz", "acme")
        .header("X-Request-Id", "a b");
    let made = blank.send().await.unwrap().headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{made}"
    );

    // Each line is JSON, and the key that all of these came with is in none.
    for line in served.log() {
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert!(parsed["level"].is_string() && parsed["timestamp"].is_string(), "{line}");
        assert!(!line.contains(&served.key), "{line}");
    }
    served.signal(rustix::process::Signal::TERM);
    assert!(served.ended().await.success());
    server.stop().await.unwrap();
}

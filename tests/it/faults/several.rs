//! Three gateways on one database: load on all, readers on all, boundaries that all of them wait for; and one of them is killed.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::gateway::Gateway;
use super::load::Load;
use super::readers::Readers;
use super::server::{CODES, Server};

const GATEWAYS: usize = 3;

/// Makes as many subjects as that, and gives their ids.
async fn make_subjects(session: &mut Conn, subjects: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for number in 0..subjects {
        let slug = format!("due-{number}");
        let put = "CALL billing_put_entity_v1('workspace', ?, ?, NULL, NULL, NULL)";
        let entity: Row = session.exec_first(put, (&slug, &slug)).await.unwrap().unwrap();
        ids.push(entity.get("id").unwrap());
    }
    ids
}

/// Makes a balance of each subject due, all in one commit: by a grant that ended hours ago, those of a later round later.
async fn make_due(session: &mut Conn, subjects: &[u64], round: usize) {
    for statement in [
        &format!("SET timestamp = UNIX_TIMESTAMP() - 36000 + 1000 * {round}"),
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "START TRANSACTION",
    ] {
        session.query_drop(statement).await.unwrap();
    }
    let code = CODES[round % CODES.len()];
    for subject in subjects {
        let grant =
            "CALL entitlement_grant_in_tx_v1(?, ?, 10, 'promo', NULL, UTC_TIMESTAMP(3) + INTERVAL 500 SECOND, NULL,
                                                     'operator', NULL, NULL, ?, 'test', 'test', @grant_id, @replayed)";
        let key = format!("operator:due-{subject}-{round}");
        session.exec_drop(grant, (subject, code, key)).await.unwrap();
    }
    for statement in ["COMMIT", "SET timestamp = DEFAULT"] {
        session.query_drop(statement).await.unwrap();
    }
}

const SETTLED: &str = "SELECT COUNT(*) FROM billing_entitlement_settlements WHERE cause = 'grant_boundary'";

/// How many balances the schedulers of these have taken, and how many they have settled.
async fn leased(gateways: &[Gateway]) -> (u64, u64) {
    let mut sums = (0, 0);
    for gateway in gateways {
        sums.0 += gateway.metric("consumable_settlements_leased_total").await;
        sums.1 += gateway.metric("consumable_settlements_settled_total").await;
    }
    sums
}

async fn one_is_killed(times: usize, subjects: usize, count: usize) {
    let server = Server::start().await;
    let mut session = server.session().await;
    let mut gateways = Vec::new();
    for _ in 0..GATEWAYS {
        gateways.push(Gateway::start(&server).await);
    }
    let urls: Vec<&str> = gateways.iter().map(|gateway| gateway.url.as_str()).collect();
    let load = Load::start(&server, &urls, 30, &["ai.credits"]);
    let readers = Readers::start(&server, &load.targets(), count).await;
    let due_subjects = make_subjects(&mut session, subjects).await;
    let mut due = 0;
    let mut survivors_leased = 0;
    for time in 0..times {
        // All of them live: what one has taken, no other has.
        let before = leased(&gateways).await;
        make_due(&mut session, &due_subjects, 2 * time).await;
        due += subjects;
        server
            .until("all is settled", &format!("SELECT ({SETTLED}) >= {due}"))
            .await;
        // A gateway counts what it settled a little after the commit.
        let mut after = leased(&gateways).await;
        while after.1 - before.1 < subjects as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            after = leased(&gateways).await;
        }
        assert_eq!(
            (after.0 - before.0, after.1 - before.1),
            (subjects as u64, subjects as u64)
        );
        survivors_leased += subjects;

        // One is killed while they settle.
        make_due(&mut session, &due_subjects, 2 * time + 1).await;
        server
            .until("it has begun", &format!("SELECT ({SETTLED}) > {due}"))
            .await;
        due += subjects;
        let place = time % GATEWAYS;
        gateways.remove(place).kill();
        server
            .until("all is settled", &format!("SELECT ({SETTLED}) >= {due}"))
            .await;
        load.all_are_answered().await;
        if time + 1 < times {
            gateways.insert(place, Gateway::start(&server).await);
            load.moved(place, &gateways[place].url);
        }
    }
    let counted = load.end(&server).await;
    let streams = readers.streams();
    let changes = readers.end(&server).await;
    if times == 1 {
        let at_the_killed = |number: &usize| number.is_multiple_of(GATEWAYS);
        let came_again: Vec<usize> = (0..count).filter(|number| streams[*number] > 1).collect();
        assert_eq!(came_again, (0..count).filter(at_the_killed).collect::<Vec<_>>());
    }
    // Each boundary once: one that was settled twice would have closed two segments.
    assert_eq!(session.query_first(SETTLED).await.unwrap(), Some(due));
    let beside = format!(
        "{changes} changes, each told once and in order to {count} readers; {due} boundaries settled once, {survivors_leased} of them leased by no two"
    );
    counted.tell("three gateways, one killed", times, &beside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_three_is_killed() {
    one_is_killed(1, 150, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: see docs/faults.md"]
async fn a_gateway_of_three_is_killed_five_times() {
    one_is_killed(5, 300, 60).await;
}

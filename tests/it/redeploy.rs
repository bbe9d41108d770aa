//! A deployment among others: beside seven more, killed half way, and while callers are at work.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consumable::database::{Difference, Progress, migrate};
use mysql_async::prelude::Queryable;

use crate::deploy::{ONE, OTHER_ONE, OTHER_TWO, TWO, deploy, differences, procedures};
use crate::support::database::{TestDatabase, release};

#[tokio::test]
async fn eight_at_once_do_it_once() {
    let test = TestDatabase::empty().await;
    for (release, created, replaced) in [
        (release("1.0.0", &[ONE, TWO]), 2, 0),
        (release("1.0.1", &[OTHER_ONE, OTHER_TWO]), 0, 2),
    ] {
        let (url, release) = (test.url(), Arc::new(release));
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let (url, release) = (url.clone(), release.clone());
                tokio::spawn(async move { migrate(&url, &release, &|_| ()).await.unwrap() })
            })
            .collect();
        let (mut done, mut unchanged) = ((0, 0), 0);
        for run in runs {
            let report = run.await.unwrap();
            done = (done.0 + report.created.len(), done.1 + report.replaced.len());
            unchanged += report.unchanged;
        }
        assert_eq!((done, unchanged), ((created, replaced), 7 * 2));
        assert_eq!(differences(&test, &release).await, []);
    }
}

const THREE: (&str, &str) = ("three_v1", "() BEGIN SELECT 3 AS n; END");
const OTHER_THREE: (&str, &str) = ("three_v1", "() BEGIN SELECT 33 AS n; END");

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "the child of killed_half_way"]
async fn child_of_killed_half_way() {
    if let Ok(url) = std::env::var("CONSUMABLE_TEST_KILLED_URL") {
        migrate(&url, &release("1.0.1", &[OTHER_ONE, OTHER_THREE]), &|_| ())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn killed_half_way_the_next_run_finishes() {
    let test = TestDatabase::with(&release("1.0.0", &[ONE, THREE])).await;
    // An open transaction holds the second procedure, so that the child stands still between the two.
    let mut holder = test.session().await;
    holder.query_drop("START TRANSACTION; CALL three_v1()").await.unwrap();

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redeploy::child_of_killed_half_way", "--ignored"])
        .env("CONSUMABLE_TEST_KILLED_URL", test.url())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut dba = test.session().await;
    let waiting = "SELECT COUNT(*) FROM performance_schema.threads \
                   WHERE PROCESSLIST_DB = DATABASE() AND PROCESSLIST_STATE = 'Waiting for stored procedure metadata lock'";
    until(async || dba.query_first::<u32, _>(waiting).await.unwrap() == Some(1)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    // The server ends the dead child's statement within its lock wait, and then its session.
    let sessions = "SELECT COUNT(*) FROM performance_schema.threads WHERE PROCESSLIST_DB = DATABASE()";
    until(async || dba.query_first::<u32, _>(sessions).await.unwrap() == Some(2)).await;
    let release = release("1.0.1", &[OTHER_ONE, OTHER_THREE]);
    assert_eq!(
        differences(&test, &release).await,
        [Difference::OtherRoutine("three_v1".into())]
    );
    holder.query_drop("COMMIT").await.unwrap();
    // What a run leaves that is killed at other points: a probe, and no procedure.
    dba.query_drop("CREATE PROCEDURE one_v1__probe() BEGIN END; DROP PROCEDURE one_v1")
        .await
        .unwrap();

    let report = deploy(&test, &release).await;
    assert_eq!(
        (report.replaced, report.created),
        (vec!["three_v1".to_owned()], vec!["one_v1".to_owned()])
    );
    let made = procedures(&mut dba).await;
    let names: Vec<_> = made.iter().map(|procedure| procedure.0.as_str()).collect();
    assert_eq!(names, ["one_v1", "three_v1"]);
    assert!(made[0].1.contains("SELECT 11") && made[1].1.contains("SELECT 33"));
    assert_eq!(differences(&test, &release).await, []);
}

#[tokio::test]
async fn a_redeployment_under_load_fails_no_call() {
    let numbered = |n: u32| {
        let inner = format!("() BEGIN SELECT {n} AS n; END");
        let outer = format!("() BEGIN CALL inner_v1(); SELECT {n} AS n; END");
        release("1.0.0", &[("inner_v1", &inner), ("outer_v1", &outer)])
    };
    let test = TestDatabase::with(&numbered(0)).await;
    let database = test.connect().await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (database, stop) = (database.clone(), stop.clone());
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    outcomes.push(database.call("outer_v1", ()).await);
                }
                outcomes
            })
        })
        .collect();
    for n in 1..=20 {
        assert_eq!(deploy(&test, &numbered(n)).await.replaced, ["inner_v1", "outer_v1"]);
    }
    stop.store(true, Ordering::Relaxed);
    let (mut calls, mut seen) = (0, BTreeSet::new());
    for caller in callers {
        for outcome in caller.await.unwrap() {
            let (n,): (u32,) = outcome.unwrap().row().unwrap();
            calls += 1;
            seen.insert(n);
        }
    }
    println!("{calls} calls through 20 redeployments, none failed");
    assert!(calls > 20 && seen.len() > 10, "{calls} calls, {seen:?}");
}

#[tokio::test]
async fn an_open_transaction_delays_callers_for_a_second_at_most() {
    let test = TestDatabase::with(&release("1.0.0", &[ONE])).await;
    let mut holder = test.session().await;
    holder.query_drop("START TRANSACTION; CALL one_v1()").await.unwrap();

    let busy = Arc::new(Mutex::new(0));
    let (url, count) = (test.url(), busy.clone());
    let run = tokio::spawn(async move {
        let release = release("1.0.1", &[OTHER_ONE]);
        let progress = move |step: Progress<'_>| {
            if let Progress::Busy(what) = step {
                assert_eq!(what, "one_v1");
                *count.lock().unwrap() += 1;
            }
        };
        migrate(&url, &release, &progress).await.unwrap()
    });
    let database = test.connect().await;
    let (mut longest, mut calls) = (Duration::ZERO, 0);
    while *busy.lock().unwrap() < 3 {
        let begun = Instant::now();
        database.call("one_v1", ()).await.unwrap();
        longest = longest.max(begun.elapsed());
        calls += 1;
    }
    println!("{calls} calls while the deployment waited, the longest took {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(run.await.unwrap().replaced, ["one_v1"]);
    assert_eq!(
        database.call("one_v1", ()).await.unwrap().row::<(i32,)>().unwrap(),
        (11,)
    );
}

/// Asks again and again until the answer is yes; half a minute is a failure.
async fn until(mut asked: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !asked().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it came true within half a minute");
}

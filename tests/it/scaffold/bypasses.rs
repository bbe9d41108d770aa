//! Ways past the cap of projects that somebody might try, and none of which leads there.

use mysql_async::prelude::Queryable;
use reqwest::Method;
use serde_json::json;

use super::projects::{CAP, change, made, places, with_places};
use super::{create, is_proven, limitation, send};
use crate::support::gateway::{TestGateway, answer, refusal};

#[tokio::test]
async fn no_verb_brings_a_project_back_past_the_cap() {
    let gateway = with_places(2).await;
    let first = made(&gateway, "first").await;
    change(&gateway, Method::PATCH, &first, "", json!({"status": "archived"})).await;
    let second = made(&gateway, "second").await;
    made(&gateway, "third").await;
    for (method, body) in [
        (Method::PATCH, json!({"status": "active"})),
        (Method::PATCH, json!({"name": "other", "status": "active"})),
        (Method::PUT, json!({"name": "first", "status": "active"})),
    ] {
        let request = send(&gateway, method, &first, "back", &body);
        assert_eq!(
            refusal(request).await,
            (409, "BILLING_CAPACITY_LOCKED".into(), vec![]),
            "{body}"
        );
    }
    // Nor does a spelling that the column would take.
    for odd in ["Active", "ACTIVE", "active ", " active", "activé", "1", ""] {
        for method in [Method::PATCH, Method::PUT] {
            let request = send(
                &gateway,
                method,
                &first,
                "odd",
                &json!({"name": "first", "status": odd}),
            );
            assert_eq!(
                refusal(request).await,
                (400, "VALIDATION_FAILED".into(), vec!["status".into()]),
                "{odd:?}"
            );
        }
        let request = send(
            &gateway,
            Method::POST,
            "/api/projects",
            "odd",
            &json!({"name": "new", "status": odd}),
        );
        assert_eq!(
            refusal(request).await,
            (400, "VALIDATION_FAILED".into(), vec!["status".into()]),
            "{odd:?}"
        );
    }
    // Nothing of the refused changes stayed.
    let (_, found) = answer(gateway.as_service(Method::GET, &first)).await;
    assert_eq!(
        (&found["project"]["name"], &found["project"]["status"]),
        (&json!("first"), &json!("archived"))
    );
    assert_eq!(places(&gateway).await, (2, 0));

    change(&gateway, Method::PATCH, &second, "", json!({"status": "archived"})).await;
    let keyless = gateway
        .as_service(Method::PATCH, &first)
        .json(&json!({"status": "active"}));
    assert_eq!(
        refusal(keyless).await,
        (400, "IDEMPOTENCY_KEY_REQUIRED".into(), vec!["idempotencyKey".into()])
    );
    assert_eq!(
        change(&gateway, Method::PATCH, &first, "back", json!({"status": "active"}))
            .await
            .0,
        200
    );
    assert_eq!(places(&gateway).await, (2, 0));
    is_proven(&gateway).await;
}

#[tokio::test]
async fn a_request_again_is_done_once() {
    let gateway = with_places(2).await;
    let (_, first) = answer(create(&gateway, "first", "one")).await;
    assert_eq!(answer(create(&gateway, "first", "one")).await, (200, first));
    assert_eq!(
        refusal(create(&gateway, "other", "one")).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
    let archived = json!({"name": "first", "status": "archived"});
    let request = send(&gateway, Method::POST, "/api/projects", "one", &archived);
    assert_eq!(refusal(request).await.1, "IDEMPOTENCY_CONFLICT");

    // A project that takes no place is made once, too.
    let (status, old) = answer(send(&gateway, Method::POST, "/api/projects", "old", &archived)).await;
    assert_eq!((status, &old["limitation"]["consumedAmount"]), (201, &json!(1)));
    assert_eq!(
        answer(send(&gateway, Method::POST, "/api/projects", "old", &archived)).await,
        (200, old)
    );

    // A late retry of what brought a project back does not bring it back again, when it was archived since and the place was taken.
    let back = json!({"status": "active"});
    assert_eq!(
        change(&gateway, Method::PATCH, "/api/projects/2", "back", back.clone())
            .await
            .0,
        200
    );
    change(
        &gateway,
        Method::PATCH,
        "/api/projects/2",
        "",
        json!({"status": "archived"}),
    )
    .await;
    made(&gateway, "third").await;
    let (status, body) = change(&gateway, Method::PATCH, "/api/projects/2", "back", back.clone()).await;
    assert_eq!((status, &body["project"]["status"]), (200, &json!("archived")));
    // Nor another project.
    change(
        &gateway,
        Method::PATCH,
        "/api/projects/1",
        "",
        json!({"status": "archived"}),
    )
    .await;
    let request = send(&gateway, Method::PATCH, "/api/projects/1", "back", &back);
    assert_eq!(refusal(request).await, (409, "IDEMPOTENCY_CONFLICT".into(), vec![]));

    // Nor does a late retry make a project again that was deleted since.
    answer(gateway.as_service(Method::DELETE, "/api/projects/1")).await;
    let (status, body) = answer(create(&gateway, "first", "one")).await;
    assert_eq!((status, &body["project"]["id"]), (200, &json!(1)));
    assert!(body["project"]["deletedAt"].is_string());
    assert_eq!(places(&gateway).await, (1, 1));
    is_proven(&gateway).await;
}

#[tokio::test]
async fn the_key_of_a_use_that_made_no_project_makes_none_for_free() {
    let gateway = with_places(2).await;
    let used = json!({"capability": "projects.create", "usageEventKey": "k", "metadata": {"projectName": "free"}});
    assert_eq!(answer(gateway.consume(&used)).await.0, 200);
    assert_eq!(
        refusal(create(&gateway, "free", "k")).await,
        (409, "IDEMPOTENCY_CONFLICT".into(), vec![])
    );
    assert_eq!(
        answer(gateway.as_service(Method::GET, "/api/projects")).await.1["entries"],
        json!([])
    );
    is_proven(&gateway).await;
}

#[tokio::test]
async fn over_the_cap_after_a_downgrade_more_than_one_must_go() {
    let gateway = TestGateway::start().await;
    let entity = gateway.acme().await;
    gateway.grant(entity, CAP, 1).await;
    let large = gateway.grant(entity, CAP, 2).await;
    let mut paths = Vec::new();
    for name in ["a", "b", "c"] {
        paths.push(made(&gateway, name).await);
    }
    let revoke = format!("/api/console/billing/grants/{}/revoke", large["grant"]["id"]);
    let revoke = gateway
        .as_admin(Method::POST, &revoke)
        .header("Idempotency-Key", "downgrade");
    assert_eq!(answer(revoke.json(&json!({"reason": "Downgrade"}))).await.0, 200);
    assert_eq!(limitation(&gateway, CAP).await["lockState"], "projects_locked_over_cap");

    for must_go in [3, 2, 1] {
        let (status, body) = answer(create(&gateway, "new", "new")).await;
        assert_eq!((status, &body["code"]), (409, &json!("BILLING_CAPACITY_LOCKED")));
        let details = &body["details"];
        assert_eq!(
            (&details["requiredReduction"], &details["cap"], &details["used"]),
            (&json!(must_go), &json!(1), &json!(must_go))
        );
        let locked = if must_go > 1 {
            "projects_locked_over_cap"
        } else {
            "none"
        };
        assert_eq!(details["lockState"], locked);
        // Archiving and renaming are free, over the cap too.
        let path = paths.pop().unwrap();
        assert_eq!(
            change(
                &gateway,
                Method::PATCH,
                &path,
                "",
                json!({"name": "z", "status": "archived"})
            )
            .await
            .0,
            200
        );
    }
    assert_eq!(answer(create(&gateway, "new", "new")).await.0, 201);
    assert_eq!(places(&gateway).await, (1, 0));
    is_proven(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_races_for_the_last_place_or_submits_twice_makes_one_project() {
    let gateway = std::sync::Arc::new(with_places(3).await);
    made(&gateway, "first").await;
    for (round, keys) in [["same", "same"], ["one", "two"]].into_iter().enumerate() {
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                let gateway = gateway.clone();
                let key = format!("{round}-{}", keys[racer % 2]);
                let name = keys[racer % 2];
                tokio::spawn(async move { answer(create(&gateway, name, &key)).await })
            })
            .collect();
        let mut answers = Vec::new();
        for racer in racers {
            answers.push(racer.await.unwrap());
        }
        let made = answers.iter().filter(|(status, _)| *status == 201).count();
        assert_eq!(made, 1, "{answers:?}");
        let mut rest: Vec<_> = answers
            .iter()
            .map(|(status, _)| *status)
            .filter(|status| *status != 201)
            .collect();
        rest.sort_unstable();
        // The same key: the same project. Two keys: the one that came too late is refused each time.
        let expected = if round == 0 {
            vec![200; 7]
        } else {
            [[200; 3].as_slice(), &[409; 4]].concat()
        };
        assert_eq!(rest, expected);
    }
    assert_eq!(places(&gateway).await, (3, 0));
    let (_, body) = answer(gateway.as_service(Method::GET, "/api/projects")).await;
    assert_eq!(body["entries"].as_array().unwrap().len(), 3);
    is_proven(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_their_cap_change_at_once_and_the_count_is_what_there_is() {
    let gateway = std::sync::Arc::new(with_places(4).await);
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                for round in 0..8 {
                    let name = format!("p-{worker}-{round}");
                    if worker == 5 {
                        gateway.grant(1, CAP, 1).await;
                        continue;
                    }
                    let (status, body) = answer(create(&gateway, &name, &name)).await;
                    assert!(status == 201 || status == 409, "{body}");
                    if status == 201 && round % 2 == 0 {
                        let path = format!("/api/projects/{}", body["project"]["id"]);
                        let archive = change(&gateway, Method::PATCH, &path, "", json!({"status": "archived"}));
                        assert_eq!(archive.await.0, 200);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let mut session = gateway.test.session().await;
    let active: i64 = session
        .query_first("SELECT COUNT(*) FROM scaffold_projects WHERE status <> 'archived'")
        .await
        .unwrap()
        .unwrap();
    let (consumed, available) = places(&gateway).await;
    assert_eq!((consumed, available), (active, 12 - active));
    is_proven(&gateway).await;
}

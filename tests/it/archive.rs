//! `consumable archive`.

use consumable::database::make_gateway_account;
use mysql_async::prelude::Queryable;

use crate::support::command::consumable;
use crate::support::story::{Grant, Story, definition};

fn archive(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    consumable(url, &[&["archive"], arguments].concat())
}

#[tokio::test]
async fn old_uses_are_moved_batch_after_batch() {
    let mut story = Story::of(definition::BALANCE).await;
    let other = story.new_subject("other").await;
    for subject in [story.subject, other] {
        story.subject = subject;
        story.grant(Grant::of("topup", 100)).await;
        for _ in 0..5 {
            story.consume(1).await;
        }
        story.at("2026-03-01 06:00:00.000").await;
        story.grant(Grant::of("topup", 100)).await;
    }
    let url = story.database.url();
    let said = |text: &str| (Some(0), format!("{text}\n"), String::new());
    assert_eq!(archive(&url, &["--before", "2026-03-01"]), said("Nothing to move."));
    let at_six = ["--before", "2026-03-01T07:00:00+01:00"];
    let one = other.to_string();
    let only_other = [&at_six[..], &["--entity", &one, "--batch", "2"]].concat();
    assert_eq!(archive(&url, &only_other), said("Moved 5 uses."));
    let left: Vec<(u64, u64)> = story
        .session
        .query("SELECT subject_id, COUNT(*) FROM billing_entitlement_consumptions GROUP BY subject_id")
        .await
        .unwrap();
    assert_eq!(left, [(1, 5)]);
    assert_eq!(archive(&url, &at_six), said("Moved 5 uses."));
    assert_eq!(archive(&url, &at_six), said("Nothing to move."));

    for wrong in [
        vec![],
        vec!["--before", "yesterday"],
        vec!["--before", "2026-03-01", "--batch", "0"],
    ] {
        assert_eq!(archive(&url, &wrong).0, Some(2), "{wrong:?}");
    }
    for (arguments, what) in [
        (["--before", "2026-03-01", "--entity=3"], "SUBJECT_NOT_FOUND"),
        (["--before", "9999-01-01", "--batch=1"], "VALIDATION_FAILED"),
    ] {
        let (code, _, error) = archive(&url, &arguments);
        assert!(code == Some(1) && error.contains(what), "{error}");
    }
    let nowhere = "mysql://u@localhost/x?socket=/nowhere";
    assert_eq!(archive(nowhere, &["--before", "2026-03-01"]).0, Some(3));

    // The gateway's account may call it, and is refused by what it may not do.
    let gateway = format!("gateway_{:08x}", getrandom::u32().unwrap());
    make_gateway_account(&url, &gateway, "secret").await.unwrap();
    let (code, _, error) = archive(&story.database.url_as(&gateway, "secret"), &at_six);
    assert!(code == Some(1) && error.contains("command denied"), "{error}");
    story
        .session
        .query_drop(format!("DROP USER {gateway}@localhost"))
        .await
        .unwrap();
    story.end().await;
}

//! `entitlement_window_at_v1`: which window contains an instant.

use mysql_async::prelude::Queryable;

use crate::support::database::TestDatabase;

#[tokio::test]
async fn a_window_contains_its_start_and_not_its_end() {
    let database = TestDatabase::migrated().await;
    let mut session = database.session().await;
    let anchor = "2026-01-31 10:00:00.000";
    let lifetime = ("1970-01-01 00:00:00.000", "9999-12-31 23:59:59.999");
    // interval, anchor, instant, start, end
    let cases = [
        (None, None, "2026-03-01 00:00:00.000", lifetime.0, lifetime.1),
        (
            Some("month"),
            Some("rolling"),
            "2026-03-01 00:00:00.000",
            lifetime.0,
            lifetime.1,
        ),
        (
            Some("day"),
            Some("calendar_utc"),
            "2026-03-01 23:59:59.999",
            "2026-03-01 00:00:00.000",
            "2026-03-02 00:00:00.000",
        ),
        (
            Some("week"),
            Some("calendar_utc"),
            "2026-03-01 23:59:59.999",
            "2026-02-23 00:00:00.000",
            "2026-03-02 00:00:00.000",
        ),
        (
            Some("week"),
            Some("calendar_utc"),
            "2026-03-02 00:00:00.000",
            "2026-03-02 00:00:00.000",
            "2026-03-09 00:00:00.000",
        ),
        (
            Some("month"),
            Some("calendar_utc"),
            "2024-02-29 12:00:00.000",
            "2024-02-01 00:00:00.000",
            "2024-03-01 00:00:00.000",
        ),
        (
            Some("year"),
            Some("calendar_utc"),
            "2026-12-31 23:59:59.999",
            "2026-01-01 00:00:00.000",
            "2027-01-01 00:00:00.000",
        ),
        // Anchored on 31 January: clamped at the month's end, and never drifting from it.
        (
            Some("month"),
            Some("billing_period"),
            "2026-01-31 10:00:00.000",
            "2026-01-31 10:00:00.000",
            "2026-02-28 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2026-02-28 09:59:59.999",
            "2026-01-31 10:00:00.000",
            "2026-02-28 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2026-02-28 10:00:00.000",
            "2026-02-28 10:00:00.000",
            "2026-03-31 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2026-03-30 10:00:00.000",
            "2026-02-28 10:00:00.000",
            "2026-03-31 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2026-03-31 10:00:00.000",
            "2026-03-31 10:00:00.000",
            "2026-04-30 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2028-02-29 10:00:00.000",
            "2028-02-29 10:00:00.000",
            "2028-03-31 10:00:00.000",
        ),
        (
            Some("month"),
            Some("billing_period"),
            "2025-12-31 09:59:59.999",
            "2025-11-30 10:00:00.000",
            "2025-12-31 10:00:00.000",
        ),
        (
            Some("year"),
            Some("billing_period"),
            "2026-01-31 09:59:59.999",
            "2025-01-31 10:00:00.000",
            "2026-01-31 10:00:00.000",
        ),
        (
            Some("year"),
            Some("billing_period"),
            "2027-01-31 10:00:00.000",
            "2027-01-31 10:00:00.000",
            "2028-01-31 10:00:00.000",
        ),
        (
            Some("day"),
            Some("billing_period"),
            "2026-02-01 09:59:59.999",
            "2026-01-31 10:00:00.000",
            "2026-02-01 10:00:00.000",
        ),
        (
            Some("day"),
            Some("billing_period"),
            "2026-01-31 09:59:59.999",
            "2026-01-30 10:00:00.000",
            "2026-01-31 10:00:00.000",
        ),
        (
            Some("week"),
            Some("billing_period"),
            "2026-02-14 10:00:00.000",
            "2026-02-14 10:00:00.000",
            "2026-02-21 10:00:00.000",
        ),
    ];
    for (interval, window_anchor, at, start, end) in cases {
        session
            .exec_drop(
                "CALL entitlement_window_at_v1(?, ?, ?, ?, @start_at, @end_at)",
                (interval, window_anchor, anchor, at),
            )
            .await
            .unwrap();
        let window: (String, String) = session
            .query_first("SELECT CAST(@start_at AS CHAR), CAST(@end_at AS CHAR)")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            window,
            (start.to_owned(), end.to_owned()),
            "{interval:?} {window_anchor:?} at {at}"
        );
    }
}

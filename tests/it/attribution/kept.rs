//! What is kept: sums of a set for its own time, and names as long as something has them.

use std::collections::BTreeSet;

use analytics_service::{domain::attribution::Unit, store::attribution::unused};
use serde_json::Value as Json;

use super::*;

async fn names(conn: &mut PgConnection) -> BTreeSet<(String, String)> {
    let names: Vec<(String, String)> =
        sqlx::query_as("SELECT dimension, value FROM analytics.attribution_values WHERE org_id = $1")
            .bind(Uuid::from_u128(1))
            .fetch_all(conn)
            .await
            .unwrap();
    names.into_iter().collect()
}

#[tokio::test]
async fn only_names_that_nothing_has_are_deleted() {
    let mut fixture = fixture(10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(22));
    age(&mut fixture, 60).await;
    // Each day has a client of its own.
    let events: Vec<Event> = (0..60)
        .flat_map(|day| {
            let event = random(&mut rng, 1, u128::try_from(day).unwrap(), now - TimeDelta::days(day));
            let client = Event { client_id: Some(format!("day-{day}")), ..event.clone() };
            let other =
                Event { event_id: Uuid::from_u128(1000 + u128::try_from(day).unwrap()), client_id: None, ..event };
            [client, other]
        })
        .collect();
    commit(&mut fixture, &events).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    settle_all(&mut fixture.conn).await;
    let before = names(&mut fixture.conn).await;
    assert_eq!(unused::delete(&mut fixture.conn, &mut |_| {}).await.unwrap(), 0, "all of them are used");
    assert_eq!(names(&mut fixture.conn).await, before);
    // Sums of 40 days are left.
    fixture.world.set("ANALYTICS__ATTRIBUTION__RETENTION_DAYS", "40");
    let report = fixture.world.report(&["purge"]).await;
    assert!(report["attribution"]["values"].as_i64().unwrap() > 15, "{report}");
    let after = names(&mut fixture.conn).await;
    let kept = |day: i64| after.contains(&("clientId".to_owned(), format!("day-{day}")));
    assert!((0..=39).all(kept) && !(42..60).any(kept), "{after:?}");
    let reader = reader(&fixture.world.settings);
    let buckets = covering(now - TimeDelta::days(39), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    for by in [&["clientId"][..], &["actorId"], &["status", "errorCode"], &["meta.te\"am"]] {
        let read = read(&reader, &query(1, &buckets, by, Vec::new())).await;
        assert_eq!(sums(total(&read)), usage(&reader, 1, &buckets).await);
        assert!(
            read.totals
                .iter()
                .flat_map(|one| &one.key)
                .all(|value| *value != analytics_service::domain::attribution::Value::Lost)
        );
    }
    // What comes again gets another id.
    let again = Event {
        event_id: Uuid::from_u128(5000),
        client_id: Some("day-50".into()),
        occurred_at: now,
        ..events[0].clone()
    };
    commit(&mut fixture, &[again]).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert!(names(&mut fixture.conn).await.contains(&("clientId".into(), "day-50".into())));
    let ids: i64 = query_one(
        &mut fixture.conn,
        "SELECT count(*) FROM analytics.attribution_values v JOIN analytics.attribution_dictionaries d USING (org_id, dimension)
         WHERE v.value_id >= d.next_id OR d.freed <> d.next_id - 2 - (SELECT count(*) FROM analytics.attribution_values AS o
                                                                      WHERE o.org_id = d.org_id AND o.dimension = d.dimension)",
    )
    .await;
    assert_eq!(ids, 0, "each is given once, and there is room for as many as were deleted");
}

#[tokio::test]
async fn a_set_is_kept_for_its_own_time() {
    let mut fixture = CommitFixture::new(1).await;
    let sets = "10 days: clientId,modelId; actorId,modelId; 300 days: status,modelId";
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", sets);
    fixture.world.set("ANALYTICS__ATTRIBUTION__RETENTION_DAYS", "20");
    want(&mut fixture, 10_000).await;
    let (now, mut rng) = (fixture.claim.now, rng(23));
    let events: Vec<Event> =
        (0..40).map(|day| random(&mut rng, 1, u128::try_from(day).unwrap(), now - TimeDelta::days(day))).collect();
    commit(&mut fixture, &events).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    let counted = fixture.world.report(&["purge", "--dry-run"]).await;
    let purged = fixture.world.report(&["purge"]).await;
    let rows = |report: &Json| ["parts", "keys"].map(|name| report["attribution"][name].as_i64().unwrap());
    assert_eq!(rows(&counted), rows(&purged));
    assert!(rows(&purged)[0] >= 29 + 19, "{purged}");
    let reader = reader(&fixture.world.settings);
    let whole = async |by: &str, days: i64| {
        let buckets = covering(now - TimeDelta::days(days), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
        let read = reader.attribution(&query(1, &buckets, &[by], Vec::new()), |_| Vec::new()).await;
        match read {
            Ok(read) => Ok(total(&read.unwrap()).invocations),
            Err(error) => Err(error.to_string()),
        }
    };
    assert_eq!(whole("clientId", 10).await, Ok(11));
    assert_eq!((whole("actorId", 20).await, whole("status", 39).await), (Ok(21), Ok(40)));
    let first = (now - TimeDelta::days(10)).date_naive().to_string();
    for (by, days) in [("clientId", 11), ("actorId", 21)] {
        let refused = whole(by, days).await.unwrap_err();
        assert!(refused.contains("sums of attribution") && (by != "clientId" || refused.contains(&first)), "{refused}");
    }
    // By models any of them serves, the one that reaches furthest.
    assert_eq!(whole("modelId", 39).await, Ok(40));
    assert_eq!(differences(&mut fixture.conn, 40).await, [""; 0]);
    assert_eq!(rows(&fixture.world.report(&["purge"]).await), [0, 0]);
}

#[tokio::test]
async fn history_is_counted_as_far_as_it_is_kept() {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "");
    let (now, mut rng) = (fixture.claim.now, rng(24));
    let events: Vec<Event> =
        (0..40).map(|day| random(&mut rng, 1, u128::try_from(day).unwrap(), now - TimeDelta::days(day))).collect();
    commit(&mut fixture, &events).await;
    merge_all(&mut fixture).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "10 days: clientId");
    want(&mut fixture, 10_000).await;
    fold_all(&mut fixture).await;
    let retention = fixture.world.settings.attribution.retention();
    let mut counted = 0;
    while counting::next_of_history(&mut fixture.conn, &retention).await.unwrap().is_some() {
        counted += 1;
    }
    assert!((11..=12).contains(&counted), "{counted}");
    let oldest: DateTime<Utc> =
        query_one(&mut fixture.conn, "SELECT min(bucket_start) FROM analytics.attribution_parts").await;
    assert!(oldest >= analytics_service::domain::calendar::utc_day(now - TimeDelta::days(10)), "{oldest}");
}

#[tokio::test]
async fn a_month_whose_history_begins_within_it_is_whole() {
    let mut fixture = CommitFixture::new(1).await;
    fixture.world.set("ANALYTICS__ATTRIBUTION__SETS", "");
    let (now, mut rng) = (fixture.claim.now, rng(25));
    let this_month = Unit::Month.start_of(now);
    let month = Unit::Month.start_of(this_month - TimeDelta::days(1));
    // The last ten days of the month before.
    let mut at = |n: u32, days: i64| random(&mut rng, 1, n.into(), this_month - TimeDelta::days(days));
    let events: Vec<Event> = (0..60).map(|n| at(n, 1 + i64::from(n % 10))).collect();
    commit(&mut fixture, &events).await;
    begin_sets(&mut fixture).await;
    count_all(&mut fixture.conn).await;
    let reader = reader(&fixture.world.settings);
    let buckets = covering(month, this_month, Granularity::Day, Tz::UTC);
    let whole = covering(month, this_month, Granularity::Month, Tz::UTC);
    let read_month = async || sums(total(&read(&reader, &query(1, &whole, &["clientId"], Vec::new())).await));
    assert_eq!(read_month().await, usage(&reader, 1, &buckets).await);
    let late: Vec<Event> = (100..103).map(|n| at(n, 2)).collect();
    commit(&mut fixture, &late).await;
    merge_all(&mut fixture).await;
    fold_all(&mut fixture).await;
    assert_eq!(read_month().await, usage(&reader, 1, &buckets).await);
    assert_eq!(unused::delete(&mut fixture.conn, &mut |_| {}).await.unwrap(), 0, "all names are used");
    assert_eq!(differences(&mut fixture.conn, 45).await, [""; 0]);
    // A month that lacks something is found, though raw events begin within it.
    let [taken, given_back] = [
        "CREATE TEMP TABLE months AS SELECT * FROM analytics.attribution_parts WHERE unit = 'month';
         DELETE FROM analytics.attribution_parts WHERE unit = 'month'",
        "INSERT INTO analytics.attribution_parts SELECT * FROM months",
    ];
    sqlx::raw_sql(taken).execute(&mut fixture.conn).await.unwrap();
    assert!(!differences(&mut fixture.conn, 45).await.is_empty());
    sqlx::raw_sql(given_back).execute(&mut fixture.conn).await.unwrap();
}

//! Sums: by any dimensions, in any zone, from hours, days and months, within the cap and beyond.

use std::collections::BTreeSet;

use analytics_service::domain::attribution::Value;

use super::*;

const GROUPINGS: [&[&str]; 6] = [
    &["clientId"],
    &["modelId", "clientId"],
    &["status", "errorCode", "clientId"],
    &["actorId"],
    &["meta.te\"am", "meta.🦀"],
    &["modelId"],
];

/// Every grouping adds up to usage, in some zones and granularities, with a series that adds up to its totals.
async fn assert_sums(fixture: &CommitFixture, orgs: u128, from: DateTime<Utc>, to: DateTime<Utc>) {
    let reader = reader(&fixture.world.settings);
    for zone in [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kolkata] {
        for granularity in [Granularity::Day, Granularity::Hour] {
            let buckets = covering(from, to, granularity, zone);
            for org in 0..orgs {
                let expected = usage(&reader, org, &buckets).await;
                // The others differ in their dimensions alone.
                let most = if org == 0 && granularity == Granularity::Day { GROUPINGS.len() } else { 1 };
                for names in &GROUPINGS[..most] {
                    let read = read(&reader, &query(org, &buckets, names, Vec::new())).await;
                    assert_eq!(sums(total(&read)), expected, "{names:?} {zone} {granularity:?}");
                    for (one, series) in read.totals.iter().zip(&read.series) {
                        let summed: Measures = series.iter().map(|(_, measures)| *measures).sum();
                        assert_eq!(summed, one.measures, "{names:?} {zone} {granularity:?}");
                    }
                }
            }
        }
    }
}

/// Events of some orgs over some months, in batches that are merged and folded in between.
async fn stored(fixture: &mut CommitFixture, rng: &mut StdRng, orgs: u128) -> (DateTime<Utc>, DateTime<Utc>) {
    let (now, days) = (fixture.claim.now, 70);
    let mut id = 0;
    for round in 0..12 {
        let events: Vec<Event> = (0..60)
            .map(|_| {
                id += 1;
                let at = now - TimeDelta::minutes(rng.random_range(0..days * 24 * 60));
                let org = rng.random_range(0..orgs);
                random(rng, org, id, at)
            })
            .collect();
        commit(fixture, &events).await;
        if round % 3 == 1 {
            fold_all(fixture).await;
        }
        if round % 4 == 2 {
            merge_all(fixture).await;
        }
        if round == 7 {
            settle_all(&mut fixture.conn).await;
        }
    }
    assert_eq!(differences(&mut fixture.conn, days).await, [""; 0], "what is pending counts on both sides");
    merge_all(fixture).await;
    fold_all(fixture).await;
    (now - TimeDelta::days(days), now + TimeDelta::hours(1))
}

#[tokio::test]
async fn groups_add_up_to_usage() {
    let mut fixture = fixture(10_000).await;
    // As if the sets had been there for months: days and months get their parts when they are settled.
    sqlx::query(
        "UPDATE analytics.attribution_sets SET days_to = days_to - INTERVAL '65 days', months_to = '2020-01-01'",
    )
    .execute(&mut fixture.conn)
    .await
    .unwrap();
    sqlx::query("UPDATE analytics.attribution_sets SET months_to = date_trunc('month', days_to, 'UTC')")
        .execute(&mut fixture.conn)
        .await
        .unwrap();
    let (from, to) = stored(&mut fixture, &mut rng(1), 2).await;
    assert_sums(&fixture, 2, from, to).await;
    let settled = settle_all(&mut fixture.conn).await;
    assert!(settled.buckets > 0, "{settled:?}");
    assert_eq!(settle_all(&mut fixture.conn).await, settle::Settled::default(), "nothing is left to settle");
    let loose: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM analytics.attribution_parts WHERE part_no > 0 AND bucket_start < now() - INTERVAL '3 hours'",
    )
    .fetch_one(&mut fixture.conn)
    .await
    .unwrap();
    assert_eq!(loose, 0);
    assert_sums(&fixture, 2, from, to).await;
    assert_eq!(differences(&mut fixture.conn, 70).await, [""; 0]);
}

#[tokio::test]
async fn names_beyond_the_cap_are_lost_and_sums_are_not() {
    let mut fixture = fixture(3).await;
    let (from, to) = stored(&mut fixture, &mut rng(2), 2).await;
    assert_sums(&fixture, 2, from, to).await;
    assert_eq!(differences(&mut fixture.conn, 70).await, [""; 0]);
    let reader = reader(&fixture.world.settings);
    let buckets = covering(from, to, Granularity::Day, Tz::UTC);
    let lost = async |fixture: &CommitFixture| {
        let _ = fixture;
        let read = read(&reader, &query(0, &buckets, &["clientId"], Vec::new())).await;
        read.totals.iter().any(|one| one.key == [Value::Lost])
    };
    assert!(lost(&fixture).await);
    // With more room, counting again brings the names back.
    want(&mut fixture, 10_000).await;
    count_days(&mut fixture, 70).await;
    assert!(!lost(&fixture).await);
    assert_sums(&fixture, 2, from, to).await;
    assert_eq!(differences(&mut fixture.conn, 70).await, [""; 0]);
}

/// What `refresh` does with each of the last days.
pub async fn count_days(fixture: &mut CommitFixture, days: i64) {
    use analytics_service::store::rollups::rebuild;
    recount::prepare(&mut fixture.conn).await.unwrap();
    let today = analytics_service::domain::calendar::utc_day(fixture.claim.now);
    for day in -days..=1 {
        let start = today + TimeDelta::days(day);
        rebuild::day(&mut fixture.conn, start, None, None, TimeDelta::hours(1)).await.unwrap();
    }
}

#[tokio::test]
async fn filters_leave_exactly_what_passes() {
    let mut fixture = fixture(10_000).await;
    let now = fixture.claim.now;
    let mut rng = rng(3);
    let events: Vec<Event> =
        (0..400).map(|id| random(&mut rng, 1, id, now - TimeDelta::hours(i64::try_from(id).unwrap()))).collect();
    commit(&mut fixture, &events).await;
    fold_all(&mut fixture).await;
    let reader = reader(&fixture.world.settings);
    let buckets = covering(now - TimeDelta::days(20), now + TimeDelta::hours(1), Granularity::Day, Tz::Asia__Kolkata);
    let filter = |name: &str, values: &[&str], unset: bool| Filter {
        dimension: name.parse().unwrap(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        unset,
    };
    let long = "🦀".repeat(300) + "1";
    type Passes = fn(&Event) -> bool;
    let cases: [(&str, Vec<Filter>, Passes); 5] = [
        ("modelId", vec![filter("clientId", &["client1", "client2", "nobody"], false)], |event| {
            matches!(event.client_id.as_deref(), Some("client1" | "client2"))
        }),
        ("clientId", vec![filter("clientId", &[], true)], |event| event.client_id.is_none()),
        ("clientId", vec![filter("status", &["error"], false), filter("clientId", &["client3"], true)], |event| {
            event.status == Status::Error && matches!(event.client_id.as_deref(), None | Some("client3"))
        }),
        ("modelId", vec![filter("meta.🦀", &[&long], false)], |event| {
            event
                .metadata
                .as_ref()
                .is_some_and(|metadata| metadata.pairs().get("🦀").is_some_and(|value| value.ends_with('1')))
        }),
        ("clientId", vec![filter("clientId", &["nobody"], false)], |_| false),
    ];
    for (name, filters, passes) in cases {
        let read = read(&reader, &query(1, &buckets, &[name], filters.clone())).await;
        let expected: Measures = events.iter().filter(|event| passes(event)).map(Measures::of).sum();
        assert_eq!(total(&read), expected, "{filters:?}");
        assert!(read.totals.iter().all(|one| !one.may_pass));
    }
    let no_set = reader.attribution(&query(1, &buckets, &["actorId", "clientId"], Vec::new()), |_| Vec::new()).await;
    assert_eq!(no_set.unwrap().unwrap_err().0.len(), 4);
    let values = reader.attribution_values(Uuid::from_u128(1), &Dimension::Client, "client", 3).await.unwrap();
    assert_eq!(values, ["client1", "client2", "client3"]);
}

#[tokio::test]
async fn a_flood_of_clients_stays_bounded() {
    let mut fixture = fixture(1000).await;
    let now = fixture.claim.now;
    let mut id = 0;
    for _ in 0..20 {
        let mut rng = rng(id);
        let mut events: Vec<Event> = (0..5000)
            .map(|n| {
                let event = random(&mut rng, 1, u128::from(id) + n, now - TimeDelta::minutes(5));
                Event { client_id: Some(format!("flood-{}", u128::from(id) + n)), ..event }
            })
            .collect();
        events.push(random(&mut rng, 2, u128::from(id), now - TimeDelta::minutes(5)));
        id += 5000;
        commit(&mut fixture, &events).await;
        fold_all(&mut fixture).await;
    }
    merge_all(&mut fixture).await;
    let reader = reader(&fixture.world.settings);
    let buckets = covering(now - TimeDelta::days(1), now + TimeDelta::hours(1), Granularity::Day, Tz::UTC);
    let flooded = read(&reader, &query(1, &buckets, &["clientId"], Vec::new())).await;
    assert_eq!(sums(total(&flooded)), usage(&reader, 1, &buckets).await);
    assert_eq!(total(&flooded).invocations, 100_000);
    let names: BTreeSet<_> = flooded.totals.iter().filter_map(|one| one.key[0].name()).collect();
    assert!((500..=1000).contains(&names.len()), "{}", names.len());
    let other = read(&reader, &query(2, &buckets, &["clientId"], Vec::new())).await;
    assert!(other.totals.iter().all(|one| one.key[0] != Value::Lost), "another org keeps its names");
    let bytes: i64 = sqlx::query_scalar("SELECT sum(octet_length(packed))::bigint FROM analytics.attribution_parts")
        .fetch_one(&mut fixture.conn)
        .await
        .unwrap();
    assert!(bytes < 2_000_000, "{bytes}");
    assert_eq!(differences(&mut fixture.conn, 1).await, [""; 0]);
}

//! Each engine returns the same for the same history, reads no raw events for it, and shows late events at once.

use std::collections::BTreeMap;

use analytics_service::auth::Role;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    CONTINUOUS, DAYS, LIVE, assert_refused, assert_verified, bodies, history, materialised, shown, stored,
    to_continuous,
};
use crate::harness::{LedgerSums, Service, World, number, settled};

/// What can be asked of the history: every kind of response about it.
fn queries(org: Uuid, now: DateTime<Utc>) -> Vec<String> {
    let at = |ago: i64| (now - TimeDelta::days(ago)).format("%Y-%m-%dT00:00:00Z").to_string();
    let (year, month, week, end) = (at(DAYS), at(31), at(6), at(-1));
    // The longest range, in days of a zone that may have one of 25 hours.
    let of_zone = at(DAYS - 1);
    let mut queries = vec![
        format!("/analytics/v1/summary?start={}&end={end}", at(29)),
        format!("/analytics/v1/orgs/{org}/ledger?start={}&end={end}", at(1)),
    ];
    for what in ["usage", "reliability"] {
        for more in ["", "&groupBy=model", "&fill=zero"] {
            queries.push(format!("/analytics/v1/orgs/{org}/{what}?start={year}&end={end}{more}"));
        }
        for zone in ["Europe/Berlin", "Asia/Kolkata"] {
            queries.push(format!("/analytics/v1/orgs/{org}/{what}?start={of_zone}&end={end}&timezone={zone}"));
        }
        for more in ["", "&groupBy=model", &format!("&modelId={}", Uuid::from_u128(2))] {
            queries.push(format!("/analytics/v1/orgs/{org}/{what}?granularity=hour&start={month}&end={end}{more}"));
        }
    }
    for by in ["client", "errorCode"] {
        queries.push(format!("/analytics/v1/orgs/{org}/reliability?start={week}&end={end}&groupBy={by}"));
    }
    queries
}

/// Responses without what moves from second to second.
async fn responses(service: &Service, orgs: &[Uuid], now: DateTime<Utc>) -> BTreeMap<String, Value> {
    let token = service.token(orgs, &[Role::SystemAdmin]);
    let mut responses = BTreeMap::new();
    for org in orgs {
        for query in queries(*org, now) {
            let (status, mut response) = service.get(&query, &token).await;
            assert_eq!(status, 200, "{query}: {response}");
            for moving in ["asOf", "freshness"] {
                response.as_object_mut().unwrap().remove(moving);
            }
            for point in response["series"].as_array_mut().into_iter().flatten() {
                point.as_object_mut().unwrap().remove("final");
            }
            responses.insert(query, response);
        }
    }
    responses
}

#[tokio::test]
async fn both_engines_agree_on_four_hundred_days() {
    let now = Utc::now().with_nanosecond(0).unwrap();
    let (orgs, events) = history(now);
    let mut found: Vec<(&str, BTreeMap<String, Value>)> = Vec::new();
    for engine in [LIVE, CONTINUOUS] {
        // Most of it, a part of that twice, and the rest when the most is materialised.
        let (first, late) = events.split_at(3500);
        let (world, service, mut conn) = stored([bodies(first), bodies(&first[..300])].concat()).await;
        if engine == CONTINUOUS {
            to_continuous(&world).await;
            assert!(tail(&mut conn).await < 1000, "most of it is materialised");
        }
        world.send(bodies(late)).await;
        settled(&mut conn, 4300).await;
        world.report(&["refresh", "--late"]).await;
        assert_eq!(world.report(&["verify"]).await["events"], 4000, "{engine}");
        let sums = LedgerSums::of_batches(&mut conn).await;
        assert_eq!((sums.received, sums.stored, sums.duplicates), (4300, 4000, 300));
        let mut responses = responses(&service, &orgs, now).await;
        // By the hour of the commit, which is each engine's own.
        responses.retain(|query, _| !query.contains("/ledger"));
        found.push((engine, responses));
    }
    let (_, live) = &found[0];
    let year = live.iter().find(|(query, _)| query.contains("/usage") && !query.contains("granularity")).unwrap();
    assert!(year.1["series"].as_array().unwrap().len() > 300, "the history is there");
    for (engine, responses) in &found[1..] {
        for (query, response) in responses {
            assert_eq!(response, &live[query], "{engine}: {query}");
        }
    }
}

/// Rows of hours that the table has.
async fn tail(conn: &mut PgConnection) -> i64 {
    number(conn, "SELECT count(*) FROM analytics.hourly_rollups").await
}

/// Another event with such figures, of an org and a time.
fn again(event: &Value, org: Uuid, at: DateTime<Utc>) -> Value {
    let mut event = event.clone();
    (event["eventId"], event["orgId"], event["occurredAt"]) = (json!(Uuid::new_v4()), json!(org), json!(at));
    event
}

#[tokio::test]
async fn a_late_event_is_visible_at_once() {
    let now = Utc::now().with_nanosecond(0).unwrap();
    let (orgs, events) = history(now);
    for engine in [LIVE, CONTINUOUS] {
        let (world, service, mut conn) = stored(bodies(&events)).await;
        if engine == CONTINUOUS {
            to_continuous(&world).await;
        }
        sqlx::query("DELETE FROM analytics.rollup_revisions").execute(&mut conn).await.unwrap();
        let before = responses(&service, &orgs, now).await;
        let at = now - TimeDelta::days(30);
        let event = again(&events[0], orgs[0], at);
        world.send(bodies(std::slice::from_ref(&event))).await;
        settled(&mut conn, 4001).await;
        let after = responses(&service, &orgs, now).await;
        for (query, response) in &after {
            if query.contains("/ledger") || query.contains("/summary") {
                continue;
            }
            let differing = |side: &Value, other: &Value| {
                let points = side["series"].as_array().unwrap();
                let others = other["series"].as_array().unwrap();
                points.iter().filter(|point| !others.contains(point)).cloned().collect::<Vec<_>>()
            };
            let changed = differing(response, &before[query]);
            let concerned = query.contains(&orgs[0].to_string())
                && !query.contains("groupBy=client")
                && !query.contains("groupBy=errorCode")
                && (!query.contains("modelId=") || event["modelId"] == json!(Uuid::from_u128(2)));
            assert_eq!(changed.len(), usize::from(concerned), "{engine}: {query}: {changed:?}");
        }
        let revisions: Vec<(Uuid, DateTime<Utc>, String, i64)> = sqlx::query_as(
            "SELECT org_id, bucket_start, reason, after_invocations - before_invocations FROM analytics.rollup_revisions",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let hour = at.with_minute(0).unwrap().with_second(0).unwrap();
        assert_eq!(revisions, [(orgs[0], hour, "late".to_owned(), 1)], "{engine}");
        world.report(&["refresh", "--late"]).await;
        assert_eq!(responses(&service, &orgs, now).await, after, "a refresh changes no response");
        assert_verified(&world).await;
    }
}

/// Rows that anybody has read of raw events, as the statistics have it.
async fn raw_rows_read(conn: &mut PgConnection) -> i64 {
    number(
        conn,
        "SELECT coalesce(sum(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0)), 0)::bigint
         FROM timescaledb_information.chunks c
         JOIN pg_stat_user_tables s ON (s.schemaname, s.relname) = (c.chunk_schema, c.chunk_name)
         WHERE c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events'",
    )
    .await
}

#[tokio::test]
async fn neither_queries_nor_a_refresh_count_raw_events() {
    let now = Utc::now();
    let (orgs, events) = history(now);
    let (world, service, mut conn) = stored(bodies(&events)).await;
    let before = shown(&mut conn).await;
    to_continuous(&world).await;
    assert_eq!(shown(&mut conn).await, before);
    // As the database plans what is large. A cut that was no join left out all that is materialised here.
    sqlx::raw_sql("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(shown(&mut conn).await, before);
    world.send(bodies(&[again(&events[0], orgs[0], now - TimeDelta::days(30))])).await;
    settled(&mut conn, 4001).await;
    assert_eq!(service.terminate().await, Some(0));
    let read = raw_rows_read(&mut conn).await;
    assert!(read > 0);
    assert_eq!(world.report(&["refresh", "--late"]).await["hours"], 0, "the late event is in the table");
    assert_eq!(shown(&mut conn).await.values().sum::<i64>(), 4001);
    assert_eq!(raw_rows_read(&mut conn).await, read);
}

/// Has the database plan everything of this world in parallel, as it does what is large.
async fn plan_in_parallel(world: &World) {
    let mut owner = world.connect_as_owner().await;
    for setting in
        ["parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size", "min_parallel_index_scan_size"]
    {
        let database = world.settings.database.url.expose().rsplit_once('/').unwrap().1;
        let set = format!("ALTER DATABASE {database} SET {setting} = 0");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut owner).await.unwrap();
    }
    let plan: Vec<String> = sqlx::query_scalar("EXPLAIN SELECT count(*) FROM analytics.usage_events")
        .fetch_all(&mut world.connect().await)
        .await
        .unwrap();
    assert!(plan.iter().any(|line| line.contains("Parallel")), "{plan:?}");
}

/// TimescaleDB (2.28, 2.29) leaves out chunks, now and then all of them, where a hypertable is scanned in parallel beside another table, of
/// a join or a union, and bounded by a subquery's value: no statement may have this shape.
#[tokio::test]
async fn parallel_plans_answer_the_same() {
    let now = Utc::now();
    let (orgs, events) = history(now);
    let (world, service, _) = materialised(bodies(&events)).await;
    let before = responses(&service, &orgs, now).await;
    assert_eq!(service.terminate().await, Some(0));
    plan_in_parallel(&world).await;
    let service = world.serve().await;
    assert_eq!(responses(&service, &orgs, now).await, before);
    assert_eq!(service.terminate().await, Some(0));
    assert_verified(&world).await;
}

#[tokio::test]
async fn what_is_read_is_not_materialised_again() {
    let now = Utc::now();
    let (orgs, events) = history(now);
    let (world, service, mut conn) = materialised(bodies(&events)).await;
    world.send(bodies(&[again(&events[0], orgs[0], now - TimeDelta::days(30))])).await;
    settled(&mut conn, 4001).await;
    let before = shown(&mut conn).await;
    assert_eq!(before.values().sum::<i64>(), 4001);
    // By hand, over all hours, whether they have changed or not.
    let (from, to) = (now - TimeDelta::days(60), now - TimeDelta::days(2));
    assert_refused(&world, from, to, true).await;
    assert_eq!(shown(&mut conn).await, before);
    assert_verified(&world).await;
    assert_eq!(service.terminate().await, Some(0));
}

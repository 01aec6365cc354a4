//! Days of time zones, held against PostgreSQL's own idea of them, for a year of events that do not care for whole hours.

use std::{collections::BTreeMap, time::Instant};

use analytics_service::auth::Role;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{Service, World, decimal};

/// A hole, a double hour and a change of half an hour among them.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Beirut",
];

/// An event every 20 minutes of a year, each with another amount, and the rollups that merging them makes. Written by SQL:
/// through the stream an event may not be a year old and more. One batch is not merged yet.
async fn year(conn: &mut PgConnection, org: Uuid) {
    let events = "
        INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                            output_tokens, status, cost_cents)
        SELECT at, $1, gen_random_uuid(), (ARRAY['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002']::uuid[])[1 + n % 2],
               '00000000-0000-0000-0000-00000000000b', n % 5000, n % 7, n % 11,
               (ARRAY['success', 'error', 'timeout', 'throttled', 'success']::analytics.inference_status[])[1 + n % 5], n % 97 * 0.0001
        FROM generate_series(timestamptz '2025-03-01 00:07:00Z', '2026-03-01 00:00:00Z', '20 minutes') WITH ORDINALITY AS s (at, n_),
             LATERAL (SELECT n_::integer AS n) AS i";
    sqlx::query(events).bind(org).execute(&mut *conn).await.unwrap();
    // The histogram of n latencies of 10 ms is one pair: bucket 10, n.
    for (table, unit) in [("hourly_rollups", "hour"), ("daily_rollups", "day")] {
        let rollups = format!(
            "INSERT INTO analytics.{table}
             SELECT org_id, date_trunc('{unit}', occurred_at, 'UTC'), model_id, count(*) FILTER (WHERE status = 'success'),
                    count(*) FILTER (WHERE status = 'error'), count(*) FILTER (WHERE status = 'timeout'),
                    count(*) FILTER (WHERE status = 'throttled'), sum(input_tokens), sum(output_tokens), sum(cost_cents),
                    sum(latency_ms), min(latency_ms), max(latency_ms), '\\x010a' || set_byte('\\x00', 0, count(*)::integer),
                    max(occurred_at), now()
             FROM analytics.usage_events WHERE org_id = $1 GROUP BY 1, 2, 3"
        );
        sqlx::query(sqlx::AssertSqlSafe(rollups)).bind(org).execute(&mut *conn).await.unwrap();
    }
    // What is stored and not merged counts nowhere yet.
    let unmerged = "
        WITH batch AS (
            INSERT INTO analytics.rollup_pending VALUES ('00000000-0000-0000-0000-00000000000c', 'another', 0, 1, now(), '')
        )
        INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                            output_tokens, status, cost_cents)
        SELECT at, $1, gen_random_uuid(), gen_random_uuid(), '00000000-0000-0000-0000-00000000000c', 1, 1, 1, 'success', 1
        FROM generate_series(timestamptz '2025-03-01 00:00:00Z', '2026-02-28 00:00:00Z', '1 day 10 minutes') AS at";
    sqlx::query(unmerged).bind(org).execute(&mut *conn).await.unwrap();
}

/// By day: invocations, errors, input and output tokens, cost.
type Days = BTreeMap<DateTime<Utc>, (i64, i64, i64, i64, Decimal)>;

async fn reference(conn: &mut PgConnection, org: Uuid, zone: &str) -> Days {
    let days = "SELECT date_trunc('day', occurred_at AT TIME ZONE $2) AT TIME ZONE $2, count(*),
                       count(*) FILTER (WHERE status <> 'success'), sum(input_tokens)::bigint, sum(output_tokens)::bigint,
                       sum(cost_cents)
                FROM analytics.usage_events
                WHERE org_id = $1 AND batch_id = '00000000-0000-0000-0000-00000000000b'
                GROUP BY 1";
    let rows: Vec<(DateTime<Utc>, i64, i64, i64, i64, Decimal)> =
        sqlx::query_as(days).bind(org).bind(zone).fetch_all(conn).await.unwrap();
    rows.into_iter().map(|row| (row.0, (row.1, row.2, row.3, row.4, row.5))).collect()
}

async fn ask(service: &Service, token: &str, path: &str) -> Value {
    let (status, answer) = service.get(path, token).await;
    assert_eq!(status, 200, "{path} {answer}");
    answer
}

#[tokio::test]
async fn days_of_every_zone_match_postgresql() {
    let world = World::new(1).await;
    let mut conn = world.connect_as_owner().await;
    let org = Uuid::new_v4();
    year(&mut conn, org).await;
    let service = world.serve().await;
    let token = service.token(&[org], &[Role::OrgViewer]);
    for zone in ZONES {
        let expected = reference(&mut conn, org, zone).await;
        let path = |what: &str| {
            format!(
                "/analytics/v1/orgs/{org}/{what}?start=2025-03-01T00:00:00Z&end=2026-03-01T00:00:00Z&timezone={zone}"
            )
        };
        let usage = ask(&service, &token, &path("usage")).await;
        let reliability = ask(&service, &token, &path("reliability")).await;
        let int = |point: &Value, name: &str| point[name].as_i64().unwrap();
        let points = usage["series"].as_array().unwrap().iter().zip(reliability["series"].as_array().unwrap());
        let found: Days = points
            .map(|(point, outcome)| {
                assert_eq!(point["bucketStart"], outcome["bucketStart"]);
                assert_eq!(point["invocations"], outcome["invocations"]);
                let (errors, cost) = (int(outcome, "errors"), decimal(&point["costEstimateCents"]));
                let amounts =
                    (int(point, "invocations"), errors, int(point, "inputTokens"), int(point, "outputTokens"), cost);
                (point["bucketStart"].as_str().unwrap().parse().unwrap(), amounts)
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{zone}");
        for (day, amounts) in &expected {
            let (found, expected) = (found.get(day), amounts);
            assert_eq!(
                found.map(|f| (f.0, f.1, f.2, f.3, f.4.normalize())),
                Some((expected.0, expected.1, expected.2, expected.3, expected.4.normalize())),
                "{zone} {day}"
            );
        }
        let total = expected.values().map(|amounts| amounts.4).sum::<Decimal>();
        assert_eq!(decimal(&usage["totals"]["costEstimateCents"]).normalize(), total.normalize(), "{zone}");
        assert_eq!(usage["timezone"], zone);
        assert_eq!(usage["range"]["start"], usage["series"][0]["bucketStart"], "{zone}");
    }
}

#[tokio::test]
async fn a_year_of_split_days_is_in_time() {
    let world = World::new(1).await.unchecked("events without rollups are put in");
    let org = Uuid::new_v4();
    // Of 720 events a day, the 30 of the hour in which midnight is: the rest would come from rollups, which are not there.
    let events = "
        INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                            output_tokens, status, cost_cents)
        SELECT at, $1, gen_random_uuid(), $1, $1, 1, 1, 1, 'success', 1
        FROM generate_series(timestamptz '2025-03-01 00:00:00Z', '2026-02-28 23:59:59Z', '2 minutes') AS at";
    sqlx::query(events).bind(org).execute(&mut world.connect_as_owner().await).await.unwrap();
    let service = world.serve().await;
    let token = service.token(&[org], &[Role::OrgViewer]);
    let asked = Instant::now();
    let range = "start=2025-02-28T18:30:00Z&end=2026-02-28T18:30:00Z";
    let path = format!("/analytics/v1/orgs/{org}/usage?{range}&timezone=Asia/Kolkata");
    let answer = ask(&service, &token, &path).await;
    eprintln!("a year was answered after {:?}", asked.elapsed());
    // The last day ends with the range: half of that hour is beyond it.
    assert_eq!(answer["totals"]["invocations"], 365 * 30 - 15);
}

//! The rows of a file are what the API answers, all of one moment, and the same bytes each time.

use std::collections::BTreeMap;

use analytics_service::{
    domain::{
        calendar::{self, Buckets},
        export::{
            Granularity, GroupBy, Grouping, Spec, TimeRange,
            csv::{CsvRows, Names, PERCENTS, Row},
            reconcile::{Verdict, judge},
        },
        histogram::shown,
        query::{self, UsageQuery},
        reliability::{Dimension, Key, ReliabilityQuery},
    },
    store::{
        exports::{
            groups::BeginError,
            reconcile::{self, ReadAt},
            rows::ExportReader,
        },
        read::{ReadError, Reader, ReaderPlan},
    },
};
use chrono::{DurationRound, Timelike};
use futures_util::TryStreamExt;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::harness::{Service, settled};

const LATE: TimeDelta = TimeDelta::hours(1);

/// An org with the events of some weeks, and another org with as many.
struct Scene {
    world: World,
    service: Service,
    conn: PgConnection,
    reader: ExportReader,
    api: Reader,
    org: Uuid,
    models: Vec<Uuid>,
    /// Its start is the first midnight of what there is, its end the last.
    range: TimeRange,
    sent: i64,
}

impl Scene {
    async fn new() -> Self {
        let mut world = World::new(1).await;
        // What is sent before the service starts is one batch: nothing is final before it.
        world.set("ANALYTICS__BATCH__LINGER_MS", "1000");
        let [org, other] = [1, 2].map(Uuid::from_u128);
        let models: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        let end = now().duration_trunc(TimeDelta::days(1)).unwrap();
        let range = TimeRange { start: end - TimeDelta::days(20), end };
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let bodies: Vec<Vec<u8>> = (0..3000)
            .map(|n: u128| {
                let at = range.start + TimeDelta::milliseconds(random.random_range(0..20 * 86_400_000));
                let org = if n.is_multiple_of(3) { other } else { org };
                event(&mut random, n, org, &models, at).to_string().into_bytes()
            })
            .collect();
        let sent = 3000;
        world.send(bodies).await;
        let service = world.serve().await;
        let mut conn = world.connect().await;
        settled(&mut conn, sent).await;
        world.forget_revisions().await;
        let reader = ExportReader::new(&world.settings).unwrap();
        let api = ReaderPlan::new(&world.settings).unwrap().open();
        Self { world, service, conn, reader, api, org, models, range, sent }
    }

    fn spec(&self, granularity: Granularity, group_by: GroupBy, models: &[Uuid]) -> Spec {
        let group_by = Grouping::By(group_by);
        Spec { org_id: self.org, granularity, group_by, names: false, range: self.range, models: models.to_vec() }
    }

    /// The rows of a file, and when they were read.
    async fn rows(&self, spec: &Spec) -> (Vec<Row>, DateTime<Utc>) {
        let mut snapshot = self.reader.begin(spec).await.unwrap();
        assert!(snapshot.as_of.unwrap() <= snapshot.snapshot_at);
        let rows = snapshot.rows().try_collect().await.unwrap();
        let read_at = snapshot.snapshot_at;
        drop(snapshot);
        (rows, read_at)
    }

    /// The same as the API knows them.
    async fn answered(&self, spec: &Spec, granularity: calendar::Granularity) -> Vec<Row> {
        let buckets = Buckets::covering(spec.range.start, spec.range.end, granularity, chrono_tz::Tz::UTC).unwrap();
        let (org_id, models) = (spec.org_id, spec.models.clone());
        let query = UsageQuery {
            org_id,
            buckets: buckets.clone(),
            models: models.clone(),
            by_model: true,
            filters: Vec::new(),
            fill: false,
        };
        let usage = self.api.usage(&query).await.unwrap().unwrap();
        let query = ReliabilityQuery { org_id, buckets, models, by: Dimension::Model, only: None, fill: false };
        let reliability = self.api.reliability(&query).await.unwrap();
        assert_eq!(usage.series.len(), reliability.series.len());
        let row = |(usage, point): (query::UsagePoint, analytics_service::domain::reliability::ReliabilityPoint)| Row {
            bucket_start: usage.bucket_start,
            model_id: usage.model_id.unwrap(),
            text: None,
            invocations: usage.usage.invocations,
            errors: point.outcomes.errors(),
            input_tokens: usage.usage.input_tokens,
            output_tokens: usage.usage.output_tokens,
            cost: usage.usage.cost,
            latency: PERCENTS.map(|percent| point.outcomes.latency.percentile(percent)),
        };
        usage.series.into_iter().zip(reliability.series).map(row).collect()
    }
}

fn event(random: &mut impl Rng, n: u128, org: Uuid, models: &[Uuid], at: DateTime<Utc>) -> Value {
    let texts = [json!("web"), json!("=cmd()"), json!("Zoë, \"x\""), json!(""), json!(null)];
    let mut text = || texts[random.random_range(0..texts.len())].clone();
    let (client, code) = (text(), text());
    let status = ["success", "success", "error", "timeout", "throttled"][random.random_range(0..5)];
    let mut event = json!({
        "eventId": Uuid::from_u128(n), "orgId": org, "modelId": models[random.random_range(0..models.len())],
        "clientId": client, "errorCode": code, "occurredAt": at,
        "status": status,
        "latencyMs": 2_u64.pow(random.random_range(0..20)) + random.random_range(0..50),
        "inputTokens": random.random_range(0..1_000_000_000), "outputTokens": random.random_range(0..100_000),
        "costEstimateCents": f64::from(random.random_range(0..1_000_000)) / 10_000.0,
    });
    if event["clientId"].is_null() {
        event.as_object_mut().unwrap().remove("clientId");
    }
    event
}

fn totals(rows: &[Row]) -> Totals {
    rows.iter().fold(Totals::default(), |mut sum, row| {
        sum.invocations += row.invocations;
        sum.errors += row.errors;
        sum.input_tokens += row.input_tokens;
        sum.output_tokens += row.output_tokens;
        sum.cost += row.cost;
        sum
    })
}

fn file(spec: &Spec, rows: &[Row]) -> String {
    let mut csv = CsvRows::new(spec, Names::default()).unwrap();
    rows.iter().for_each(|row| csv.write(row).unwrap());
    assert_eq!((csv.rows(), csv.totals()), (rows.len() as u64, totals(rows)));
    String::from_utf8(csv.take().unwrap()).unwrap()
}

#[tokio::test]
async fn rows_match_the_api_and_are_stable() {
    let scene = Scene::new().await;
    let mut sums = Vec::new();
    for models in [&[][..], &scene.models[1..3]] {
        for (granularity, asked) in
            [(Granularity::Hourly, calendar::Granularity::Hour), (Granularity::Daily, calendar::Granularity::Day)]
        {
            let spec = scene.spec(granularity, GroupBy::Model, models);
            let (rows, _) = scene.rows(&spec).await;
            assert_eq!(rows, scene.answered(&spec, asked).await, "{spec:?}");
            assert!(rows.len() > 30 && rows.is_sorted_by_key(|row| (row.bucket_start, row.model_id)));
            assert_eq!(file(&spec, &rows), file(&spec, &scene.rows(&spec).await.0));
            sums.push(totals(&rows));
        }
    }
    assert!(sums[0] == sums[1] && sums[2] == sums[3] && sums[0] != sums[2], "hours and days are the same events");
    let (raw, cost): (i64, rust_decimal::Decimal) =
        sqlx::query_as("SELECT count(*), sum(cost_cents) FROM analytics.usage_events WHERE org_id = $1")
            .bind(scene.org)
            .fetch_one(&mut scene.world.connect().await)
            .await
            .unwrap();
    assert_eq!((sums[0].invocations, sums[0].cost), (raw.unsigned_abs(), Cents::from_text(&cost.to_string()).unwrap()));

    let nobody = Spec { org_id: Uuid::from_u128(99), ..scene.spec(Granularity::Hourly, GroupBy::Model, &[]) };
    assert_eq!(scene.rows(&nobody).await.0, []);
    let unknown = scene.spec(Granularity::Daily, GroupBy::Model, &[Uuid::from_u128(99)]);
    assert_eq!(scene.rows(&unknown).await.0, []);
}

#[tokio::test]
async fn a_month_sums_its_days() {
    let scene = Scene::new().await;
    let spec = scene.spec(Granularity::Monthly, GroupBy::Model, &[]);
    let (rows, _) = scene.rows(&spec).await;
    let days = scene.rows(&scene.spec(Granularity::Daily, GroupBy::Model, &[])).await.0;
    assert_eq!(rows.iter().map(|row| row.model_id).collect::<Vec<_>>(), scene.models);
    assert!(rows.iter().all(|row| row.bucket_start == spec.range.start));
    assert_eq!(totals(&rows), totals(&days));
    // Of all events, not of the days' percentiles.
    let exact: Vec<(Uuid, Vec<i32>)> = sqlx::query_as(
        "SELECT model_id, percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms)
         FROM analytics.usage_events WHERE org_id = $1 GROUP BY 1 ORDER BY 1",
    )
    .bind(scene.org)
    .fetch_all(&mut scene.world.connect().await)
    .await
    .unwrap();
    for (row, (model, exact)) in rows.iter().zip(exact) {
        assert_eq!(row.model_id, model);
        for (found, exact) in row.latency.iter().zip(exact) {
            let (found, exact) = (found.unwrap(), f64::from(exact));
            assert!((found - exact).abs() <= exact * 0.025, "{found} for {exact}");
        }
    }
}

#[tokio::test]
async fn an_incident_neutralises_formulas() {
    let scene = Scene::new().await;
    let hours = scene.rows(&scene.spec(Granularity::Hourly, GroupBy::Model, &[])).await.0;
    for (group_by, by) in [(GroupBy::Client, Dimension::Client), (GroupBy::ErrorCode, Dimension::ErrorCode)] {
        let spec = scene.spec(Granularity::Hourly, group_by, &[]);
        let (rows, _) = scene.rows(&spec).await;
        assert!(rows.is_sorted_by_key(|row| (row.bucket_start, row.model_id, row.text.clone())));
        // Over its texts, an hour of a model is that of the rollups.
        let mut summed: BTreeMap<(DateTime<Utc>, Uuid), Vec<Row>> = BTreeMap::new();
        for row in &rows {
            summed.entry((row.bucket_start, row.model_id)).or_default().push(row.clone());
        }
        let summed: Vec<_> = summed.into_iter().map(|(key, rows)| (key, totals(&rows))).collect();
        let expected = hours.iter().map(|row| ((row.bucket_start, row.model_id), totals(std::slice::from_ref(row))));
        assert_eq!(summed, expected.collect::<Vec<_>>());
        // Over its models, an hour of a text is the API's.
        let hour = calendar::Granularity::Hour;
        let buckets = Buckets::covering(spec.range.start, spec.range.end, hour, chrono_tz::Tz::UTC).unwrap();
        let query = ReliabilityQuery { org_id: scene.org, buckets, models: Vec::new(), by, only: None, fill: false };
        let mut answered: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for point in scene.api.reliability(&query).await.unwrap().series {
            let (Key::Client(text) | Key::ErrorCode(text)) = point.key else { panic!() };
            let counts = answered.entry((point.bucket_start, text.filter(|text| !text.is_empty()))).or_default();
            *counts = (counts.0 + point.outcomes.invocations(), counts.1 + point.outcomes.errors());
        }
        let mut found: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for row in &rows {
            let counts = found.entry((row.bucket_start, row.text.clone())).or_default();
            *counts = (counts.0 + row.invocations, counts.1 + row.errors);
        }
        assert_eq!(found, answered);
        // In the file.
        let text = file(&spec, &rows);
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(csv.headers().unwrap().iter().next_back(), group_by.column());
        let records: Vec<_> = csv.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), rows.len());
        for (record, row) in records.iter().zip(&rows) {
            let text = row.text.as_deref().unwrap_or_default();
            assert_eq!(&record[13], if text == "=cmd()" { "'=cmd()" } else { text });
            let p50 = serde_json::to_string(&shown(row.latency[0].unwrap())).unwrap();
            assert_eq!(&record[10], p50);
        }
    }
}

#[tokio::test]
async fn an_incident_of_purged_events_is_refused() {
    let mut scene = Scene::new().await;
    let from = scene.range.start + TimeDelta::days(3);
    sqlx::query("INSERT INTO analytics.raw_horizons VALUES (NULL, $1)")
        .bind(from)
        .execute(&mut scene.world.connect_as_owner().await)
        .await
        .unwrap();
    let spec = scene.spec(Granularity::Hourly, GroupBy::Client, &[]);
    let Err(BeginError::Read(ReadError::Gone(gone))) = scene.reader.begin(&spec).await.map(|_| ()) else { panic!() };
    assert_eq!(gone.start, from);
    // The connection can be used on, and what the rollups have is there.
    let hours = scene.spec(Granularity::Hourly, GroupBy::Model, &[]);
    assert!(scene.reader.begin(&hours).await.is_ok());
    scene.range.start = from;
    let spec = scene.spec(Granularity::Hourly, GroupBy::Client, &[]);
    assert!(scene.reader.begin(&spec).await.is_ok());
}

#[tokio::test]
async fn rows_are_of_one_moment_whatever_comes_meanwhile() {
    let mut scene = Scene::new().await;
    scene.world = scene.world.unchecked("rollups are changed by hand");
    let spec = scene.spec(Granularity::Hourly, GroupBy::Model, &[]);
    let (before, _) = scene.rows(&spec).await;
    let mut snapshot = scene.reader.begin(&spec).await.unwrap();
    sqlx::query("UPDATE analytics.hourly_rollups SET successes = successes + 1, cost_cents = cost_cents + 1")
        .execute(&mut scene.world.connect().await)
        .await
        .unwrap();
    let rows: Vec<Row> = snapshot.rows().try_collect().await.unwrap();
    assert_eq!(rows, before);
    drop(snapshot);
    assert_ne!(scene.rows(&spec).await.0, before);
    let mut conn = scene.reader.connect().await.unwrap();
    assert!(
        sqlx::query("DELETE FROM analytics.export_jobs").execute(&mut conn).await.is_err(),
        "nothing is written over this connection"
    );
}

#[tokio::test]
async fn differences_to_earlier_files_are_explained() {
    let mut scene = Scene::new().await;
    scene.world = scene.world.unchecked("rollups are changed by hand");
    let spec = scene.spec(Granularity::Daily, GroupBy::Model, &[]);
    let (rows, _) = scene.rows(&spec).await;
    let known = |raw| {
        let (reader, spec) = (&scene.reader, &spec);
        async move {
            // From before the hour: what is revised in the same hour as a file is read is not distinguished from it.
            let read_at = now().with_minute(0).unwrap() - TimeDelta::minutes(1);
            let read_at = ReadAt { complete_to: read_at, read_at };
            reconcile::known(reader, spec, read_at, raw).await.unwrap()
        }
    };
    // In the first hour of a day, too, the file is of when its range was final.
    let read_at = now().max(spec.range.end + LATE);
    let file = Output { totals: totals(&rows), as_of: Some(read_at), ..demanded(&claim_of(scene.org)) };
    let before = known(true).await;
    assert_eq!((before.rollups, before.raw, before.revised.count), (file.totals, Some(file.totals), 0));
    assert!(before.ledger_stored >= file.totals.invocations && before.as_of.is_some());
    assert_eq!(judge(&file, spec.range, &before, LATE), Verdict::Same);

    let at = scene.range.start + TimeDelta::hours(30);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let late = event(&mut random, 10_000, scene.org, &scene.models[..1], at);
    scene.world.send([late.to_string().into_bytes()]).await;
    scene.sent += 1;
    settled(&mut scene.conn, scene.sent).await;
    let after = known(true).await;
    assert_eq!(after.rollups.invocations, file.totals.invocations + 1);
    assert_eq!(after.revised.by.invocations, 1);
    assert_eq!(after.revised.by.input_tokens, i128::from(late["inputTokens"].as_u64().unwrap()));
    assert_eq!(judge(&file, spec.range, &after, LATE), Verdict::Revised);

    // The next version's manifest names it.
    let mut snapshot = scene.reader.begin(&spec).await.unwrap();
    let changes = snapshot.changes(Some(now() - TimeDelta::minutes(10))).await.unwrap();
    assert_eq!((changes.named.len(), changes.more), (1, false));
    let change = &changes.named[0];
    assert_eq!((change.bucket_start, change.model_id), (at, scene.models[0]));
    assert_eq!((snapshot.revised.count, snapshot.revised.last), (1, Some(change.revision_id)));
    assert_eq!(snapshot.changes(Some(now() + TimeDelta::minutes(10))).await.unwrap().named, []);
    drop(snapshot);

    // What nothing says anything of.
    sqlx::query(
        "UPDATE analytics.hourly_rollups SET cost_cents = cost_cents + 1 WHERE org_id = $1 AND bucket_start = $2",
    )
    .bind(scene.org)
    .bind(at)
    .execute(&mut scene.conn)
    .await
    .unwrap();
    assert_eq!(judge(&file, spec.range, &known(false).await, LATE), Verdict::Unexplained);
    assert_eq!(judge(&file, spec.range, &known(true).await, LATE), Verdict::Disagreement);
    assert!(scene.service.terminate().await == Some(0));
}

fn claim_of(org: Uuid) -> Claim {
    Claim { org_id: org, job_id: Uuid::nil(), id: Uuid::nil() }
}

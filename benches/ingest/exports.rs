//! How quick an export is: a job, as in the service: rows read, percentiles found, the CSV hashed and written to a local store, synced and
//! put in its place; the rows alone, whose CSV is made in memory and dropped; and `COPY (the same query) TO STDOUT`, whose bytes are
//! dropped too. An org's hourly rollups are filled in by SQL. How far this process grows while it makes the file is Linux's own figure.

use std::time::{Duration, Instant};

use analytics_service::{
    actors::export_generator::generate::{self, ExportBackend},
    domain::{
        audit::{Actor, AuditEvent, Outcome},
        export::{
            Granularity, Grouping, Spec, TimeRange,
            csv::{CsvRows, Names},
        },
        histogram::Histogram,
    },
    store::exports::{self, ClaimRules, Claimed, Claimer, NewExport, rows::ExportReader},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::{
    args::Part,
    figures::{Figures, Unit},
    harness::{LocalStore, World, service::memory_bytes},
    processor::Servers,
};

const HOURS: i64 = 31 * 24;
/// Bytes that are taken at a time, as for a part of an upload.
const PART: usize = 8 << 20;

pub const JOB: &str = "a job, to a file of a local store: rows";
pub const ROWS: &str = "rows to CSV in memory";
pub const COPY: &str = "COPY (the same query) TO STDOUT: rows";

pub struct Exports {
    world: World,
    _store: LocalStore,
    spec: Spec,
    rows: i64,
}

impl Exports {
    pub async fn fill(rows: i64) -> Self {
        let (mut world, store) = (World::new(1).await.unchecked("rollups are put in by SQL"), LocalStore::new());
        world.set_all(store.variables());
        world.set("ANALYTICS__OBJECTS__PART_BYTES", "8388608");
        let start: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
        let range = TimeRange { start, end: start + TimeDelta::hours(HOURS) };
        let spec = Spec {
            org_id: Uuid::from_u128(1),
            granularity: Granularity::Hourly,
            group_by: Grouping::default(),
            names: false,
            range,
            models: Vec::new(),
        };
        fill(&mut world.connect_as_owner().await, &spec, rows).await;
        Self { world, _store: store, spec, rows }
    }

    pub async fn measure(&self, servers: &Servers, figures: &mut Figures) {
        let Self { world, spec, rows, .. } = self;
        let reader = ExportReader::new(&world.settings).unwrap();
        let backend = ExportBackend::new(&world.settings).unwrap();
        let mut conn = reader.connect().await.unwrap();
        let copy = statement(spec);
        // All read what is in memory by then.
        copied(&mut conn, &copy).await;
        servers.quiet().await;
        let claimed = job(&mut world.connect().await, spec).await;
        let before = resident("VmRSS");
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let mut rate = |what, began: Instant| {
            figures.add(Part::Exports, what, Unit::PerSecond, *rows as f64 / began.elapsed().as_secs_f64());
        };
        let began = Instant::now();
        let made = generate::generate(&backend, &claimed).await.unwrap();
        rate(JOB, began);
        let growth = resident("VmHWM").saturating_sub(before);
        let began = Instant::now();
        let (written, length) = exported(&reader, spec).await;
        rate(ROWS, began);
        assert_eq!((written, length as u64), (rows.unsigned_abs(), made.output.bytes));
        let began = Instant::now();
        copied(&mut conn, &copy).await;
        rate(COPY, began);
        figures.add(Part::Exports, "how far the process grows during a job", Unit::Mebibytes, growth as f64 / 1024.0);
    }
}

/// A job that is claimed.
async fn job(conn: &mut PgConnection, spec: &Spec) -> Claimed {
    let (job_id, org_id) = (Uuid::now_v7(), spec.org_id);
    let act = AuditEvent::new(Actor::command_line("bench".to_owned()), "export.create", Outcome::Allowed);
    let body = json!({ "timeRange": spec.range, "granularity": "hourly" }).to_string();
    let (body, by) = (body.as_bytes(), "bench");
    let new = NewExport {
        job_id,
        org_id,
        body,
        buckets: &[],
        bucket: None,
        idempotency_key: None,
        by,
        most_open: 100,
        act: &act,
    };
    exports::create(conn, &new).await.unwrap();
    let claimer = Claimer { process: Uuid::now_v7(), name: by.to_owned() };
    let rules = ClaimRules { running_per_org: 100, takeover: Duration::from_secs(3600), max_attempts: 1 };
    exports::claim(conn, &claimer, rules).await.unwrap().unwrap()
}

/// Rows and bytes of the file.
async fn exported(reader: &ExportReader, spec: &Spec) -> (u64, usize) {
    let mut snapshot = reader.begin(spec).await.unwrap();
    let mut csv = CsvRows::new(spec, Names::default()).unwrap();
    let mut bytes = 0;
    let mut rows = snapshot.rows();
    while let Some(row) = rows.try_next().await.unwrap() {
        csv.write(&row).unwrap();
        if csv.len() >= PART {
            bytes += csv.take().unwrap().len();
        }
    }
    drop(rows);
    bytes += csv.take().unwrap().len();
    (csv.rows(), bytes)
}

async fn copied(conn: &mut PgConnection, statement: &str) -> usize {
    let mut parts = conn.copy_out_raw(statement).await.unwrap();
    let mut bytes = 0;
    while let Some(part) = parts.try_next().await.unwrap() {
        bytes += part.len();
    }
    bytes
}

/// The query of an export with its parameters written out, since COPY takes none.
fn statement(spec: &Spec) -> String {
    let query =
        include_str!("../../src/store/exports/sql/exports_rows.sql").replace("{rollups}", "analytics.hourly_usage");
    let values = [
        ("$1", format!("'{}'::uuid", spec.org_id)),
        ("$2", format!("'{}'::timestamptz", spec.range.start)),
        ("$3", format!("'{}'::timestamptz", spec.range.end)),
        ("$4", "'{}'".to_owned()),
    ];
    // Its comments name the parameters too, and end with their lines.
    let query = values.into_iter().fold(query, |query, (name, value)| query.replace(name, &value));
    format!("COPY ({query}) TO STDOUT")
}

/// Rollups of an org, as many an hour of as many models, with histograms of 5 to 400 latencies; those of another org between.
async fn fill(owner: &mut PgConnection, spec: &Spec, rows: i64) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before it is cut")]
    let histograms: Vec<Vec<u8>> = (0..1000)
        .map(|_| {
            let mut histogram = Histogram::default();
            let events = (random.random::<f64>() * 4.4).exp() * 5.0;
            for _ in 0..events as u32 {
                let normal = (-2.0 * random.random::<f64>().max(1e-12).ln()).sqrt()
                    * (random.random::<f64>() * std::f64::consts::TAU).cos();
                histogram.record((6.5 + 0.8 * normal).exp().clamp(0.0, 86_400_000.0) as u32);
            }
            histogram.pack()
        })
        .collect();
    println!("filling in {rows} rows, histograms of {} bytes on average", histograms.concat().len() / histograms.len());
    sqlx::query("CREATE TEMP TABLE histograms (k bigint PRIMARY KEY, packed bytea)")
        .execute(&mut *owner)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO histograms SELECT n - 1, packed FROM unnest($1::bytea[]) WITH ORDINALITY AS h (packed, n)",
    )
    .bind(histograms)
    .execute(&mut *owner)
    .await
    .unwrap();
    // In the order of time, as merging adds them, half as many of another org between. Ids as random as real ones.
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO analytics.hourly_rollups
         SELECT org, start, md5(model::text)::uuid, n % 397 + 1, n % 7, n % 3, n % 2, n % 1000003 * 17, n % 100003 * 5,
                (n % 1000003)::numeric / 10000 * 37, 0, 0, 0, packed, start, start
         FROM (SELECT hour * $3 + model AS n, model, $2 + hour * INTERVAL '1 hour' AS start
               FROM generate_series(0, {HOURS} - 1) AS hour, generate_series(0::bigint, $3 - 1) AS model
               WHERE hour * $3 + model < $4) AS buckets
              JOIN histograms ON k = n % 1000
              CROSS JOIN LATERAL (SELECT $1 AS org UNION ALL SELECT '{}'::uuid WHERE n % 2 = 0) AS orgs
         ORDER BY start, md5(n::text)",
        Uuid::from_u128(2)
    )))
    .bind(spec.org_id)
    .bind(spec.range.start)
    .bind((rows + HOURS - 1) / HOURS)
    .bind(rows)
    .execute(&mut *owner)
    .await
    .unwrap();
    sqlx::query("VACUUM (ANALYZE) analytics.hourly_rollups").execute(&mut *owner).await.unwrap();
}

/// KiB of this process, as Linux counts them.
fn resident(what: &str) -> u64 {
    memory_bytes(std::process::id(), what) / 1024
}

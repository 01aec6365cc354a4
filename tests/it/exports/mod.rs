//! Exports, from the request to the file: over S3 and over a local folder, whatever stops meanwhile.

mod away;
mod costs;
mod groups;
mod months;
mod moved;
mod requests;
mod retention;
mod sums;

use analytics_service::{auth::Role, objects::Objects};
use reqwest::{StatusCode, header::LOCATION, redirect::Policy};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::harness::{LocalStore, S3Server, Service, World, eventually, responded};

const ORG: Uuid = Uuid::from_u128(0xE0);
/// Why a world is unchecked.
const MADE_UP: &str = "rollups without events are put in";

/// Where a test's files are.
enum Store {
    S3(S3Server),
    Local(LocalStore),
}

impl Store {
    fn both() -> [Self; 2] {
        [Self::S3(S3Server::start()), Self::Local(LocalStore::new())]
    }

    fn s3(&self) -> &S3Server {
        match self {
            Self::S3(s3) => s3,
            Self::Local(_) => panic!("it is a local one"),
        }
    }

    /// A world whose services put their files here, and look for work often.
    async fn world(&self) -> World {
        let mut world = World::new(1).await;
        self.serve(&mut world);
        world
    }

    fn serve(&self, world: &mut World) {
        let variables = match self {
            Self::S3(s3) => s3.variables(),
            Self::Local(local) => local.variables(),
        };
        world.set_all(variables);
        for (key, value) in
            [("POLL_MS", "100"), ("HEARTBEAT_MS", "100"), ("TAKEOVER_MS", "3000"), ("RETRY_INITIAL_MS", "50")]
        {
            world.set(&format!("ANALYTICS__EXPORTS__{key}"), value);
        }
    }

    fn objects(&self) -> Objects {
        match self {
            Self::S3(s3) => s3.objects(),
            Self::Local(local) => local.objects(),
        }
    }

    /// What an object has.
    async fn content(&self, key: &str) -> Vec<u8> {
        let pieces = self.objects().get(None, key).await.unwrap().stream;
        let pieces: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(pieces).await.unwrap();
        pieces.concat()
    }

    /// The keys of all objects, in order.
    async fn keys(&self) -> Vec<String> {
        let objects = self.objects();
        let listed = objects.list(None, "analytics").await.unwrap();
        let mut keys: Vec<String> = futures_util::TryStreamExt::try_collect::<Vec<_>>(listed)
            .await
            .unwrap()
            .into_iter()
            .map(|o| o.key)
            .collect();
        keys.sort();
        keys
    }
}

/// Rollups of an org, as merges would have made them: so many models in each hour of so many days that are over.
async fn rollups(conn: &mut PgConnection, org: Uuid, days: i32, models: i32) {
    for (table, unit) in [("hourly_rollups", "hour"), ("daily_rollups", "day")] {
        let statement = format!(
            "INSERT INTO analytics.{table} (org_id, bucket_start, model_id, successes, errors, timeouts, throttled,
                 input_tokens, output_tokens, cost_cents, latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of)
             SELECT $1, bucket, ('00000000-0000-4000-8000-' || lpad(to_hex(model), 12, '0'))::uuid, 3, 1, 0, 0,
                    1000 + model, 10 * model, 0.1234 * model, 4, 1, 1, '\\x010104'::bytea, bucket, bucket
             FROM generate_series(date_trunc('day', now(), 'UTC') - make_interval(days => $2),
                                  date_trunc('day', now(), 'UTC') - INTERVAL '1 {unit}', INTERVAL '1 {unit}') AS bucket,
                  generate_series(1, $3) AS model"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(org)
            .bind(days)
            .bind(models)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
}

/// The days before today, as a request has them.
fn days(days: i64) -> Value {
    let midnight =
        |ago: i64| (chrono::Utc::now() - chrono::TimeDelta::days(ago)).format("%Y-%m-%dT00:00:00Z").to_string();
    json!({ "start": midnight(days), "end": midnight(0) })
}

fn path(org: Uuid, rest: &str) -> String {
    format!("/analytics/v1/orgs/{org}/exports{rest}")
}

fn finance(service: &Service, org: Uuid) -> String {
    service.token(&[org], &[Role::Finance])
}

async fn ask(service: &Service, org: Uuid, request: &Value) -> Value {
    let (status, job) = service.post(&path(org, ""), &finance(service, org), request.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    job
}

fn id(job: &Value) -> Uuid {
    job["jobId"].as_str().unwrap().parse().unwrap()
}

async fn get(service: &Service, org: Uuid, job: Uuid) -> Value {
    let (status, job) = service.get(&path(org, &format!("/{job}")), &finance(service, org)).await;
    assert_eq!(status, StatusCode::OK, "{job}");
    job
}

/// Waits until somebody is at work on a job of [`ORG`].
async fn running(service: &Service, job: Uuid) {
    eventually("the export is being made", async || {
        (get(service, ORG, job).await["status"] == "running").then_some(())
    })
    .await;
}

/// Waits until nothing is to become of a job any more.
async fn ended(service: &Service, org: Uuid, job: Uuid) -> Value {
    eventually("the export ends", async || {
        let job = get(service, org, job).await;
        (!["pending", "running"].contains(&job["status"].as_str().unwrap())).then_some(job)
    })
    .await
}

async fn made(service: &Service, org: Uuid, request: &Value) -> Value {
    let job = ended(service, org, id(&ask(service, org, request).await)).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job
}

/// Where a download leads.
async fn link(service: &Service, org: Uuid, job: Uuid) -> Result<String, StatusCode> {
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let url = format!("http://{}{}", service.api, path(org, &format!("/{job}/download")));
    let (status, answer) = responded(async || {
        let answer = client.get(&url).bearer_auth(finance(service, org)).send().await.unwrap();
        (answer.status(), answer)
    })
    .await;
    match status {
        StatusCode::FOUND => {
            let link = answer.headers()[LOCATION].to_str().unwrap().to_owned();
            // The service does not know the free port that a test found for it.
            Ok(link.replace("https://api.example.org", &format!("http://{}", service.api)))
        }
        status => Err(status),
    }
}

/// What a link gives, without any credential.
async fn fetch(link: &str) -> (StatusCode, Vec<u8>) {
    let answer = reqwest::get(link).await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().to_vec())
}

async fn download(service: &Service, org: Uuid, job: &Value) -> Vec<u8> {
    let (status, bytes) = fetch(&link(service, org, id(job)).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(hex(&Sha256::digest(&bytes)), job["checksum"].as_str().unwrap());
    assert_eq!(bytes.len(), usize::try_from(job["bytes"].as_u64().unwrap()).unwrap());
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The records of a file, its header first.
fn records(file: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(file);
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// A command's answer, and its exit code.
async fn command(world: &World, args: &[&str]) -> (Value, i32) {
    let output = world.run(&[args, &["--json"]].concat()).await;
    let said = serde_json::from_slice(&output.stdout);
    (said.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code().unwrap())
}

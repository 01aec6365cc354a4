//! How quick dashboards' queries are, on real servers: `make bench-reads`, or `cargo bench --bench reads -- [SECONDS [ROUNDS]]`.
//!
//! Rows are put in by SQL, not published. Two databases: rollups of 9 days (`load-tests/history.sql`: 250 orgs × 40 models, each
//! hour of each), and raw events of 7 days with rollups of them (`load-tests/fill.sql`: 500,000 events a day, by Zipf's law). A third has
//! attribution of thirteen months, of 250 orgs × 50 clients × 40 models.
//!
//! 1. Each question alone: one request after the other, of orgs in turn; those that read raw events of the largest org.
//!    QUESTIONS names those that are sent, SERVICE the binary of another build.
//! 2. 200 requests a second, by the service and then by pgbench with the statement that the service sends, planned as the service
//!    has it planned; then both again beside a thread that takes a core. Latency counts from when a request was due. Attribution of thirteen
//!    months is requested 10 times a second.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark that fails stops")]
#![expect(clippy::print_stdout, reason = "its output is its result")]

#[path = "reads/attribution.rs"]
mod attribution;
#[path = "../tests/it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod harness;
#[path = "ingest/processor.rs"]
#[expect(dead_code, reason = "`make bench` uses more of it")]
mod processor;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use harness::{Service, World, stack};
use processor::{BusyCore, of_process};

const ORGS: u64 = 250;
const RATE: u32 = 200;
const ALONE: u64 = 200;
const ALONE_RAW: u64 = 30;
/// Days of raw events.
const DAYS: i64 = 7;

/// Requests a second for attribution of thirteen months.
const RATE_OF_ATTRIBUTION: u32 = 10;

/// Of attribution: its name, and its path behind the org.
const OF_ATTRIBUTION: [(&str, &str); 3] = [
    ("attribution-clients", "attribution?groupBy=clientId&top=25"),
    ("attribution-models", "attribution?groupBy=clientId&groupBy=modelId&top=25"),
    ("attribution-months", "attribution?groupBy=clientId&top=25&granularity=month"),
];

/// Its name, its path behind the org, its days, and whether 200 a second are sent.
type Question = (&'static str, &'static str, i64, bool);
const QUESTIONS: [Question; 7] = [
    ("usage-hours", "usage?granularity=hour", 7, true),
    ("usage-days", "usage?granularity=day", 30, true),
    ("reliability-hours", "reliability?granularity=hour", 7, true),
    ("reliability-days", "reliability?granularity=day", 30, true),
    ("reliability-models", "reliability?granularity=day&groupBy=model", 7, false),
    ("reliability-codes", "reliability?granularity=day&groupBy=errorCode", 7, false),
    ("reliability-clients", "reliability?granularity=day&groupBy=client", 7, false),
];

#[tokio::main]
async fn main() {
    // Cargo passes `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let (seconds, rounds) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(2));
    let only = std::env::var("QUESTIONS").unwrap_or_default();
    let asked = |name: &str| only.is_empty() || only.split(' ').any(|wanted| wanted == name);
    let mut results = Vec::new();
    println!(
        "question             by       beside   req/s      p50      p95      p99      max  failed  ms of processor: service, database"
    );
    let (of_rollups, of_events): (Vec<&Question>, Vec<&Question>) =
        QUESTIONS.iter().filter(|question| asked(question.0)).partition(|question| !question.1.contains("groupBy"));
    if !of_events.is_empty() {
        let world = unmeasured(World::new(1).await);
        fill_events(&world).await;
        let service = world.serve().await;
        for question in of_events {
            let raw = !question.0.ends_with("models");
            let (count, orgs) = if raw { (ALONE_RAW, 1) } else { (ALONE, ORGS) };
            results.push(alone(&world, &service, &Sent::of(question), count, orgs).await);
        }
    }
    if !of_rollups.is_empty() {
        let world = unmeasured(World::new(1).await);
        fill_rollups(&world).await;
        let service = world.serve().await;
        for question in &of_rollups {
            results.push(alone(&world, &service, &Sent::of(question), ALONE, ORGS).await);
        }
        let rated: Vec<_> =
            of_rollups.iter().filter(|question| question.3).map(|question| Sent::of(question)).collect();
        for _ in 0..rounds {
            for sent in &rated {
                let statement = statement(&world, sent.name).await;
                results.append(&mut beside_pgbench(&world, &service, sent, &statement, seconds).await);
            }
        }
        println!("resident memory of the service: {} MiB", service.rss_bytes() >> 20);
    }
    let of_attribution: Vec<_> = OF_ATTRIBUTION.iter().filter(|question| asked(question.0)).collect();
    if !of_attribution.is_empty() {
        let world = unmeasured(World::new(1).await);
        let range = attribution::Range::now();
        let set_id = attribution::fill(&world, &range).await;
        stack(&["exec", "postgres", "psql", "--quiet", "--command", "VACUUM (ANALYZE)", world.database()]);
        let (service, statement) = (world.serve().await, range.statement(set_id));
        for (name, path) in of_attribution {
            let path = format!("{path}&{}", between(range.start, range.end));
            let sent = Sent { name, path, rate: RATE_OF_ATTRIBUTION };
            results.push(alone(&world, &service, &sent, ALONE, ORGS).await);
            for _ in 0..rounds {
                results.append(&mut beside_pgbench(&world, &service, &sent, &statement, seconds).await);
            }
        }
        println!("resident memory of the service: {} MiB", service.rss_bytes() >> 20);
    }
    println!("{}", json!({ "rate": RATE, "seconds": seconds, "results": results }));
}

/// With the limits of a real service.
fn unmeasured(world: World) -> World {
    let mut world = world.unchecked("rows are put in by SQL");
    if let Some(binary) = std::env::var_os("SERVICE") {
        world.binary = binary.into();
    }
    world.set("ANALYTICS__QUERY__WAIT_MS", "800");
    world.set("ANALYTICS__QUERY__STATEMENT_TIMEOUT_MS", "10000");
    world
}

fn psql(world: &World, settings: &[(&str, String)], script: &str) {
    let set = settings.iter().map(|(name, value)| format!("--set={name}={value}"));
    let status = Command::new("psql")
        .args(["--quiet", "--output=/dev/null", "--no-psqlrc"])
        .args(set)
        .arg("--file")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
        .arg(world.settings.database.migration_url.expose())
        .status();
    assert!(status.unwrap().success(), "{script}");
}

fn shape(world: &World) -> Vec<(&'static str, String)> {
    let stream = world.variables["ANALYTICS__BROKER__STREAM"].clone();
    vec![("orgs", ORGS.to_string()), ("models", "40".to_owned()), ("stream", stream)]
}

async fn fill_rollups(world: &World) {
    let days = [("days", "31".to_owned()), ("dense_days", "9".to_owned())];
    psql(world, &[&shape(world)[..], &days].concat(), "load-tests/history.sql");
    maintain(world).await;
}

async fn fill_events(world: &World) {
    let today = Utc::now().date_naive();
    for number in 1..=DAYS {
        let day = [
            ("day", (today - TimeDelta::days(number)).to_string()),
            ("number", number.to_string()),
            ("batches", "100".to_owned()),
        ];
        psql(world, &[&shape(world)[..], &day].concat(), "load-tests/fill.sql");
    }
    let (from, to) = ((today - TimeDelta::days(DAYS)).to_string(), today.to_string());
    let made = world.run(&["refresh", "--from", &from, "--to", &to]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    maintain(world).await;
}

/// As an hourly run leaves it.
async fn maintain(world: &World) {
    world.report(&["maintain"]).await;
    stack(&["exec", "postgres", "psql", "--quiet", "--command", "VACUUM (ANALYZE)", world.database()]);
}

fn id(n: u64) -> Uuid {
    Uuid::parse_str(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap()
}

/// A question as it is sent.
struct Sent {
    name: &'static str,
    /// Behind the org, with the range.
    path: String,
    /// Requests a second.
    rate: u32,
}

impl Sent {
    fn of((name, path, days, _): &Question) -> Self {
        let (hour, now) = (TimeDelta::hours(1), Utc::now());
        // Raw events end with yesterday.
        let end: DateTime<Utc> = if path.contains("groupBy") {
            now.duration_trunc(TimeDelta::days(1)).unwrap()
        } else {
            now.duration_trunc(hour).unwrap() + hour
        };
        Self { name, path: format!("{path}&{}", between(end - TimeDelta::days(*days), end)), rate: RATE }
    }

    fn request(&self, service: &Service, org: u64, token: &str) -> reqwest::RequestBuilder {
        let path = format!("/analytics/v1/orgs/{}/{}", id(org), self.path);
        service.request(Method::GET, &path, token).header("accept-encoding", "gzip")
    }
}

/// A range, as parameters.
fn between(start: DateTime<Utc>, end: DateTime<Utc>) -> String {
    format!("start={}&end={}", start.format("%FT%TZ"), end.format("%FT%TZ"))
}

/// Milliseconds, or none where there was no response.
async fn took(request: reqwest::RequestBuilder, since: Instant) -> Option<f64> {
    let response = request.send().await.ok().filter(|response| response.status().is_success())?;
    response.bytes().await.ok()?;
    Some(since.elapsed().as_secs_f64() * 1e3)
}

fn tokens(service: &Service) -> Vec<String> {
    (1..=ORGS).map(|org| service.token(&[id(org)], &[Role::OrgViewer])).collect()
}

async fn alone(world: &World, service: &Service, sent: &Sent, count: u64, orgs: u64) -> Value {
    let tokens = tokens(service);
    let org = |n: u64| 1 + n % orgs;
    let send = async |n: u64| {
        took(sent.request(service, org(n), &tokens[usize::try_from(org(n)).unwrap() - 1]), Instant::now()).await
    };
    send(0).await.unwrap();
    let (mut latencies, began, cpu) = (Vec::new(), Instant::now(), cpu(world, service));
    for n in 0..count {
        latencies.push(send(n).await);
    }
    report(sent, "service", "nothing", &latencies, began.elapsed().as_secs_f64(), Some(since(world, service, cpu)))
}

/// By the service and by pgbench, alone and beside a busy core.
async fn beside_pgbench(world: &World, service: &Service, sent: &Sent, statement: &str, seconds: u32) -> Vec<Value> {
    let mut results = Vec::new();
    for busy in [false, true] {
        let beside = busy.then(BusyCore::start);
        results.push(at_a_rate(world, service, sent, seconds, busy).await);
        results.push(by_pgbench(world, sent, statement, seconds, busy).await);
        drop(beside);
    }
    results
}

async fn at_a_rate(world: &World, service: &Service, sent: &Sent, seconds: u32, busy: bool) -> Value {
    let (tokens, cpu, began) = (tokens(service), cpu(world, service), Instant::now());
    let mut responses = Vec::new();
    for n in 0..sent.rate * seconds {
        let due = began + Duration::from_secs(1) * n / sent.rate;
        tokio::time::sleep_until(due.into()).await;
        let org = 1 + u64::from(n) * 97 % ORGS;
        let request = sent.request(service, org, &tokens[usize::try_from(org).unwrap() - 1]);
        responses.push(tokio::spawn(took(request, due)));
    }
    let mut latencies = Vec::new();
    for one in responses {
        latencies.push(one.await.unwrap());
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), since(world, service, cpu));
    report(sent, "service", beside(busy), &latencies, seconds, Some(cpu))
}

const fn beside(busy: bool) -> &'static str {
    if busy { "a core" } else { "a rate" }
}

/// The statement that the service sends, as pgbench takes it.
async fn statement(world: &World, question: &str) -> String {
    let summed_to: String = sqlx::query_scalar(
        "SELECT CASE WHEN summed_from < summed_to THEN to_char(summed_to AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI\"Z\"') ELSE '' END
         FROM analytics.org_hours_summed",
    )
    .fetch_one(&mut world.connect().await)
    .await
    .unwrap();
    let stream = &world.variables["ANALYTICS__BROKER__STREAM"];
    let statement = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("load-tests/statement"))
        .args([question, &ORGS.to_string(), stream, &summed_to])
        .output()
        .unwrap();
    String::from_utf8(statement.stdout).unwrap()
}

/// The statement by pgbench, which counts a transaction from when it was due too.
async fn by_pgbench(world: &World, sent: &Sent, statement: &str, seconds: u32, busy: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("statement.sql");
    std::fs::write(&script, statement).unwrap();
    let (rate, time) = (format!("--rate={}", sent.rate), format!("--time={seconds}"));
    let mut pgbench = Command::new("pgbench");
    pgbench
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--client=8",
            "--jobs=2",
            &rate,
            &time,
            "--log",
            "--log-prefix=log",
            "--file",
        ])
        .arg(&script)
        .arg(world.settings.database.url.expose())
        .env("PGOPTIONS", "-c plan_cache_mode=force_custom_plan -c jit=off")
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = tokio::task::spawn_blocking(move || pgbench.status().unwrap()).await.unwrap();
    assert!(status.success(), "pgbench: {status}");
    let logs = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log."));
    let text: String = logs.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    // The third column: microseconds since it was due.
    let latency = |line: &str| line.split(' ').nth(2).unwrap().parse::<f64>().ok().map(|us| us / 1e3);
    report(sent, "pgbench", beside(busy), &text.lines().map(latency).collect::<Vec<_>>(), f64::from(seconds), None)
}

/// Processor time that the service and its connections have used, in seconds.
fn cpu(world: &World, service: &Service) -> (f64, f64) {
    let of_database = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        (title.starts_with("postgres:") && title.contains(world.database())).then(|| of_process(pid))
    });
    (of_process(service.child.id()), of_database.sum())
}

fn since(world: &World, service: &Service, before: (f64, f64)) -> (f64, f64) {
    let now = cpu(world, service);
    (now.0 - before.0, now.1 - before.1)
}

fn report(
    sent: &Sent,
    by: &str,
    beside: &str,
    latencies: &[Option<f64>],
    seconds: f64,
    cpu: Option<(f64, f64)>,
) -> Value {
    let mut found: Vec<f64> = latencies.iter().flatten().copied().collect();
    found.sort_by(f64::total_cmp);
    let rank = |permille: usize| {
        found.get((found.len() * permille).div_ceil(1000).saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    let (failed, rate) = (latencies.len() - found.len(), found.len() as f64 / seconds);
    let [p50, p95, p99, most] = [500, 950, 990, 1000].map(rank);
    let each = cpu.map(|(service, database)| [service, database].map(|seconds| seconds * 1e3 / latencies.len() as f64));
    let shown = each.map_or(String::new(), |[service, database]| format!("{service:.2} {database:.2}"));
    println!(
        "{:<20} {by:<8} {beside:<8} {rate:>5.0} {p50:>8.1} {p95:>8.1} {p99:>8.1} {most:>8.1} {failed:>7}  {shown}",
        sent.name
    );
    json!({
        "question": sent.name, "by": by, "beside": beside, "rate": rate, "p50": p50, "p95": p95, "p99": p99, "max": most,
        "failed": failed, "processorMs": each,
    })
}

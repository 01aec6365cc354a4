//! A real Prometheus with the real rules scrapes running processes through faults: alerts fire, and stop.
//!
//! Everything runs at sixty times the speed, so that an hour of the rules is a minute: each duration of a rule (`for`, ranges) is
//! divided by 60, as are the seconds that it compares the clock with; Prometheus scrapes twice a second instead of twice a minute.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use analytics_service::auth::Role;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    alerts::{RULES, alerts, selectors},
    docs::root,
    harness::{Load, Prometheus, Service, World, eventually, prometheus_tool, sent, settled},
};

/// How much faster than in production.
const SPEED: u64 = 60;

/// Scrapes these processes by the rules of the deployment.
fn watching(program: &Path, targets: &[&Service]) -> Prometheus {
    let config = "global: { scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms }\n\
         rule_files: [rules/*.yaml]\n\
         scrape_configs: [{ job_name: analytics-service, file_sd_configs: [{ files: [targets.json] }] }]\n";
    Prometheus::start(program, config, |folder| {
        let rules = folder.join("rules");
        fs::create_dir(&rules).unwrap();
        for alert in alerts() {
            let file = format!("{}.yaml", alert.name);
            let text = fs::read_to_string(root().join(RULES).join(&file)).unwrap();
            fs::write(rules.join(file), faster(&text)).unwrap();
        }
        write_targets(folder, targets);
    })
}

/// Names and labels of what is firing, as `name severity dependency window`: the labels by which rules differ.
async fn firing(prometheus: &Prometheus) -> BTreeSet<String> {
    let named = |labels: &Value| {
        let label = |name: &str| labels[name].as_str().map(str::to_owned);
        Vec::from_iter(["alertname", "severity", "dependency", "window"].into_iter().filter_map(label)).join(" ")
    };
    prometheus.firing().await.unwrap_or_default().iter().map(named).collect()
}

async fn wait_firing(prometheus: &Prometheus, wanted: &[&str]) {
    let since = Instant::now();
    let mut left = BTreeSet::from_iter(wanted.iter().copied());
    eventually(&format!("these fire: {wanted:?}"), async || {
        let firing = firing(prometheus).await;
        left.retain(|name| !firing.contains(*name));
        left.is_empty().then_some(())
    })
    .await;
    eprintln!("{wanted:?}: firing after {:.1?}", since.elapsed());
}

async fn wait_stopped(prometheus: &Prometheus, names: &[&str]) {
    let since = Instant::now();
    eventually(&format!("these stop: {names:?}"), async || {
        let firing = firing(prometheus).await;
        names.iter().all(|name| !firing.contains(*name)).then_some(())
    })
    .await;
    eprintln!("{names:?}: stopped after {:.1?}", since.elapsed());
}

/// Nothing fires but what may: on a busy machine an event is late by seconds, which are minutes here.
async fn wait_quiet(prometheus: &Prometheus, may: impl Fn(&str) -> bool) {
    let mut seen = BTreeSet::new();
    eventually("nothing fires", async || {
        let mut firing = firing(prometheus).await;
        firing.retain(|name| !may(name));
        if firing != seen {
            eprintln!("firing: {firing:?}");
            seen.clone_from(&firing);
        }
        firing.is_empty().then_some(())
    })
    .await;
}

fn write_targets(folder: &Path, targets: &[&Service]) {
    let targets: Vec<_> = targets.iter().map(|service| service.ops.to_string()).collect();
    let text = serde_json::json!([{ "targets": targets }]).to_string();
    // Prometheus must not read half of it.
    let part: PathBuf = folder.join("targets.part");
    fs::write(&part, text).unwrap();
    fs::rename(part, folder.join("targets.json")).unwrap();
}

/// Rules at [`SPEED`].
fn faster(rules: &str) -> String {
    let lines = rules.lines().map(|line| {
        let timed = ["for: ", "keep_firing_for: "].into_iter().find_map(|key| line.trim_start().strip_prefix(key));
        if let Some(duration) = timed {
            let seconds = seconds(duration).unwrap() / SPEED;
            return line.replace(duration, &format!("{seconds}s"));
        }
        let line = faster_ranges(line);
        // Ages that are compared with a number of seconds.
        match line.rsplit_once(" > ") {
            Some((left, number)) if left.contains("time() - ") && number.parse::<u64>().is_ok() => {
                format!("{left} > {}", number.parse::<u64>().unwrap() / SPEED)
            }
            _ => line,
        }
    });
    Vec::from_iter(lines).join("\n")
}

/// Durations in brackets, and those of `offset`.
fn faster_ranges(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = ["[", "offset "].iter().filter_map(|open| rest.find(open).map(|at| at + open.len())).min() {
        let (before, behind) = rest.split_at(at);
        let end = behind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
        let (duration, after) = behind.split_at(end);
        out.push_str(before);
        match seconds(duration) {
            Some(seconds) => out.push_str(&format!("{}s", (seconds / SPEED).max(2))),
            None => out.push_str(duration),
        }
        rest = after;
    }
    out + rest
}

/// Of one number with its unit.
fn seconds(duration: &str) -> Option<u64> {
    let (number, unit) = duration.split_at_checked(duration.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * unit)
}

#[test]
fn rules_are_made_sixty_times_faster() {
    assert_eq!(faster("        for: 5m"), "        for: 5s");
    assert_eq!(faster("        for: 0m"), "        for: 0s");
    assert_eq!(faster("rate(x{a=~\"[.]\"}[1h] offset 1w)"), "rate(x{a=~\"[.]\"}[60s] offset 10080s)");
    assert_eq!(faster("(time() - max (x > 0)) > 300"), "(time() - max (x > 0)) > 5");
    assert_eq!(faster("increase(x[3m]) > 1000"), "increase(x[3s]) > 1000");
}

#[tokio::test]
async fn alerts_fire_and_stop_with_their_faults() {
    let Some(program) = prometheus_tool("prometheus") else { return };
    let mut world = World::new(2).await;
    // A frozen database is noticed at a speed that fits.
    for (key, ms) in [("WRITE_TIMEOUT", "1000"), ("CONNECT_TIMEOUT", "1000")] {
        world.set(&format!("ANALYTICS__DATABASE__{key}_MS"), ms);
    }
    for (key, ms) in [("WAIT", "500"), ("STATEMENT_TIMEOUT", "1000")] {
        world.set(&format!("ANALYTICS__QUERY__{key}_MS"), ms);
    }
    // As a minute is a second.
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let (broker, cache) = (world.proxy_broker(), world.proxy_cache());
    let database = world.proxy_database();
    let first = world.serve().await;
    let other_database = world.proxy_database();
    let second = world.serve().await;
    let prometheus = watching(&program, &[&first, &second]);

    // Redis is away, and one message in twenty breaks a rule.
    let load = Load::at(&world, 600, "81", &["--invalid", "0.05"]).await;
    cache.cut();
    wait_firing(&prometheus, &["AnalyticsDependencyDown ticket cache", "AnalyticsRejectsHigh page"]).await;
    cache.heal();
    let published = sent(&load.exact(&world).await);
    wait_stopped(&prometheus, &["AnalyticsDependencyDown ticket cache"]).await;

    // The broker is away.
    broker.cut();
    let late = ["AnalyticsEventsLate ticket", "AnalyticsEventsLate page"];
    wait_firing(&prometheus, &["AnalyticsDependencyDown page broker", late[0], late[1]]).await;
    broker.heal();
    wait_stopped(&prometheus, &["AnalyticsDependencyDown page broker", late[0], late[1], "AnalyticsRejectsHigh page"])
        .await;

    // The database is frozen, and clients go on reading.
    let load = Load::at(&world, 600, "82", &[]).await;
    let token = first.token(&[Uuid::nil()], &[Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{}/freshness", Uuid::nil());
    eventually("reading works", async || first.get(&path, &token).await.0.is_success().then_some(())).await;
    database.stall();
    other_database.stall();
    let reading = async {
        loop {
            futures_util::future::join_all((0..5).map(|_| first.try_get(&path, &token))).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let frozen = [
        "AnalyticsDependencyDown page database",
        "AnalyticsCommitsFailing page",
        "AnalyticsApiErrorBudget page 1h",
        late[0],
        late[1],
    ];
    tokio::select! {
        () = reading => {}
        () = wait_firing(&prometheus, &frozen) => {}
    }
    database.heal();
    other_database.heal();
    wait_stopped(&prometheus, &frozen).await;
    let published = published + sent(&load.stop().await);
    settled(&mut world.connect().await, published).await;

    // All is well: what the rules select is there, and nothing fires.
    assert_selected(&prometheus).await;
    // But for the longer windows of what the frozen database has cost.
    wait_quiet(&prometheus, |name| name.starts_with("AnalyticsApiErrorBudget ")).await;

    // A process is killed while the other cannot take over.
    other_database.stall();
    let (ops, survivor) = (first.ops, second);
    first.kill();
    let gone = ["AnalyticsTargetGone ticket", "AnalyticsPartitionWithoutOwner page"];
    wait_firing(&prometheus, &gone).await;
    other_database.heal();
    wait_stopped(&prometheus, &gone[1..]).await;
    assert!(firing(&prometheus).await.contains(gone[0]), "{ops} is still a target");
    // As when a deploy replaces a process: series of other targets end.
    write_targets(prometheus.folder(), &[&survivor]);
    wait_stopped(&prometheus, &gone).await;

    // And the last one.
    survivor.kill();
    wait_firing(&prometheus, &["AnalyticsTargetGone page"]).await;
}

#[tokio::test]
async fn attribution_that_stands_still_is_a_ticket() {
    let Some(program) = prometheus_tool("prometheus") else { return };
    let mut world = World::new(1).await;
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let service = world.serve().await;
    let prometheus = watching(&program, &[&service]);
    let load = Load::at(&world, 100, "83", &[]).await;
    let mut conn = world.connect().await;
    let lock = |function: &str| sqlx::AssertSqlSafe(format!("SELECT pg_advisory_{function}(x'617474726962'::bigint)"));
    sqlx::query(lock("lock")).execute(&mut conn).await.unwrap();
    let behind = ["AnalyticsAttributionPendingOld ticket"];
    wait_firing(&prometheus, &behind).await;
    eventually("the lag grows with what waits", async || {
        (service.scrape().await.get("attribution_lag_seconds")? > 25.0).then_some(())
    })
    .await;
    sqlx::query(lock("unlock")).execute(&mut conn).await.unwrap();
    wait_stopped(&prometheus, &behind).await;
    wait_quiet(&prometheus, |_| false).await;
    load.exact(&world).await;
}

/// What this world's processes have no series of: without jobs of the database, a limit of memory, maintenance.
const ABSENT: [&str; 3] = [
    "analytics_background_job_waiting_seconds",
    "process_memory_limit_bytes",
    "analytics_maintenance_last_success_timestamp",
];

/// Every selector of every rule has series, and every expression is accepted.
async fn assert_selected(prometheus: &Prometheus) {
    let mut left = BTreeSet::new();
    for rule in alerts().into_iter().flat_map(|alert| alert.rules) {
        prometheus.series(&rule.expr).await.unwrap();
        let of_rule = selectors(&rule.expr).into_iter();
        left.extend(of_rule.filter(|selector| !ABSENT.iter().any(|metric| selector.starts_with(metric))));
    }
    // Each once: a scrape that comes late leaves none for a moment.
    eventually("every selector had series", async || {
        let mut without = BTreeSet::new();
        for selector in &left {
            if prometheus.series(selector).await?.is_empty() {
                without.insert(selector.clone());
            }
        }
        if without.len() < left.len() {
            eprintln!("without series: {without:?}");
        }
        left = without;
        left.is_empty().then_some(())
    })
    .await;
}

//! The formats of a scrape, and how many series it has.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use super::shown;
use crate::harness::{Prometheus, Scrape, Service, World, eventually, prometheus_tool, sent, settled};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Something of everything is counted.
async fn at_work(world: &World) -> Service {
    let service = world.serve().await;
    let report = world.publish(&["--events", "2000", "--orgs", "20", "--models", "3", "--invalid", "0.01"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    assert_eq!(service.get("/analytics/v1/me", &service.token(&[], &[])).await.0, 200);
    shown(&service, "a batch was merged, and the streams were looked at", |scrape| {
        let looked = (0..world.settings.broker.partitions).all(|n| scrape.of("stream_first_offset", n).is_some());
        looked && scrape.get("rollup_latency_seconds_count") > Some(0.0)
    })
    .await;
    service
}

#[tokio::test]
async fn promtool_does_not_complain() {
    let Some(promtool) = prometheus_tool("promtool") else { return };
    let world = World::new(2).await;
    let service = at_work(&world).await;
    let text = service.metrics().await;
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

/// A series as either format has it: labels in one order, and bounds of buckets as numbers, since 1 is the same as 1.0.
fn normal(series: &str) -> String {
    let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else { return series.to_owned() };
    let label = |label: &str| match label.strip_prefix("le=\"") {
        Some(bound) => format!("le={}", bound.trim_end_matches('"').parse::<f64>().unwrap()),
        None => label.to_owned(),
    };
    format!("{name}{:?}", labels.split(',').map(label).collect::<BTreeSet<_>>())
}

#[tokio::test]
async fn both_formats_have_the_same_series() {
    let world = World::new(1).await;
    let service = at_work(&world).await;
    let names = |text: &str| Scrape::read(text).series().into_iter().map(normal).collect::<BTreeSet<_>>();
    let mut different = Vec::new();
    // The process goes on between the two: what it did for the first time there has a series in the second alone.
    let both = eventually("both formats have the same series", async || {
        let (plain_type, plain) = service.metrics_as("text/plain").await;
        let (open_type, open) = service.metrics_as(OPEN_METRICS).await;
        assert_eq!(plain_type, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(open_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let now: Vec<_> = names(&plain).symmetric_difference(&names(&open)).cloned().collect();
        if now != different {
            eprintln!("in one of the formats: {now:?}");
        }
        different = now;
        different.is_empty().then_some((plain, open))
    });
    let (plain, open) = both.await;
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    for line in plain.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
    }
    // OpenMetrics: the name of what has a unit ends in it.
    let mut units = 0;
    for line in open.lines().filter_map(|line| line.strip_prefix("# UNIT ")) {
        let (name, unit) = line.split_once(' ').unwrap();
        assert!(name.ends_with(&format!("_{unit}")), "{line}");
        units += 1;
    }
    assert!(units > 20, "{units}");
}

#[tokio::test]
async fn prometheus_scrapes_a_process() {
    let Some(binary) = prometheus_tool("prometheus") else { return };
    let world = World::new(1).await;
    let service = at_work(&world).await;
    let prometheus = Prometheus::scraping(&service, &binary);
    // It requests OpenMetrics.
    eventually("it has scraped", async || (prometheus.query("up").await? == 1.0).then_some(())).await;
    let lag = prometheus.query("time() - max(analytics_partition_watermark_timestamp_seconds)").await.unwrap();
    assert!((-5.0..60.0).contains(&lag), "{lag}");
    assert_eq!(prometheus.query("count(analytics_partition_owned == 1)").await, Some(1.0));
    assert_eq!(prometheus.query("analytics_partitions").await, Some(1.0));
}

const PARTITIONS: u16 = 16;

#[tokio::test]
async fn series_do_not_grow_with_orgs() {
    let world = World::new(PARTITIONS).await;
    // Every partition has events of some org.
    let few = ["--events", "4000", "--orgs", "120", "--models", "2", "--seed", "7"];
    let report = world.publish(&few).await;
    let service = world.serve().await;
    settled(&mut world.connect().await, sent(&report)).await;
    let everywhere = |scrape: &Scrape| {
        let owned = ["stream_retention_headroom_seconds", "partition_watermark_timestamp_seconds", "credits_in_flight"];
        (0..PARTITIONS).all(|n| owned.iter().all(|metric| scrape.of(metric, n).is_some()))
    };
    let before = shown(&service, "all partitions are shown", everywhere).await;
    for org in report["orgs"].as_array().unwrap().iter().take(3) {
        let org = org["orgId"].as_str().unwrap();
        service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &service.token(&[], &[])).await;
    }
    let asked = service.scrape().await;
    let many = ["--events", "20000", "--orgs", "250", "--models", "20", "--seed", "8"];
    let report_of_many = world.publish(&many).await;
    settled(&mut world.connect().await, sent(&report) + sent(&report_of_many)).await;
    for org in report_of_many["orgs"].as_array().unwrap() {
        let org = org["orgId"].as_str().unwrap();
        service.get(&format!("/analytics/v1/orgs/{org}/freshness"), &service.token(&[], &[])).await;
    }
    let after = service.scrape().await;
    // A few series appear when something first happens; one for each org would be 130 more.
    let known: BTreeSet<&str> = asked.series().into_iter().collect();
    let new: Vec<&str> = after.series().into_iter().filter(|series| !known.contains(series)).collect();
    assert!(new.len() < 10, "{new:?}");
    for org in report_of_many["orgs"].as_array().unwrap() {
        assert!(!service.metrics().await.contains(org["orgId"].as_str().unwrap()));
    }
    eprintln!("{} series with 16 partitions, {} of them of requests", after.0.len(), asked.0.len() - before.0.len());
    let of = |label: &str| after.0.keys().filter(|series| series.contains(&format!("{{{label}="))).count();
    // As docs/observe.md says.
    let (of_partitions, of_actors) = (of("partition"), of("actor"));
    assert_eq!((of_partitions, of_actors % 18), (usize::from(PARTITIONS) * 22, 0));
    let of_requests = after.0.keys().filter(|series| series.contains("route=")).count();
    let fixed = after.0.len() - of_partitions - of_actors - of_requests;
    assert!(fixed <= 219 && of_requests % 16 == 0, "{fixed}, {of_requests}");
}

//! Expressions: each names metrics and labels that exist, and has series on a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use analytics_service::{
    auth::Role,
    telemetry::metrics::{Declared, declared},
};
use serde_json::Value;

use super::{Dashboard, PROMETHEUS, dashboards_of};
use crate::harness::{Prometheus, World, eventually, prometheus_tool, sent, settled};

/// Labels that a scrape adds.
const OF_THE_SCRAPE: [&str; 3] = ["namespace", "job", "instance"];

/// What panels say where they have no data, of what the test below has nothing of: a limit of memory, an object store, exports, jobs of
/// the database, traces, verify, errors; and perhaps not yet, maintenance.
const NOT_HERE: [&str; 10] = [
    "never",
    "no errors",
    "no events",
    "no exports",
    "no jobs: the Apache edition, or live rollups",
    "no limit",
    "no restarts",
    "no task has run",
    "no traces: no receiver is set",
    "not configured",
];

/// The names of the series of each metric, with their labels.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut series = BTreeMap::from([("up".to_owned(), BTreeSet::new())]);
    for Declared { name, kind, labels } in declared() {
        // Prometheus renames what it has a label of its own for.
        let labels = labels.iter().map(|label| if *label == "job" { "exported_job" } else { label });
        let labels = BTreeSet::from_iter(labels);
        if kind == "histogram" {
            for suffix in ["_bucket", "_sum", "_count"] {
                let mut labels = labels.clone();
                labels.extend((suffix == "_bucket").then_some("le"));
                series.insert(format!("{name}{suffix}"), labels);
            }
        } else {
            series.insert(name.to_owned(), labels);
        }
    }
    series
}

/// What is wrong with the names in an expression.
fn unknown(expression: &str, series: &BTreeMap<String, BTreeSet<&'static str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::from(OF_THE_SCRAPE);
    // Selectors: each is a name with braces.
    for (at, _) in expression.match_indices('{') {
        let name_at = expression[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        let name = &expression[name_at..at];
        let Some(labels) = series.get(name) else {
            wrong.push(format!("no metric {name}"));
            continue;
        };
        known.extend(labels);
        let inside = expression[at + 1..].split('}').next().unwrap();
        if !inside.contains("namespace=~\"$namespace\"") {
            wrong.push(format!("{name} of every namespace"));
        }
        if (name == "up" || name.starts_with("process_")) && !inside.contains("job=\"analytics-service\"") {
            wrong.push(format!("{name} of every job"));
        }
        for matcher in inside.split("\",") {
            let label = matcher.split(['=', '!']).next().unwrap().trim_start_matches(',');
            if !labels.contains(label) && !OF_THE_SCRAPE.contains(&label) {
                wrong.push(format!("{name} has no label {label}"));
            }
        }
    }
    // No metric without braces.
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let selectors = expression.matches('{').count();
    if words.filter(|word| series.contains_key(*word)).count() != selectors || selectors == 0 {
        wrong.push("a metric without braces".to_owned());
    }
    for by in expression.split(" by (").skip(1) {
        for label in by.split(')').next().unwrap().split(", ").filter(|label| !known.contains(label)) {
            wrong.push(format!("by ({label})"));
        }
    }
    wrong
}

fn expression(target: &Value) -> &str {
    target["expr"].as_str().unwrap()
}

#[test]
fn expressions_name_metrics_and_labels_that_exist() {
    let series = series();
    let mut wrong = Vec::new();
    for dashboard in dashboards_of(PROMETHEUS) {
        for (panel, target) in dashboard.targets() {
            let found = unknown(expression(target), &series);
            wrong.extend(found.into_iter().map(|found| format!("{}: {found}", dashboard.at(panel))));
        }
        let namespace = dashboard.variables().find(|variable| variable["name"] == "namespace").unwrap();
        assert_eq!(namespace["query"]["query"], "label_values(analytics_build_info, namespace)");
        assert_eq!((&namespace["allValue"], &namespace["current"]["value"]), (&".*".into(), &"$__all".into()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_that_do_not_exist_are_found() {
    let unknown = |expression: &str| unknown(expression, &series()).join("; ");
    assert_eq!(
        unknown("sum by (partition) (rate(analytics_events_total{namespace=~\"$namespace\",outcome=\"late\"}[1m]))"),
        ""
    );
    assert_eq!(unknown("x{namespace=~\"$namespace\"}"), "no metric x; a metric without braces");
    let labels = "sum by (org) (analytics_events_total{namespace=~\"$namespace\",org=~\"a|b\"})";
    assert_eq!(unknown(labels), "analytics_events_total has no label org; by (org)");
    assert_eq!(unknown("up{job=\"analytics-service\"}"), "up of every namespace");
    assert_eq!(unknown("process_threads{namespace=~\"$namespace\"}"), "process_threads of every job");
    assert_eq!(unknown("analytics_partitions"), "a metric without braces");
}

/// With the variables' values.
fn substituted(expression: &str) -> String {
    let known = [("$__rate_interval", "30s"), ("$__range", "1m"), ("$namespace", ".*")];
    let text = known.iter().fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value));
    assert!(!text.contains('$'), "{text}");
    text
}

/// A query with where it is, and the series that it has now.
///
/// # Panics
/// Its legend names a label that a series has not.
async fn series_of(prometheus: &Prometheus, at: &str, target: &Value) -> Option<Vec<Value>> {
    let series = prometheus.series(&substituted(expression(target))).await?;
    let legend = target["legendFormat"].as_str().unwrap();
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        assert!(series.iter().all(|series| series["metric"][label].is_string()), "{at}: no label {label}: {series:?}");
    }
    Some(series)
}

#[tokio::test]
async fn expressions_have_series_of_a_running_service() {
    let Some(binary) = prometheus_tool("prometheus") else { return };
    let mut world = World::new(2).await;
    world.set("ANALYTICS__MAINTENANCE__ENABLED", "true");
    // What the service looks at once a minute only is there when it starts.
    let before = world.publish(&["--events", "200", "--orgs", "20", "--models", "3"]).await;
    let service = world.serve().await;
    let prometheus = Prometheus::scraping(&service, &binary);
    // A rate needs what was before.
    eventually("it has scraped", async || (prometheus.query("up").await? == 1.0).then_some(())).await;
    let report = world.publish(&["--events", "2000", "--orgs", "20", "--models", "3", "--invalid", "0.01"]).await;
    let published = sent(&before) + sent(&report);
    settled(&mut world.connect().await, published).await;
    let org = report["orgs"][0]["orgId"].as_str().unwrap();
    let path = format!("/analytics/v1/orgs/{org}/freshness");
    let token = service.token(&[org.parse().unwrap()], &[Role::OrgViewer]);
    let dashboards = dashboards_of(PROMETHEUS);
    let targets = dashboards.iter().flat_map(|dashboard| {
        dashboard
            .targets()
            .map(|(panel, target)| (format!("{} {}", dashboard.at(panel), target["refId"]), panel, target))
    });
    let (optional, mut left): (Vec<_>, Vec<_>) = targets.partition(|(_, panel, _)| {
        let no_value = panel["fieldConfig"]["defaults"]["noValue"].as_str();
        no_value.is_some_and(|text| NOT_HERE.contains(&text))
    });
    for (at, _, target) in &optional {
        series_of(&prometheus, at, target).await.unwrap();
    }
    // Each once: what is of the last seconds ends again.
    eventually("every expression had series", async || {
        service.get(&path, &token).await;
        let mut without = Vec::new();
        for (at, panel, target) in left.drain(..) {
            if series_of(&prometheus, &at, target).await?.is_empty() {
                without.push((at, panel, target));
            }
        }
        left = without;
        eprintln!("without series: {:?}", left.iter().map(|(at, ..)| at).collect::<Vec<_>>());
        left.is_empty().then_some(())
    })
    .await;
    let received = "sum(analytics_events_total{outcome=\"received\"})";
    eventually("all is counted", async || (prometheus.query(received).await? == published as f64).then_some(())).await;
    let mut panels = dashboards.iter().flat_map(Dashboard::targets);
    let (_, target) = panels.find(|(panel, _)| panel["title"] == "Unaccounted messages").unwrap();
    eventually("none is unaccounted", async || {
        (prometheus.query(&substituted(expression(target))).await? == 0.0).then_some(())
    })
    .await;
}

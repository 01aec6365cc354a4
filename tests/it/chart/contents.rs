//! What the chart carries of the project's other files: alerts and dashboards, as they are, and what finds the pods for them.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;

use super::{environments, rendered, yaml};
use crate::{alerts::RULES, docs::root, harness::prometheus_tool};

const DASHBOARDS: &str = "deploy/grafana/dashboards";
const RUNBOOKS: &str = "https://git.example.com/analytics-service/blob/main/";

fn files(folder: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    names.sort();
    names
}

/// All that rules say, templates included, but for the address of the runbooks.
#[test]
fn the_rules_are_the_projects_own() {
    for (environment, manifests) in environments() {
        let Some(rule) = manifests.of("PrometheusRule").next() else {
            assert_eq!(*environment, "dev");
            continue;
        };
        let mut wanted = Vec::new();
        for file in files(RULES) {
            wanted.extend(yaml(&file)["groups"].as_array().unwrap().clone());
        }
        let text = Value::from(wanted).to_string();
        let linked = text.replace(r#""runbook_url":"docs/"#, &format!(r#""runbook_url":"{RUNBOOKS}docs/"#));
        assert_ne!(text, linked);
        assert_eq!(rule["spec"]["groups"], serde_json::from_str::<Value>(&linked).unwrap(), "{environment}");
    }
}

#[test]
fn promtool_accepts_the_rules_of_the_chart() {
    let Some(promtool) = prometheus_tool("promtool") else { return };
    let Some(manifests) = rendered("production", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, manifests.of("PrometheusRule").next().unwrap()["spec"].to_string()).unwrap();
    let output = Command::new(promtool).args(["check", "rules"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// To the byte: they have templates of Grafana's in them, which Helm must not evaluate.
#[test]
fn the_dashboards_are_the_projects_own() {
    let wanted: BTreeMap<_, _> = files(DASHBOARDS)
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            (file.rsplit('/').next().unwrap().to_owned(), Value::from(text))
        })
        .collect();
    assert!(wanted.len() >= 5 && wanted.values().any(|text| text.as_str().unwrap().contains("{{")));
    for (environment, manifests) in environments().iter().skip(1) {
        let maps = manifests.of("ConfigMap").filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
        let mut found = BTreeMap::new();
        for map in maps {
            assert!(map.to_string().len() < 1 << 20, "larger than an object may be");
            found.extend(map["data"].as_object().unwrap().clone());
        }
        assert_eq!(found, wanted, "{environment}");
    }
}

/// By the job and the namespace that the alerts expect, and each pod by itself.
#[test]
fn prometheus_finds_each_pod_under_the_alerts_job() {
    let Some(manifests) = rendered("production", &[]) else { return };
    let monitor = &manifests.get("ServiceMonitor", "analytics-service")["spec"];
    let service = manifests.get("Service", "analytics-service-operations");
    let labels = service["metadata"]["labels"].as_object().unwrap();
    let selector = monitor["selector"]["matchLabels"].as_object().unwrap();
    let selects =
        |labels: &serde_json::Map<String, Value>| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
    assert!(selects(labels));
    let api = manifests.get("Service", "analytics-service");
    assert!(!selects(api["metadata"]["labels"].as_object().unwrap()), "its port has no metrics");
    assert_eq!(labels[monitor["jobLabel"].as_str().unwrap()], "analytics-service", "the job of the alerts");
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(monitor["endpoints"][0]["path"], "/metrics");
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]),
        (&Value::from("None"), &true.into())
    );
}

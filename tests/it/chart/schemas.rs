//! Every manifest by a schema: Kubernetes' own of the oldest and the newest version, and those of the operators' custom resources.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::{ENVIRONMENTS, applications::applications, environments};
use crate::harness::{local_folder, not_run};

/// From the one that the chart requires (`kubeVersion`) on.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];
const CUSTOM: [&str; 3] = ["argoproj.io/", "keda.sh/", "monitoring.coreos.com/"];

fn is_custom(manifest: &Value) -> bool {
    CUSTOM.iter().any(|group| manifest["apiVersion"].as_str().unwrap().starts_with(group))
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chart").join(name)
}

/// The judge of Kubernetes' own kinds.
fn python() -> Option<Command> {
    let program = local_folder().join("tools/bin/python");
    let ready = Command::new(&program).args(["-c", "import kubernetes_validate"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        not_run("PyPI's kubernetes-validate is not there (make test installs it)");
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script("judge.py")).args(VERSIONS);
    Some(command)
}

/// The judge of custom resources.
fn node() -> Option<Command> {
    let modules = local_folder().join("node/node_modules");
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|output| output.status.success()) || !modules.join("@kubernetes-models/keda").exists() {
        not_run("node or npm's @kubernetes-models are not there (make test installs these where node is)");
        return None;
    }
    let mut command = Command::new("node");
    command.arg(script("judge.cjs")).env("NODE_PATH", modules.canonicalize().unwrap());
    Some(command)
}

fn judge(mut judge: Command, manifests: &[&Value]) -> Output {
    let mut child = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(manifests).to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The kinds that were judged, all of them right.
fn kinds(command: Command, manifests: &[&Value]) -> Vec<String> {
    let output = judge(command, manifests);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_manifest_validates() {
    let all: Vec<_> = environments().iter().flat_map(|(_, manifests)| &manifests.0).collect();
    if all.is_empty() {
        return;
    }
    let (custom, own): (Vec<_>, Vec<_>) = all.into_iter().partition(|manifest| is_custom(manifest));
    if let Some(python) = python() {
        let wanted = [
            "ConfigMap",
            "CronJob",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Job",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "ServiceAccount",
        ];
        assert_eq!(kinds(python, &own), wanted);
    }
    if let Some(node) = node() {
        assert_eq!(kinds(node, &custom), ["PrometheusRule", "ScaledObject", "ServiceMonitor"]);
    }
}

#[test]
fn every_application_validates() {
    let applications = applications();
    assert_eq!(applications.len(), ENVIRONMENTS.len());
    let Some(node) = node() else { return };
    assert_eq!(
        kinds(node, &applications.iter().map(|(_, application)| application).collect::<Vec<_>>()),
        ["Application"]
    );
}

/// A judge that accepts everything would prove nothing.
#[test]
fn wrong_manifests_do_not_validate() {
    let [_, staging, production] = environments() else { return };
    let mut wrong = Vec::new();
    let mut try_one = |judged: Option<Command>, manifest: &Value, change: (&str, Value)| {
        let Some(command) = judged else { return };
        let (place, value) = change;
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut manifest = manifest.clone();
        manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        if judge(command, &[&manifest]).status.success() {
            wrong.push(place.to_owned());
        }
    };
    let deployment = staging.1.get("Deployment", "analytics-service");
    for change in [
        ("/spec/template/spec/containers/0/livenesProbe", json!({})),
        ("/spec/template/spec/terminationGracePeriodSeconds", json!("38")),
        ("/spec/template/spec/containers/0/lifecycle/preStop/sleep/second", json!(5)),
    ] {
        try_one(python(), deployment, change);
    }
    let monitor = staging.1.get("ServiceMonitor", "analytics-service");
    let scaled = production.1.get("ScaledObject", "analytics-service");
    for (manifest, change) in [
        (monitor, ("/spec/endpoints/0/interva", json!("30s"))),
        (monitor, ("/spec/endpoints/0/interval", json!("30 seconds"))),
        (scaled, ("/spec/triggers/0/metadata/threshold", json!(60))),
        (scaled, ("/spec/maxReplicas", json!(8))),
    ] {
        try_one(node(), manifest, change);
    }
    assert!(wrong.is_empty(), "accepted: {wrong:?}");
}

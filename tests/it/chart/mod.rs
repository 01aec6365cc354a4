//! The Helm chart of `deploy/helm`, rendered by Helm 4 and 3 with the values of `deploy/argocd`: what runs in a cluster, judged without one.

mod applications;
mod contents;
mod environment;
mod network;
mod pods;
mod scaling;
mod schemas;
mod secrets;
mod values;

use std::{
    path::PathBuf,
    process::{Command, Output},
    sync::OnceLock,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    docs::root,
    harness::{local_folder, not_run},
};

const CHART: &str = "deploy/helm/analytics-service";
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];
const NAMESPACE: &str = "analytics";

/// The programs that are there; says so where one is not.
fn helms() -> Vec<PathBuf> {
    let wanted = ["helm4", "helm3"].map(|name| local_folder().join("helm").join(name));
    let (there, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|path| path.exists());
    if !missing.is_empty() {
        not_run(&format!("with {missing:?}, which make test unpacks from PyPI"));
    }
    there
}

/// Runs helm with the values of an environment and these on top.
fn helm(program: &PathBuf, command: &[&str], environment: &str, set: &[&str]) -> Output {
    let set = set.iter().flat_map(|value| ["--set-json", value]);
    let home = tempfile::tempdir().unwrap();
    Command::new(program)
        .args(command)
        .args(["--namespace", NAMESPACE, "--values", &format!("deploy/argocd/values/{environment}.yaml")])
        .args(set)
        .current_dir(root())
        // No plugins and no repositories of whoever runs the tests.
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap()
}

/// What a helm makes of the chart, or why it does not.
fn rendered_by(program: &PathBuf, environment: &str, set: &[&str]) -> Result<Manifests, String> {
    let output = helm(program, &["template", "analytics-service", CHART], environment, set);
    let said = String::from_utf8(output.stderr).unwrap();
    if !output.status.success() {
        return Err(said);
    }
    Ok(Manifests::read(&String::from_utf8(output.stdout).unwrap()))
}

/// As the first helm that is there renders it; None without any, and then the test is not run.
fn rendered(environment: &str, set: &[&str]) -> Option<Manifests> {
    let helm = helms().into_iter().next()?;
    Some(rendered_by(&helm, environment, set).unwrap_or_else(|error| panic!("{environment}: {error}")))
}

/// Each environment as it is, rendered once for all tests.
fn environments() -> &'static [(&'static str, Manifests)] {
    static RENDERED: OnceLock<Vec<(&str, Manifests)>> = OnceLock::new();
    let all = RENDERED.get_or_init(|| {
        let one = |environment| Some((environment, rendered(environment, &[])?));
        ENVIRONMENTS.into_iter().filter_map(one).collect()
    });
    if all.is_empty() {
        not_run("without a helm");
    }
    all
}

#[derive(Clone, Debug, PartialEq)]
struct Manifests(Vec<Value>);

impl Manifests {
    fn read(yaml: &str) -> Self {
        let documents = yaml_serde::Deserializer::from_str(yaml).map(|one| Value::deserialize(one).unwrap());
        Self(documents.filter(|document| !document.is_null()).collect())
    }

    fn of<'m>(&'m self, kind: &'m str) -> impl Iterator<Item = &'m Value> {
        self.0.iter().filter(move |manifest| manifest["kind"] == kind)
    }

    /// The only one of its kind and name.
    fn get(&self, kind: &str, name: &str) -> &Value {
        let is = |manifest: &&Value| manifest["kind"] == kind && manifest["metadata"]["name"] == name;
        let found: Vec<_> = self.0.iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{kind} {name}");
        found[0]
    }

    /// The pods that are started, each with its kind and name, and the template.
    fn pods(&self) -> Vec<Pod<'_>> {
        let template = |manifest: &Value| match manifest["kind"].as_str().unwrap() {
            "Deployment" | "Job" => Some("/spec/template"),
            "CronJob" => Some("/spec/jobTemplate/spec/template"),
            _ => None,
        };
        let pod = |manifest| Some(Pod { owner: manifest, template: manifest.pointer(template(manifest)?).unwrap() });
        self.0.iter().filter_map(pod).collect()
    }

    fn pod(&self, name: &str) -> Pod<'_> {
        self.pods().into_iter().find(|pod| pod.name() == name).unwrap_or_else(|| panic!("no pod of {name}"))
    }
}

/// What starts a pod, and its template. It has one container.
struct Pod<'m> {
    owner: &'m Value,
    template: &'m Value,
}

impl Pod<'_> {
    fn name(&self) -> &str {
        self.owner["metadata"]["name"].as_str().unwrap()
    }

    fn spec(&self) -> &Value {
        &self.template["spec"]
    }

    fn container(&self) -> &Value {
        let containers = self.spec()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{}", self.name());
        assert!(self.spec()["initContainers"].is_null());
        &containers[0]
    }

    fn args(&self) -> Vec<&str> {
        self.container()["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect()
    }
}

fn yaml(file: &str) -> Value {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    yaml_serde::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn lint_accepts_each_environment() {
    for program in helms() {
        for environment in ENVIRONMENTS {
            let output = helm(&program, &["lint", "--strict", CHART], environment, &[]);
            assert!(output.status.success(), "{environment}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn both_helms_render_the_same() {
    let [four, three] = &helms()[..] else { return };
    for environment in ENVIRONMENTS {
        let [one, other] = [four, three].map(|program| rendered_by(program, environment, &[]).unwrap());
        assert_eq!(one, other, "{environment}");
    }
}

/// Links lead out of the chart's folder: what is installed from an archive has no neighbours.
#[test]
fn a_package_has_all_that_the_chart_has() {
    let folder = tempfile::tempdir().unwrap();
    for program in helms() {
        let target = folder.path().join(program.file_name().unwrap());
        let output =
            Command::new(&program).args(["package", CHART, "-d"]).arg(&target).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let package = target.join(format!("analytics-service-{}.tgz", env!("CARGO_PKG_VERSION")));
        let output = helm(&program, &["template", "analytics-service", package.to_str().unwrap()], "staging", &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let packaged = Manifests::read(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(packaged, rendered_by(&program, "staging", &[]).unwrap());
    }
}

/// The notes name objects that exist and commands that parse; Helm 4 shows them without a cluster.
#[test]
fn the_notes_name_what_is_there() {
    let Some(program) = helms().into_iter().find(|path| path.ends_with("helm4")) else { return };
    let install = ["install", "analytics-service", CHART, "--dry-run=client"];
    let output = helm(&program, &install, "dev", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, notes) = text.split_once("NOTES:").unwrap();
    let Some(manifests) = rendered("dev", &[]) else { return };
    for (kind, name) in [("Job", "job/"), ("Deployment", "deployment/"), ("Deployment", "deploy/")] {
        let names: Vec<_> = notes.split(name).skip(1).map(|rest| rest.split_whitespace().next().unwrap()).collect();
        assert!(!names.is_empty(), "{kind}");
        for name in names {
            manifests.get(kind, name);
        }
    }
    for line in notes.split("/usr/local/bin/analytics-service ").skip(1) {
        environment::assert_parses(&line.lines().next().unwrap().split_whitespace().collect::<Vec<_>>());
    }
}

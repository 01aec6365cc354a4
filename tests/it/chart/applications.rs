//! Argo CD's Applications, one an environment: what they point to is there, and what they ignore is what autoscalers write.

use serde_json::{Value, json};

use super::{CHART, ENVIRONMENTS, environments, yaml};
use crate::docs::root;

/// Each with its environment.
pub fn applications() -> Vec<(&'static str, Value)> {
    ENVIRONMENTS.into_iter().map(|name| (name, yaml(&format!("deploy/argocd/{name}.yaml")))).collect()
}

#[test]
fn each_environment_has_its_chart_and_values() {
    for (environment, application) in applications() {
        let source = &application["spec"]["source"];
        assert_eq!(source["path"], CHART, "{environment}");
        // As the tests render it, and the names in the values fit.
        assert_eq!(source["helm"]["releaseName"], "analytics-service", "{environment}");
        let files = source["helm"]["valueFiles"].as_array().unwrap();
        assert_eq!(files.len(), 1, "{environment}");
        let values = root().join(CHART).join(files[0].as_str().unwrap()).canonicalize().unwrap();
        assert_eq!(values, root().canonicalize().unwrap().join(format!("deploy/argocd/values/{environment}.yaml")));
        assert_eq!(application["metadata"]["name"], format!("analytics-service-{environment}"));
        assert_eq!(application["spec"]["destination"]["name"], environment);
        assert_eq!(application["spec"]["destination"]["namespace"], super::NAMESPACE);
    }
}

/// The chart and the values of a tag are those that its Application reads.
#[test]
fn a_release_has_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
    for environment in ENVIRONMENTS {
        let values = yaml(&format!("deploy/argocd/values/{environment}.yaml"));
        assert_eq!(values["image"]["tag"], version, "{environment}");
    }
    let production = yaml("deploy/argocd/production.yaml");
    assert_eq!(production["spec"]["source"]["targetRevision"], format!("v{version}"));
}

#[test]
fn applies_are_server_side() {
    for (environment, application) in applications() {
        let options = application["spec"]["syncPolicy"]["syncOptions"].as_array().unwrap();
        for option in ["ServerSideApply=true", "RespectIgnoreDifferences=true"] {
            assert!(options.contains(&json!(option)), "{environment}: {option}");
        }
        let automated = application.pointer("/spec/syncPolicy/automated").is_some();
        assert_eq!(automated, environment != "production", "an operator starts that of production");
    }
}

/// Where an autoscaler decides, the number of processes is ignored; elsewhere it is the values'.
#[test]
fn only_what_autoscalers_write_is_ignored() {
    let applications = applications();
    for (environment, manifests) in environments() {
        let (_, application) = applications.iter().find(|(name, _)| name == environment).unwrap();
        let scaled = ["HorizontalPodAutoscaler", "ScaledObject"].iter().any(|kind| manifests.of(kind).count() > 0);
        let replicas = json!([{ "group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"] }]);
        let wanted = if scaled { replicas } else { Value::Null };
        assert_eq!(application["spec"]["ignoreDifferences"], wanted, "{environment}");
    }
}

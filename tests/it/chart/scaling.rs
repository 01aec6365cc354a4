//! How many processes there are: a number, by the processor's load, or by lag.

use serde_json::json;

use super::{helms, rendered, rendered_by};

#[test]
fn only_one_decides_how_many_processes_there_are() {
    let Some(dev) = rendered("dev", &[]) else { return };
    assert_eq!(dev.get("Deployment", "analytics-service")["spec"]["replicas"], 1);
    for (environment, kind) in [("staging", "HorizontalPodAutoscaler"), ("production", "ScaledObject")] {
        let manifests = rendered(environment, &[]).unwrap();
        let deployment = manifests.get("Deployment", "analytics-service");
        assert!(deployment["spec"]["replicas"].is_null(), "{environment}");
        let target = &manifests.get(kind, "analytics-service")["spec"]["scaleTargetRef"];
        assert_eq!(target["name"], deployment["metadata"]["name"], "{environment}");
        // Load is a share of what is requested.
        let pod = manifests.pod("analytics-service");
        assert!(pod.container()["resources"]["requests"]["cpu"].is_string(), "{environment}");
    }
    for program in helms() {
        let error = rendered_by(&program, "production", &["autoscaling.enabled=true"]).unwrap_err();
        assert!(error.contains("keda.enabled: not with autoscaling.enabled"), "{error}");
        let error = rendered_by(&program, "production", &[r#"keda.prometheusUrl="""#]).unwrap_err();
        assert!(error.contains("keda.prometheusUrl: must name"), "{error}");
    }
}

#[test]
fn lag_starts_no_more_processes_than_partitions() {
    for (set, wanted) in [
        (&[][..], [3, 8]),
        (&["config.broker.partitions=2"], [2, 2]),
        (&["config.broker.partitions=64"], [3, 16]),
        (&["config.broker.partitions=64", "keda.maxReplicas=100"], [3, 64]),
    ] {
        let Some(manifests) = rendered("production", set) else { return };
        let spec = &manifests.get("ScaledObject", "analytics-service")["spec"];
        assert_eq!(
            [&spec["minReplicaCount"], &spec["maxReplicaCount"]],
            wanted.map(|n| json!(n)).each_ref(),
            "{set:?}"
        );
    }
}

/// By the autoscaler that KEDA creates: its own `cooldownPeriod` is for the way to zero alone.
#[test]
fn processes_are_not_removed_at_once() {
    let Some(manifests) = rendered("production", &["keda.scaleDownSeconds=900"]) else { return };
    let spec = &manifests.get("ScaledObject", "analytics-service")["spec"];
    let down = spec.pointer("/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown/stabilizationWindowSeconds");
    assert_eq!(down, Some(&json!(900)));
    assert!(spec["cooldownPeriod"].is_null() && spec["minReplicaCount"].as_u64().unwrap() > 0);
}

#[test]
fn the_lag_is_a_metric_of_this_release() {
    let Some(manifests) = rendered("production", &[]) else { return };
    let trigger = &manifests.get("ScaledObject", "analytics-service")["spec"]["triggers"][0];
    assert_eq!(trigger["metricType"], "Value");
    let query = trigger["metadata"]["query"].as_str().unwrap();
    let metric = query.trim_start_matches("max(").split('{').next().unwrap();
    let mut metrics = analytics_service::telemetry::metrics::declared();
    assert!(metrics.any(|declared| declared.name == metric && declared.kind == "gauge"), "{query}");
    assert!(query.contains(r#"job="analytics-service",namespace="analytics""#), "{query}");
}

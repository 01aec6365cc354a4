//! Pods as Kubernetes' restricted pod security has them, jobs by the exit codes of the service, and the order in which it all comes.

use serde_json::{Value, json};

use super::{Manifests, environments, rendered};

#[test]
fn pods_are_restricted_and_have_no_token() {
    for (environment, manifests) in environments() {
        for pod in manifests.pods() {
            let at = format!("{environment}, {}", pod.name());
            let (spec, container) = (pod.spec(), pod.container());
            let security = &spec["securityContext"];
            assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&json!(true), &json!(65532)), "{at}");
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{at}");
            let wanted = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            });
            assert_eq!(container["securityContext"], wanted, "{at}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{at}");
            assert_eq!(spec["enableServiceLinks"], false, "{at}");
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec[key].is_null(), "{at}: {key}");
            }
            // Authorities alone, and never a folder of the node.
            for volume in spec["volumes"].as_array().into_iter().flatten() {
                assert!(volume["configMap"].is_object() || volume["secret"].is_object(), "{at}: {volume}");
            }
            for part in ["requests", "limits"] {
                assert!(container["resources"][part]["memory"].is_string(), "{at}: {part}");
            }
        }
        for account in manifests.of("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{environment}");
        }
    }
}

/// Every pod's account exists when the pod starts: the migration's comes before it.
#[test]
fn every_account_is_there_before_its_pod() {
    for (environment, manifests) in environments() {
        for pod in manifests.pods() {
            let name = pod.spec()["serviceAccountName"].as_str().unwrap();
            let account = manifests.get("ServiceAccount", name);
            assert!(step(account) < step(pod.owner), "{environment}: {name}");
        }
    }
    let set = ["serviceAccount.create=false", r#"serviceAccount.name="given""#];
    let Some(manifests) = rendered("dev", &set) else { return };
    assert_eq!(manifests.of("ServiceAccount").count(), 0);
    assert!(manifests.pods().iter().all(|pod| pod.spec()["serviceAccountName"] == "given"));
}

/// When Helm creates it: hooks before a release by weight, then what is no hook.
fn step(manifest: &Value) -> i64 {
    let annotation = |name: &str| manifest["metadata"]["annotations"][name].as_str().map(str::to_owned);
    match annotation("helm.sh/hook") {
        None => {
            // Helm's own order of kinds.
            match manifest["kind"].as_str().unwrap() {
                "NetworkPolicy" | "ServiceAccount" | "ConfigMap" => 1000,
                _ => 1001,
            }
        }
        Some(hook) => {
            assert_eq!(hook, "pre-install,pre-upgrade");
            annotation("helm.sh/hook-weight").unwrap().parse().unwrap()
        }
    }
}

/// When Argo CD does. What has Helm's hook and none of its own is done before all waves.
fn wave(manifest: &Value) -> i64 {
    let annotations = &manifest["metadata"]["annotations"];
    if annotations["argocd.argoproj.io/hook"].is_null() && !annotations["helm.sh/hook"].is_null() {
        return i64::MIN;
    }
    annotations["argocd.argoproj.io/sync-wave"].as_str().map_or(0, |wave| wave.parse().unwrap())
}

/// By Helm and by Argo CD: what the migration needs, the migration, the service.
#[test]
fn the_migration_runs_before_the_service() {
    for (environment, manifests) in environments() {
        let migration = manifests.get("Job", "analytics-service-migrate");
        let annotations = &migration["metadata"]["annotations"];
        assert_eq!(annotations["argocd.argoproj.io/hook"], "Sync");
        assert_eq!(annotations["argocd.argoproj.io/hook-delete-policy"], "BeforeHookCreation");
        assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation");
        let service = manifests.get("Deployment", "analytics-service");
        assert!(step(migration) < step(service) && wave(migration) < wave(service), "{environment}");
        for (kind, name) in
            [("ServiceAccount", "analytics-service-migrate"), ("NetworkPolicy", "analytics-service-migrate")]
        {
            let needed = manifests.get(kind, name);
            assert!(step(needed) < step(migration) && wave(needed) < wave(migration), "{environment}: {kind}");
        }
        // It has nothing of what Helm creates later.
        assert!(manifests.pod("analytics-service-migrate").container()["envFrom"].is_null(), "{environment}");
        // A pod of the build before, which may start while it runs, has the settings of before.
        assert!(wave(manifests.get("ConfigMap", "analytics-service")) > wave(migration), "{environment}");
        for kind in ["ServiceAccount", "NetworkPolicy"] {
            let first = manifests.get(kind, "analytics-service");
            assert!(wave(first) < wave(migration), "{environment}: {kind}");
        }
    }
    let Some(manifests) = rendered("dev", &["migration.enabled=false"]) else { return };
    assert!(manifests.0.iter().all(|manifest| !manifest["metadata"]["name"].as_str().unwrap().ends_with("-migrate")));
}

fn specs_of_jobs(manifests: &Manifests) -> Vec<&Value> {
    let scheduled = manifests.of("CronJob").map(|job| &job["spec"]["jobTemplate"]["spec"]);
    manifests.of("Job").map(|job| &job["spec"]).chain(scheduled).collect()
}

/// 2 is bad usage and 3 a check that did not hold (src/cli/mod.rs): neither is another one the second time.
#[test]
fn jobs_end_by_the_exit_codes_of_the_service() {
    for (environment, manifests) in environments() {
        let jobs = specs_of_jobs(manifests);
        assert!(jobs.len() >= 2, "{environment}");
        for spec in jobs {
            let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
            assert_eq!(rules[0]["action"], "Ignore");
            assert_eq!(rules[0]["onPodConditions"][0]["type"], "DisruptionTarget", "a node that is drained");
            assert_eq!(rules[1]["action"], "FailJob");
            let codes = &rules[1]["onExitCodes"];
            assert_eq!(*codes, json!({ "containerName": "analytics-service", "operator": "In", "values": [2, 3] }));
            // The API server refuses the policy with any other.
            assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");
            assert!(spec["backoffLimit"].is_u64() && spec["activeDeadlineSeconds"].is_u64(), "{environment}");
        }
    }
}

#[test]
fn schedules_forbid_overlap_and_have_deadlines() {
    let wanted: [(&str, &[&str]); 3] = [
        ("dev", &["export-monthly", "verify"]),
        ("staging", &["export-monthly", "late-refresh", "maintain", "purge", "verify"]),
        ("production", &["export-monthly", "verify"]),
    ];
    for ((environment, manifests), (_, names)) in environments().iter().zip(wanted) {
        let mut found: Vec<_> = Vec::new();
        for job in manifests.of("CronJob") {
            let spec = &job["spec"];
            found.push(job["metadata"]["name"].as_str().unwrap().trim_start_matches("analytics-service-"));
            assert_eq!((&spec["concurrencyPolicy"], &spec["timeZone"]), (&json!("Forbid"), &json!("Etc/UTC")));
            // Below ten seconds the controller may miss a job altogether.
            assert!(spec["startingDeadlineSeconds"].as_u64().unwrap() >= 10, "{environment}");
        }
        found.sort_unstable();
        assert_eq!(found, names, "{environment}");
    }
    // Only where there is a place for files, and where continuous aggregates are to be materialised.
    let Some(manifests) = rendered("dev", &[r#"config.objects.bucket="""#]) else { return };
    assert!(manifests.of("CronJob").all(|job| job["metadata"]["name"] == "analytics-service-verify"));
    let Some(manifests) = rendered("staging", &[r#"config.rollups.engine="live""#]) else { return };
    assert!(manifests.of("CronJob").all(|job| job["metadata"]["name"] != "analytics-service-late-refresh"));
    let manifests = rendered("staging", &[]).unwrap();
    assert_eq!(manifests.get("CronJob", "analytics-service-late-refresh")["spec"]["schedule"], "*/15 * * * *");
}

#[test]
fn names_fit_however_long_the_release_is() {
    let long = format!("fullnameOverride={}", json!("a".repeat(37)));
    let all = ["cronJobs.purge.enabled=true", "cronJobs.maintain.enabled=true", &long];
    let Some(manifests) = rendered("staging", &all) else { return };
    for manifest in &manifests.0 {
        let (kind, name) = (manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"].as_str().unwrap());
        let longest = if kind == "CronJob" { 52 } else { 63 };
        assert!(name.len() <= longest && name.starts_with("aaa") || kind == "ConfigMap", "{kind} {name}");
    }
}

#[test]
fn services_and_probes_reach_the_ports_of_the_pod() {
    for (environment, manifests) in environments() {
        let pod = manifests.pod("analytics-service");
        let ports = pod.container()["ports"].as_array().unwrap();
        let number = |name: &Value| ports.iter().find(|port| port["name"] == *name).unwrap()["containerPort"].clone();
        let labels = pod.template["metadata"]["labels"].as_object().unwrap();
        for (name, target) in [("analytics-service", 8080), ("analytics-service-operations", 8081)] {
            let spec = &manifests.get("Service", name)["spec"];
            assert_eq!(number(&spec["ports"][0]["targetPort"]), target, "{environment}");
            let selector = spec["selector"].as_object().unwrap();
            assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)), "{environment}: {name}");
        }
        for (probe, path) in
            [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
        {
            let request = &pod.container()[probe]["httpGet"];
            assert_eq!((&request["path"], number(&request["port"])), (&json!(path), json!(8081)), "{environment}");
        }
        let selector =
            manifests.get("PodDisruptionBudget", "analytics-service").pointer("/spec/selector/matchLabels").unwrap();
        assert!(selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value)));
        for job in manifests.pods().iter().filter(|job| job.args() != ["serve"]) {
            let labels = &job.template["metadata"]["labels"];
            assert_ne!(labels["app.kubernetes.io/component"], "service", "a job is behind no service");
        }
    }
}

#[test]
fn pods_spread_over_zones_and_hosts() {
    let Some(manifests) = rendered("production", &[]) else { return };
    let pod = manifests.pod("analytics-service");
    let labels = pod.template["metadata"]["labels"].as_object().unwrap();
    let constraints = pod.spec()["topologySpreadConstraints"].as_array().unwrap();
    let mut found = Vec::new();
    for constraint in constraints {
        found.push((constraint["topologyKey"].as_str().unwrap(), constraint["whenUnsatisfiable"].as_str().unwrap()));
        let selector = constraint["labelSelector"]["matchLabels"].as_object().unwrap();
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)), "{constraint}");
    }
    found.sort_unstable();
    assert_eq!(found, [("kubernetes.io/hostname", "ScheduleAnyway"), ("topology.kubernetes.io/zone", "DoNotSchedule")]);
}

/// Pods are replaced when a setting changes, since they read it at their start.
#[test]
fn another_setting_is_another_pod() {
    let Some(one) = rendered("dev", &[]) else { return };
    let other = rendered("dev", &[r#"config.log.filter="warn""#]).unwrap();
    let sum = |manifests: &Manifests| {
        manifests.pod("analytics-service").template["metadata"]["annotations"]["checksum/config"].clone()
    };
    assert!(sum(&one).is_string() && sum(&one) != sum(&other));
}

#[test]
fn an_image_is_named_by_tag_or_digest() {
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let by_digest = format!("image.digest={}", json!(digest));
    for (set, wanted) in [
        (r#"image.tag="""#, concat!("images.example.com/analytics-service:", env!("CARGO_PKG_VERSION")).to_owned()),
        (r#"image.tag="0.2.0""#, "images.example.com/analytics-service:0.2.0".to_owned()),
        (&by_digest, format!("images.example.com/analytics-service@{digest}")),
    ] {
        let Some(manifests) = rendered("dev", &[set]) else { return };
        for pod in manifests.pods() {
            assert_eq!(pod.container()["image"], wanted, "{}", pod.name());
        }
    }
}

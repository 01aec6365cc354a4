//! The variables and command lines that the chart renders, given to the binary itself.

use std::{collections::BTreeMap, process::Command};

use analytics_service::config::Settings;

use super::{Manifests, Pod, environments, rendered, secrets::secrets};
use crate::harness::{World, certify};

/// The variables that a container would have.
pub fn variables(environment: &str, manifests: &Manifests, pod: &Pod<'_>) -> BTreeMap<String, String> {
    let (container, secrets) = (pod.container(), secrets(environment));
    let mut variables = BTreeMap::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let map = manifests.get("ConfigMap", source["configMapRef"]["name"].as_str().unwrap());
        let pairs = map["data"].as_object().unwrap().iter();
        variables.extend(pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())));
    }
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match variable.pointer("/valueFrom/secretKeyRef") {
            None => variable["value"].as_str().unwrap().to_owned(),
            Some(reference) => {
                let [secret, key] = ["name", "key"].map(|part| reference[part].as_str().unwrap());
                let value = secrets.iter().find(|(place, _)| **place == (secret, key));
                value.unwrap_or_else(|| panic!("no secret {secret} with {key}")).1.clone()
            }
        };
        let before = variables.insert(name.to_owned(), value);
        assert!(before.is_none(), "{}: {name} twice", pod.name());
    }
    variables
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_analytics-service"));
    command.env_clear();
    command
}

/// Arguments are parsed before the settings are read, and bad usage is exit code 2.
pub fn assert_parses(args: &[&str]) {
    let output = binary().args(args).args(["--config", "/nowhere/settings.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(said.contains("/nowhere/settings"), "{args:?}: {said}");
}

#[test]
fn every_command_line_parses() {
    let mut seen = Vec::new();
    for (_, manifests) in environments() {
        for pod in manifests.pods() {
            assert!(pod.container()["command"].is_null(), "the image's entry point is the binary");
            assert_parses(&pod.args());
            seen.push(pod.args()[0].to_owned());
        }
    }
    for command in ["serve", "migrate", "verify", "export", "refresh", "purge", "maintain"] {
        assert!(seen.is_empty() || seen.iter().any(|name| name == command), "{command}");
    }
    // What does not parse is noticed.
    assert!(std::panic::catch_unwind(|| assert_parses(&["verify", "--last", "never"])).is_err());
}

/// The file of authorities as the pod has it mounted; none where it has no volume.
fn mounted_authorities(pod: &Pod<'_>) -> Option<String> {
    let volume = &pod.spec()["volumes"].as_array()?[0];
    let mount = &pod.container()["volumeMounts"][0];
    assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &true.into()));
    let item = volume.pointer("/configMap/items/0/path")?;
    Some(format!("{}/{}", mount["mountPath"].as_str()?, item.as_str()?))
}

#[test]
fn the_binary_accepts_every_environment() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    for (environment, manifests) in environments() {
        for pod in manifests.pods() {
            let mut variables = variables(environment, manifests, &pod);
            assert_eq!(variables.get("SSL_CERT_FILE"), mounted_authorities(&pod).as_ref(), "{environment}");
            if let Some(file) = variables.get_mut("SSL_CERT_FILE") {
                *file = folder.path().join("cert.pem").display().to_string();
            }
            // It does nothing, once the settings are read.
            let output = binary().arg("openapi").envs(&variables).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{environment}, {}: {said}", pod.name());
            for name in variables.keys().filter(|name| !name.starts_with("ANALYTICS__")) {
                let known = ["USER", "PGSSLMODE", "SSL_CERT_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
                assert!(known.contains(&name.as_str()), "{name}");
            }
        }
    }
}

/// What `postgresql.sslMode` becomes is read by the driver: the tests' server has no TLS.
#[tokio::test]
async fn the_mode_of_tls_reaches_the_driver() {
    let mut world = World::new(1).await;
    assert!(world.run(&["verify"]).await.status.success());
    for mode in ["require", "verify-full"] {
        world.set("PGSSLMODE", mode);
        let output = world.run(&["verify"]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode}");
        assert!(said.to_lowercase().contains("tls"), "{mode}: {said}");
    }
    world.set("PGSSLMODE", "disable");
}

/// As the settings are read of the environment, not as they are written in the values.
fn settings(environment: &str, manifests: &Manifests, pod: &str) -> Settings {
    let variables = variables(environment, manifests, &manifests.pod(pod));
    Settings::from_variables(variables.into_iter().collect()).unwrap()
}

#[test]
fn settings_arrive_as_the_values_have_them() {
    let [_, _, (environment, manifests)] = environments() else { return };
    let settings = settings(environment, manifests, "analytics-service");
    assert_eq!(settings.broker.partitions, 8);
    assert_eq!(settings.broker.stream_max_bytes, 200_000_000_000, "a number that Go prints as 2e+11");
    assert_eq!(settings.dedupe.memory_bytes, 536_870_912);
    assert!((settings.otlp.sample_ratio - 0.001).abs() < 1e-9);
    assert_eq!(settings.http.address.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.ops.address.to_string(), "0.0.0.0:8081");
    assert_eq!(settings.objects.buckets(), ["analytics-production"]);
    assert_eq!(settings.otlp.header_pairs().unwrap(), [("authorization", "Bearer 6t2hGqkWv")]);
}

#[test]
fn the_pod_has_longer_than_the_drain() {
    let cases = [
        ("dev", vec![]),
        ("production", vec![]),
        ("dev", vec!["config.drain.timeout_ms=90001", "config.drain.announce_ms=0", "preStopSeconds=12"]),
    ];
    for (environment, set) in cases {
        let Some(manifests) = rendered(environment, &set) else { return };
        let pod = manifests.pod("analytics-service");
        let settings = settings(environment, &manifests, "analytics-service");
        let sleep = pod.container().pointer("/lifecycle/preStop/sleep/seconds").unwrap().as_u64().unwrap();
        let grace = pod.spec()["terminationGracePeriodSeconds"].as_u64().unwrap();
        let needed = settings.drain.announce() + settings.drain.timeout() + settings.otlp.flush();
        assert!(grace * 1000 >= sleep * 1000 + u64::try_from(needed.as_millis()).unwrap() + 5000, "{grace} s");
        assert!(sleep >= 1);
    }
}

/// Jobs know nothing of tokens and who signs them; the migration, of no server but the database and the OTLP receiver.
#[test]
fn jobs_have_the_settings_that_they_need() {
    for (environment, manifests) in environments() {
        for pod in manifests.pods().into_iter().filter(|pod| pod.args() != ["serve"]) {
            let variables = variables(environment, manifests, &pod);
            let names = |part: &str| variables.keys().any(|name| name.starts_with(&format!("ANALYTICS__{part}__")));
            assert!(!names("AUTH") && !names("CACHE__URL"), "{}", pod.name());
            assert_eq!(names("OBJECTS"), pod.args() != ["migrate"], "{}", pod.name());
            assert_eq!(variables["USER"], pod.name());
        }
        let migration = variables(environment, manifests, &manifests.pod("analytics-service-migrate"));
        assert_eq!(migration["ANALYTICS__DATABASE__URL"], "postgresql://analytics_service@localhost", "a name alone");
    }
}

//! Secrets as the operators of CloudNativePG and RabbitMQ write them, for the names in the values of each environment.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Manifests, Pod, environments, rendered};

/// Where the servers of an environment are. Secrets hold URLs that a policy cannot read.
const BROKERS: [(&str, &str, &str); 3] =
    [("dev", "amqp", "5672"), ("staging", "amqps", "5671"), ("production", "amqps", "5671")];

/// Names and keys, each with a value.
pub fn secrets(environment: &str) -> BTreeMap<(&'static str, &'static str), String> {
    let (_, scheme, port) = BROKERS.into_iter().find(|(name, ..)| *name == environment).unwrap();
    // CloudNativePG: the owner's is generated, the service's role has one that its operator wrote.
    let role = |name, user: &str| {
        let password = "aaaaaaaaaabbbbbbbbbbccccccccccdd";
        let uri = format!("postgresql://{user}:{password}@analytics-db-rw.data:5432/app");
        let fqdn = uri.replace(".data:", ".data.svc.cluster.local:");
        [("username", user), ("user", user), ("password", password), ("dbname", "app"), ("host", "analytics-db-rw")]
            .map(|(key, value)| ((name, key), value.to_owned()))
            .into_iter()
            .chain([((name, "port"), "5432".to_owned()), ((name, "uri"), uri), ((name, "fqdn-uri"), fqdn)])
    };
    // RabbitMQ's cluster operator: the path of the URL is empty, which means the default virtual host.
    let (user, password) = ("default_user_hmGZFhdewq65P4dIdx7", "qc98n4iGD7MYXMBVFcIO2mtB5voDuV_n");
    let broker = "events-default-user";
    let connection = format!("{scheme}://{user}:{password}@events.data.svc:{port}/");
    let brokers = [("username", user), ("password", password), ("host", "events.data.svc"), ("port", port)]
        .map(|(key, value)| ((broker, key), value.to_owned()));
    let others = [
        (("analytics-cache", "uri"), "rediss://:6t2hGqkWv@cache.data.svc:6379"),
        (("analytics-tokens", "hs256_secret"), "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        (("analytics-exports", "AWS_ACCESS_KEY_ID"), "analytics"),
        (("analytics-exports", "AWS_SECRET_ACCESS_KEY"), "wJalrXUtnFEMI"),
        (("analytics-console-client", "client_secret"), "Zq3vXk1pWn8tYb5r"),
        (("collector-headers", "headers"), "authorization=Bearer 6t2hGqkWv"),
    ];
    role("analytics-service-role", "analytics_service")
        .chain(role("analytics-db-app", "app"))
        .chain(brokers)
        .chain([((broker, "connection_string"), connection)])
        .chain(others.map(|(key, value)| (key, value.to_owned())))
        .collect()
}

/// Names of the secrets that a pod refers to, in variables and volumes.
fn referred(pod: &Pod<'_>) -> Vec<String> {
    let variables = pod.container()["env"].as_array().unwrap().iter();
    let mut names: Vec<_> = variables
        .filter_map(|variable| variable.pointer("/valueFrom/secretKeyRef/name"))
        .chain(
            pod.spec()["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|volume| volume.pointer("/secret/secretName")),
        )
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_service_never_has_the_owners_secret() {
    for (environment, manifests) in environments() {
        let service = referred(&manifests.pod("analytics-service"));
        assert!(service.contains(&"analytics-service-role".to_owned()), "{environment}: {service:?}");
        assert!(!service.contains(&"analytics-db-app".to_owned()), "{environment}: {service:?}");
        let migration = referred(&manifests.pod("analytics-service-migrate"));
        let headers = (*environment == "production").then_some("collector-headers");
        let own = ["analytics-db-app"].into_iter().chain(headers);
        assert!(migration.iter().eq(own), "{environment}: {migration:?}");
    }
}

/// Commands have what they connect to, and no more: no broker, no tokens, and the owner's where only the owner may.
#[test]
fn commands_have_the_secrets_that_they_need() {
    let (role, owner) = ("analytics-service-role", "analytics-db-app");
    for (environment, manifests) in environments() {
        for job in manifests.of("CronJob") {
            let pod = manifests.pod(job["metadata"]["name"].as_str().unwrap());
            let mut names = referred(&pod);
            names.retain(|name| name != "collector-headers");
            let continuous = *environment == "staging";
            let wanted = match pod.args()[..] {
                ["refresh", ..] => vec![owner, role],
                ["purge", ..] if continuous => vec![owner, role],
                ["export", ..] | ["purge", ..] if *environment == "dev" => vec!["analytics-exports", role],
                _ => vec![role],
            };
            assert_eq!(names, wanted, "{environment}: {}", pod.name());
        }
    }
}

/// Two secrets of tokens while one is replaced, both in the service's pods alone.
#[test]
fn a_secret_of_tokens_is_replaced_beside_the_one_before() {
    let set = [r#"secrets.tokens.key="next""#, r#"secrets.tokens.previousKey="hs256_secret""#];
    let Some(manifests) = rendered("dev", &set) else { return };
    let keys = |name: &str| -> Vec<(String, String)> {
        let pod = manifests.pod(name);
        let variables = pod.container()["env"].as_array().unwrap().iter();
        let of_tokens = variables
            .filter(|variable| variable.pointer("/valueFrom/secretKeyRef/name") == Some(&"analytics-tokens".into()));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of_tokens
            .map(|variable| (text(&variable["name"]), text(&variable["valueFrom"]["secretKeyRef"]["key"])))
            .collect()
    };
    let wanted =
        [("ANALYTICS__AUTH__HS256_SECRET", "next"), ("ANALYTICS__AUTH__HS256_PREVIOUS_SECRET", "hs256_secret")];
    let mut found = keys("analytics-service");
    found.sort_by_key(|(name, _)| name.len());
    assert_eq!(found, wanted.map(|(name, key)| (name.to_owned(), key.to_owned())));
    assert!(keys("analytics-service-verify").is_empty());
}

#[test]
fn the_stream_url_is_in_the_brokers_secret() {
    let Some(manifests) = rendered("dev", &[r#"secrets.broker.streamKey="stream_url""#]) else { return };
    let pod = manifests.pod("analytics-service");
    let variables = pod.container()["env"].as_array().unwrap();
    let found = variables.iter().find(|variable| variable["name"] == "ANALYTICS__BROKER__STREAM_URL").unwrap();
    let reference = &found["valueFrom"]["secretKeyRef"];
    assert_eq!((&reference["name"], &reference["key"]), (&"events-default-user".into(), &"stream_url".into()));
    let text = manifests.pod("analytics-service-verify").container()["env"].to_string();
    assert!(!text.contains("STREAM_URL"), "{text}");
}

/// Nothing is created that has a secret in it, and no setting that is one is among the values.
#[test]
fn no_secret_is_rendered() {
    for (environment, manifests) in environments() {
        let Manifests(all) = manifests;
        assert!(manifests.of("Secret").next().is_none(), "{environment}");
        let text = Value::from(all.clone()).to_string();
        for value in secrets(environment).values().filter(|value| value.len() >= 20) {
            assert!(!text.contains(value), "{environment}: {value}");
        }
    }
}

//! The values of the chart: documented, closed, and refused by name where they are wrong.

use std::{collections::BTreeMap, fs};

use serde_json::{Map, Value, json};

use super::{CHART, helms, rendered_by, yaml};
use crate::{docs::root, docs_lists::tables, docs_proofs::code_spans};

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join(CHART).join("values.schema.json")).unwrap()).unwrap()
}

/// Every value that is not an object, or an empty one, by its path.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, &path, found);
            }
        }
        _ => assert!(found.insert(path.to_owned(), value.clone()).is_none()),
    }
}

#[test]
fn the_table_of_values_is_complete() {
    let mut values = BTreeMap::new();
    leaves(&yaml(&format!("{CHART}/values.yaml")), "", &mut values);
    let page = fs::read_to_string(root().join(CHART).join("README.md")).unwrap();
    let mut wrong = Vec::new();
    let mut documented = Vec::new();
    for row in tables(&page, "value") {
        let name = code_spans(row[0]).next().unwrap();
        documented.push(name);
        let Some(value) = values.get(name) else {
            wrong.push(format!("no value {name}"));
            continue;
        };
        let said = row[1].trim_matches('`').trim_matches('"');
        let is = match value {
            Value::String(text) if text.is_empty() => "empty".to_owned(),
            Value::String(text) => text.clone(),
            // Peers of a policy are described.
            Value::Array(list) if !list.is_empty() => said.to_owned(),
            other => other.to_string(),
        };
        if said != is {
            wrong.push(format!("{name} is {is}, not {said}"));
        }
        let required = row[2].starts_with("**required**:");
        if required
            != (name.starts_with("secrets.")
                && ["database.name", "databaseOwner.name", "broker.name"].iter().any(|end| name.ends_with(end)))
        {
            wrong.push(format!("{name}: required"));
        }
    }
    wrong.extend(
        values
            .keys()
            .filter(|name| !documented.contains(&name.as_str()))
            .map(|name| format!("{name} is not documented")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Follows a reference to a definition.
fn resolved<'s>(schema: &'s Value, part: &'s Value) -> &'s Value {
    part["$ref"].as_str().map_or(part, |reference| schema.pointer(reference.trim_start_matches('#')).unwrap())
}

#[test]
fn the_schema_is_closed() {
    fn walk(schema: &Value, part: &Value, path: &str, found: &mut Vec<String>) {
        let part = resolved(schema, part);
        if let Some(properties) = part["properties"].as_object() {
            if part["additionalProperties"] != false {
                found.push(path.to_owned());
            }
            for (name, part) in properties {
                walk(schema, part, &format!("{path}.{name}"), found);
            }
        }
        if part["items"].is_object() {
            walk(schema, &part["items"], &format!("{path}[]"), found);
        }
    }
    let schema = schema();
    let mut open = Vec::new();
    walk(&schema, &schema, "", &mut open);
    assert!(open.is_empty(), "{open:?}");
    // Each default has a place.
    let mut values = BTreeMap::new();
    leaves(&yaml(&format!("{CHART}/values.yaml")), "", &mut values);
    for name in values.keys() {
        let part = name.split('.').fold(&schema, |part, name| {
            let part = resolved(&schema, part);
            let named = &part["properties"][name];
            if named.is_null() { &part["additionalProperties"] } else { named }
        });
        assert!(part.is_object(), "{name}");
    }
}

/// Secrets, which are references; ports, which are fixed; files and folders, of which a pod has none.
const NOT_IN_CONFIG: [&str; 18] = [
    "broker.url",
    "broker.stream_certificate_file",
    "broker.stream_key_file",
    "broker.stream_url",
    "database.url",
    "database.migration_url",
    "cache.url",
    "objects.directory",
    "objects.link_secret",
    "objects.public_url",
    "http.address",
    "ops.address",
    "auth.hs256_secret",
    "auth.hs256_previous_secret",
    "objects.link_previous_secret",
    "auth.jwks_file",
    "console.oidc_client_secret",
    "otlp.headers",
];

/// What the file of defaults says of a setting: its type, and its bounds where they are numbers.
fn declared() -> Vec<(String, Map<String, Value>)> {
    let text = fs::read_to_string(root().join("config.default.toml")).unwrap();
    let number = |text: &str| text.replace('_', "").parse::<i64>().ok();
    let (mut section, mut bounds, mut found) = ("", Map::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some(remark) = line.strip_prefix("# ") {
            let remark = remark.trim_start_matches("Must be ").trim_end_matches('.');
            let lower = remark.to_lowercase();
            if let Some((least, most)) = lower.strip_prefix("from ").and_then(|range| range.split_once(" to "))
                && let Some((least, most)) = number(least).zip(number(most))
            {
                bounds = json!({ "minimum": least, "maximum": most }).as_object().unwrap().clone();
            } else if let Some(least) = lower.strip_prefix("at least ").and_then(number) {
                bounds.insert("minimum".to_owned(), least.into());
            }
        } else if let Some((key, value)) = line.split_once(" = ") {
            let kind = match value {
                "true" | "false" => "boolean",
                text if text.starts_with('"') => "string",
                text if text.contains('.') => "number",
                _ => "integer",
            };
            bounds.insert("type".to_owned(), kind.into());
            found.push((format!("{section}.{key}"), std::mem::take(&mut bounds)));
        }
    }
    found
}

#[test]
fn config_has_every_setting_within_its_bounds() {
    let schema = schema();
    let sections = &schema["properties"]["config"]["properties"];
    let mut wrong = Vec::new();
    let mut there: Vec<String> = Vec::new();
    for (section, part) in sections.as_object().unwrap() {
        there.extend(part["properties"].as_object().unwrap().keys().map(|key| format!("{section}.{key}")));
    }
    let settings = declared();
    assert!(settings.len() > 100 && settings.iter().filter(|(_, bounds)| bounds.len() == 3).count() > 60);
    for (name, bounds) in &settings {
        let (section, key) = name.split_once('.').unwrap();
        let part = &sections[section]["properties"][key];
        if NOT_IN_CONFIG.contains(&name.as_str()) {
            assert!(part.is_null(), "{name}");
            continue;
        }
        if bounds.iter().any(|(keyword, value)| part[keyword] != *value) {
            wrong.push(format!("{name}: {part}, and should have {}", Value::from(bounds.clone())));
        }
    }
    wrong.extend(
        there
            .iter()
            .filter(|name| settings.iter().all(|(other, _)| other != *name))
            .map(|name| format!("no setting {name}")),
    );
    assert!(wrong.is_empty(), "values.schema.json, config:\n{}", wrong.join("\n"));
}

/// What is wrong, the place that the error names, and what else it has to say.
const WRONG: [(&str, &str, &str); 29] = [
    ("replica=3", "", "replica"),
    (r#"replicas="3""#, "replicas", ""),
    ("config.broker.partition=4", "config.broker", "partition"),
    ("config.broker.partitions=0", "config.broker.partitions", "1"),
    ("config.batch.credits=17", "config.batch.credits", "16"),
    (r#"config.drain.timeout_ms="25s""#, "config.drain.timeout_ms", ""),
    (r#"config.log.format="xml""#, "config.log.format", "json"),
    (r#"config.objects.store="local""#, "config.objects.store", "s3"),
    // Secrets are named and not written down.
    (r#"config.database.url="postgresql://u:p@h/d""#, "config.database", "url"),
    (r#"config.auth.hs256_secret="00000000000000000000000000000000""#, "config.auth", "hs256_secret"),
    (r#"config.auth.jwks_url="https://u:p@issuer/keys""#, "config.auth.jwks_url", ""),
    (r#"secrets.database.name="""#, "secrets.database.name", ""),
    (r#"secrets.broker.keys="uri""#, "secrets.broker", "keys"),
    (r#"secrets.broker.name="Not_A_Name""#, "secrets.broker.name", ""),
    (r#"image.digest="sha256:12""#, "image.digest", ""),
    (r#"image.tag="1 # 2""#, "image.tag", ""),
    (r#"cronJobs.timeZone="UTC #""#, "cronJobs.timeZone", ""),
    (r#"postgresql.role="x; DROP""#, "postgresql.role", ""),
    (r#"postgresql.sslMode="off""#, "postgresql.sslMode", "verify-full"),
    ("preStopSeconds=0", "preStopSeconds", "1"),
    (r#"topologySpread.zone="Sometimes""#, "topologySpread.zone", "DoNotSchedule"),
    ("podDisruptionBudget.maxUnavailable=0", "podDisruptionBudget.maxUnavailable", "1"),
    (r#"networkPolicy.database.to="data""#, "networkPolicy.database.to", "array"),
    (r#"networkPolicy.broker.to=[{"namespace": "data"}]"#, "networkPolicy.broker.to.0", "namespace"),
    ("networkPolicy.broker.port=0", "networkPolicy.broker.port", "1"),
    (r#"cronJobs.verify.schedule="daily""#, "cronJobs.verify.schedule", ""),
    ("cronJobs.verify.startingDeadlineSeconds=5", "cronJobs.verify.startingDeadlineSeconds", "10"),
    (r#"serviceMonitor.interval="30""#, "serviceMonitor.interval", ""),
    (r#"prometheusRule.runbookBaseUrl="git.example.com""#, "prometheusRule.runbookBaseUrl", ""),
];

#[test]
fn wrong_values_are_refused_by_name() {
    let set = WRONG.map(|(set, ..)| set);
    for program in helms() {
        let said = rendered_by(&program, "dev", &set).unwrap_err();
        for (set, place, word) in WRONG {
            // Helm 3 writes a.b, Helm 4 /a/b.
            let places = [format!("- {place}: "), format!("- at '/{}': ", place.replace('.', "/"))];
            let root = ["- (root): ".to_owned(), "- at '': ".to_owned()];
            let places = if place.is_empty() { root } else { places };
            let named = |line: &str| places.iter().any(|place| line.contains(place)) && line.contains(word);
            assert!(said.lines().any(named), "{set}: {said}");
        }
        let lines = said.lines().filter(|line| line.trim_start().starts_with("- ") && !line.contains("failed"));
        assert_eq!(lines.count(), WRONG.len(), "each once: {said}");
        for (set, word) in [
            ("config.broker.partitions=null", "partitions"),
            (r#"caBundle={"configMap": "a", "secret": "b"}"#, "caBundle: a configMap or a secret, not both"),
            (r#"podLabels={"helm.sh/chart": "a"}"#, "podLabels.helm.sh/chart: is the chart's own"),
            (r#"podAnnotations={"checksum/config": "a"}"#, "podAnnotations.checksum/config: is the chart's own"),
            ("serviceAccount.create=false", "serviceAccount.name: must name an account"),
            ("keda.minReplicas=17", "keda.minReplicas: must not be above maxReplicas"),
        ] {
            let said = rendered_by(&program, "dev", &[set]).unwrap_err();
            assert!(said.contains(word), "{set}: {said}");
        }
    }
}

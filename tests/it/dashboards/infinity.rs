//! Queries of the REST API: each is in its description, and its numbers are those of the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use analytics_service::http::openapi;
use serde_json::{Value, json};

use super::{Dashboard, INFINITY, dashboards_of};
use crate::{
    docs::root,
    harness::{World, local_folder, not_run, sent, settled},
};

/// A query as the data source has it.
struct Query {
    at: String,
    json: Value,
}

impl Query {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_else(|| panic!("{}: {key}", self.at))
    }

    fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = self.json["url_options"]["params"].as_array().unwrap().iter();
        params.map(|param| (param["key"].as_str().unwrap(), param["value"].as_str().unwrap()))
    }

    /// Selector and type of each column.
    fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        let columns = self.json["columns"].as_array().unwrap().iter();
        columns.map(|column| (column["selector"].as_str().unwrap(), column["type"].as_str().unwrap()))
    }
}

/// Those of the panels, and of the variable that names the organisation.
fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for dashboard in dashboards_of(INFINITY) {
        let variable = |variable: &Value| Query {
            at: format!("{}: {}", dashboard.file, variable["name"]),
            json: variable["query"]["infinityQuery"].clone(),
        };
        queries.extend(dashboard.variables().filter(|variable| variable["name"] == "org").map(variable));
        let of_panel = |(panel, target): (&Value, &Value)| Query { at: dashboard.at(panel), json: target.clone() };
        queries.extend(Dashboard::targets(&dashboard).map(of_panel));
    }
    assert!(queries.len() > 25, "{}", queries.len());
    queries
}

/// Follows references, and what a schema is made of, to those of a value's fields.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        return resolved(document, target);
    }
    let parts = ["allOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let mut all: Vec<_> = parts.flat_map(|part| resolved(document, part)).collect();
    all.push(schema);
    all
}

/// The schema at a path of names; of a list, that of its items.
fn schema_at<'a>(document: &'a Value, schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|name| !name.is_empty()).try_fold(schema, |schema, name| {
        let fields = resolved(document, schema).into_iter().map(|part| &part["properties"][name]);
        fields.into_iter().find(|field| !field.is_null())
    })
}

/// Whether a column's type is that of the response.
fn fits(document: &Value, schema: &Value, kind: &str) -> bool {
    resolved(document, schema).into_iter().any(|schema| {
        let of = |name: &str| {
            schema["type"] == name || schema["type"].as_array().is_some_and(|all| all.contains(&name.into()))
        };
        match kind {
            "number" => of("number") || of("integer"),
            "boolean" => of("boolean"),
            "timestamp" => of("string") && schema["format"] == "date-time",
            "string" => of("string") && schema["format"] != "date-time",
            _ => false,
        }
    })
}

#[test]
fn queries_are_in_the_description_of_the_api() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    for query in queries() {
        let at = &query.at;
        let fixed = ["type", "source", "parser"].map(|key| query.text(key));
        assert_eq!(fixed, ["json", "url", "backend"], "{at}");
        assert_eq!(query.json["url_options"]["method"], "GET", "{at}");
        assert!(["table", "timeseries"].contains(&query.text("format")), "{at}");
        assert!(query.json["url_options"]["headers"].is_null(), "{at}: the key is the data source's");
        let path = query.text("url").replace("${org}", "{orgId}");
        let get = &document["paths"][&path]["get"];
        assert!(get.is_object(), "{at}: {path}");
        let there: Vec<_> = get["parameters"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
        for (name, _) in query.params() {
            assert!(there.iter().any(|there| *there == name), "{at}: no parameter {name}");
        }
        // The data source reads a selector by GJSON, and by JSONata where that finds nothing: names and dots are the same in both.
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        let response = &get["responses"]["200"]["content"]["application/json"]["schema"];
        let row = schema_at(&document, response, query.text("root_selector"));
        let row = row.unwrap_or_else(|| panic!("{at}: no {}", query.text("root_selector")));
        assert!(plain(query.text("root_selector")), "{at}");
        let row = if row["items"].is_object() { &row["items"] } else { row };
        for (selector, kind) in query.columns() {
            let field = schema_at(&document, row, selector).unwrap_or_else(|| panic!("{at}: no {selector}"));
            assert!(plain(selector) && fits(&document, field, kind), "{at}: {selector} is no {kind}: {field}");
        }
        let texts: BTreeSet<_> =
            query.json["columns"].as_array().unwrap().iter().map(|one| one["text"].as_str()).collect();
        assert_eq!(texts.len(), query.columns().count(), "{at}: two columns of one name");
    }
}

/// The rows that the data source makes of each response.
fn rows(queries: &[(&Query, Value)]) -> Vec<Vec<Value>> {
    let input = queries.iter().map(|(query, response)| {
        let selectors: Vec<_> = query.columns().map(|(selector, _)| selector).collect();
        json!({"root": query.text("root_selector"), "selectors": selectors, "response": response})
    });
    let input = Value::from_iter(input).to_string();
    let mut node = Command::new("node")
        .env("NODE_PATH", local_folder().join("node/node_modules"))
        .arg(root().join("tests/it/dashboards/jsonata.cjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The numbers of the rows are those of the response: of a list they add up to its totals.
fn compare(query: &Query, response: &Value, rows: &[Value]) {
    let (at, root) = (&query.at, query.text("root_selector"));
    assert!(!rows.is_empty() || root == "revisions", "{at}: no rows");
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    for (place, (selector, kind)) in query.columns().enumerate() {
        let values: Vec<_> = rows.iter().map(|row| &row[place]).collect();
        let is_kind = |value: &&Value| match kind {
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            _ => value.is_string(),
        };
        // Only events without a code have none.
        assert!(values.iter().all(|value| is_kind(value) || selector == "errorCode"), "{at}: {selector}: {values:?}");
        let sum = values.iter().filter_map(|value| value.as_f64()).sum::<f64>();
        let is_list = ["series", "hours"].contains(&root);
        let expected = if is_list {
            response["totals"].pointer(&pointer(selector)).and_then(Value::as_f64)
        } else {
            let row = if root.is_empty() { Some(response) } else { response.pointer(&pointer(root)) };
            row.and_then(|row| row.pointer(&pointer(selector))).and_then(Value::as_f64)
        };
        let is_added = !["errorRate", "latencyMs.p50", "latencyMs.p95", "latencyMs.p99"].contains(&selector);
        if let Some(expected) = expected.filter(|_| !is_list || is_added) {
            assert!((sum - expected).abs() <= expected.abs() * 1e-9, "{at}: {selector}: {sum} is not {expected}");
        }
    }
}

#[tokio::test]
async fn numbers_are_those_of_the_api() {
    let node = Command::new("node").arg("--version").output();
    let jsonata = local_folder().join("node/node_modules/jsonata");
    if !node.is_ok_and(|output| output.status.success()) || !jsonata.exists() {
        return not_run("node or npm's jsonata is not there (make test installs jsonata where node is)");
    }
    let world = World::new(1).await;
    let service = world.serve().await;
    let report = world.publish(&["--events", "3000", "--orgs", "2", "--models", "3", "--duplicates", "0.1"]).await;
    settled(&mut world.connect().await, sent(&report)).await;
    let org = &report["orgs"][0];
    let id = org["orgId"].as_str().unwrap();
    let key = world.report(&["api-key", "create", "--org", id, "--role", "org_viewer", "--name", "Grafana"]).await;
    let key = key["key"].as_str().unwrap();
    let (to, time) = (chrono::Utc::now(), "%Y-%m-%dT%H:%M:%S%.3fZ");
    let from = to - chrono::TimeDelta::days(7);
    let queries = queries();
    for (granularity, timezone) in [("day", "UTC"), ("hour", "UTC"), ("day", "Asia/Kolkata")] {
        let values = BTreeMap::from([
            ("${org}", id.to_owned()),
            ("${granularity}", granularity.to_owned()),
            ("${timezone}", timezone.to_owned()),
            ("${__timeFrom:date:iso}", from.format(time).to_string()),
            ("${__timeTo:date:iso}", to.format(time).to_string()),
        ]);
        let filled = |text: &str| {
            let text = values.iter().fold(text.to_owned(), |text, (variable, value)| text.replace(variable, value));
            assert!(!text.contains('$'), "{text}");
            text
        };
        let mut responses = Vec::new();
        for query in &queries {
            let params: Vec<_> = query.params().map(|(key, value)| (key, filled(value))).collect();
            let base = format!("http://api{}", filled(query.text("url")));
            let url = reqwest::Url::parse_with_params(&base, params).unwrap();
            let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
            let (status, response) = service.get_by_key(path.trim_end_matches('?'), key).await;
            assert_eq!(status, 200, "{}: {response}", query.at);
            responses.push((query, response));
        }
        for ((query, response), rows) in responses.iter().zip(rows(&responses)) {
            if query.text("root_selector") == "orgs" {
                assert_eq!(rows, [Value::from(id)], "{}", query.at);
            } else {
                compare(query, response, &rows);
            }
        }
        // And they are what was published.
        let totals = responses.iter().map(|(_, response)| &response["totals"]);
        let invocations = BTreeSet::from_iter(totals.filter_map(|totals| totals["invocations"].as_u64()));
        assert_eq!(invocations, BTreeSet::from([org["totals"]["invocations"].as_u64().unwrap()]), "{org}");
    }
}

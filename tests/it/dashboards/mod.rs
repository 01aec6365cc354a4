//! The dashboards of `deploy/grafana`: what they name exists, and each panel says what it shows.

mod infinity;
mod promql;

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    docs::root,
    harness::{local_folder, not_run},
};

const FOLDER: &str = "deploy/grafana/dashboards";
const PROMETHEUS: &str = "prometheus";
const INFINITY: &str = "yesoreyeram-infinity-datasource";

/// A dashboard with its file's name.
struct Dashboard {
    file: String,
    json: Value,
}

impl Dashboard {
    /// The type of its only data source.
    fn source(&self) -> &str {
        let variable = self.variables().find(|variable| variable["name"] == "datasource").unwrap();
        assert_eq!(variable["type"], "datasource", "{}", self.file);
        variable["query"].as_str().unwrap()
    }

    fn variables(&self) -> impl Iterator<Item = &Value> {
        self.json["templating"]["list"].as_array().unwrap().iter()
    }

    /// All but the rows.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    /// Each query with its panel.
    fn targets(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.panels().flat_map(|panel| panel["targets"].as_array().unwrap().iter().map(move |target| (panel, target)))
    }

    /// Where something of a panel is wrong.
    fn at(&self, panel: &Value) -> String {
        format!("{}: {}", self.file, panel["title"].as_str().unwrap_or_default())
    }
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn dashboards() -> Vec<Dashboard> {
    let read = |path: PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"));
        Dashboard { file, json }
    };
    files().into_iter().map(read).collect()
}

fn dashboards_of(source: &str) -> Vec<Dashboard> {
    dashboards().into_iter().filter(|dashboard| dashboard.source() == source).collect()
}

#[test]
fn there_are_dashboards_of_both_sources() {
    assert_eq!(dashboards_of(PROMETHEUS).len(), 3);
    assert_eq!(dashboards_of(INFINITY).len(), 2);
    let uids: BTreeSet<_> = dashboards().iter().map(|dashboard| dashboard.json["uid"].to_string()).collect();
    assert_eq!(uids.len(), 5, "{uids:?}");
    let provisioned =
        fs::read_to_string(root().join("deploy/grafana/provisioning/datasources/analytics.yaml")).unwrap();
    for source in [PROMETHEUS, INFINITY] {
        assert!(provisioned.contains(&format!("    type: {source}\n")), "{source}");
    }
}

#[test]
fn every_panel_says_what_it_shows() {
    for dashboard in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in dashboard.panels() {
            let at = dashboard.at(panel);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{at}: its id is another one's too");
            assert!(!panel["title"].as_str().unwrap().is_empty(), "{at}");
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{at}: description");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{at}: unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{at}");
            assert_eq!(panel["datasource"]["type"], dashboard.source(), "{at}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{at}");
        }
        assert!(ids.len() > 10, "{}: {}", dashboard.file, ids.len());
    }
}

#[test]
fn panels_do_not_overlap() {
    for dashboard in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard.json["panels"].as_array().unwrap() {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= 24, "{}", dashboard.at(panel));
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{}: {cell:?}", dashboard.at(panel));
            }
        }
    }
}

/// What a panel's overrides, transformations and names of series name.
fn named_fields(panel: &Value) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut named = BTreeSet::new();
    named.extend(list(&panel["fieldConfig"]["overrides"]).iter().map(|one| text(&one["matcher"]["options"])));
    named.extend(list(&panel["options"]["sortBy"]).iter().map(|one| text(&one["displayName"])));
    for transformation in list(&panel["transformations"]) {
        for key in ["indexByName", "excludeByName", "renameByName", "fields"] {
            named
                .extend(transformation["options"][key].as_object().into_iter().flat_map(|names| names.keys().cloned()));
        }
    }
    let name = panel["fieldConfig"]["defaults"]["displayName"].as_str().unwrap_or_default();
    named.extend(name.strip_prefix("${__field.labels.").map(|label| label.trim_end_matches('}').to_owned()));
    named
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn fields_that_panels_name_are_in_their_queries() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            let mut there = BTreeSet::from(["Time", "Value"].map(str::to_owned));
            for target in panel["targets"].as_array().unwrap() {
                let columns = target["columns"].as_array().into_iter().flatten().map(|column| text(&column["text"]));
                there.extend(columns.flat_map(|name| [format!("{name} (sum)"), name]));
                let by = target["expr"].as_str().unwrap_or_default().split(" by (").skip(1);
                there.extend(by.flat_map(|by| by.split(')').next().unwrap().split(", ")).map(str::to_owned));
            }
            let unknown: Vec<_> = named_fields(panel).into_iter().filter(|name| !there.contains(name)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", dashboard.at(panel));
        }
    }
}

/// Grafana's own model of a dashboard, of its panels and of Prometheus queries knows every field.
#[test]
fn grafanas_model_knows_every_field() {
    let python = local_folder().join("tools/bin/python");
    let ready = Command::new(&python).args(["-c", "import grafana_foundation_sdk"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        return not_run("PyPI's grafana-foundation-sdk is not there (make test installs it)");
    }
    let script = root().join("tests/it/dashboards/model.py");
    let output = Command::new(python).arg(script).args(files()).output().unwrap();
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success() && said[0].is_empty(), "{}", said.concat());
}

//! Metrics as a scrape has them, and Prometheus's own tools.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{Service, not_run, service::free_address, world::local_folder};

/// The samples of a scrape by their series: the name, and the labels as they are written.
#[derive(Clone, Debug, Default)]
pub struct Scrape(pub BTreeMap<String, f64>);

impl Scrape {
    /// Of either text format.
    pub fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        Self(samples.map(sample).collect())
    }

    /// Of the service's own, without its prefix.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(&format!("analytics_{series}")).or_else(|| self.0.get(series)).copied()
    }

    /// Of one partition.
    pub fn of(&self, metric: &str, partition: u16) -> Option<f64> {
        self.get(&format!("{metric}{{partition=\"{partition}\"}}"))
    }

    /// Names and labels of all series.
    pub fn series(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Service {
    pub async fn scrape(&self) -> Scrape {
        Scrape::read(&self.metrics().await)
    }

    /// The scrape of a client that accepts this, with its content type.
    pub async fn metrics_as(&self, accept: &str) -> (String, String) {
        let request = self.client.get(format!("http://{}/metrics", self.ops)).header("accept", accept);
        let answer = request.send().await.unwrap();
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (content_type, answer.text().await.unwrap())
    }
}

/// `prometheus` or `promtool`, as `make test` unpacks them or as they are installed. Says that the test is not run without.
pub fn prometheus_tool(name: &str) -> Option<PathBuf> {
    let unpacked = local_folder().join("prometheus").join(name);
    let runs =
        |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = [unpacked, PathBuf::from(name)].into_iter().find(runs);
    if found.is_none() {
        not_run(&format!("{name} is not there (Debian's package prometheus; make test unpacks it)"));
    }
    found
}

/// A Prometheus with a folder of its own. It ends with the test.
pub struct Prometheus {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// With this configuration, whose paths are relative to the folder: `prepare` puts there what it names.
    pub fn start(binary: &Path, config: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        prepare(folder.path());
        let address = free_address();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}"), folder }
    }

    /// Of one process, once a second.
    pub fn scraping(service: &Service, binary: &Path) -> Self {
        let target = service.ops;
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: analytics-service\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        Self::start(binary, &config, |_| {})
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The value of an expression that has one.
    pub async fn query(&self, expression: &str) -> Option<f64> {
        let series = self.series(expression).await?;
        series.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Labels and values of an expression now; none while it does not respond yet.
    ///
    /// # Panics
    /// It refuses the expression.
    pub async fn series(&self, expression: &str) -> Option<Vec<Value>> {
        self.get("query", &[("query", expression)]).await?["result"].as_array().cloned()
    }

    /// Labels of the alerts that are firing; none while it does not respond yet.
    pub async fn firing(&self) -> Option<Vec<Value>> {
        let data = self.get("alerts", &[]).await?;
        let firing = data["alerts"].as_array()?.iter().filter(|alert| alert["state"] == "firing");
        Some(firing.map(|alert| alert["labels"].clone()).collect())
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query).unwrap();
        let mut response: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        assert_eq!(response["status"], "success", "{path} {query:?}: {response}");
        Some(response["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

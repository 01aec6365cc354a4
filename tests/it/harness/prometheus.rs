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

/// A Prometheus that scrapes a process once a second. It ends with the test.
pub struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    pub fn scraping(service: &Service, binary: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let target = service.ops;
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: analytics-service\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = free_address();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}"), _folder: folder }
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
        let url = format!("{}/api/v1/query", self.url);
        let url = reqwest::Url::parse_with_params(&url, [("query", expression)]).unwrap();
        let answer: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Metrics as a scrape has them, and Prometheus's own tools.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use super::{Service, not_run, world::local_folder};

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

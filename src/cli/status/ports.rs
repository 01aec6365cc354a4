//! What `status` reads from the operations ports of processes: what only they know. One that does not respond says so.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Url;
use serde::Deserialize;

use crate::{
    actors::supervision::registry::{ActorState, ActorView},
    cli::client::{CallError, Client},
    config,
    domain::status::installation::{Component, OperationsPort},
    telemetry::readiness::{BROKER, CACHE, DATABASE, JWKS, OBJECTS},
};

/// Longest that a response may take.
const DEADLINE: Duration = Duration::from_secs(3);

pub struct Ports {
    clients: Vec<Client>,
    /// Whether they are of the arguments.
    named: bool,
}

impl Ports {
    /// Those of the arguments, or else that of the settings.
    pub fn new(ops: &config::Ops, urls: &[Url]) -> anyhow::Result<Self> {
        let clients: anyhow::Result<Vec<Client>> = match urls {
            [] => Client::new(ops, None, DEADLINE).map(|client| vec![client]),
            urls => urls.iter().map(|url| Client::new(ops, Some(url), DEADLINE)).collect(),
        };
        Ok(Self { clients: clients?, named: !urls.is_empty() })
    }

    pub async fn read(&self) -> Vec<OperationsPort> {
        join_all(self.clients.iter().map(|client| read(client, self.named))).await
    }
}

#[derive(Deserialize)]
struct Readiness {
    status: String,
    components: Vec<ReadinessComponent>,
}

#[derive(Deserialize)]
struct ReadinessComponent {
    name: String,
    state: String,
    cause: Option<String>,
}

#[derive(Deserialize)]
struct Tree {
    actors: Vec<ActorView>,
}

async fn read(client: &Client, expected: bool) -> OperationsPort {
    let url = client.base().to_owned();
    match known(client).await {
        Ok(port) => OperationsPort { url, expected, ..port },
        Err(error) => OperationsPort { url, expected, error: Some(error.to_string()), ..OperationsPort::default() },
    }
}

async fn known(client: &Client) -> anyhow::Result<OperationsPort> {
    // 503 is a response too: the process does not take traffic.
    let (ready, tree, metrics) =
        tokio::join!(client.get("/readyz", &[]), client.get("/ops/actors", &[]), client.get("/metrics", &[]));
    let foreign = |_| anyhow::anyhow!("it is not the operations port of this service, or of another version");
    let readiness: Readiness = serde_json::from_str(&ready.map_err(why)?.body).map_err(foreign)?;
    let tree: Tree = serde_json::from_str(&tree.map_err(why)?.body).map_err(foreign)?;
    let partitions = tree.actors.iter().filter_map(|actor| actor.name.strip_prefix("partition/")?.parse().ok());
    let down = |component: ReadinessComponent| {
        let parked = tree.actors.iter().any(|actor| actor.name == component.name && actor.state == ActorState::Parked);
        Component {
            is_dependency: [DATABASE, BROKER, CACHE, OBJECTS, JWKS].contains(&component.name.as_str()),
            parked,
            cause: component.cause.unwrap_or_default(),
            name: component.name,
            state: component.state,
        }
    };
    Ok(OperationsPort {
        url: String::new(),
        expected: false,
        error: None,
        status: Some(readiness.status),
        version: metrics.ok().and_then(|response| version(&response.body)),
        actors: tree.actors.len(),
        partitions: partitions.collect(),
        down: readiness.components.into_iter().filter(|component| component.state != "up").map(down).collect(),
    })
}

/// The URL stands beside it.
fn why(error: CallError) -> anyhow::Error {
    match error {
        CallError::NoResponse { why, .. } => anyhow::anyhow!(why),
        error => error.into(),
    }
}

/// As `analytics_build_info` has it.
fn version(metrics: &str) -> Option<String> {
    let labels = metrics.lines().find_map(|line| line.strip_prefix("analytics_build_info{"))?;
    let (_, value) = labels.split_once("version=\"")?;
    Some(value.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_metrics() {
        let metrics = "# TYPE x gauge\nx 1\nanalytics_build_info{version=\"1.2.3\",revision=\"abc\"} 1\n";
        assert_eq!(version(metrics).as_deref(), Some("1.2.3"));
        assert_eq!(version("x 1\n"), None);
    }
}

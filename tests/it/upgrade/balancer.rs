//! Clients behind a load balancer, as deployments have one: requests go to the processes whose `/readyz` says that they may, and after a
//! 503 with Retry-After to the next one, or again when that time is over.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode, header::RETRY_AFTER};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::harness::Service;

/// How often it is looked which processes are ready.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks without a response after which a process is not ready: as the chart's probe, which one slow response does not fail.
const SILENT: u32 = 2;
/// The pace of each client.
const PAUSE: Duration = Duration::from_millis(10);
/// Wait before a retry when no process is ready.
const RETRY_AFTER_NOBODY: Duration = Duration::from_secs(1);
/// How often a request is tried in all.
const MOST_TRIES: usize = 8;
/// Failures that are kept in full.
const MOST_NAMED: usize = 5;

/// What clients have seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub requests: usize,
    /// 503 with Retry-After, by what it says.
    pub refused: BTreeMap<String, usize>,
    /// Attempts for which no process was ready.
    pub nobody: usize,
    pub failures: usize,
    /// The first of them.
    pub named: Vec<String>,
}

struct Place {
    api: SocketAddr,
    ops: SocketAddr,
    ready: bool,
    /// Looks in a row that had no response.
    silent: u32,
}

impl Place {
    fn saw(&mut self, status: Option<StatusCode>) {
        self.silent = if status.is_some() { 0 } else { self.silent + 1 };
        self.ready = status.map_or(self.ready && self.silent < SILENT, |status| status == StatusCode::OK);
    }
}

#[derive(Default)]
struct Shared {
    places: Mutex<Vec<Place>>,
    seen: Mutex<Seen>,
    turn: AtomicUsize,
    stopped: AtomicBool,
}

#[derive(Default)]
pub struct Balancer {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Balancer {
    pub fn add(&self, service: &Service) {
        let place = Place { api: service.api, ops: service.ops, ready: false, silent: 0 };
        self.shared.places.lock().unwrap().push(place);
    }

    pub fn remove(&self, ops: SocketAddr) {
        self.shared.places.lock().unwrap().retain(|place| place.ops != ops);
    }

    /// Begins to look at the processes, and to send requests: a client for each org.
    pub async fn start(&mut self, orgs: &[Uuid], token: &str) {
        self.shared.look(&Client::new()).await;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let client = Client::new();
            while !shared.stopped.load(Ordering::Relaxed) {
                sleep(LOOK_EVERY).await;
                shared.look(&client).await;
            }
        });
        for org in orgs {
            self.tasks.spawn(Arc::clone(&self.shared).read(*org, token.to_owned()));
        }
    }

    /// Ends them, and says what they have seen.
    pub async fn stop(&mut self) -> Seen {
        self.shared.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Shared {
    async fn look(&self, client: &Client) {
        let places: Vec<SocketAddr> = self.places.lock().unwrap().iter().map(|place| place.ops).collect();
        for ops in places {
            let response = client.get(format!("http://{ops}/readyz")).timeout(Duration::from_secs(1)).send().await;
            let status = response.map(|response| response.status());
            if let Some(place) = self.places.lock().unwrap().iter_mut().find(|place| place.ops == ops) {
                place.saw(status.ok());
            }
        }
    }

    /// The next process in turn.
    fn next(&self) -> Option<SocketAddr> {
        let places = self.places.lock().unwrap();
        let ready: Vec<SocketAddr> = places.iter().filter(|place| place.ready).map(|place| place.api).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        ready.get(turn % ready.len().max(1)).copied()
    }

    fn failed(&self, what: String) {
        let mut seen = self.seen.lock().unwrap();
        seen.failures += 1;
        if seen.named.len() < MOST_NAMED {
            seen.named.push(what);
        }
    }

    /// A client that reads reports of an org, one after another, and expects them to get ever further.
    async fn read(self: Arc<Self>, org: Uuid, token: String) {
        let client = Client::new();
        let since = Utc::now().date_naive() - chrono::Days::new(2);
        let paths = [
            format!("usage?start={since}&granularity=hour"),
            "freshness".to_owned(),
            format!("reliability?start={since}"),
            "dead-letters".to_owned(),
        ]
        .map(|path| format!("/analytics/v1/orgs/{org}/{path}"));
        let mut report = Progress { as_of: DateTime::UNIX_EPOCH, invocations: 0 };
        for path in paths.iter().cycle() {
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            if let Some(body) = self.get(&client, path, &token).await
                && path.contains("/usage?")
            {
                self.compare(&mut report, &body);
            }
            sleep(PAUSE).await;
        }
    }

    async fn get(&self, client: &Client, path: &str, token: &str) -> Option<Value> {
        self.seen.lock().unwrap().requests += 1;
        let mut last = "no process is ready".to_owned();
        for attempt in 1..=MOST_TRIES {
            let Some(api) = self.next() else {
                // As a load balancer, which responds 503 itself.
                self.seen.lock().unwrap().nobody += 1;
                sleep(RETRY_AFTER_NOBODY).await;
                continue;
            };
            let response = client.get(format!("http://{api}{path}")).bearer_auth(token).send().await;
            let response = match response {
                Ok(response) => response,
                Err(error) => {
                    last = format!("{path} of {api}: {error:?}");
                    break;
                }
            };
            let (status, retry_after) = (response.status(), response.headers().get(RETRY_AFTER).cloned());
            let body: Value = match response.json().await {
                Ok(body) => body,
                Err(error) => {
                    last = format!("{path} of {api}: {status}, {error:?}");
                    break;
                }
            };
            last = format!("{path} of {api}: {status}, {body}");
            match (status, retry_after) {
                (StatusCode::OK, _) => return Some(body),
                (StatusCode::SERVICE_UNAVAILABLE, Some(after)) => {
                    *self.seen.lock().unwrap().refused.entry(body["title"].to_string()).or_default() += 1;
                    // The other process at once, both of them after the time that they have said.
                    if attempt % 2 == 0 {
                        sleep(Duration::from_secs(after.to_str().unwrap().parse().unwrap())).await;
                    }
                }
                _ => break,
            }
        }
        self.failed(last);
        None
    }

    fn compare(&self, last: &mut Progress, report: &Value) {
        let as_of: DateTime<Utc> = report["asOf"].as_str().unwrap().parse().unwrap();
        let invocations = report["totals"]["invocations"].as_i64().unwrap();
        if as_of < last.as_of || invocations < last.invocations {
            self.failed(format!("after {} of {}: {invocations} of {as_of}", last.invocations, last.as_of));
        }
        *last = Progress { as_of, invocations };
    }
}

/// How far a client's reports were.
struct Progress {
    as_of: DateTime<Utc>,
    invocations: i64,
}

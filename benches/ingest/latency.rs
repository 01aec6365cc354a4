//! From published to answered: how long after its publishing the API's response counts an event.
//!
//! Events of 250 orgs and 40 models are published at a fixed rate, while usage of the largest org is queried all the time. Its n-th
//! event in the stream is answered by the first response that counts n. It was published at the time that its publisher has stamped
//! on it, read from the stream afterwards: `timestamp_in_ms`, taken right before it is sent, cut to milliseconds. So a figure is too
//! large by up to a millisecond, and by the time from one response to the next; clocks are one and the same.

use std::time::Duration;

use analytics_service::{
    auth::Role,
    broker::{incoming::StartAt, streams::Streams, subscription::Subscription},
};
use chrono::{DateTime, Days, Utc};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    args::{Args, By, Part},
    figures::{Figures, Unit},
    filled,
    harness::{LedgerSums, Service, Totals, World, assert_totals, eventually, sent},
    processor::Servers,
};

/// Between a response and the next query.
const PACE: Duration = Duration::from_millis(10);
/// Published first, so that what is measured is nobody's first.
const FIRST: &str = "1000";

pub async fn measure(args: &Args, by: By, servers: &Servers, figures: &mut Figures) {
    let world = World::new(1).await.read_by(by.protocol());
    let service = filled::start(&world, servers).await;
    let first = world.publish(&["--events", FIRST]).await;
    let org = largest_org(&first);
    let query = Query::of(&service, org);
    let mut counted = events_of(&first, org);
    eventually("the first events are counted", async || (query.count().await? == counted).then_some(())).await;
    let mut phases = vec![Phase { report: first, responses: Vec::new() }];
    for rate in &args.rates {
        servers.quiet().await;
        phases.push(Phase::at(&world, &query, *rate, args.seconds, &mut counted).await);
    }
    let stream = read_stream(&world, phases.iter().map(|phase| phase.messages()).sum()).await;
    let (mut from, mut before) = (0, 0);
    for (phase, rate) in phases.iter().zip([&0].into_iter().chain(&args.rates)) {
        let published = &stream[from..from + phase.messages()];
        from += phase.messages();
        let own: Vec<_> = published.iter().filter(|message| message.org_id == org).collect();
        if *rate > 0 {
            phase.add(by, *rate, &own, before, figures);
        }
        before += own.len() as u64;
    }
    assert_exact(&world, &phases).await;
}

/// All that was published up to some moment, and the responses until all of it was counted.
struct Phase {
    report: Value,
    responses: Vec<(DateTime<Utc>, u64)>,
}

impl Phase {
    async fn at(world: &World, query: &Query<'_>, rate: u32, seconds: u32, counted: &mut u64) -> Self {
        let (events, rate) = ((u64::from(rate) * u64::from(seconds)).to_string(), rate.to_string());
        let args = ["--events", &events, "--rate", &rate];
        let publishing = world.publish(&args);
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let querying = async {
            let (mut responses, mut wanted) = (Vec::new(), None);
            while wanted.is_none_or(|wanted| responses.last().is_none_or(|(_, count)| *count < wanted)) {
                if let Some(count) = query.count().await {
                    responses.push((Utc::now(), count));
                }
                wanted = wanted.or_else(|| stopped.try_recv().ok());
                tokio::time::sleep(PACE).await;
            }
            responses
        };
        let published = async {
            let report = publishing.await;
            *counted += events_of(&report, query.org);
            stop.send(*counted).unwrap();
            report
        };
        let (report, responses) = tokio::join!(published, querying);
        Self { report, responses }
    }

    fn messages(&self) -> usize {
        usize::try_from(sent(&self.report)).unwrap()
    }

    fn add(&self, by: By, rate: u32, own: &[&Published], before: u64, figures: &mut Figures) {
        let mut waits: Vec<f64> = (before + 1..)
            .zip(own)
            .map(|(n, message)| {
                let answered = self.responses.partition_point(|(_, count)| *count < n);
                (self.responses[answered].0 - message.at).num_microseconds().unwrap() as f64 / 1e6
            })
            .collect();
        waits.sort_by(f64::total_cmp);
        let name = format!("{}, {rate}/s", by.name());
        for percent in [50, 95, 99] {
            let wait = waits[(waits.len() - 1) * percent / 100];
            figures.add(Part::Latency, format!("{name}: published to answered, p{percent}"), Unit::Seconds, wait);
        }
        // The publisher's own limits: what it reached, and how long a response took to come.
        let reached = self.report["messagesPerSecond"].as_f64().unwrap();
        figures.add(Part::Latency, format!("{name}: published"), Unit::PerSecond, reached);
        let mut apart: Vec<f64> = self
            .responses
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0).num_microseconds().unwrap() as f64 / 1e6)
            .collect();
        apart.sort_by(f64::total_cmp);
        let apart = apart[(apart.len() - 1) * 95 / 100];
        figures.add(Part::Latency, format!("{name}: from one response to the next, p95"), Unit::Seconds, apart);
    }
}

/// Usage of one org.
struct Query<'a> {
    service: &'a Service,
    org: Uuid,
    path: String,
    token: String,
}

impl<'a> Query<'a> {
    fn of(service: &'a Service, org: Uuid) -> Self {
        let token = service.token(&[org], &[Role::OrgViewer]);
        let today = Utc::now().date_naive();
        let (start, end) = (today - Days::new(1), today + Days::new(2));
        let path = format!("/analytics/v1/orgs/{org}/usage?start={start}T00:00:00Z&end={end}T00:00:00Z");
        Self { service, org, path, token }
    }

    /// None where the service refuses, since it has too much to do.
    async fn count(&self) -> Option<u64> {
        let response = self.service.request(Method::GET, &self.path, &self.token).send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            println!("    refused: {body}");
            return None;
        }
        assert!(status.is_success(), "{status}: {body}");
        body["totals"]["invocations"].as_u64()
    }
}

/// A message of the stream.
struct Published {
    at: DateTime<Utc>,
    org_id: Uuid,
}

async fn read_stream(world: &World, messages: usize) -> Vec<Published> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event {
        org_id: Uuid,
    }
    let streams = Streams::new(&world.settings.broker);
    let mut subscription = Subscription::open(&streams, streams.opening(0, StartAt::First)).await.unwrap();
    let mut stream = Vec::with_capacity(messages);
    while stream.len() < messages {
        let incoming = subscription.next().await.unwrap();
        let Event { org_id } = serde_json::from_slice(&incoming.message.body).unwrap();
        stream.push(Published { at: incoming.message.published_at.unwrap(), org_id });
        subscription.acknowledge(incoming.tag).await.unwrap();
    }
    subscription.close().await;
    stream
}

fn events_of(report: &Value, org: Uuid) -> u64 {
    let invocations = Totals::published(report).get(&org).map_or(0, |totals| totals.invocations);
    invocations.unsigned_abs()
}

fn largest_org(report: &Value) -> Uuid {
    let totals = Totals::published(report);
    *totals.iter().max_by_key(|(_, totals)| totals.invocations).unwrap().0
}

/// All of them together are what the database holds; the rest is looked at when the world ends.
async fn assert_exact(world: &World, phases: &[Phase]) {
    let mut expected = std::collections::BTreeMap::<Uuid, Totals>::new();
    for (org, more) in phases.iter().flat_map(|phase| Totals::published(&phase.report)) {
        match expected.get_mut(&org) {
            Some(totals) => {
                totals.invocations += more.invocations;
                totals.input_tokens += more.input_tokens;
                totals.output_tokens += more.output_tokens;
                totals.cost += more.cost;
            }
            None => drop(expected.insert(org, more)),
        }
    }
    let mut conn = world.connect().await;
    let messages = phases.iter().map(|phase| sent(&phase.report)).sum();
    eventually("all is merged", async || filled::is_done(&mut conn, messages).await.then_some(())).await;
    assert_totals(&mut conn, &expected).await;
    let ledger = LedgerSums::of_batches(&mut conn).await;
    assert_eq!((ledger.received, ledger.stored), (messages, messages));
}

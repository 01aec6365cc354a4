//! The composition root: what runs, on which threads, and in which order it stops.

use std::time::Duration;

use actix::prelude::*;
use anyhow::{Context as _, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    actors::{
        consumer::Drain,
        corrections::{Corrections, CorrectionsParts},
        freshness::{Freshness, FreshnessParts},
        partition::{Fatal, Partition, PartitionParts, Threads},
        query::{Query, QueryParts},
        supervision::backoff::Backoff,
    },
    config::Settings,
    http::{self, Api, Ops, Queries},
    store::{self, read::ReaderPlan, schema::Server},
    telemetry::{
        metrics::Metrics,
        readiness::{DATABASE, Phase, Readiness},
    },
};

/// Threads that the pipelines of all partitions share at most, beside one for each kind of work.
const MAX_PIPELINE_THREADS: usize = 48;

/// A signal to a whole group of processes can arrive twice; a second one this soon is the same.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Runs the service until it is told to stop or cannot go on.
///
/// # Errors
/// Why it could not start or had to stop.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let mut signals = Signals::new()?;
    let ops = http::serve_ops(&settings, Ops { readiness: readiness.clone(), metrics: metrics.clone() })?;
    tracing::info!(address = ?ops.addresses, "operations port");
    actix::spawn(ops.server);
    let server = tokio::select! {
        server = wait_for_database(&settings, &readiness) => server?,
        () = signals.next() => return Ok(()),
    };
    tracing::info!(postgres = server.postgres, timescaledb = server.timescaledb, license = server.license, "database");

    let (fatal, mut fatals) = mpsc::unbounded_channel();
    let (freshness_alive, freshness_ended) = mpsc::channel(1);
    let services = Arbiter::new();
    let parts = FreshnessParts {
        settings: settings.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        alive: freshness_alive,
    };
    let freshness = Freshness::start_in_arbiter(&services.handle(), move |_| Freshness::new(parts));

    let (corrections_alive, corrections_ended) = mpsc::channel(1);
    let parts = CorrectionsParts { settings: settings.clone(), alive: corrections_alive };
    let corrections = Corrections::start_in_arbiter(&services.handle(), move |_| Corrections::new(parts));
    let corrections_handle = http::Corrections::default();
    corrections_handle.set(corrections.clone().recipient());

    let (partition_alive, partitions_ended) = mpsc::channel(1);
    let threads = pipeline_threads(settings.broker.partitions);
    let owner = uuid::Uuid::now_v7();
    let partitions: Vec<Addr<Partition>> = (0..settings.broker.partitions)
        .map(|partition| {
            let threads = &threads[usize::from(partition) % threads.len()];
            let parts = PartitionParts {
                settings: settings.clone(),
                partition,
                owner,
                threads: Threads {
                    intake: threads[0].handle(),
                    writer: threads[1].handle(),
                    rollup: threads[2].handle(),
                },
                freshness: freshness.clone().recipient(),
                metrics: metrics.clone(),
                readiness: readiness.clone(),
                fatal: fatal.clone(),
                alive: partition_alive.clone(),
            };
            Partition::start_in_arbiter(&services.handle(), move |_| Partition::new(parts))
        })
        .collect();
    drop(partition_alive);

    let queries = start_queries(&settings, &metrics)?;
    let api = http::serve_api(&settings, Api::new(&settings, queries, corrections_handle, metrics.clone()))?;
    let api_server = api.server.handle();
    tracing::info!(address = ?api.addresses, "API");
    actix::spawn(api.server);
    readiness.set_phase(Phase::Serving);

    let end = tokio::select! {
        () = signals.next() => Ok(()),
        Some(Fatal(why)) = fatals.recv() => Err(anyhow::anyhow!(why)),
    };

    // The orderly end. Each step has its deadline, and killing the process in any of them is as safe.
    readiness.set_phase(Phase::Draining);
    tracing::info!("draining; a second signal ends at once");
    let drain = async {
        let step = settings.drain.step_timeout();
        api_server.stop(true).await;
        corrections.do_send(Drain);
        ended("corrections", corrections_ended, step).await;
        partitions.iter().for_each(|partition| partition.do_send(Drain));
        ended("partitions", partitions_ended, step).await;
        freshness.do_send(Drain);
        ended("freshness", freshness_ended, step).await;
    };
    tokio::select! {
        () = drain => tracing::info!("drained"),
        () = signals.next_after(SAME_SIGNAL) => tracing::warn!("ended before everything was drained"),
    }
    end
}

/// Query actors, each on a thread of its own with its own connections.
fn start_queries(settings: &Settings, metrics: &Metrics) -> anyhow::Result<Queries> {
    let queries = Queries::default();
    let reader = ReaderPlan::new(settings).context("database.url")?;
    for (k, _) in (0..settings.query.actors).enumerate() {
        let parts = QueryParts { reader: reader.clone(), wait: settings.query.wait(), metrics: metrics.clone() };
        queries.set(k, &Query::start_in_arbiter(&Arbiter::new().handle(), move |_| Query::new(parts)));
    }
    Ok(queries)
}

/// Waits until the database answers: then it has the schema that this build works on.
async fn wait_for_database(settings: &Settings, readiness: &Readiness) -> anyhow::Result<Server> {
    let database = &settings.database;
    let mut attempt = 0;
    loop {
        let probed = async {
            let mut conn = store::connect(&database.url, database.connect_timeout()).await?;
            store::schema::probe(&mut conn).await
        };
        match probed.await {
            Ok(server) => {
                readiness.up(DATABASE);
                return Ok(server);
            }
            Err(error) if error.is_transient() => {
                readiness.down(DATABASE, error.to_string());
                let delay = Backoff::DEPENDENCY.delay(attempt);
                tracing::warn!(%error, ?delay, "starting waits for the database");
                sleep(delay).await;
                attempt += 1;
            }
            Err(error) => bail!(error),
        }
    }
}

/// Three threads a partition: for receiving and decoding, for storing, for merging. Many partitions share them.
fn pipeline_threads(partitions: u16) -> Vec<[Arbiter; 3]> {
    let sets = usize::from(partitions).clamp(1, MAX_PIPELINE_THREADS / 3);
    (0..sets).map(|_| std::array::from_fn(|_| Arbiter::new())).collect()
}

/// Waits until all actors that hold the other end have ended.
async fn ended(what: &str, mut alive: mpsc::Receiver<()>, step: Duration) {
    if timeout(step, alive.recv()).await.is_err() {
        tracing::warn!(what, ?step, "did not end in time");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The next one that comes later than that from now.
    async fn next_after(&mut self, pause: Duration) {
        let _ = timeout(pause, async {
            loop {
                self.next().await;
            }
        })
        .await;
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

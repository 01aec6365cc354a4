//! The composition root: what runs, on which threads, and in which order it stops.

use std::time::Duration;

use actix::prelude::*;
use anyhow::{Context as _, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    actors::{
        corrections::{Corrections, CorrectionsParts},
        events::{Events, EventsParts},
        freshness::{Freshness, FreshnessParts, Merged},
        jwks::{self, Jwks, JwksParts, Refresh},
        lease::{Lease, LeaseParts},
        partition::{PartitionParts, Threads},
        query::{Query, QueryParts},
        recorder::{Recorder, RecorderParts},
        supervision::{
            backoff::Backoff,
            exit::{Drain, catch_panics},
            line::Line,
            log::SupervisionLog,
            orders::{Retire, Supervise, Way},
            registry::Registry,
            single::single,
            supervisor::{Exhausted, Fatal, Start, Supervisor, SupervisorParts},
        },
    },
    auth::{Verifier, key_ring::KeyRing},
    config::Settings,
    http::{self, Api, Gatekeeper, Lines, Ops, Queries},
    store::{
        self,
        lease::Identity,
        read::ReaderPlan,
        schema::{self, Server},
    },
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
pub async fn serve(mut settings: Settings) -> anyhow::Result<()> {
    catch_panics();
    let identity = identity();
    settings.database.application_name = Identity::application_name(identity.id);
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let (registry, queries) = (Registry::default(), Queries::default());
    let log = SupervisionLog::new(&identity.name, metrics.clone());
    let mut signals = Signals::new()?;
    let (fatal, mut fatals) = mpsc::unbounded_channel();
    let parts = SupervisorParts {
        settings: settings.supervision,
        log: log.clone(),
        registry: registry.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        fatal,
    };
    let supervisor = Supervisor::start_in_arbiter(&Arbiter::new().handle(), move |_| Supervisor::new(parts));
    let gatekeeper = Gatekeeper { verifier: Verifier::new(&settings.auth), jwks: Line::default() };
    let ops = Ops {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        gatekeeper: gatekeeper.clone(),
        registry: registry.clone(),
        log: log.clone(),
        supervisor: supervisor.clone(),
        queries: queries.clone(),
        answer_within: settings.query.answer_within(),
        drills: settings.supervision.drills,
    };
    let ops = http::serve_ops(&settings, ops)?;
    tracing::info!(address = ?ops.addresses, process = %identity.id, "operations port");
    actix::spawn(ops.server);
    // The tree. Each actor is made anew by its factory whenever it has ended.
    let tree =
        Tree { settings: &settings, identity, registry, log, metrics: metrics.clone(), readiness: readiness.clone() };
    // Operators' tokens are checked by it too, with the database away.
    if let Some(ring) = gatekeeper.verifier.key_ring() {
        supervise(&supervisor, JWKS, tree.jwks(ring, &gatekeeper.jwks));
    }
    let server = tokio::select! {
        server = wait_for_database(&settings, &readiness) => server?,
        () = signals.next() => return Ok(()),
    };
    tracing::info!(postgres = server.postgres, timescaledb = server.timescaledb, license = server.license, "database");

    let (freshness, lines) = (Line::default(), Lines::default());
    supervise(&supervisor, RECORDER, tree.recorder());
    supervise(&supervisor, FRESHNESS, tree.freshness(&freshness));
    for k in 0..settings.query.actors {
        supervise(&supervisor, &query_name(k), tree.query(k, &queries)?);
    }
    supervise(&supervisor, LEASE, tree.lease(&supervisor, &freshness));
    supervise(&supervisor, CORRECTIONS, tree.corrections(&lines));
    supervise(&supervisor, EVENTS, tree.events(&lines));

    let api = http::serve_api(&settings, Api::new(&settings, gatekeeper, lines, queries, metrics))?;
    let api_server = api.server.handle();
    tracing::info!(address = ?api.addresses, "API");
    actix::spawn(api.server);
    readiness.set_phase(Phase::Serving);

    let end = tokio::select! {
        () = signals.next() => Ok(()),
        fatal = fatals.recv() => {
            Err(anyhow::anyhow!(fatal.map_or("the supervisor has ended".to_owned(), |Fatal(why)| why)))
        }
    };

    // The orderly end. Each step has its deadline, and so has the whole; killing the process at any point is as safe.
    readiness.set_phase(Phase::Draining);
    tracing::info!("draining; a second signal ends at once");
    let drain = async {
        let step = settings.drain.step_timeout();
        within("API", step, api_server.stop(true)).await;
        within(EVENTS, step, retire(&supervisor, EVENTS)).await;
        within(CORRECTIONS, step, retire(&supervisor, CORRECTIONS)).await;
        // Consumers stop reading, what is in flight is stored and merged, the partitions are given back.
        within(LEASE, step, retire(&supervisor, LEASE)).await;
        within(FRESHNESS, step, retire(&supervisor, FRESHNESS)).await;
        for k in 0..settings.query.actors {
            let name = query_name(k);
            within(&name, step, retire(&supervisor, &name)).await;
        }
        within(RECORDER, step, retire(&supervisor, RECORDER)).await;
    };
    tokio::select! {
        drained = timeout(settings.drain.timeout(), drain) => match drained {
            Ok(()) => tracing::info!("drained"),
            Err(_) => tracing::warn!("ended before everything was drained: drain.timeout_ms is over"),
        },
        () = signals.next_after(SAME_SIGNAL) => tracing::warn!("ended before everything was drained"),
    }
    end
}

const RECORDER: &str = "recorder";
const JWKS: &str = "jwks";
const FRESHNESS: &str = "freshness";
const CORRECTIONS: &str = "corrections";
const EVENTS: &str = "events";
const LEASE: &str = "lease";

fn query_name(k: u32) -> String {
    format!("query/{k}")
}

fn supervise(supervisor: &Addr<Supervisor>, name: &str, start: Start) {
    // Without any of these the process is of no use: out of restarts, the cluster starts it anew.
    supervisor.do_send(Supervise { name: name.to_owned(), exhausted: Exhausted::Escalate, start });
}

async fn retire(supervisor: &Addr<Supervisor>, name: &str) {
    // Closed: the supervisor is gone, and with it what it looked after.
    let _ = supervisor.send(Retire { name: name.to_owned(), way: Way::Drain }).await;
}

async fn within<T>(what: &str, step: Duration, work: impl Future<Output = T>) {
    if timeout(step, work).await.is_err() {
        tracing::warn!(what, ?step, "did not end in time");
    }
}

/// Makes the factories of the actors under the root.
struct Tree<'a> {
    settings: &'a Settings,
    identity: Identity,
    registry: Registry,
    log: SupervisionLog,
    metrics: Metrics,
    readiness: Readiness,
}

impl Tree<'_> {
    /// Of an actor that waits for the database, and for others at most that long.
    fn deadline(&self, others: Duration) -> Duration {
        self.settings.supervision.deadline(self.settings.database.longest_write() + others)
    }

    fn recorder(&self) -> Start {
        let (settings, log) = (self.settings.clone(), self.log.clone());
        let make = move |pulse, exit| {
            Recorder::new(RecorderParts { settings: settings.clone(), log: log.clone(), pulse, exit })
        };
        single(RECORDER, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, |recorder| {
            Some(recorder.clone().recipient())
        })
    }

    fn jwks(&self, ring: &KeyRing, line: &Line<Refresh>) -> Start {
        let (settings, ring, readiness) = (self.settings.auth.clone(), ring.clone(), self.readiness.clone());
        let make = move |pulse, exit| {
            let (settings, ring, readiness) = (settings.clone(), ring.clone(), readiness.clone());
            Jwks::new(JwksParts { settings, ring, readiness, pulse, exit })
        };
        let line = line.clone();
        let deadline = self.settings.supervision.deadline(jwks::READ_WITHIN);
        single(JWKS, deadline, Arbiter::new().handle(), make, move |jwks: &Addr<Jwks>| {
            line.set(jwks.clone().recipient());
            None::<Recipient<Drain>>
        })
    }

    fn freshness(&self, line: &Line<Merged>) -> Start {
        let (settings, readiness, metrics) = (self.settings.clone(), self.readiness.clone(), self.metrics.clone());
        let make = move |pulse, exit| {
            let (settings, readiness, metrics) = (settings.clone(), readiness.clone(), metrics.clone());
            Freshness::new(FreshnessParts { settings, readiness, metrics, pulse, exit })
        };
        let line = line.clone();
        single(FRESHNESS, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, move |freshness| {
            line.set(freshness.clone().recipient());
            Some(freshness.clone().recipient())
        })
    }

    fn corrections(&self, lines: &Lines) -> Start {
        let settings = self.settings.clone();
        let make = move |pulse, exit| {
            let settings = settings.clone();
            Corrections::new(CorrectionsParts { settings, pulse, exit })
        };
        let line = lines.corrections.clone();
        single(
            CORRECTIONS,
            self.deadline(self.settings.broker.longest_subscribe()),
            Arbiter::new().handle(),
            make,
            move |corrections| {
                line.set(corrections.clone().recipient());
                Some(corrections.clone().recipient())
            },
        )
    }

    fn events(&self, lines: &Lines) -> Start {
        let settings = self.settings.clone();
        let make = move |pulse, exit| {
            let settings = settings.clone();
            Events::new(EventsParts { settings, pulse, exit })
        };
        let lines = lines.events.clone();
        let deadline = self.deadline(self.settings.ingest.answer_within(&self.settings.query));
        single(EVENTS, deadline, Arbiter::new().handle(), make, move |events| {
            lines.check.set(events.clone().recipient());
            lines.publish.set(events.clone().recipient());
            Some(events.clone().recipient())
        })
    }

    /// A query actor, on a thread of its own with its own connections.
    fn query(&self, k: u32, queries: &Queries) -> anyhow::Result<Start> {
        let reader = ReaderPlan::new(self.settings).context("database.url")?;
        let (wait, metrics) = (self.settings.query.wait(), self.metrics.clone());
        let make = move |pulse, exit| {
            Query::new(QueryParts { reader: reader.clone(), wait, metrics: metrics.clone(), pulse, exit })
        };
        let queries = queries.clone();
        Ok(single(
            &query_name(k),
            self.deadline(self.settings.query.answer_within()),
            Arbiter::new().handle(),
            make,
            move |query: &Addr<Query>| {
                queries.set(k, query);
                None::<Recipient<Drain>>
            },
        ))
    }

    fn lease(&self, supervisor: &Addr<Supervisor>, freshness: &Line<Merged>) -> Start {
        let partitions = PartitionParts {
            settings: self.settings.clone(),
            process: self.identity.id,
            freshness: freshness.clone(),
            registry: self.registry.clone(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let (settings, identity, supervisor) = (self.settings.clone(), self.identity.clone(), supervisor.clone());
        let threads = pipeline_threads(settings.broker.partitions);
        let make = move |pulse, exit| {
            Lease::new(LeaseParts {
                settings: settings.clone(),
                identity: identity.clone(),
                supervisor: supervisor.clone(),
                partitions: partitions.clone(),
                threads: threads.clone(),
                pulse,
                exit,
            })
        };
        single(LEASE, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, |lease| {
            Some(lease.clone().recipient())
        })
    }
}

/// Names this process among all that ever work on the partitions.
fn identity() -> Identity {
    Identity { id: Uuid::now_v7(), name: process_name() }
}

/// Host and process number, for operators.
pub fn process_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{host}/{}", std::process::id())
}

/// Waits until the database answers: then it has the schema that this build works on.
async fn wait_for_database(settings: &Settings, readiness: &Readiness) -> anyhow::Result<Server> {
    let mut attempt = 0;
    loop {
        let probed = async {
            let mut conn = store::connect_writer(&settings.database).await?;
            schema::probe(&mut conn).await
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
fn pipeline_threads(partitions: u16) -> Vec<Threads> {
    let sets = usize::from(partitions).clamp(1, MAX_PIPELINE_THREADS / 3);
    let thread = || Arbiter::new().handle();
    (0..sets).map(|_| Threads { intake: thread(), writer: thread(), rollup: thread() }).collect()
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

//! The composition root: what runs, on which threads, and in which order it stops.

mod open_files;
mod tree;

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
        export_generator::generate::ExportBackend,
        serving::audit::Backlog,
        supervision::{
            actor_ref::ActorRef,
            backoff::Backoff,
            exit::catch_panics,
            group::{Exhausted, Start},
            log::SupervisionLog,
            orders::{Retire, StopMode, Supervise},
            registry::Registry,
            supervisor::{Fatal, Supervisor, SupervisorParts},
        },
    },
    config::Settings,
    http::{self, Api, Gatekeeper, Lines, Ops, Queries},
    store::{
        self, StoreError,
        ingest::{layout, lease::Identity},
        probe,
        rollups::engine::Engine,
        schema::{self, Server},
    },
    telemetry::{
        metrics::Metrics,
        readiness::{DATABASE, OBJECTS, Phase, Readiness},
    },
};
use tree::{
    AUDIT, CORRECTIONS, EVENTS, EXPORTS, FRESHNESS, JWKS, KEYS, LEASE, MAINTENANCE, PENDING_MERGER, RECORDER, Tree,
    export_name, query_name,
};

/// A signal to a whole group of processes can arrive twice; a second one this soon is the same.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Runs the service until it receives a signal to stop or cannot continue.
///
/// # Errors
/// Why it could not start or had to stop.
pub async fn serve(mut settings: Settings) -> anyhow::Result<()> {
    catch_panics();
    let identity = identity();
    settings.database.application_name = Identity::application_name(identity.id);
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    metrics.expect_partitions(settings.broker.partitions);
    let (registry, queries) = (Registry::default(), Queries::default());
    let log = SupervisionLog::new(&identity.name, metrics.clone());
    let mut signals = Signals::new()?;
    open_files::raise(&mut settings);
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
    let gatekeeper = Gatekeeper::new(&settings, Backlog::new(metrics.clone()), metrics.clone());
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
    // The tree. Each actor is recreated by its factory whenever it has ended.
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
    introduce(&server, &settings, &readiness);

    let (freshness, lines) = (ActorRef::default(), Lines::default());
    supervise(&supervisor, RECORDER, tree.recorder());
    supervise(&supervisor, AUDIT, tree.audit(&gatekeeper));
    supervise(&supervisor, KEYS, tree.keys(&gatekeeper, &lines));
    supervise(&supervisor, FRESHNESS, tree.freshness(&freshness));
    for k in 0..settings.query.actors {
        supervise(&supervisor, &query_name(k), tree.query(k, &queries)?);
    }
    supervise(&supervisor, LEASE, tree.lease(&supervisor, &freshness));
    // Without it the service goes on.
    let (name, start) = (PENDING_MERGER.to_owned(), tree.pending_merger(&freshness));
    supervisor.do_send(Supervise { name, exhausted: Exhausted::Park, start });
    supervise(&supervisor, CORRECTIONS, tree.corrections(&lines));
    supervise(&supervisor, EVENTS, tree.events(&lines));
    let backend = match ExportBackend::new(&settings) {
        Ok(backend) => {
            readiness.up(OBJECTS);
            Some(backend)
        }
        Err(error) => {
            tracing::warn!(%error, "exports are off");
            readiness.up(OBJECTS);
            readiness.detail(OBJECTS, format!("exports are off: {error}"));
            None
        }
    };
    let makers = vec![ActorRef::default(); settings.exports.actors.into()];
    supervise(&supervisor, EXPORTS, tree.exports(backend.as_ref(), &makers, &lines));
    for (k, (line, backend)) in (0..).zip(makers.iter().filter_map(|line| Some((line, backend.as_ref()?)))) {
        // Without any of these, other processes make files.
        let (name, start) = (export_name(k), tree.export(k, backend, line));
        supervisor.do_send(Supervise { name, exhausted: Exhausted::Park, start });
    }
    if settings.maintenance.enabled {
        // Without it the service goes on.
        let (name, start) = (MAINTENANCE.to_owned(), tree.maintenance(backend.as_ref()));
        supervisor.do_send(Supervise { name, exhausted: Exhausted::Park, start });
    }

    let api = http::serve_api(&settings, Api::new(&settings, gatekeeper, lines, queries, metrics))?;
    let api_server = api.server.handle();
    tracing::info!(address = ?api.addresses, "API");
    actix::spawn(api.server);
    for address in api.addresses {
        actix::spawn(http::check_self(address, settings.http.self_check(), readiness.clone()));
    }
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
        // What is made is given back, for another process to take.
        for name in backend.iter().flat_map(|_| (0..settings.exports.actors).map(export_name)) {
            within(&name, step, retire(&supervisor, &name)).await;
        }
        if settings.maintenance.enabled {
            within(MAINTENANCE, step, retire(&supervisor, MAINTENANCE)).await;
        }
        within(EVENTS, step, retire(&supervisor, EVENTS)).await;
        within(CORRECTIONS, step, retire(&supervisor, CORRECTIONS)).await;
        // Consumers stop reading, what is in flight is stored and merged, the partitions are given back.
        within(LEASE, step, retire(&supervisor, LEASE)).await;
        within(PENDING_MERGER, step, retire(&supervisor, PENDING_MERGER)).await;
        within(FRESHNESS, step, retire(&supervisor, FRESHNESS)).await;
        for k in 0..settings.query.actors {
            let name = query_name(k);
            within(&name, step, retire(&supervisor, &name)).await;
        }
        within(KEYS, step, retire(&supervisor, KEYS)).await;
        within(AUDIT, step, retire(&supervisor, AUDIT)).await;
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

fn supervise(supervisor: &Addr<Supervisor>, name: &str, start: Start) {
    // Without any of these the process is of no use: out of restarts, the cluster restarts it.
    supervisor.do_send(Supervise { name: name.to_owned(), exhausted: Exhausted::Escalate, start });
}

async fn retire(supervisor: &Addr<Supervisor>, name: &str) {
    // Closed: the supervisor is gone, and with it what it looked after.
    let _ = supervisor.send(Retire { name: name.to_owned(), mode: StopMode::Drain }).await;
}

async fn within<T>(what: &str, step: Duration, work: impl Future<Output = T>) {
    if timeout(step, work).await.is_err() {
        tracing::warn!(what, ?step, "did not end in time");
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

/// Says what the database is, and what it cannot do.
fn introduce(server: &Server, settings: &Settings, readiness: &Readiness) {
    let Server { postgres, timescaledb, license, engine: kept_by } = server;
    let engine = kept_by.as_str();
    tracing::info!(postgres, timescaledb, license, engine, "database");
    readiness.detail(DATABASE, server.to_string());
    match Engine::chosen(settings.rollups.engine, license, *kept_by) {
        Ok(chosen) if chosen == *kept_by => {}
        Ok(chosen) => {
            let configured = chosen.as_str();
            tracing::warn!(
                engine,
                configured,
                "rollups are kept by another engine than rollups.engine asks for: see `rollups switch`"
            );
        }
        Err(error) => tracing::warn!(engine, %error, "rollups.engine"),
    }
}

/// Waits until the database answers: then it has the schema that this build works on.
async fn wait_for_database(settings: &Settings, readiness: &Readiness) -> anyhow::Result<Server> {
    let mut attempt = 0;
    loop {
        let probed = async {
            let mut conn = store::connect_writer(&settings.database).await?;
            let server = schema::probe(&mut conn).await?;
            probe::check(&mut conn, &settings.database).await?;
            let mismatch = layout::agree(&mut conn, &settings.broker.topology(), &process_name()).await?;
            Ok::<_, StoreError>((server, mismatch))
        };
        match probed.await {
            Ok((_, Some(mismatch))) => bail!(mismatch),
            Ok((server, None)) => {
                readiness.up(DATABASE);
                return Ok(server);
            }
            Err(error) if !error.ends_start() => {
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

//! The composition root: what runs, on which threads, and in which order it stops.

mod database;
mod drain;
mod open_files;
mod signals;
mod tree;

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    actors::{
        export_generator::generate::ExportBackend,
        serving::audit::Backlog,
        supervision::{
            actor_ref::ActorRef,
            exit::catch_panics,
            log::SupervisionLog,
            registry::Registry,
            supervisor::{Fatal, Supervisor, SupervisorParts},
        },
    },
    broker::streams::Streams,
    config::{Drain, OnReconnect, Settings},
    domain::console::ConsolePort,
    http::{self, ActorRefs, Api, Console, Gatekeeper, Kept, Ops, Queries},
    store::ingest::lease::Identity,
    telemetry::{
        metrics::{Metrics, Reconnected},
        readiness::{OBJECTS, Phase, Readiness},
    },
};
pub use signals::Signals;
use tree::{Tree, When};

/// A signal to a whole group of processes can arrive twice; a second one this soon is the same.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Runs the service, as a process of that identity, until it receives a signal to stop or cannot continue.
///
/// # Errors
/// Why it could not start or had to stop.
pub async fn serve(mut settings: Settings, identity: Identity, metrics: Metrics) -> anyhow::Result<()> {
    catch_panics();
    settings.database.application_name = Identity::application_name(identity.id);
    let readiness = Readiness::default();
    metrics.expect_partitions(settings.broker.partitions);
    let counted = metrics.clone();
    settings.database.on_reconnect = OnReconnect::new(move || counted.reconnected(Reconnected::Database));
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
        response_timeout: settings.query.response_timeout(),
        drills: settings.supervision.drills,
        retention: Kept::of(&settings),
        console: Console::new(&settings, ConsolePort::Operations),
    };
    let ops = http::serve_ops(&settings, ops)?;
    tracing::info!(address = ?ops.addresses, process = %identity.id, "operations port");
    actix::spawn(ops.server);
    let refs = ActorRefs::default();
    let tree = Tree {
        settings: settings.clone(),
        streams: Streams::new(&settings.broker),
        identity,
        supervisor: supervisor.clone(),
        registry,
        log,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        gatekeeper: gatekeeper.clone(),
        refs: refs.clone(),
        queries: queries.clone(),
        freshness: ActorRef::default(),
        backend: export_backend(&settings, &readiness),
        generators: vec![ActorRef::default(); settings.exports.actors.into()],
    };
    tree.dependencies().into_iter().for_each(|name| metrics.expect_dependency(name));
    let mut started = tree.start(When::AtOnce)?;
    let server = tokio::select! {
        server = database::wait(&settings, &readiness) => server?,
        () = signals.next() => return Ok(()),
    };
    database::introduce(&server, &settings, &readiness);
    started.extend(tree.start(When::WithDatabase)?);

    let api = http::serve_api(&settings, Api::new(&settings, gatekeeper, refs, queries, metrics, readiness.clone()))?;
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

    readiness.set_phase(Phase::Draining);
    // One that cannot continue has nothing to serve on with.
    let announce_ms = if end.is_ok() { settings.drain.announce_ms } else { 0 };
    let rules = Drain { announce_ms, ..settings.drain };
    let at_once = signals.next_after(SAME_SIGNAL);
    // Stopping begins with the call, not when it is first polled.
    let api_stops = async { api_server.stop(true).await };
    drain::drain(rules, api_stops, &supervisor, &started, at_once).await;
    end
}

/// None where no files can be generated: the rest goes on.
fn export_backend(settings: &Settings, readiness: &Readiness) -> Option<ExportBackend> {
    readiness.up(OBJECTS);
    ExportBackend::new(settings)
        .inspect_err(|error| {
            tracing::warn!(%error, "exports are off");
            readiness.detail(OBJECTS, format!("exports are off: {error}"));
        })
        .ok()
}

/// Names this process among all that ever work on the partitions.
pub fn identity() -> Identity {
    Identity { id: Uuid::now_v7(), name: process_name() }
}

/// Host and process number, for operators.
pub fn process_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{host}/{}", std::process::id())
}

//! The children of the root: one table of all, and the factory of each, which recreates its actor whenever it has ended.

use std::time::Duration;

use actix::prelude::*;
use anyhow::Context as _;

use self::{HowMany::*, When::*};
use crate::{
    actors::{
        export_generator::{Export, Wake, generate::ExportBackend, worker::WorkerParts},
        housekeeping::{
            attributor::{Attributor, AttributorParts},
            freshness::{Freshness, FreshnessParts, Merged},
            lease::{Lease, LeaseParts},
            maintenance::{self, Maintenance, MaintenanceParts},
            pending_merger::{PendingMerger, PendingMergerParts},
            recorder::{Recorder, RecorderParts},
            stream_watcher::{StreamWatcher, StreamWatcherParts},
        },
        pipeline::{
            misrouted::MisroutedLog,
            partition::{PartitionParts, Threads},
        },
        serving::{
            audit::{Audit, AuditParts},
            corrections::{Corrections, CorrectionsParts},
            events::{Events, EventsParts},
            export_requests::{CHECK_WITHIN, Exports, ExportsParts},
            issuer::{self, Issuer, IssuerParts},
            jwks::{self, Jwks, JwksParts},
            keys::{Keys, KeysParts},
            names::{Names, NamesParts},
            query::{Query, QueryParts},
            sessions::{Sessions, SessionsParts},
        },
        supervision::{
            actor_ref::ActorRef,
            group::{
                Exhausted::{self, Escalate, Park},
                Stage, Start,
            },
            log::SupervisionLog,
            orders::Supervise,
            registry::Registry,
            single::Single,
            supervisor::Supervisor,
        },
    },
    broker::streams::Streams,
    config::Settings,
    http::{ActorRefs, Gatekeeper, Queries},
    store::{exports::Claimer, ingest::lease::Identity, read::ReaderPlan},
    telemetry::{
        metrics::Metrics,
        readiness::{BROKER, CACHE, DATABASE, JWKS, OBJECTS, Readiness},
    },
};

/// A child of the root, or several that are alike.
struct Child {
    role: &'static str,
    when: When,
    how_many: fn(&Tree) -> HowMany,
    /// Park: the service goes on without it. Escalate: without it the process is of no use, and the cluster restarts it.
    exhausted: Exhausted,
    /// Of the one of that name and number.
    factory: fn(&Tree, &str, u32) -> anyhow::Result<Start>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    AtOnce,
    /// When the database has answered, and has the schema that this build works on.
    WithDatabase,
}

enum HowMany {
    None,
    One,
    /// Named by their numbers.
    Each(u32),
}

/// They are started from the first to the last, and drained from the last to the first, so that each ends before what it needs:
/// the lease gives the partitions back when what is in flight is stored and merged, and what their ends say is recorded last.
#[rustfmt::skip]
const CHILDREN: &[Child] = &[
    // Operators' tokens are checked by it too, with the database away.
    Child { role: "jwks",           when: AtOnce,       how_many: key_sets,    exhausted: Escalate, factory: Tree::jwks },
    Child { role: "issuer",         when: AtOnce,       how_many: issuers,     exhausted: Escalate, factory: Tree::issuer },
    Child { role: "recorder",       when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::recorder },
    Child { role: "audit",          when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::audit },
    Child { role: "keys",           when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::keys },
    Child { role: "sessions",       when: WithDatabase, how_many: sessions,    exhausted: Escalate, factory: Tree::sessions },
    Child { role: "names",          when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::names },
    Child { role: "query",          when: WithDatabase, how_many: queries,     exhausted: Escalate, factory: Tree::query },
    Child { role: "freshness",      when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::freshness },
    Child { role: "pending-merger", when: WithDatabase, how_many: |_| One,     exhausted: Park,     factory: Tree::pending_merger },
    Child { role: "stream-watcher", when: WithDatabase, how_many: |_| One,     exhausted: Park,     factory: Tree::stream_watcher },
    Child { role: "attributor",     when: WithDatabase, how_many: |_| One,     exhausted: Park,     factory: Tree::attributor },
    Child { role: "lease",          when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::lease },
    Child { role: "corrections",    when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::corrections },
    Child { role: "events",         when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::events },
    Child { role: "maintenance",    when: WithDatabase, how_many: maintenance, exhausted: Park,     factory: Tree::maintenance },
    Child { role: "exports",        when: WithDatabase, how_many: |_| One,     exhausted: Escalate, factory: Tree::exports },
    // Without any of these, other processes generate the files.
    Child { role: "export",         when: WithDatabase, how_many: generators,  exhausted: Park,     factory: Tree::export },
];

fn key_sets(tree: &Tree) -> HowMany {
    if tree.gatekeeper.verifier.key_ring().is_some() { One } else { HowMany::None }
}

fn issuers(tree: &Tree) -> HowMany {
    let console = &tree.settings.console;
    if console.enabled && !console.oidc_issuer.is_empty() { One } else { HowMany::None }
}

fn sessions(tree: &Tree) -> HowMany {
    if tree.settings.console.enabled { One } else { HowMany::None }
}

fn queries(tree: &Tree) -> HowMany {
    Each(tree.settings.query.actors)
}

fn maintenance(tree: &Tree) -> HowMany {
    if tree.settings.maintenance.enabled { One } else { HowMany::None }
}

fn generators(tree: &Tree) -> HowMany {
    if tree.backend.is_some() { Each(tree.settings.exports.actors.into()) } else { HowMany::None }
}

/// Threads that the pipelines of all partitions share at most, beside one for each kind of work.
const MAX_PIPELINE_THREADS: usize = 48;

/// What the children are made of.
pub struct Tree {
    pub settings: Settings,
    pub streams: Streams,
    pub identity: Identity,
    pub supervisor: Addr<Supervisor>,
    pub registry: Registry,
    pub log: SupervisionLog,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub gatekeeper: Gatekeeper,
    pub refs: ActorRefs,
    pub queries: Queries,
    pub freshness: ActorRef<Merged>,
    /// None where no files can be generated.
    pub backend: Option<ExportBackend>,
    /// The actors that generate files, by number.
    pub generators: Vec<ActorRef<Wake>>,
}

impl Tree {
    /// Has the supervisor start the children of that moment; returns their names in that order.
    ///
    /// # Errors
    /// A setting that one of them cannot use.
    pub fn start(&self, when: When) -> anyhow::Result<Vec<String>> {
        let mut started = Vec::new();
        for child in CHILDREN.iter().filter(|child| child.when == when) {
            let names = match (child.how_many)(self) {
                HowMany::None => Vec::new(),
                One => vec![child.role.to_owned()],
                Each(many) => (0..many).map(|k| format!("{}/{k}", child.role)).collect(),
            };
            for (k, name) in (0..).zip(names) {
                let start = (child.factory)(self, &name, k)?;
                self.supervisor.do_send(Supervise { name: name.clone(), exhausted: child.exhausted, start });
                started.push(name);
            }
        }
        Ok(started)
    }

    /// The servers that this process depends on, as they are configured.
    pub fn dependencies(&self) -> Vec<&'static str> {
        let cache = (!self.settings.cache.url.is_empty()).then_some(CACHE);
        let objects = self.backend.is_some().then_some(OBJECTS);
        let jwks = self.gatekeeper.verifier.key_ring().is_some().then_some(JWKS);
        [Some(DATABASE), Some(BROKER), cache, objects, jwks].into_iter().flatten().collect()
    }

    /// Of an actor that waits for the database, and for others at most that long.
    fn deadline(&self, others: Duration) -> Duration {
        self.settings.supervision.deadline(self.settings.database.longest_write() + others)
    }

    fn jwks(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let ring = self.gatekeeper.verifier.key_ring().context("no key set is configured")?.clone();
        let parts = JwksParts { settings: self.settings.auth.clone(), ring, readiness: self.readiness.clone() };
        let refresh = self.gatekeeper.jwks.clone();
        let single = Single { deadline: self.settings.supervision.deadline(jwks::READ_WITHIN), ending: Stage::ends };
        Ok(single.start(name, Jwks::new, parts, move |jwks| refresh.set(jwks.clone().recipient())))
    }

    fn issuer(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = IssuerParts { settings: self.settings.clone() };
        let refs = self.gatekeeper.sessions.clone();
        let single = Single { deadline: self.settings.supervision.deadline(issuer::LONGEST), ending: Stage::ends };
        Ok(single.start(name, Issuer::new, parts, move |issuer: &Addr<Issuer>| {
            refs.authorize.set(issuer.clone().recipient());
            refs.exchange.set(issuer.clone().recipient());
        }))
    }

    fn recorder(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = RecorderParts { settings: self.settings.clone(), log: self.log.clone() };
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::drains };
        Ok(single.start(name, Recorder::new, parts, |_| {}))
    }

    fn audit(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = AuditParts { settings: self.settings.clone(), backlog: self.gatekeeper.backlog.clone() };
        let record = self.gatekeeper.audit.clone();
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::drains };
        Ok(single.start(name, Audit::new, parts, move |audit| record.set(audit.clone().recipient())))
    }

    fn keys(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = KeysParts { settings: self.settings.clone() };
        let (authenticate, refs) = (self.gatekeeper.keys.clone(), self.refs.keys.clone());
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::drains };
        Ok(single.start(name, Keys::new, parts, move |keys: &Addr<Keys>| {
            authenticate.set(keys.clone().recipient());
            refs.create.set(keys.clone().recipient());
            refs.list.set(keys.clone().recipient());
            refs.get.set(keys.clone().recipient());
            refs.revoke.set(keys.clone().recipient());
        }))
    }

    fn sessions(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = SessionsParts { settings: self.settings.clone() };
        let refs = self.gatekeeper.sessions.clone();
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::ends };
        Ok(single.start(name, Sessions::new, parts, move |sessions: &Addr<Sessions>| {
            refs.find.set(sessions.clone().recipient());
            refs.begin.set(sessions.clone().recipient());
            refs.redeem.set(sessions.clone().recipient());
            refs.end.set(sessions.clone().recipient());
        }))
    }

    fn names(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = NamesParts { settings: self.settings.clone() };
        let refs = self.refs.names.clone();
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::ends };
        Ok(single.start(name, Names::new, parts, move |names: &Addr<Names>| {
            refs.put.set(names.clone().recipient());
            refs.delete.set(names.clone().recipient());
        }))
    }

    /// With connections of its own.
    fn query(&self, name: &str, k: u32) -> anyhow::Result<Start> {
        let parts = QueryParts {
            number: k,
            reader: ReaderPlan::new(&self.settings).context("database.url")?,
            wait: self.settings.query.wait(),
            metrics: self.metrics.clone(),
        };
        let queries = self.queries.clone();
        let single = Single { deadline: self.deadline(self.settings.query.response_timeout()), ending: Stage::ends };
        Ok(single.start(name, Query::new, parts, move |query| queries.set(k, query)))
    }

    fn freshness(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let (settings, readiness, metrics) = (self.settings.clone(), self.readiness.clone(), self.metrics.clone());
        let (parts, merged) = (FreshnessParts { settings, readiness, metrics }, self.freshness.clone());
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::drains };
        Ok(single.start(name, Freshness::new, parts, move |freshness| merged.set(freshness.clone().recipient())))
    }

    fn pending_merger(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = PendingMergerParts {
            settings: self.settings.clone(),
            process: self.identity.id,
            registry: self.registry.clone(),
            metrics: self.metrics.clone(),
            freshness: self.freshness.clone(),
        };
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::ends };
        Ok(single.start(name, PendingMerger::new, parts, |_| {}))
    }

    fn stream_watcher(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let (streams, registry, metrics) = (self.streams.clone(), self.registry.clone(), self.metrics.clone());
        let parts = StreamWatcherParts { streams, registry, metrics };
        let deadline = self.settings.supervision.deadline(self.settings.broker.longest_subscribe() * 2);
        let single = Single { deadline, ending: Stage::ends };
        Ok(single.start(name, StreamWatcher::new, parts, |_| {}))
    }

    fn attributor(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = AttributorParts { settings: self.settings.clone(), metrics: self.metrics.clone() };
        let single = Single { deadline: self.deadline(maintenance::BEAT_EVERY), ending: Stage::ends };
        Ok(single.start(name, Attributor::new, parts, |_| {}))
    }

    fn lease(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let partitions = PartitionParts {
            settings: self.settings.clone(),
            streams: self.streams.clone(),
            process: self.identity.id,
            freshness: self.freshness.clone(),
            misrouted: MisroutedLog::default(),
            registry: self.registry.clone(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let parts = LeaseParts {
            settings: self.settings.clone(),
            identity: self.identity.clone(),
            supervisor: self.supervisor.clone(),
            partitions,
            threads: pipeline_threads(self.settings.broker.partitions),
        };
        let single = Single { deadline: self.deadline(Duration::ZERO), ending: Stage::drains };
        Ok(single.start(name, Lease::new, parts, |_| {}))
    }

    fn corrections(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = CorrectionsParts { settings: self.settings.clone() };
        let correct = self.refs.corrections.clone();
        let single =
            Single { deadline: self.deadline(self.settings.broker.longest_subscribe()), ending: Stage::drains };
        Ok(single.start(name, Corrections::new, parts, move |corrections| correct.set(corrections.clone().recipient())))
    }

    fn events(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = EventsParts { settings: self.settings.clone() };
        let refs = self.refs.events.clone();
        let deadline = self.deadline(self.settings.ingest.response_timeout(&self.settings.query));
        let single = Single { deadline, ending: Stage::ends };
        Ok(single.start(name, Events::new, parts, move |events: &Addr<Events>| {
            refs.check.set(events.clone().recipient());
            refs.publish.set(events.clone().recipient());
        }))
    }

    fn maintenance(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let parts = MaintenanceParts {
            settings: self.settings.clone(),
            backend: self.backend.clone(),
            process: self.identity.name.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let single = Single { deadline: self.deadline(maintenance::BEAT_EVERY), ending: Stage::ends };
        Ok(single.start(name, Maintenance::new, parts, |_| {}))
    }

    /// Takes the requests for files.
    fn exports(&self, name: &str, _: u32) -> anyhow::Result<Start> {
        let (settings, backend) = (self.settings.clone(), self.backend.clone());
        let parts = ExportsParts { settings, backend, makers: self.generators.clone() };
        let refs = self.refs.exports.clone();
        let single = Single { deadline: self.deadline(CHECK_WITHIN), ending: Stage::ends };
        Ok(single.start(name, Exports::new, parts, move |exports: &Addr<Exports>| {
            refs.create.set(exports.clone().recipient());
            refs.cancel.set(exports.clone().recipient());
            refs.link.set(exports.clone().recipient());
            refs.verify.set(exports.clone().recipient());
            refs.open.set(exports.clone().recipient());
        }))
    }

    /// Generates files.
    fn export(&self, name: &str, k: u32) -> anyhow::Result<Start> {
        let parts = WorkerParts {
            settings: self.settings.clone(),
            claimer: Claimer { process: self.identity.id, name: self.identity.name.clone() },
            backend: self.backend.clone().context("no files can be generated")?,
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let wake = self.generators.get(k as usize).cloned().unwrap_or_default();
        let deadline = self.deadline(self.settings.exports.heartbeat() + self.settings.objects.longest_call());
        let single = Single { deadline, ending: Stage::drains };
        Ok(single.start(name, Export::new, parts, move |export| wake.set(export.clone().recipient())))
    }
}

/// Three threads a partition: for receiving and decoding, for storing, for merging. Many partitions share them.
fn pipeline_threads(partitions: u16) -> Vec<Threads> {
    let sets = usize::from(partitions).clamp(1, MAX_PIPELINE_THREADS / 3);
    let thread = || Arbiter::new().handle();
    (0..sets).map(|_| Threads { intake: thread(), writer: thread(), rollup: thread() }).collect()
}

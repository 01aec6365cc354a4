//! The factories of the actors under the root: each recreates its actor whenever it has ended.

use std::time::Duration;

use actix::prelude::*;
use anyhow::Context as _;

use crate::{
    actors::{
        export_generator::{Export, Wake, generate::ExportBackend, worker::WorkerParts},
        housekeeping::{
            freshness::{Freshness, FreshnessParts, Merged},
            lease::{Lease, LeaseParts},
            maintenance::{self, Maintenance, MaintenanceParts},
            pending_merger::{PendingMerger, PendingMergerParts},
            recorder::{Recorder, RecorderParts},
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
            jwks::{self, Jwks, JwksParts, Refresh},
            keys::{Keys, KeysParts},
            query::{Query, QueryParts},
        },
        supervision::{
            actor_ref::ActorRef, exit::Drain, group::Start, log::SupervisionLog, registry::Registry, single::single,
            supervisor::Supervisor,
        },
    },
    auth::key_ring::KeyRing,
    config::Settings,
    http::{Gatekeeper, Lines, Queries},
    store::{exports::Claimer, ingest::lease::Identity, read::ReaderPlan},
    telemetry::{metrics::Metrics, readiness::Readiness},
};

/// Threads that the pipelines of all partitions share at most, beside one for each kind of work.
const MAX_PIPELINE_THREADS: usize = 48;

pub const RECORDER: &str = "recorder";
pub const JWKS: &str = "jwks";
pub const KEYS: &str = "keys";
pub const AUDIT: &str = "audit";
pub const FRESHNESS: &str = "freshness";
pub const CORRECTIONS: &str = "corrections";
pub const EVENTS: &str = "events";
pub const EXPORTS: &str = "exports";
pub const LEASE: &str = "lease";
pub const MAINTENANCE: &str = "maintenance";
pub const PENDING_MERGER: &str = "pending-merger";

/// Of an actor that makes files.
pub fn export_name(k: u16) -> String {
    format!("export/{k}")
}

pub fn query_name(k: u32) -> String {
    format!("query/{k}")
}

/// Makes the factories of the actors under the root.
pub struct Tree<'a> {
    pub settings: &'a Settings,
    pub identity: Identity,
    pub registry: Registry,
    pub log: SupervisionLog,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

impl Tree<'_> {
    /// Of an actor that waits for the database, and for others at most that long.
    fn deadline(&self, others: Duration) -> Duration {
        self.settings.supervision.deadline(self.settings.database.longest_write() + others)
    }

    pub fn recorder(&self) -> Start {
        let (settings, log) = (self.settings.clone(), self.log.clone());
        let make = move |liveness, exit| {
            Recorder::new(RecorderParts { settings: settings.clone(), log: log.clone(), liveness, exit })
        };
        single(RECORDER, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, |recorder| {
            Some(recorder.clone().recipient())
        })
    }

    pub fn audit(&self, gatekeeper: &Gatekeeper) -> Start {
        let (settings, backlog) = (self.settings.clone(), gatekeeper.backlog.clone());
        let make = move |liveness, exit| {
            let (settings, backlog) = (settings.clone(), backlog.clone());
            Audit::new(AuditParts { settings, backlog, liveness, exit })
        };
        let line = gatekeeper.audit.clone();
        single(AUDIT, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, move |audit: &Addr<Audit>| {
            line.set(audit.clone().recipient());
            Some(audit.clone().recipient())
        })
    }

    pub fn keys(&self, gatekeeper: &Gatekeeper, lines: &Lines) -> Start {
        let settings = self.settings.clone();
        let make = move |liveness, exit| {
            let settings = settings.clone();
            Keys::new(KeysParts { settings, liveness, exit })
        };
        let (authenticate, lines) = (gatekeeper.keys.clone(), lines.keys.clone());
        single(KEYS, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, move |keys: &Addr<Keys>| {
            authenticate.set(keys.clone().recipient());
            lines.create.set(keys.clone().recipient());
            lines.list.set(keys.clone().recipient());
            lines.get.set(keys.clone().recipient());
            lines.revoke.set(keys.clone().recipient());
            Some(keys.clone().recipient())
        })
    }

    pub fn jwks(&self, ring: &KeyRing, line: &ActorRef<Refresh>) -> Start {
        let (settings, ring, readiness) = (self.settings.auth.clone(), ring.clone(), self.readiness.clone());
        let make = move |liveness, exit| {
            let (settings, ring, readiness) = (settings.clone(), ring.clone(), readiness.clone());
            Jwks::new(JwksParts { settings, ring, readiness, liveness, exit })
        };
        let line = line.clone();
        let deadline = self.settings.supervision.deadline(jwks::READ_WITHIN);
        single(JWKS, deadline, Arbiter::new().handle(), make, move |jwks: &Addr<Jwks>| {
            line.set(jwks.clone().recipient());
            None::<Recipient<Drain>>
        })
    }

    pub fn freshness(&self, line: &ActorRef<Merged>) -> Start {
        let (settings, readiness, metrics) = (self.settings.clone(), self.readiness.clone(), self.metrics.clone());
        let make = move |liveness, exit| {
            let (settings, readiness, metrics) = (settings.clone(), readiness.clone(), metrics.clone());
            Freshness::new(FreshnessParts { settings, readiness, metrics, liveness, exit })
        };
        let line = line.clone();
        single(FRESHNESS, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, move |freshness| {
            line.set(freshness.clone().recipient());
            Some(freshness.clone().recipient())
        })
    }

    pub fn corrections(&self, lines: &Lines) -> Start {
        let settings = self.settings.clone();
        let make = move |liveness, exit| {
            let settings = settings.clone();
            Corrections::new(CorrectionsParts { settings, liveness, exit })
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

    pub fn events(&self, lines: &Lines) -> Start {
        let settings = self.settings.clone();
        let make = move |liveness, exit| {
            let settings = settings.clone();
            Events::new(EventsParts { settings, liveness, exit })
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
    pub fn query(&self, k: u32, queries: &Queries) -> anyhow::Result<Start> {
        let reader = ReaderPlan::new(self.settings).context("database.url")?;
        let (wait, metrics) = (self.settings.query.wait(), self.metrics.clone());
        let make = move |liveness, exit| {
            Query::new(QueryParts { reader: reader.clone(), wait, metrics: metrics.clone(), liveness, exit })
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

    /// The desk where files are asked for. `makers` lead to those that make them.
    pub fn exports(&self, backend: Option<&ExportBackend>, makers: &[ActorRef<Wake>], lines: &Lines) -> Start {
        let (settings, backend, makers) = (self.settings.clone(), backend.cloned(), makers.to_vec());
        let make = move |liveness, exit| {
            let (settings, backend, makers) = (settings.clone(), backend.clone(), makers.clone());
            Exports::new(ExportsParts { settings, backend, makers, liveness, exit })
        };
        let lines = lines.exports.clone();
        single(EXPORTS, self.deadline(CHECK_WITHIN), Arbiter::new().handle(), make, move |exports: &Addr<Exports>| {
            lines.create.set(exports.clone().recipient());
            lines.cancel.set(exports.clone().recipient());
            lines.link.set(exports.clone().recipient());
            lines.verify.set(exports.clone().recipient());
            lines.open.set(exports.clone().recipient());
            None::<Recipient<Drain>>
        })
    }

    /// An actor that makes files, on a thread of its own.
    pub fn export(&self, k: u16, backend: &ExportBackend, line: &ActorRef<Wake>) -> Start {
        let claimer = Claimer { process: self.identity.id, name: self.identity.name.clone() };
        let (settings, backend) = (self.settings.clone(), backend.clone());
        let (metrics, readiness) = (self.metrics.clone(), self.readiness.clone());
        let make = move |liveness, exit| {
            let (settings, backend, claimer) = (settings.clone(), backend.clone(), claimer.clone());
            let (metrics, readiness) = (metrics.clone(), readiness.clone());
            Export::new(WorkerParts { settings, claimer, backend, metrics, readiness }, liveness, exit)
        };
        let line = line.clone();
        let deadline = self.deadline(self.settings.exports.heartbeat() + self.settings.objects.longest_call());
        single(&export_name(k), deadline, Arbiter::new().handle(), make, move |export: &Addr<Export>| {
            line.set(export.clone().recipient());
            Some(export.clone().recipient())
        })
    }

    pub fn maintenance(&self, backend: Option<&ExportBackend>) -> Start {
        let backend = backend.cloned();
        let (settings, process, metrics) = (self.settings.clone(), self.identity.name.clone(), self.metrics.clone());
        let readiness = self.readiness.clone();
        let make = move |liveness, exit| {
            let (settings, backend) = (settings.clone(), backend.clone());
            let (process, metrics, readiness) = (process.clone(), metrics.clone(), readiness.clone());
            Maintenance::new(MaintenanceParts { settings, backend, process, metrics, readiness, liveness, exit })
        };
        let deadline = self.deadline(maintenance::BEAT_EVERY);
        single(MAINTENANCE, deadline, Arbiter::new().handle(), make, |maintenance| {
            Some(maintenance.clone().recipient())
        })
    }

    pub fn pending_merger(&self, freshness: &ActorRef<Merged>) -> Start {
        let (settings, process, registry) = (self.settings.clone(), self.identity.id, self.registry.clone());
        let (metrics, freshness) = (self.metrics.clone(), freshness.clone());
        let make = move |liveness, exit| {
            let (settings, registry) = (settings.clone(), registry.clone());
            let (metrics, freshness) = (metrics.clone(), freshness.clone());
            PendingMerger::new(PendingMergerParts { settings, process, registry, metrics, freshness, liveness, exit })
        };
        let deadline = self.deadline(Duration::ZERO);
        single(PENDING_MERGER, deadline, Arbiter::new().handle(), make, |_| None::<Recipient<Drain>>)
    }

    pub fn lease(&self, supervisor: &Addr<Supervisor>, freshness: &ActorRef<Merged>) -> Start {
        let partitions = PartitionParts {
            settings: self.settings.clone(),
            process: self.identity.id,
            freshness: freshness.clone(),
            misrouted: MisroutedLog::default(),
            registry: self.registry.clone(),
            log: self.log.clone(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let (settings, identity, supervisor) = (self.settings.clone(), self.identity.clone(), supervisor.clone());
        let threads = pipeline_threads(settings.broker.partitions);
        let make = move |liveness, exit| {
            Lease::new(LeaseParts {
                settings: settings.clone(),
                identity: identity.clone(),
                supervisor: supervisor.clone(),
                partitions: partitions.clone(),
                threads: threads.clone(),
                liveness,
                exit,
            })
        };
        single(LEASE, self.deadline(Duration::ZERO), Arbiter::new().handle(), make, |lease| {
            Some(lease.clone().recipient())
        })
    }
}

/// Three threads a partition: for receiving and decoding, for storing, for merging. Many partitions share them.
fn pipeline_threads(partitions: u16) -> Vec<Threads> {
    let sets = usize::from(partitions).clamp(1, MAX_PIPELINE_THREADS / 3);
    let thread = || Arbiter::new().handle();
    (0..sets).map(|_| Threads { intake: thread(), writer: thread(), rollup: thread() }).collect()
}

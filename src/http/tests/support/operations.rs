//! The operations port, and what operators read: supervision, partitions, the audit log.

use std::time::Duration;

use actix::Actor;
use uuid::Uuid;

use super::{Fixed, FixedResponses, LETTER, ORG, at, auth_settings, gatekeeper, settings};
use crate::{
    actors::{
        serving::{
            error::QueryError,
            query::{GetAudit, GetDataLife, GetPartitions, GetSupervision},
        },
        supervision::{
            log::SupervisionLog,
            registry::Registry,
            supervisor::{Supervisor, SupervisorParts},
        },
    },
    domain::{
        audit::{AuditPage, AuditRecord, CredentialKind, Outcome},
        console::ConsolePort,
        data_life::{DataLife, SetLife, TableSize},
        status::installation::MaintenanceRun,
        supervision::{PartitionLedger, PartitionStatus, SupervisionEvent, SupervisionKind},
    },
    http::{Console, Kept, Ops, Queries},
    telemetry::{metrics::Metrics, readiness::Readiness},
};

/// An operations port with a supervisor that looks after nothing yet, and a query actor that fails or responds.
pub fn operations(error: Option<QueryError>, drills: bool) -> Ops {
    let settings = settings();
    let (metrics, readiness, registry) = (Metrics::default(), Readiness::default(), Registry::default());
    let log = SupervisionLog::new("host/1", metrics.clone());
    let queries = Queries::default();
    queries.set(0, &FixedResponses { error }.start());
    let supervisor = Supervisor::new(SupervisorParts {
        settings: settings.supervision,
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        registry: registry.clone(),
        log: log.clone(),
        fatal: tokio::sync::mpsc::unbounded_channel().0,
    });
    Ops {
        readiness,
        metrics,
        gatekeeper: gatekeeper(&auth_settings()),
        registry,
        log,
        supervisor: supervisor.start(),
        queries,
        response_timeout: Duration::from_secs(1),
        drills,
        retention: Kept::of(&settings),
        console: Console::new(&settings, ConsolePort::Operations),
    }
}

impl Fixed for GetSupervision {
    fn response(self) -> Vec<SupervisionEvent> {
        let events = (0..self.0.limit).map(|n| SupervisionEvent {
            event_id: Uuid::from_u128(u128::try_from(1000 - n).unwrap()),
            occurred_at: at("2026-03-02T11:00:00Z"),
            process: "host/1".to_owned(),
            actor: self.0.actor.clone().unwrap_or_else(|| "writer/0".to_owned()),
            generation: 2,
            what: SupervisionKind::Failed,
            cause: Some("no luck".to_owned()),
            next_attempt_at: None,
            by_whom: None,
        });
        events.collect()
    }
}

impl Fixed for GetPartitions {
    fn response(self) -> Vec<PartitionStatus> {
        vec![PartitionStatus {
            partition: 0,
            stream: "s".to_owned(),
            incarnation: 1,
            epoch: 3,
            next_offset: 17,
            owner: Some(ORG),
            owner_name: Some("host/1".to_owned()),
            leased: true,
            watermark: None,
            lag_seconds: None,
            ledger: PartitionLedger {
                since: at("2026-03-02T11:00:00Z"),
                received: 6,
                stored: 3,
                duplicates: 2,
                rejected: 1,
            },
        }]
    }
}

impl Fixed for GetDataLife {
    fn response(self) -> DataLife {
        DataLife {
            schema_version: 7,
            postgresql: "17.12".to_owned(),
            timescaledb: "2.19.3".to_owned(),
            edition: "apache",
            engine: "live".to_owned(),
            runs: vec![MaintenanceRun {
                task: "purge".to_owned(),
                process: "host/1".to_owned(),
                started_at: at("2026-03-02T11:00:00Z"),
                finished_at: None,
                outcome: Some("failed".to_owned()),
                error: Some("no luck".to_owned()),
                last_done_at: None,
            }],
            tables: vec![TableSize { name: "usage_events".to_owned(), bytes: 8192, rows: Some(3) }],
            attribution: vec![SetLife { set: "modelId".to_owned(), complete_from: at("1970-01-01T00:00:00Z") }],
        }
    }
}

impl Fixed for GetAudit {
    /// Names the query by the one event's detail.
    fn response(self) -> AuditPage {
        let event = AuditRecord {
            id: LETTER,
            occurred_at: at("2026-03-02T11:00:00Z"),
            subject: Some("ann".to_owned()),
            credential: CredentialKind::Token,
            roles: vec!["system_admin".to_owned()],
            action: "usage.read".to_owned(),
            org_id: Some(ORG),
            target: None,
            outcome: Outcome::Allowed,
            request_id: None,
            address: None,
            detail: Some(format!("{:?}", self.0)),
            count: 1,
            first_at: None,
        };
        AuditPage { entries: vec![event], more: self.0.before.is_none() }
    }
}

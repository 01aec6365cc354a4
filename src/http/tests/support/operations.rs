//! The operations port, and what operators read: supervision, partitions, the audit log.

use std::time::Duration;

use actix::Actor;
use uuid::Uuid;

use super::{Fixed, FixedResponses, LETTER, ORG, at, auth_settings, gatekeeper, settings};
use crate::{
    actors::{
        serving::{
            error::QueryError,
            query::{GetAudit, GetPartitions, GetSupervision},
        },
        supervision::{
            log::SupervisionLog,
            registry::Registry,
            supervisor::{Supervisor, SupervisorParts},
        },
    },
    domain::{
        console::ConsolePort,
        audit::{AuditPage, AuditRecord, CredentialKind, Outcome},
        supervision::{PartitionStatus, SupervisionEvent, SupervisionKind},
    },
    http::{Console, Ops, Queries},
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
        }]
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

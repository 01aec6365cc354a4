//! A query actor with fixed responses, and an API in front of it.

mod access;
mod calls;
mod events;
pub mod exports;
mod revisions;

use std::time::Duration;

use actix::{Actor, Context, Handler};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    actors::{
        serving::{
            corrections::Correct,
            error::QueryError,
            query::{
                Execute, GetAudit, GetDeadLetter, GetEvent, GetFreshness, GetLedger, GetPartitions, GetReliability,
                GetSummary, GetSupervision, GetUsage, ListDeadLetters,
            },
        },
        supervision::{
            actor_ref::ActorRef,
            log::SupervisionLog,
            registry::Registry,
            supervisor::{Supervisor, SupervisorParts},
        },
    },
    config::Settings,
    domain::{
        audit::{self, AuditPage, AuditRecord, CredentialKind},
        correction::Outcome,
        dead_letter::{DeadLetter, DeadLetterPage, DeadLetterQuery, LetterScope, OpenedLetter, State},
        event::Reason,
        event_fate::EventFate,
        freshness::{Freshness, FreshnessStatus},
        histogram::Histogram,
        ledger::{Counts, LedgerHour, LedgerReport},
        money::Cents,
        query::{FreshnessReport, ModelFreshness, Usage, UsagePoint, UsageReport},
        reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityReport},
        summary::{OrgUsage, Summary},
        supervision::{PartitionStatus, SupervisionEvent, SupervisionKind},
    },
    http::{Api, EventsLine, KeysLine, Ops, Queries},
    telemetry::{metrics::Metrics, readiness::Readiness},
};
use events::{FixedRules, rules};

pub use access::*;
pub use calls::*;

pub const ORG: Uuid = Uuid::from_u128(0xA);
pub const OTHER_ORG: Uuid = Uuid::from_u128(0xB);
pub const MODEL: Uuid = Uuid::from_u128(0xC);
/// From here on, no org has used a model.
pub const MADE_UP_MODELS: Uuid = Uuid::from_u128(1 << 64);
pub const LETTER: Uuid = Uuid::from_u128(7);

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub fn freshness() -> Freshness {
    Freshness {
        last_event_at: Some(at("2026-03-02T10:59:58.5Z")),
        last_rollup_at: Some(at("2026-03-02T11:00:00Z")),
        lag_ms: Some(412),
        status: FreshnessStatus::Fresh,
    }
}

/// Responds to every query with one day before and one after the watermark's late threshold, or with an error.
pub struct FixedAnswers {
    pub error: Option<QueryError>,
}

impl Actor for FixedAnswers {
    type Context = Context<Self>;
}

impl Handler<Execute<GetUsage>> for FixedAnswers {
    type Result = Result<UsageReport, QueryError>;

    fn handle(
        &mut self,
        Execute { query: GetUsage(query), .. }: Execute<GetUsage>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let start = query.buckets.start();
        let point = |bucket_start, units| UsagePoint {
            bucket_start,
            model_id: query.by_model.then_some(MODEL),
            usage: Usage {
                invocations: 2,
                input_tokens: 30,
                output_tokens: 40,
                cost: Cents::from_ten_thousandths(units),
            },
        };
        Ok(UsageReport {
            series: vec![point(start, 1), point(start + TimeDelta::days(1), 15_000)],
            freshness: freshness(),
            as_of: Some(start + TimeDelta::days(1) + TimeDelta::hours(1)),
        })
    }
}

impl Handler<Execute<GetReliability>> for FixedAnswers {
    type Result = Result<ReliabilityReport, QueryError>;

    /// One bucket with one of each outcome, and one with a slow success.
    fn handle(
        &mut self,
        Execute { query: GetReliability(query), .. }: Execute<GetReliability>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let key = match query.by {
            Dimension::None => Key::None,
            Dimension::Model => Key::Model(MODEL),
            Dimension::Client => Key::Client(Some("web".to_owned())),
            Dimension::ErrorCode => Key::ErrorCode(None),
        };
        let point = |bucket_start, by_status, latencies: &[u32]| {
            let mut latency = Histogram::default();
            latencies.iter().for_each(|ms| latency.record(*ms));
            ReliabilityPoint { bucket_start, key: key.clone(), outcomes: Outcomes { by_status, latency } }
        };
        let start = query.buckets.start();
        let slow = point(start + TimeDelta::days(1), [1, 0, 0, 0], &[40]);
        let series = vec![point(start, [1, 1, 1, 1], &[10, 20, 20, 30]), slow];
        Ok(ReliabilityReport { series, freshness: freshness(), as_of: Some(start) })
    }
}

impl Handler<Execute<GetLedger>> for FixedAnswers {
    type Result = Result<LedgerReport, QueryError>;

    fn handle(
        &mut self,
        Execute { query: GetLedger(query), .. }: Execute<GetLedger>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let counts = Counts { received: 10, stored: 7, duplicates: 2, conflicts: 1, rejected: 1, late: 3 };
        let hours = vec![LedgerHour { hour: query.hours.start(), counts }; 2];
        Ok(LedgerReport { hours, freshness: freshness(), as_of: Some(query.hours.end()), unread_since: None })
    }
}

impl Handler<Execute<GetSummary>> for FixedAnswers {
    type Result = Result<Summary, QueryError>;

    fn handle(
        &mut self,
        Execute { query: GetSummary(query), .. }: Execute<GetSummary>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let usage =
            Usage { invocations: 2, input_tokens: 30, output_tokens: 40, cost: Cents::from_ten_thousandths(15_000) };
        let org_id = if query.after == Some(ORG) { OTHER_ORG } else { ORG };
        let more = query.after.is_none();
        Ok(Summary { orgs: vec![OrgUsage { org_id, usage }], more, orgs_in_all: 2, totals: usage, as_of: None })
    }
}

impl Handler<Execute<GetFreshness>> for FixedAnswers {
    type Result = Result<FreshnessReport, QueryError>;

    /// Every model is known but those that are made up.
    fn handle(&mut self, Execute { query, .. }: Execute<GetFreshness>, _: &mut Self::Context) -> Self::Result {
        let known = |model_id: &Uuid| *model_id < MADE_UP_MODELS;
        let asked: Vec<Uuid> = query.models.into_iter().filter(known).collect();
        let entry = |model_id| ModelFreshness { model_id, freshness: freshness() };
        let models = if asked.is_empty() { vec![MODEL] } else { asked };
        match self.error {
            Some(error) => Err(error),
            None => Ok(FreshnessReport { org: freshness(), models: models.into_iter().map(entry).collect() }),
        }
    }
}

impl Handler<Execute<GetSupervision>> for FixedAnswers {
    type Result = Result<Vec<SupervisionEvent>, QueryError>;

    fn handle(
        &mut self,
        Execute { query: GetSupervision(query), .. }: Execute<GetSupervision>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let events = (0..query.limit).map(|n| SupervisionEvent {
            event_id: Uuid::from_u128(u128::try_from(1000 - n).unwrap()),
            occurred_at: at("2026-03-02T11:00:00Z"),
            process: "host/1".to_owned(),
            actor: query.actor.clone().unwrap_or_else(|| "writer/0".to_owned()),
            generation: 2,
            what: SupervisionKind::Failed,
            cause: Some("no luck".to_owned()),
            next_attempt_at: None,
            by_whom: None,
        });
        Ok(events.collect())
    }
}

impl Handler<Execute<GetPartitions>> for FixedAnswers {
    type Result = Result<Vec<PartitionStatus>, QueryError>;

    fn handle(&mut self, _: Execute<GetPartitions>, _: &mut Self::Context) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        Ok(vec![PartitionStatus {
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
        }])
    }
}

/// An operations port with a supervisor that looks after nothing yet, and a query actor that fails or answers.
pub fn operations(error: Option<QueryError>, drills: bool) -> Ops {
    let settings = Settings::from_variables([].into()).unwrap();
    let (metrics, readiness, registry) = (Metrics::default(), Readiness::default(), Registry::default());
    let log = SupervisionLog::new("host/1", metrics.clone());
    let queries = Queries::default();
    queries.set(0, &FixedAnswers { error }.start());
    let parts = SupervisorParts {
        settings: settings.supervision,
        log: log.clone(),
        registry: registry.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        fatal: tokio::sync::mpsc::unbounded_channel().0,
    };
    Ops {
        readiness,
        metrics,
        gatekeeper: gatekeeper(&auth_settings()),
        registry,
        log,
        supervisor: Supervisor::new(parts).start(),
        queries,
        answer_within: Duration::from_secs(1),
        drills,
    }
}

impl Handler<Execute<ListDeadLetters>> for FixedAnswers {
    type Result = Result<DeadLetterPage, QueryError>;

    /// Names the query by what the one letter was rejected for.
    fn handle(
        &mut self,
        Execute { query: ListDeadLetters(query), .. }: Execute<ListDeadLetters>,
        _: &mut Self::Context,
    ) -> Self::Result {
        match self.error {
            Some(error) => Err(error),
            None => Ok(DeadLetterPage { entries: vec![letter(&query)], more: query.before.is_none() }),
        }
    }
}

impl Handler<Execute<GetDeadLetter>> for FixedAnswers {
    type Result = Result<Option<OpenedLetter>, QueryError>;

    /// There is this one, and no other.
    fn handle(
        &mut self,
        Execute { query: GetDeadLetter { id, .. }, .. }: Execute<GetDeadLetter>,
        _: &mut Self::Context,
    ) -> Self::Result {
        Ok((id == LETTER).then(|| OpenedLetter {
            letter: letter(&DEFAULT_QUERY),
            payload: b"{".to_vec().into(),
            payload_truncated: false,
            correction: None,
        }))
    }
}

impl Handler<Execute<GetEvent>> for FixedAnswers {
    type Result = Result<EventFate, QueryError>;

    /// Nothing is known of it.
    fn handle(&mut self, _: Execute<GetEvent>, _: &mut Self::Context) -> Self::Result {
        match self.error {
            Some(error) => Err(error),
            None => Ok(EventFate {
                stored: vec![],
                duplicates: None,
                rejections: vec![],
                raw_from: None,
                freshness: freshness(),
                as_of: None,
            }),
        }
    }
}

impl Handler<Execute<GetAudit>> for FixedAnswers {
    type Result = Result<AuditPage, QueryError>;

    /// Names the query by the one event's detail.
    fn handle(
        &mut self,
        Execute { query: GetAudit(query), .. }: Execute<GetAudit>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let event = AuditRecord {
            id: LETTER,
            occurred_at: at("2026-03-02T11:00:00Z"),
            subject: Some("ann".to_owned()),
            credential: CredentialKind::Token,
            roles: vec!["system_admin".to_owned()],
            action: "usage.read".to_owned(),
            org_id: Some(ORG),
            target: None,
            outcome: audit::Outcome::Allowed,
            request_id: None,
            address: None,
            detail: Some(format!("{query:?}")),
            count: 1,
            first_at: None,
        };
        Ok(AuditPage { entries: vec![event], more: query.before.is_none() })
    }
}

impl Handler<Correct> for FixedAnswers {
    type Result = Result<Outcome, QueryError>;

    /// It takes the body `ours`, from ann.
    fn handle(&mut self, correct: Correct, _: &mut Self::Context) -> Self::Result {
        let reason = |field, rule: &str| Reason { field, rule: rule.to_owned() };
        match (self.error, correct.dead_letter_id == LETTER, correct.body.as_slice()) {
            (Some(error), ..) => Err(error),
            (None, true, b"ours") if correct.by == "ann" && correct.org_id == ORG => {
                Ok(Outcome::Accepted { state: State::Corrected, event_id: MODEL })
            }
            (None, true, b"wrong") => {
                Ok(Outcome::Wrong(vec![reason("status", "is required"), reason("orgId", "is required")]))
            }
            (None, true, _) => Ok(Outcome::AlreadyCorrected),
            _ => Ok(Outcome::NotFound),
        }
    }
}

const DEFAULT_QUERY: DeadLetterQuery = DeadLetterQuery {
    whose: LetterScope::Org(ORG),
    start: None,
    end: None,
    state: None,
    event_id: None,
    reason: None,
    before: None,
    limit: 50,
};

fn letter(query: &DeadLetterQuery) -> DeadLetter {
    DeadLetter {
        id: LETTER,
        org_id: Some(ORG),
        origin: None,
        rejected_at: at("2026-03-02T11:00:00Z"),
        reasons: vec![format!("{query:?}")],
        payload_bytes: 1,
        payload_sha256: vec![0xab],
        state: State::Open,
        corrected_by: None,
        corrected_at: None,
        replayed_at: None,
    }
}

/// An API whose query actor fails with `error`, or answers.
pub fn api_with(error: Option<QueryError>) -> Api {
    let queries = Queries::default();
    let actor = FixedAnswers { error }.start();
    queries.set(0, &actor);
    let corrections = ActorRef::default();
    corrections.set(actor.recipient());
    let events = EventsLine { answer_within: Duration::from_secs(5), ..EventsLine::default() };
    let checker = FixedRules.start();
    events.check.set(checker.clone().recipient());
    events.publish.set(checker.recipient());
    let keys = KeysLine::default();
    let keeper = FixedKeys { error }.start();
    keys.create.set(keeper.clone().recipient());
    keys.list.set(keeper.clone().recipient());
    keys.get.set(keeper.clone().recipient());
    keys.revoke.set(keeper.recipient());
    Api {
        gatekeeper: gatekeeper(&auth_settings()),
        queries,
        corrections,
        events,
        keys,
        exports: exports::desk(error, false),
        late_after: TimeDelta::hours(1),
        answer_within: Duration::from_secs(5),
        metrics: Metrics::default(),
        max_body_bytes: 1024,
        body_within: Duration::from_secs(5),
        cors_origins: vec!["https://dashboards.example.org".to_owned()],
    }
}

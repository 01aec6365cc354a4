//! A query actor that answers what it is told to, and an API in front of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler, MessageResult};
use actix_web::{
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, StatusCode, header::HeaderMap},
    test, web,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    actors::{
        audit::{NotRecorded, Record, Refusals},
        corrections::Correct,
        events::{Check, NotPublished, Publish},
        keys::{Authenticate, Create, GetKey, ListKeys, Revoke},
        query::{
            Ask, GetAudit, GetDeadLetter, GetFreshness, GetLedger, GetPartitions, GetReliability, GetSummary,
            GetSupervision, GetUsage, ListDeadLetters, QueryError,
        },
        supervision::{
            line::Line,
            log::SupervisionLog,
            registry::Registry,
            supervisor::{Supervisor, SupervisorParts},
        },
    },
    auth::{self, Caller, Credential, PresentedKey, Role, Verifier},
    config::{Auth, Secret, Settings},
    domain::{
        api_key::{ApiKey, ApiKeyPage, Holder, KeyRole, KeyState, NewApiKey},
        audit::{self, AuditEvent, AuditPage, AuditRecord, CredentialKind},
        correction::Outcome,
        dead_letter::{DeadLetter, DeadLetterPage, DeadLetterQuery, OpenedLetter, State, Whose},
        event::{Reason, Rules},
        freshness::{Freshness, FreshnessStatus},
        histogram::Histogram,
        ledger::{Counts, LedgerHour, LedgerReport},
        money::Cents,
        query::{FreshnessReport, ModelFreshness, Usage, UsagePoint, UsageReport},
        reliability::{Dimension, Key, Outcomes, ReliabilityPoint, ReliabilityReport},
        submission::{Judgement, judge},
        summary::{OrgUsage, Summary},
        supervision::{PartitionStatus, SupervisionEvent, What},
    },
    http::{Api, EventsLine, Gatekeeper, KeysLine, Ops, Queries, api, client_address::TrustedProxies, limits::Limits},
    telemetry::{metrics::Metrics, readiness::Readiness},
};

pub const ORG: Uuid = Uuid::from_u128(0xA);
pub const OTHER_ORG: Uuid = Uuid::from_u128(0xB);
pub const MODEL: Uuid = Uuid::from_u128(0xC);
pub const LETTER: Uuid = Uuid::from_u128(7);
pub const SECRET: &str = "a secret of the tests, thirty-two bytes or more";

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub fn auth_settings() -> Auth {
    Auth {
        hs256_secret: Secret::new(SECRET),
        issuer: "issuer".into(),
        audience: "audience".into(),
        jwks_stale_seconds: 60,
        ..Auth::default()
    }
}

/// Takes down what is to be recorded, where it is not told that it cannot.
#[derive(Clone, Default)]
pub struct Books {
    pub events: Arc<Mutex<Vec<AuditEvent>>>,
    pub away: bool,
}

impl Actor for Books {
    type Context = Context<Self>;
}

impl Handler<Record> for Books {
    type Result = Result<(), NotRecorded>;

    fn handle(&mut self, Record(events): Record, _: &mut Self::Context) -> Self::Result {
        if self.away {
            return Err(NotRecorded);
        }
        self.events.lock().unwrap().extend(events);
        Ok(())
    }
}

impl Books {
    /// What was taken down since.
    pub fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// An API whose audit log this is, and the refusals that wait to be recorded.
    pub fn of(&self, api: Api) -> (Api, Refusals) {
        api.gatekeeper.audit.set(self.clone().start().recipient());
        let refusals = api.gatekeeper.refusals.clone();
        (api, refusals)
    }
}

/// Has one key, [`KEY`], of [`ORG`]; its secret is all zeros, its role the name of the role.
pub struct FixedKeys {
    pub error: Option<QueryError>,
}

pub const KEY: Uuid = Uuid::from_u128(0x1E);

/// The key as it is shown.
pub fn key_text() -> String {
    format!("ak_{}_{}", KEY.simple(), "A".repeat(43))
}

impl Actor for FixedKeys {
    type Context = Context<Self>;
}

impl Handler<Authenticate> for FixedKeys {
    type Result = Result<Option<Holder>, QueryError>;

    fn handle(&mut self, Authenticate(shown): Authenticate, _: &mut Self::Context) -> Self::Result {
        let ours = PresentedKey::read(&key_text()).unwrap();
        let valid = shown.key_id == ours.key_id && shown.secret_sha256 == ours.secret_sha256;
        self.error.map_or(Ok(valid.then_some(Holder { org_id: ORG, role: KeyRole::OrgViewer })), Err)
    }
}

fn api_key(id: Uuid, name: &str, state: KeyState) -> ApiKey {
    ApiKey {
        id,
        org_id: ORG,
        name: name.to_owned(),
        role: KeyRole::OrgViewer,
        state,
        created_at: at("2026-03-02T11:00:00Z"),
        created_by: "ann".to_owned(),
        expires_at: None,
        revoked_at: None,
        revoked_by: None,
        last_used_at: None,
    }
}

impl Handler<Create> for FixedKeys {
    type Result = Result<Result<ApiKey, Vec<Reason>>, QueryError>;

    fn handle(&mut self, create: Create, _: &mut Self::Context) -> Self::Result {
        let made = NewApiKey::read(&create.body, rules().now);
        self.error.map_or(Ok(made.map(|key| api_key(create.key_id, &key.name, KeyState::Active))), Err)
    }
}

impl Handler<ListKeys> for FixedKeys {
    type Result = Result<ApiKeyPage, QueryError>;

    /// Names the query by the one key's name.
    fn handle(&mut self, list: ListKeys, _: &mut Self::Context) -> Self::Result {
        let name = format!("{:?} {:?} {}", list.org_id, list.before, list.limit);
        let keys = vec![api_key(KEY, &name, KeyState::Active)];
        self.error.map_or(Ok(ApiKeyPage { keys, more: list.before.is_none() }), Err)
    }
}

impl Handler<GetKey> for FixedKeys {
    type Result = Result<Option<ApiKey>, QueryError>;

    fn handle(&mut self, GetKey { key_id, .. }: GetKey, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((key_id == KEY).then(|| api_key(KEY, "dashboard", KeyState::Active))), Err)
    }
}

impl Handler<Revoke> for FixedKeys {
    type Result = Result<Option<ApiKey>, QueryError>;

    fn handle(&mut self, Revoke { key_id, .. }: Revoke, _: &mut Self::Context) -> Self::Result {
        self.error.map_or(Ok((key_id == KEY).then(|| api_key(KEY, "dashboard", KeyState::Revoked))), Err)
    }
}

pub fn gatekeeper(settings: &Auth) -> Gatekeeper {
    let (audit, keys) = (Line::default(), Line::default());
    audit.set(Books::default().start().recipient());
    keys.set(FixedKeys { error: None }.start().recipient());
    Gatekeeper {
        verifier: Verifier::new(settings),
        proxies: TrustedProxies::default(),
        limits: Limits::default(),
        refusals: Refusals::new(Metrics::default()),
        jwks: Line::default(),
        keys,
        audit,
    }
}

pub fn token(role: Role) -> String {
    let caller = Caller { subject: "ann".into(), org_ids: vec![ORG], roles: vec![role], credential: Credential::Token };
    auth::issue(&auth_settings(), &caller, Duration::from_secs(60)).unwrap()
}

pub fn freshness() -> Freshness {
    Freshness {
        last_event_at: Some(at("2026-03-02T10:59:58.5Z")),
        last_rollup_at: Some(at("2026-03-02T11:00:00Z")),
        lag_ms: Some(412),
        status: FreshnessStatus::Fresh,
    }
}

/// Answers every question with one day before and one after the watermark's late threshold, or with an error.
pub struct FixedAnswers {
    pub error: Option<QueryError>,
}

impl Actor for FixedAnswers {
    type Context = Context<Self>;
}

impl Handler<Ask<GetUsage>> for FixedAnswers {
    type Result = Result<UsageReport, QueryError>;

    fn handle(&mut self, Ask { question: GetUsage(query), .. }: Ask<GetUsage>, _: &mut Self::Context) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let start = query.buckets.start();
        let point = |bucket_start, units| UsagePoint {
            bucket_start,
            model_id: query.by_model.then_some(MODEL),
            usage: Usage { invocations: 2, input_tokens: 30, output_tokens: 40, cost: Cents::from_units(units) },
        };
        Ok(UsageReport {
            series: vec![point(start, 1), point(start + TimeDelta::days(1), 15_000)],
            freshness: freshness(),
            as_of: Some(start + TimeDelta::days(1) + TimeDelta::hours(1)),
        })
    }
}

impl Handler<Ask<GetReliability>> for FixedAnswers {
    type Result = Result<ReliabilityReport, QueryError>;

    /// One bucket with one of each outcome, and one with a slow success.
    fn handle(
        &mut self,
        Ask { question: GetReliability(query), .. }: Ask<GetReliability>,
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

impl Handler<Ask<GetLedger>> for FixedAnswers {
    type Result = Result<LedgerReport, QueryError>;

    fn handle(
        &mut self,
        Ask { question: GetLedger(query), .. }: Ask<GetLedger>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let counts = Counts { received: 10, stored: 7, duplicates: 2, conflicts: 1, rejected: 1, late: 3 };
        let hours = vec![LedgerHour { hour: query.hours.start(), counts }; 2];
        Ok(LedgerReport { hours, freshness: freshness(), as_of: Some(query.hours.end()) })
    }
}

impl Handler<Ask<GetSummary>> for FixedAnswers {
    type Result = Result<Summary, QueryError>;

    fn handle(
        &mut self,
        Ask { question: GetSummary(query), .. }: Ask<GetSummary>,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(error) = self.error {
            return Err(error);
        }
        let usage = Usage { invocations: 2, input_tokens: 30, output_tokens: 40, cost: Cents::from_units(15_000) };
        let org_id = if query.after == Some(ORG) { OTHER_ORG } else { ORG };
        let more = query.after.is_none();
        Ok(Summary { orgs: vec![OrgUsage { org_id, usage }], more, orgs_in_all: 2, totals: usage, as_of: None })
    }
}

impl Handler<Ask<GetFreshness>> for FixedAnswers {
    type Result = Result<FreshnessReport, QueryError>;

    fn handle(&mut self, _: Ask<GetFreshness>, _: &mut Self::Context) -> Self::Result {
        match self.error {
            Some(error) => Err(error),
            None => Ok(FreshnessReport {
                org: freshness(),
                models: vec![ModelFreshness { model_id: MODEL, freshness: freshness() }],
            }),
        }
    }
}

impl Handler<Ask<GetSupervision>> for FixedAnswers {
    type Result = Result<Vec<SupervisionEvent>, QueryError>;

    fn handle(
        &mut self,
        Ask { question: GetSupervision(query), .. }: Ask<GetSupervision>,
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
            what: What::Failed,
            cause: Some("no luck".to_owned()),
            next_attempt_at: None,
            by_whom: None,
        });
        Ok(events.collect())
    }
}

impl Handler<Ask<GetPartitions>> for FixedAnswers {
    type Result = Result<Vec<PartitionStatus>, QueryError>;

    fn handle(&mut self, _: Ask<GetPartitions>, _: &mut Self::Context) -> Self::Result {
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

impl Handler<Ask<ListDeadLetters>> for FixedAnswers {
    type Result = Result<DeadLetterPage, QueryError>;

    /// Names the query by what the one letter was rejected for.
    fn handle(
        &mut self,
        Ask { question: ListDeadLetters(query), .. }: Ask<ListDeadLetters>,
        _: &mut Self::Context,
    ) -> Self::Result {
        match self.error {
            Some(error) => Err(error),
            None => Ok(DeadLetterPage { letters: vec![letter(&query)], more: query.before.is_none() }),
        }
    }
}

impl Handler<Ask<GetDeadLetter>> for FixedAnswers {
    type Result = Result<Option<OpenedLetter>, QueryError>;

    /// There is this one, and no other.
    fn handle(
        &mut self,
        Ask { question: GetDeadLetter { id, .. }, .. }: Ask<GetDeadLetter>,
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

impl Handler<Ask<GetAudit>> for FixedAnswers {
    type Result = Result<AuditPage, QueryError>;

    /// Names the query by the one event's detail.
    fn handle(&mut self, Ask { question: GetAudit(query), .. }: Ask<GetAudit>, _: &mut Self::Context) -> Self::Result {
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
        };
        Ok(AuditPage { events: vec![event], more: query.before.is_none() })
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

/// Judges events as at one moment, and takes those of [`ORG`] alone.
struct FixedRules;

impl Actor for FixedRules {
    type Context = Context<Self>;
}

const fn rules() -> Rules {
    let now = DateTime::from_timestamp(1_772_452_800, 0).unwrap();
    Rules { now, max_ahead: TimeDelta::minutes(5), retention: TimeDelta::days(400) }
}

impl Handler<Check> for FixedRules {
    type Result = MessageResult<Check>;

    fn handle(&mut self, Check(body): Check, _: &mut Self::Context) -> Self::Result {
        MessageResult(judge(&body, &rules()))
    }
}

impl Handler<Publish> for FixedRules {
    type Result = Result<Vec<Judgement>, NotPublished>;

    fn handle(&mut self, Publish(bodies): Publish, _: &mut Self::Context) -> Self::Result {
        if bodies.len() == 7 {
            return Err(NotPublished::Off);
        }
        Ok(bodies.iter().map(|body| judge(body, &rules())).collect())
    }
}

const DEFAULT_QUERY: DeadLetterQuery =
    DeadLetterQuery { whose: Whose::Org(ORG), start: None, end: None, state: None, before: None, limit: 50 };

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
    let corrections = Line::default();
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
        late_after: TimeDelta::hours(1),
        answer_within: Duration::from_secs(5),
        metrics: Metrics::default(),
        max_body_bytes: 1024,
        cors_origins: vec!["https://dashboards.example.org".to_owned()],
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that this is a well-formed problem of that status, and gives it.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("/problems/"), "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"));
        assert_eq!(problem["instance"], format!("/requests/{}", self.header("x-request-id").unwrap()));
        problem
    }

    /// The fields that a 400 names, in order.
    pub fn wrong_fields(&self) -> Vec<String> {
        let problem = self.problem(400);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors in {problem}"));
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request to an API, with headers.
pub async fn call(state: Api, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    call_with(state, method, path, headers, "").await
}

/// The same with a body.
pub async fn call_with(state: Api, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let app = test::init_service(api(web::Data::new(state))).await;
    let mut request = test::TestRequest::default().method(method).uri(path);
    if !body.is_empty() {
        request = request.set_payload(body.to_owned());
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.append_header(("content-type", "application/json"));
        }
    }
    for (name, value) in headers {
        request = request.append_header((*name, *value));
    }
    read(test::call_service(&app, request.to_request()).await).await
}

pub async fn read(response: ServiceResponse<impl MessageBody>) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = test::read_body(response).await;
    Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

/// A GET by a viewer of [`ORG`].
pub async fn get(path: &str) -> Answer {
    let bearer = format!("Bearer {}", token(Role::OrgViewer));
    call(api_with(None), Method::GET, path, &[("authorization", &bearer)]).await
}

pub fn usage_path(query: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/usage?{query}")
}

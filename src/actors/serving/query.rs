//! Query: runs the API's queries from the rollups and the dead letters.
//! In: Execute, with any of the queries below, from http. Out: the response.
//! Failure: database away → Unavailable at once to each caller, and the next query tries again; it never restarts
//!          for that. A value that cannot be → Broken.
//! Bound: one permit a connection, QUEUE queries waiting for one, each for at most query.wait_ms; an org has a share
//!        of both.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::{
    admission::{Admission, Tenant},
    error::{QueryError, refuse},
};
use crate::{
    actors::supervision::vitals::{Vitals, supervised},
    domain::{
        attribution::{AttributionQuery, AttributionReport, NoSet, Ranked, Ranking, SetStatus, ValuesQuery},
        audit::{AuditPage, AuditQuery},
        calendar::Granularity,
        data_life::DataLife,
        dead_letter::{DeadLetterPage, DeadLetterQuery, LetterScope, OpenedLetter},
        event_fate::{EventFate, FateQuery},
        export::{ExportJob, ExportPage, ExportQuery},
        ledger::{LedgerQuery, LedgerReport},
        names::{Name, NamePage, NamePlace, Named, NamesOf, NamesQuery},
        query::{FreshnessReport, UsageQuery, UsageReport},
        reliability::{ReliabilityQuery, ReliabilityReport},
        revision::{RevisionPage, RevisionQuery},
        summary::{Summary, SummaryQuery},
        supervision::{LogQuery, PartitionStatus, SupervisionEvent},
        trace,
    },
    store::{
        read::{self, ReadError, Reader, ReaderPlan},
        step::step,
    },
    telemetry::{
        metrics::{Metrics, PoolUse},
        traces::spans,
    },
};

/// Most rows of one response.
pub const MAX_ROWS: usize = read::MAX_ROWS;

/// Queries that may wait for a permit; one more is refused as busy. A query is a few hundred bytes,
/// and what waits longer than query.wait_ms is turned away anyway.
const QUEUE: usize = 256;

/// What a query actor is made from.
#[derive(Clone)]
pub struct QueryParts {
    /// Its number among the query actors.
    pub number: u32,
    pub reader: ReaderPlan,
    /// Longest wait for a permit.
    pub wait: Duration,
    pub metrics: Metrics,
}

pub struct Query {
    reader: Reader,
    admission: Admission,
    vitals: Vitals,
}

impl Query {
    /// Makes its connection pool, so it must be called on the arbiter where the actor will run.
    pub fn new(parts: QueryParts, vitals: Vitals) -> Self {
        let permits = usize::try_from(parts.reader.connections()).unwrap_or(1);
        let admission = Admission::new(permits, QUEUE, parts.wait, parts.metrics.clone());
        let reader = parts.reader.open();
        let pool = reader.clone();
        parts.metrics.watch_pool(parts.number, move || {
            let (used, idle) = pool.connections();
            PoolUse { used, idle }
        });
        Self { reader, admission, vitals }
    }
}

supervised!(Query);

impl Actor for Query {
    type Context = Context<Self>;
}

/// What can be read.
pub trait ReadQuery: Send + 'static {
    type Response: Send + 'static;

    /// Whose share of the connections it takes; none: it is about several orgs, or none.
    fn tenant(&self) -> Tenant;

    fn read(self, reader: Reader) -> impl Future<Output = Result<Self::Response, ReadError>>;
}

/// A query, and whether its client still waits for the response.
pub struct Execute<Q> {
    pub query: Q,
    /// The other end is dropped with the request that the query is for.
    pub gone: oneshot::Receiver<Infallible>,
    /// The request's.
    pub span: Span,
}

impl<Q: ReadQuery> Message for Execute<Q> {
    type Result = Result<Q::Response, QueryError>;
}

impl<Q: ReadQuery> Handler<Execute<Q>> for Query {
    type Result = ResponseFuture<Result<Q::Response, QueryError>>;

    /// Runs beside the other queries: the actor itself is free for the next one at once.
    fn handle(&mut self, Execute { query, gone, span }: Execute<Q>, _: &mut Self::Context) -> Self::Result {
        let (admission, reader, working) = (self.admission.clone(), self.reader.clone(), self.vitals.work());
        let report = async move {
            let _working = working;
            let _admitted = admission.enter(query.tenant()).await?;
            let began = Instant::now();
            let step = step!(trace::span::QUERY);
            query.read(reader).instrument(step.clone()).await.map_err(|error| {
                spans::failed(&step, "query");
                let after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::warn_span!("query", after_ms).in_scope(|| refuse(&error, "a query failed"))
            })
        };
        let unless_gone = async move {
            tokio::select! {
                report = report => report,
                // No client is left to receive it. The statement ends with the connection, and the permit is the next one's.
                _ = gone => Err(QueryError::Busy),
            }
        };
        Box::pin(unless_gone.instrument(span))
    }
}

/// Declares queries of one value each: what is read, the reader's method for it, and the tenant.
macro_rules! read_queries {
    ($($(#[$about:meta])* struct $Query:ident($Of:ty) -> $Response:ty: $read:ident, $tenant:expr;)+) => {$(
        $(#[$about])*
        pub struct $Query(pub $Of);

        impl ReadQuery for $Query {
            type Response = $Response;

            fn tenant(&self) -> Tenant {
                let of: fn(&$Of) -> Tenant = $tenant;
                of(&self.0)
            }

            async fn read(self, reader: Reader) -> Result<$Response, ReadError> {
                reader.$read(&self.0).await
            }
        }
    )+};
}

read_queries! {
    /// The sets that there are where none serves the filters.
    struct GetUsage(UsageQuery) -> Result<UsageReport, NoSet>: usage, |query| Some(query.org_id);
    struct GetReliability(ReliabilityQuery) -> ReliabilityReport: reliability, |query| Some(query.org_id);
    struct GetLedger(LedgerQuery) -> LedgerReport: ledger, |query| Some(query.org_id);
    /// A page of an org's revisions.
    struct GetRevisions(RevisionQuery) -> RevisionPage: revisions, |query| Some(query.org_id);
    struct GetSummary(SummaryQuery) -> Summary: summary, |_| None;
    /// A page of the audit log.
    #[derive(Clone, Debug)]
    struct GetAudit(AuditQuery) -> AuditPage: audit, |_| None;
    struct ListDeadLetters(DeadLetterQuery) -> DeadLetterPage: dead_letters, |query| query.whose.org_id();
    /// What became of an event.
    struct GetEvent(FateQuery) -> EventFate: event, |query| Some(query.org_id);
    /// A page of an org's names.
    struct ListNames(NamesQuery) -> NamePage: names, |query| Some(query.org_id);
    /// None: it has no name.
    struct GetName(Named) -> Option<Name>: name, |of| Some(of.org_id);
    /// Those of the things that have one.
    struct GetNamesOf(NamesOf) -> BTreeMap<NamePlace, String>: names_of, |of| Some(of.org_id);
    /// A page of an org's exports.
    struct ListExports(ExportQuery) -> ExportPage: exports, |query| Some(query.org_id);
    /// A page of the supervision log.
    struct GetSupervision(LogQuery) -> Vec<SupervisionEvent>: supervision, |_| None;
}

/// A page of groups, with their series where there are buckets.
pub struct GetAttribution {
    pub query: AttributionQuery,
    pub ranking: Ranking,
}

impl ReadQuery for GetAttribution {
    type Response = Result<AttributionReport, NoSet>;

    fn tenant(&self) -> Tenant {
        Some(self.query.org_id)
    }

    async fn read(self, reader: Reader) -> Result<Result<AttributionReport, NoSet>, ReadError> {
        let Self { query, ranking } = self;
        let mut ranked = Ranked::default();
        let found = reader.attribution(&query, |totals| {
            ranked = Ranked::of(totals, &ranking);
            if query.buckets.granularity == Granularity::None { Vec::new() } else { ranked.places() }
        });
        let found = match found.await? {
            Ok(found) => found,
            Err(no_set) => return Ok(Err(no_set)),
        };
        if found.series.iter().map(Vec::len).sum::<usize>() > MAX_ROWS {
            return Err(ReadError::TooLarge);
        }
        let (series, freshness, as_of) = (found.series, found.freshness, found.as_of);
        Ok(Ok(AttributionReport { ranked, series, freshness, as_of }))
    }
}

/// The combinations that attribution has.
pub struct GetAttributionSets {
    pub org_id: Uuid,
}

impl ReadQuery for GetAttributionSets {
    type Response = Vec<SetStatus>;

    fn tenant(&self) -> Tenant {
        Some(self.org_id)
    }

    async fn read(self, reader: Reader) -> Result<Vec<SetStatus>, ReadError> {
        reader.attribution_sets(self.org_id).await
    }
}

/// Values of a dimension: one more than the limit shows that there are more.
pub struct GetAttributionValues(pub ValuesQuery);

impl ReadQuery for GetAttributionValues {
    type Response = Vec<String>;

    fn tenant(&self) -> Tenant {
        Some(self.0.org_id)
    }

    async fn read(self, reader: Reader) -> Result<Vec<String>, ReadError> {
        let ValuesQuery { org_id, dimension, prefix, limit } = self.0;
        reader.attribution_values(org_id, &dimension, &prefix, i64::from(limit) + 1).await
    }
}

pub struct GetFreshness {
    pub org_id: Uuid,
    /// Empty: all.
    pub models: Vec<Uuid>,
}

impl ReadQuery for GetFreshness {
    type Response = FreshnessReport;

    fn tenant(&self) -> Tenant {
        Some(self.org_id)
    }

    async fn read(self, reader: Reader) -> Result<FreshnessReport, ReadError> {
        reader.freshness(self.org_id, &self.models).await
    }
}

/// None: there is no such letter, or it belongs to another org.
pub struct GetDeadLetter {
    pub whose: LetterScope,
    pub id: Uuid,
}

impl ReadQuery for GetDeadLetter {
    type Response = Option<OpenedLetter>;

    fn tenant(&self) -> Tenant {
        self.whose.org_id()
    }

    async fn read(self, reader: Reader) -> Result<Option<OpenedLetter>, ReadError> {
        reader.dead_letter(self.whose, self.id).await
    }
}

/// None: the org has no such export.
pub struct GetExport {
    pub org_id: Uuid,
    pub job_id: Uuid,
}

impl ReadQuery for GetExport {
    type Response = Option<ExportJob>;

    fn tenant(&self) -> Tenant {
        Some(self.org_id)
    }

    async fn read(self, reader: Reader) -> Result<Option<ExportJob>, ReadError> {
        reader.export(self.org_id, self.job_id).await
    }
}

/// What keeps the data, how large it is, and what was done to it last.
pub struct GetDataLife;

impl ReadQuery for GetDataLife {
    type Response = DataLife;

    fn tenant(&self) -> Tenant {
        None
    }

    async fn read(self, reader: Reader) -> Result<DataLife, ReadError> {
        reader.data_life().await
    }
}

/// Who works on which partition, and how far it is.
pub struct GetPartitions;

impl ReadQuery for GetPartitions {
    type Response = Vec<PartitionStatus>;

    fn tenant(&self) -> Tenant {
        None
    }

    async fn read(self, reader: Reader) -> Result<Vec<PartitionStatus>, ReadError> {
        reader.partitions().await
    }
}

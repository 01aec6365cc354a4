//! The reads behind the API: each is one statement, or several of one transaction, so that whatever it returns is of one snapshot.

mod attribution;
mod audit;
mod data_life;
mod dead_letters;
mod event;
mod labelled;
mod ledger;
mod names;
mod outcomes;
mod reliability;
mod revisions;
mod source;
pub mod status;
mod summary;
mod usage;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{
    FromRow, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use super::{
    StoreError,
    connect::{self, Parameters, milliseconds},
};
use crate::{
    config::Settings,
    domain::{
        calendar::Buckets,
        floor::{Gone, Missing},
        freshness::{Freshness, Thresholds},
        partition::Topology,
        query::{FreshnessReport, ModelFreshness},
        supervision::{LogQuery, PartitionStatus, SupervisionEvent},
    },
};
pub use attribution::MAX_VALUES;
pub(super) use attribution::{choose, statuses, totals};
pub(super) use source::latency_bounds;
use source::{KnownSummed, Summed};

const FRESHNESS: &str = include_str!("sql/freshness.sql");

/// Most rows of one response: 90 days of hours for 46 models. Keeps a response within some 20 MB.
pub const MAX_ROWS: usize = 100_000;
/// Longest wait of the API for a connection, new or pooled. Short, so that a response comes within a second when the database is
/// away; a connection is tried before it is lent, so a server that fell silent shows here.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(450);
/// What the server is given beyond its statement timeout to say so itself, before the connection is given up.
const GRACE: Duration = Duration::from_millis(250);

/// SQLSTATE of a statement that was cancelled, by its timeout.
const QUERY_CANCELED: &str = "57014";

/// Why a read gave nothing: the store's reasons, and those that only a reader has.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A smaller query may be done in time.
    #[error("database: the statement took longer than it may")]
    TooSlow,
    #[error("the result has more than {MAX_ROWS} rows")]
    TooLarge,
    #[error("{} are kept from {} on", .0.what.as_str(), .0.start)]
    Gone(Gone),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        let error = StoreError::from(error);
        if error.sqlstate().is_some_and(|code| code == QUERY_CANCELED) { Self::TooSlow } else { Self::Store(error) }
    }
}

/// How a [`Reader`] is created: prepared where errors can be reported, opened on the thread that will use it.
#[derive(Clone)]
pub struct ReaderPlan {
    options: PgConnectOptions,
    parameters: Parameters,
    connections: u32,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    topology: Topology,
    thresholds: Thresholds,
}

impl ReaderPlan {
    /// # Errors
    /// `database.url` cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        let statement_timeout = settings.query.statement_timeout();
        let limit = milliseconds(statement_timeout);
        let options = connect::options(&settings.database.url)?.application_name(&settings.database.application_name);
        // Without jit: compiling a plan over a year of chunks takes ten seconds that no timeout ends, for half a second of work.
        let parameters = Parameters::common()
            .with("statement_timeout", limit.as_str())
            // The statement's own limit ends a wait for a lock as well.
            .with("idle_in_transaction_session_timeout", limit)
            .with("default_transaction_read_only", "on")
            .with("client_connection_check_interval", "200ms");
        Ok(Self {
            options,
            parameters,
            connections: settings.query.connections,
            acquire_timeout: ACQUIRE_TIMEOUT,
            statement_timeout,
            topology: settings.broker.topology(),
            thresholds: settings.freshness.thresholds(),
        })
    }

    /// For a command, which waits for a slow database as long as other commands do: `database.connect_timeout_ms`.
    ///
    /// # Errors
    /// `database.url` cannot be read.
    pub fn for_command(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self { acquire_timeout: settings.database.connect_timeout(), ..Self::new(settings)? })
    }

    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Connects at the first read, not before: the service starts with the database away. Needs a tokio runtime.
    pub fn open(self) -> Reader {
        let parameters = self.parameters.clone();
        let pool = PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(self.acquire_timeout)
            .after_connect(move |conn, _| {
                let parameters = parameters.clone();
                Box::pin(async move { parameters.apply(conn).await })
            })
            .connect_lazy_with(self.options.clone());
        Reader { pool, plan: self, summed: KnownSummed::default() }
    }
}

/// Reads over a pool of its own.
#[derive(Clone)]
pub struct Reader {
    pool: PgPool,
    plan: ReaderPlan,
    summed: KnownSummed,
}

impl Reader {
    /// Connections of the pool that are lent, and those that are not.
    pub fn connections(&self) -> (usize, usize) {
        let idle = self.pool.num_idle();
        ((self.pool.size() as usize).saturating_sub(idle), idle)
    }

    /// A page of the supervision log.
    pub async fn supervision(&self, query: &LogQuery) -> Result<Vec<SupervisionEvent>, ReadError> {
        self.in_time(async |conn| super::supervision::read(conn, query).await).await
    }

    /// Who works on which partition, and how far it is.
    pub async fn partitions(&self) -> Result<Vec<PartitionStatus>, ReadError> {
        self.in_time(async |conn| super::ingest::lease::partitions(conn, &self.plan.topology).await).await
    }

    /// Markers of the models requested (none: all), and what they make of the org.
    pub async fn freshness(&self, org_id: Uuid, models: &[Uuid]) -> Result<FreshnessReport, ReadError> {
        let rows = sqlx::query_as::<_, MarkerRow>(FRESHNESS)
            .bind(org_id)
            .bind(models)
            .bind(self.plan.topology.stream_of(self.home(org_id)))
            .bind(i32::from(self.home(org_id)))
            .bind(row_limit());
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let head = &first(&rows)?.head;
        let last_event_at = rows.iter().filter_map(|row| row.last_event_at).max();
        let last_rollup_at = rows.iter().filter_map(|row| row.last_rollup_at).max();
        let org = self.freshness_of(head, last_event_at, last_rollup_at);
        let models = rows.iter().filter_map(|row| {
            let freshness = self.freshness_of(&row.head, row.last_event_at, row.last_rollup_at);
            Some(ModelFreshness { model_id: row.model_id?, freshness })
        });
        Ok(FreshnessReport { org, models: models.collect() })
    }

    /// Does a read on a connection of the pool, as [`Self::within_limits`], and refuses a result that is too large.
    pub(in crate::store) async fn in_time<T>(
        &self,
        read: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<Vec<T>>,
    ) -> Result<Vec<T>, ReadError> {
        let rows = self.within_limits(async |conn| Ok(read(conn).await?)).await?;
        if rows.len() > MAX_ROWS { Err(ReadError::TooLarge) } else { Ok(rows) }
    }

    /// Does a read on a connection of the pool. Ends one that neither the server nor the pool ended in time.
    async fn within_limits<T>(
        &self,
        read: impl AsyncFnOnce(&mut PgConnection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let limit = self.plan.acquire_timeout + self.plan.statement_timeout + GRACE;
        let found = async {
            let mut lent = CancelOnDrop(Some(self.pool.acquire().await?));
            let found = read(lent.conn()?).await;
            // A refusal has ended its transaction like a result.
            if matches!(found, Ok(_) | Err(ReadError::Gone(_))) {
                lent.give_back();
            }
            found
        };
        tokio::time::timeout(limit, found).await.map_err(|_| StoreError::Timeout(limit))?
    }

    fn home(&self, org_id: Uuid) -> u16 {
        self.plan.topology.home_of(org_id)
    }

    /// How fresh a response is, and the moment up to which it is complete.
    fn completeness(&self, of: &OrgHead) -> (Freshness, Option<DateTime<Utc>>) {
        (self.freshness_of(&of.head, of.last_event_at, of.last_rollup_at), of.head.watermark)
    }

    fn freshness_of(
        &self,
        head: &Head,
        last_event_at: Option<DateTime<Utc>>,
        last_rollup_at: Option<DateTime<Utc>>,
    ) -> Freshness {
        // A publisher's clock may be ahead of the database's: that is no lag.
        let lag_ms = head.watermark.map(|watermark| (head.queried_at - watermark).num_milliseconds().max(0));
        Freshness { last_event_at, last_rollup_at, lag_ms, status: self.plan.thresholds.judge(lag_ms) }
    }
}

/// A connection while it is read from. Dropped during a read it is closed: the server ends the statement then, by
/// client_connection_check_interval, instead of completing it for no client.
struct CancelOnDrop(Option<PoolConnection<Postgres>>);

impl CancelOnDrop {
    fn conn(&mut self) -> Result<&mut PgConnection, StoreError> {
        let lent = self.0.as_deref_mut();
        lent.ok_or_else(|| StoreError::impossible("a connection that was given back"))
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            drop(conn.detach());
        }
    }
}

/// One more than may be returned shows that there are more.
fn row_limit() -> i64 {
    i64::try_from(MAX_ROWS + 1).unwrap_or(i64::MAX)
}

#[derive(FromRow)]
struct Head {
    queried_at: DateTime<Utc>,
    watermark: Option<DateTime<Utc>>,
}

/// The head of a response about an org.
#[derive(FromRow)]
struct OrgHead {
    #[sqlx(flatten)]
    head: Head,
    last_event_at: Option<DateTime<Utc>>,
    last_rollup_at: Option<DateTime<Utc>>,
}

/// The head of a response from rollups or raw events.
#[derive(FromRow)]
struct ReportHead {
    #[sqlx(flatten)]
    org: OrgHead,
    /// From when on there is all of the org's rollups of that granularity, and of its raw events; none where there always is.
    rollups_from: Option<DateTime<Utc>>,
    raw_from: Option<DateTime<Utc>>,
    /// From when on and up to when hours are summed over models.
    summed: [DateTime<Utc>; 2],
}

/// Columns of a report's rows before those of its series: the head's.
const HEAD_COLUMNS: usize = 7;

impl ReportHead {
    fn summed(&self) -> Summed {
        let [from, to] = self.summed;
        Summed { from, to }
    }

    /// Refuses a response from rollups that misses some of them, or raw events of hours that a boundary lies within.
    fn check_rollups(&self, buckets: &Buckets) -> Result<(), ReadError> {
        refuse(Gone::of_rollups(buckets, self.rollups_from, self.raw_from))
    }

    /// Refuses a response from raw events that misses some of them.
    fn check_raw(&self, buckets: &Buckets) -> Result<(), ReadError> {
        refuse(Gone::below(buckets, self.raw_from, Missing::RawEvents))
    }
}

/// What was purged or erased is no part of a response: there is none then.
fn refuse(gone: Option<Gone>) -> Result<(), ReadError> {
    gone.map_or(Ok(()), |gone| Err(ReadError::Gone(gone)))
}

/// The first row, whose head is the report's: statements give one also where there is nothing else.
fn first<T>(rows: &[T]) -> Result<&T, StoreError> {
    rows.first().ok_or_else(|| StoreError::impossible("a result without a head"))
}

fn count(column: &str, value: Option<i64>) -> Result<u64, StoreError> {
    value
        .and_then(|n| u64::try_from(n).ok())
        .ok_or_else(|| StoreError::impossible(&format!("{column} is null or negative")))
}

#[derive(FromRow)]
struct MarkerRow {
    #[sqlx(flatten)]
    head: Head,
    model_id: Option<Uuid>,
    last_event_at: Option<DateTime<Utc>>,
    last_rollup_at: Option<DateTime<Utc>>,
}

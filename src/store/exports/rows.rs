//! The rows of a file, all of one snapshot, as a stream: memory stays the same however many there are.
//!
//! Reading has a connection of its own, since it may take longer than any query of the API. A caller that stops taking rows, for
//! an upload that is slow, holds the database back: it sends no more than the network's buffers hold.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, FromRow, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};
use uuid::Uuid;

use super::{
    count,
    groups::{self, BeginError, Groups},
    impossible,
};
use crate::{
    config::Settings,
    domain::{
        attribution::Dimension,
        export::{
            Granularity, GroupBy, Grouping, Revised, Spec,
            csv::{Names, PERCENTS, Row},
            manifest::{Change, Changes, MAX_CHANGES},
            request,
        },
        floor::{Floors, Gone, Missing},
        histogram::{Histogram, Sum},
        money::Cents,
        partition::Topology,
    },
    store::{
        StoreError, amount,
        attribution::sets::KeptSet,
        bound::bound,
        connect::{self, Parameters, milliseconds},
        lifecycle::floors,
        read::{ReadError, latency_bounds},
        transaction,
    },
};

/// A change may be committed so long after the moment that it is noted with: changes since a snapshot are looked for from so
/// long before it. Some are then named twice, none never.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);

/// How rows are read: prepared where errors can be reported.
#[derive(Clone)]
pub struct ExportReader {
    options: PgConnectOptions,
    parameters: Parameters,
    connect_timeout: Duration,
    topology: Topology,
}

impl ExportReader {
    /// # Errors
    /// `database.url` cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        let limit = milliseconds(settings.exports.statement_timeout());
        let options = connect::options(&settings.database.url)?.application_name(&settings.database.application_name);
        let parameters = Parameters::common()
            .with("lock_timeout", milliseconds(connect::LONG_LOCK))
            .with("statement_timeout", limit.as_str())
            .with("idle_in_transaction_session_timeout", limit)
            .with("default_transaction_read_only", "on");
        let (connect_timeout, topology) = (settings.database.connect_timeout(), settings.broker.topology());
        Ok(Self { options, parameters, connect_timeout, topology })
    }

    pub async fn connect(&self) -> Result<PgConnection, StoreError> {
        connect::open(&self.options, self.connect_timeout, &self.parameters).await
    }

    /// Takes the snapshot that a file is made of, on a connection of its own.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where the file would be of what was purged or erased.
    pub async fn begin(&self, spec: &Spec) -> Result<Snapshot, BeginError> {
        let mut snapshot = self.open(spec).await?;
        if let Some(gone) = gone(spec, snapshot.floors) {
            return Err(ReadError::Gone(gone).into());
        }
        if !spec.group_by.dimensions().is_empty() {
            let home = self.topology.home_of(spec.org_id);
            let (set, as_of) = groups::serve(snapshot.conn(), spec, self.topology.stream_of(home), home).await?;
            (snapshot.as_of, snapshot.set) = (as_of, Some(set));
        }
        Ok(snapshot)
    }

    /// Takes a snapshot of a file's range, whether there is all of it or not.
    pub(super) async fn open(&self, spec: &Spec) -> Result<Snapshot, ReadError> {
        let mut of_one_moment = transaction::Snapshot::begin(self.connect().await?).await?;
        let partition = self.topology.home_of(spec.org_id);
        let head: HeadRow = sqlx::query_as_with(include_str!("sql/exports_head.sql"), SpecRow::of(spec).arguments()?)
            .bind(self.topology.stream_of(partition))
            .bind(i32::from(partition))
            .fetch_one(of_one_moment.conn())
            .await?;
        let floors = floors::of_org(of_one_moment.conn(), spec.org_id).await?;
        let revised = Revised { count: count("revisions", Some(head.revisions))?, last: head.last_revision_id };
        let HeadRow { snapshot_at, as_of, .. } = head;
        Ok(Snapshot { of_one_moment, spec: spec.clone(), set: None, as_of, snapshot_at, floors, revised })
    }
}

bound! {
    /// What statements about a file begin with.
    pub(super) struct SpecRow<'a> {
        org_id: Uuid, start: DateTime<Utc>, end: DateTime<Utc>, models: &'a [Uuid],
    }
}

impl<'a> SpecRow<'a> {
    pub(super) fn of(spec: &'a Spec) -> Self {
        Self { org_id: spec.org_id, start: spec.range.start, end: spec.range.end, models: &spec.models }
    }
}

/// Whether a part of what a file is made of was purged or erased.
pub fn gone(spec: &Spec, floors: Floors) -> Option<Gone> {
    let floor = request::floor(spec.granularity, &spec.group_by, floors).filter(|floor| spec.range.start < *floor)?;
    let what = if spec.group_by == Grouping::default() { Missing::Rollups } else { Missing::RawEvents };
    Some(Gone { start: request::first_boundary(floor, spec.granularity), what })
}

#[derive(FromRow)]
struct HeadRow {
    snapshot_at: DateTime<Utc>,
    as_of: Option<DateTime<Utc>>,
    revisions: i64,
    last_revision_id: Option<Uuid>,
}

/// What the database had at one moment.
pub struct Snapshot {
    of_one_moment: transaction::Snapshot,
    spec: Spec,
    /// What a file by dimensions is read from.
    set: Option<KeptSet>,
    /// The moment up to which the rows are complete; none before the first event of the org's partition.
    pub as_of: Option<DateTime<Utc>>,
    pub snapshot_at: DateTime<Utc>,
    /// From when on there is all of the org's data.
    pub(super) floors: Floors,
    /// Changes of final buckets that the rows have in them.
    pub revised: Revised,
}

impl Snapshot {
    /// The rows of a file by dimensions, bucket by bucket; none of a file by model.
    pub fn groups(&mut self) -> Groups<'_> {
        Groups::new(self.of_one_moment.conn(), &self.spec, self.set.as_ref())
    }

    /// The rows of a file by model, in its order. A caller that stops before the last one also gives the snapshot up: its connection has
    /// what was not taken still before it.
    pub fn rows(&mut self) -> BoxStream<'_, Result<Row, ReadError>> {
        let Spec { org_id, range, models, .. } = &self.spec;
        // Safe: what is put in are constants.
        let statement = sqlx::query(AssertSqlSafe(text(&self.spec)));
        let statement = statement.bind(*org_id).bind(range.start).bind(range.end).bind(models);
        if matches!(self.spec.group_by, Grouping::By(GroupBy::Client | GroupBy::ErrorCode)) {
            let rows = statement.bind(latency_bounds()).fetch(self.of_one_moment.conn());
            return rows.map(|row| incident(&row?)).boxed();
        }
        let rows = statement.fetch(self.of_one_moment.conn());
        match self.spec.granularity {
            Granularity::Monthly => rows.map(|row| month(&row?)).boxed(),
            Granularity::Hourly | Granularity::Daily => {
                let mut histogram = Histogram::default();
                rows.map(move |row| one(&row?, &mut histogram)).boxed()
            }
        }
    }

    /// The changes of final buckets that the rows have in them and an earlier snapshot had not; all where there is none.
    pub async fn changes(&mut self, since: Option<DateTime<Utc>>) -> Result<Changes, ReadError> {
        changes(self.of_one_moment.conn(), &self.spec, since).await
    }

    /// What the org calls its ids, where the file has names.
    pub async fn names(&mut self) -> Result<Names, ReadError> {
        let mut names = Names::default();
        if !self.spec.names {
            return Ok(names);
        }
        let mut of: HashMap<String, Dimension> = HashMap::new();
        of.extend(self.spec.group_by.nameable().into_iter().map(|dimension| (dimension.to_string(), dimension)));
        let dimensions: Vec<&str> = of.keys().map(String::as_str).collect();
        let mut rows = sqlx::query_as::<_, (String, String, String)>(
            "SELECT dimension, id, name FROM analytics.names WHERE org_id = $1 AND dimension = ANY ($2)",
        )
        .bind(self.spec.org_id)
        .bind(dimensions)
        .fetch(self.of_one_moment.conn());
        while let Some((dimension, id, name)) = rows.try_next().await? {
            if let Some(dimension) = of.get(&dimension) {
                names.add(dimension.clone(), id, name);
            }
        }
        Ok(names)
    }

    /// For more statements of the same moment.
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        self.of_one_moment.conn()
    }
}

/// Changes of final buckets of a range, noted since a moment.
pub(super) async fn changes(
    conn: &mut PgConnection,
    spec: &Spec,
    since: Option<DateTime<Utc>>,
) -> Result<Changes, ReadError> {
    type ChangeRow = (Uuid, DateTime<Utc>, Uuid, String, DateTime<Utc>);
    let most = usize::from(MAX_CHANGES);
    let statement = "SELECT revision_id, bucket_start, model_id, reason, revised_at FROM analytics.rollup_revisions
         WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
           AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4)) AND ($5::timestamptz IS NULL OR revised_at >= $5)
         ORDER BY revision_id LIMIT $6";
    let rows: Vec<ChangeRow> = sqlx::query_as_with(statement, SpecRow::of(spec).arguments()?)
        .bind(since.map(|since| since - OVERLAP))
        // One more shows that there are more.
        .bind(i64::from(MAX_CHANGES) + 1)
        .fetch_all(conn)
        .await?;
    let more = rows.len() > most;
    let change = |(revision_id, bucket_start, model_id, reason, revised_at): ChangeRow| {
        let reason = reason.parse().map_err(|_| impossible("revision's reason"))?;
        Ok(Change { revision_id, bucket_start, model_id, reason, revised_at })
    };
    let named = rows.into_iter().take(most).map(change).collect::<Result<_, StoreError>>()?;
    Ok(Changes { since, named, more })
}

fn text(spec: &Spec) -> String {
    let incident = include_str!("sql/exports_incident.sql");
    let label = match spec.group_by {
        Grouping::By(group_by) => group_by.column(),
        Grouping::Dimensions(_) => None,
    };
    match (label, spec.granularity) {
        (Some(column), _) => incident.replace("{label}", column),
        (None, Granularity::Monthly) => include_str!("sql/exports_month.sql").to_owned(),
        (None, Granularity::Daily) => of_rollups("analytics.daily_usage"),
        (None, Granularity::Hourly) => of_rollups("analytics.hourly_usage"),
    }
}

fn of_rollups(view: &str) -> String {
    include_str!("sql/exports_rows.sql").replace("{rollups}", view)
}

/// Of one rollup. `histogram` is memory for its latencies.
fn one(row: &PgRow, histogram: &mut Histogram) -> Result<Row, ReadError> {
    let packed: &[u8] = row.try_get_unchecked(7)?;
    histogram.read(packed).map_err(unreadable)?;
    Ok(Row { latency: histogram.percentiles(PERCENTS), ..facts(row)? })
}

fn month(row: &PgRow) -> Result<Row, ReadError> {
    let mut latency = Sum::default();
    for packed in row.try_get::<Vec<Vec<u8>>, _>(7)? {
        latency.add_packed(&packed).map_err(unreadable)?;
    }
    Ok(Row { latency: latency.histogram().percentiles(PERCENTS), ..facts(row)? })
}

fn incident(row: &PgRow) -> Result<Row, ReadError> {
    let (buckets, counts) = (row.try_get::<Vec<i32>, _>(7)?, row.try_get::<Vec<i64>, _>(8)?);
    let mut latency = Sum::default();
    for (bucket, counted) in buckets.into_iter().zip(counts) {
        let bucket = usize::try_from(bucket).map_err(|_| impossible("latency bucket"))?;
        latency.add(bucket, count("latencies", Some(counted))?);
    }
    Ok(Row { latency: latency.histogram().percentiles(PERCENTS), text: row.try_get(9)?, ..facts(row)? })
}

/// What the rows of all statements begin with. The types are the statements' own, so they are not looked up for each row.
fn facts(row: &PgRow) -> Result<Row, ReadError> {
    let number = |column: &str, place: usize| count(column, row.try_get_unchecked(place)?).map_err(ReadError::from);
    Ok(Row {
        bucket_start: row.try_get_unchecked(0)?,
        model_id: row.try_get_unchecked(1)?,
        text: None,
        invocations: number("invocations", 2)?,
        errors: number("errors", 3)?,
        input_tokens: number("input_tokens", 4)?,
        output_tokens: number("output_tokens", 5)?,
        cost: amount(row, 6)?,
        latency: [None; 3],
    })
}

fn amount(row: &PgRow, place: usize) -> Result<Cents, ReadError> {
    let value = row.try_get_raw(place)?;
    let cents = value.as_bytes().ok().and_then(amount::read);
    Ok(cents.ok_or_else(|| impossible("cost_cents"))?)
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    impossible(&error.to_string())
}

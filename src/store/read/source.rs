//! What a report's buckets are summed from: rollups of hours or days, sums of hours over all models, and raw events where a day
//! begins within an hour.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::{
    AssertSqlSafe, FromRow, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use super::{ReadError, Reader, ReportHead, first, row_limit};
use crate::{
    domain::{
        calendar::{Buckets, Granularity},
        histogram,
    },
    store::bound::bound,
};

const HEAD: &str = include_str!("sql/report_head.sql");
const ROLLUPS: &str = include_str!("sql/rows_rollups.sql");
const ORG_HOURS: &str = include_str!("sql/rows_org_hours.sql");
const SPLIT: &str = include_str!("sql/rows_split.sql");
/// The day of a zone that an hour belongs to.
const DAY_OF_HOUR: &str = "($9::timestamptz[])[width_bucket(bucket_start, $9)]";
/// Hours whose raw events are read instead.
const LEFT_OUT: &str = "AND bucket_start <> ALL ($10::timestamptz[])";

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// What a report is about.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'q> {
    pub org_id: Uuid,
    pub buckets: &'q Buckets,
    /// Empty: all.
    pub models: &'q [Uuid],
    pub by_model: bool,
}

impl Wanted<'_> {
    /// Whether sums over all models serve it.
    fn is_of_all_models(&self) -> bool {
        self.models.is_empty() && !self.by_model
    }
}

impl Reader {
    /// A report's statement with the parameters that all have.
    pub(super) fn report<'q>(&self, text: String, wanted: &Wanted<'q>) -> sqlx::Result<Statement<'q>> {
        let Wanted { org_id, buckets, models, by_model } = *wanted;
        let (home, start, end) = (self.home(org_id), buckets.start(), buckets.end());
        let (stream, partition, limit) = (self.plan.topology.stream_of(home), i32::from(home), row_limit());
        let row = ReportRow { org_id, start, end, models, by_model, stream, partition, limit };
        // Safe: what is put into the text are constants.
        Ok(sqlx::query_with(AssertSqlSafe(text), row.arguments()?))
    }

    /// The rows of a report from rollups, and what the first of them says about all.
    pub(super) async fn of_rollups(
        &self,
        statement: &str,
        wanted: &Wanted<'_>,
    ) -> Result<(Vec<PgRow>, ReportHead), ReadError> {
        let source = Source::of(wanted.buckets);
        let summed = self.summed.get().filter(|summed| {
            wanted.is_of_all_models() && !matches!(source, Source::UtcDays) && summed.begins(wanted.buckets)
        });
        let (rows, head) = self.of_source(statement, wanted, &source, summed).await?;
        self.summed.set(head.summed());
        // What this reader knew may be of an earlier moment than the statement's snapshot.
        if summed.is_some_and(|known| !head.summed().begins(wanted.buckets) || head.summed().to < known.to) {
            return self.of_source(statement, wanted, &source, None).await;
        }
        Ok((rows, head))
    }

    async fn of_source(
        &self,
        statement: &str,
        wanted: &Wanted<'_>,
        source: &Source<'_>,
        summed: Option<Summed>,
    ) -> Result<(Vec<PgRow>, ReportHead), ReadError> {
        let rows = source.bind(self.report(source.put_into(statement, summed), wanted)?, summed);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let head = ReportHead::from_row(first(&rows)?)?;
        head.check_rollups(wanted.buckets)?;
        Ok((rows, head))
    }
}

/// Hours that are summed over models, of every org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summed {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Summed {
    /// Whether the range begins with such hours.
    fn begins(&self, buckets: &Buckets) -> bool {
        self.from <= buckets.start() && buckets.start() < self.to
    }
}

/// Which hours are summed, as the latest response said: a statement is made for it, and says in turn whether it still holds.
#[derive(Clone, Default)]
pub(super) struct KnownSummed(Arc<Mutex<Option<Summed>>>);

impl KnownSummed {
    fn get(&self) -> Option<Summed> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, summed: Summed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(summed);
    }
}

bound! {
    /// $1 to $8 of usage.sql, reliability.sql and reliability_raw.sql.
    struct ReportRow<'a> {
        org_id: Uuid, start: DateTime<Utc>, end: DateTime<Utc>, models: &'a [Uuid], by_model: bool, stream: String,
        partition: i32, limit: i64,
    }
}

pub(super) enum Source<'b> {
    Hours,
    UtcDays,
    /// Hours that make up days of a zone, and the parts of hours that raw events are read of.
    ZoneDays(&'b Buckets, Vec<(DateTime<Utc>, DateTime<Utc>)>),
}

impl<'b> Source<'b> {
    pub(super) fn of(buckets: &'b Buckets) -> Self {
        match buckets.granularity {
            Granularity::Hour => Self::Hours,
            Granularity::Day if buckets.are_utc_days() => Self::UtcDays,
            // Any buckets can be summed from hours and parts of hours.
            Granularity::Day | Granularity::Month | Granularity::None => Self::ZoneDays(buckets, buckets.split_hours()),
        }
    }

    /// Which rollups are read, as floors name them.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Hours | Self::ZoneDays(..) => "hourly",
            Self::UtcDays => "daily",
        }
    }

    /// The statement with its rows: of sums over all models up to where there are any.
    pub(super) fn put_into(&self, statement: &str, summed: Option<Summed>) -> String {
        let (table, bucket) = match self {
            Self::Hours => ("analytics.hourly_usage", "bucket_start"),
            Self::UtcDays => ("analytics.daily_usage", "bucket_start"),
            Self::ZoneDays(..) => ("analytics.hourly_usage", DAY_OF_HOUR),
        };
        let splits = matches!(self, Self::ZoneDays(_, parts) if !parts.is_empty());
        let rows = if summed.is_some() { ORG_HOURS } else { ROLLUPS };
        let summed_to = match self {
            Self::Hours | Self::UtcDays => "$9",
            Self::ZoneDays(..) if splits => "$14",
            Self::ZoneDays(..) => "$10",
        };
        let rows = rows.replace("{bucket}", bucket).replace("{rollups}", table).replace("{summed_to}", summed_to);
        let rows = rows.replace("{left_out}", if splits { LEFT_OUT } else { "" }) + if splits { SPLIT } else { "" };
        with_head(statement, self.kind()).replace("{rows}", &rows)
    }

    /// Binds what the rows need: $9 and on.
    fn bind<'q>(&self, mut statement: Statement<'q>, summed: Option<Summed>) -> Statement<'q> {
        if let Self::ZoneDays(buckets, parts) = self {
            statement = statement.bind(buckets.starts().to_vec());
            if !parts.is_empty() {
                let hours = parts.iter().filter_map(|part| part.0.duration_trunc(TimeDelta::hours(1)).ok());
                statement = statement
                    .bind(hours.collect::<Vec<_>>())
                    .bind(parts.iter().map(|part| part.0).collect::<Vec<_>>())
                    .bind(parts.iter().map(|part| part.1).collect::<Vec<_>>())
                    .bind(latency_bounds());
            }
        }
        match summed {
            Some(summed) => statement.bind(summed.to),
            None => statement,
        }
    }
}

/// A report's statement with what says how complete its response is.
pub(super) fn with_head(statement: &str, kind: &str) -> String {
    statement.replace("{head}", &HEAD.replace("{kind}", kind))
}

/// As the database knows them.
pub(in crate::store) fn latency_bounds() -> Vec<i32> {
    histogram::bounds().iter().map(|bound| i32::try_from(*bound).unwrap_or(i32::MAX)).collect()
}

//! What a report's buckets are summed from: rollups of hours or days, and raw events where a day begins within an hour.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::{
    AssertSqlSafe, FromRow, Postgres,
    postgres::{PgArguments, PgRow},
    query::QueryAs,
};
use uuid::Uuid;

use super::{Reader, row_limit};
use crate::{
    domain::{
        calendar::{Buckets, Granularity},
        histogram,
    },
    store::bound::bound,
};

const HEAD: &str = include_str!("sql/report_head.sql");
const ROLLUPS: &str = include_str!("sql/rows_rollups.sql");
const SPLIT: &str = include_str!("sql/rows_split.sql");
/// The day of a zone that an hour belongs to.
const DAY_OF_HOUR: &str = "($9::timestamptz[])[width_bucket(bucket_start, $9)]";

type Statement<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

impl Reader {
    /// A report's statement with the parameters that all have.
    pub(super) fn report<'q, T: for<'r> FromRow<'r, PgRow>>(
        &self,
        text: String,
        org_id: Uuid,
        buckets: &Buckets,
        models: &[Uuid],
        by_model: bool,
    ) -> sqlx::Result<Statement<'q, T>> {
        let (home, start, end) = (self.home(org_id), buckets.start(), buckets.end());
        let (stream, partition, limit) = (self.plan.topology.stream_of(home), i32::from(home), row_limit());
        let row = ReportRow { org_id, start, end, models, by_model, stream, partition, limit };
        // Safe: what is put into the text are constants.
        Ok(sqlx::query_as_with(AssertSqlSafe(text), row.arguments()?))
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
            Granularity::Day => Self::ZoneDays(buckets, buckets.split_hours()),
        }
    }

    /// Which rollups are read, as floors name them.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Hours | Self::ZoneDays(..) => "hourly",
            Self::UtcDays => "daily",
        }
    }

    /// The statement with its rows.
    pub(super) fn put_into(&self, statement: &str) -> String {
        let (table, bucket) = match self {
            Self::Hours => ("analytics.hourly_usage", "bucket_start"),
            Self::UtcDays => ("analytics.daily_usage", "bucket_start"),
            Self::ZoneDays(..) => ("analytics.hourly_usage", DAY_OF_HOUR),
        };
        let mut rows = ROLLUPS.replace("{bucket}", bucket).replace("{rollups}", table);
        if matches!(self, Self::ZoneDays(_, parts) if !parts.is_empty()) {
            rows += SPLIT;
        }
        with_head(statement, self.kind()).replace("{rows}", &rows)
    }

    /// Binds what the rows need: $9 and on.
    pub(super) fn bind<'q, T>(&self, statement: Statement<'q, T>) -> Statement<'q, T> {
        let Self::ZoneDays(buckets, parts) = self else { return statement };
        let statement = statement.bind(buckets.starts().to_vec());
        if parts.is_empty() {
            return statement;
        }
        let hours = parts.iter().filter_map(|part| part.0.duration_trunc(TimeDelta::hours(1)).ok());
        statement
            .bind(hours.collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.0).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.1).collect::<Vec<_>>())
            .bind(latency_bounds())
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

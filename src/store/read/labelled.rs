//! Outcomes by a label that rollups do not have: from sums of hours where there are any, and from raw events elsewhere. Several
//! statements of one snapshot: the first one says which hours are summed, the others read these and the rest.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{
    MAX_ROWS, ReadError, Reader, ReportHead, StoreError, count,
    outcomes::{by_status, latency_bucket},
    row_limit,
    source::{Source, Wanted, latency_bounds, with_head},
};
use crate::{
    domain::{
        calendar::next_utc_day,
        coverage::{Coverage, Part},
        histogram::Sum,
        labelled::Labelled,
        reliability::{Label, Only, Outcomes},
    },
    store::transaction::in_snapshot,
};

const HEAD: &str = include_str!("sql/labelled_head.sql");
const RAW: &str = include_str!("sql/reliability_raw.sql");
const PART: &str = include_str!("sql/reliability_part.sql");
/// Parameters of RAW before those of its parts.
const RAW_PARAMETERS: usize = 6;

/// The column of raw events, and that of sums.
const fn columns(label: Label) -> (&'static str, &'static str) {
    match label {
        Label::Client => ("client_id", "clients"),
        Label::ErrorCode => ("error_code", "error_codes"),
    }
}

impl Reader {
    /// Outcomes by bucket and label, all or only some of these, and what is said of all.
    pub(super) async fn labelled(
        &self,
        label: Label,
        only: Option<&Only>,
        wanted: &Wanted<'_>,
    ) -> Result<(Labelled, ReportHead), ReadError> {
        let found = Labelled::of(only.cloned());
        let read = async |tx: &mut PgConnection| self.labelled_in(tx, label, wanted, found).await;
        self.within_limits(async |conn| in_snapshot(conn, read).await).await
    }

    async fn labelled_in(
        &self,
        tx: &mut PgConnection,
        label: Label,
        wanted: &Wanted<'_>,
        mut found: Labelled,
    ) -> Result<(Labelled, ReportHead), ReadError> {
        let buckets = wanted.buckets;
        let text = with_head(HEAD, Source::of(buckets).kind()).replace("{column}", columns(label).1);
        let row = self.report(text, wanted)?.fetch_one(&mut *tx).await?;
        let (head, sums) = (ReportHead::from_row(&row)?, Sums::from_row(&row)?);
        head.check_raw(buckets)?;
        let coverage = match wanted.models {
            [] => Coverage::of(buckets, sums.range(&head), &sums.not_summed),
            _ => Coverage::of(buckets, (buckets.start(), buckets.start()), &[]),
        };
        add_sums(tx, label, wanted, &coverage, &mut found).await?;
        add_raw(tx, label, wanted, &coverage.raw, &sums.pending, &mut found).await?;
        Ok((found, head))
    }
}

/// What labelled_head.sql has beside the head.
#[derive(FromRow)]
struct Sums {
    hours_summed: [DateTime<Utc>; 2],
    hourly_from: Option<DateTime<Utc>>,
    daily_from: Option<DateTime<Utc>>,
    not_summed: Vec<DateTime<Utc>>,
    pending: Vec<Uuid>,
}

impl Sums {
    /// The hours whose sums may be read: those of days of which nothing was purged.
    fn range(&self, head: &ReportHead) -> Part {
        let [from, to] = self.hours_summed;
        let floor = head.raw_from.max(self.hourly_from).max(self.daily_from);
        (floor.map_or(from, |floor| next_utc_day(floor).max(from)), to)
    }
}

/// Adds what is summed. An hour of these that is not there has nothing.
async fn add_sums(
    tx: &mut PgConnection,
    label: Label,
    wanted: &Wanted<'_>,
    coverage: &Coverage,
    found: &mut Labelled,
) -> Result<(), ReadError> {
    let (from, to) = coverage.hours;
    if from >= to {
        return Ok(());
    }
    let column = columns(label).1;
    let statement = format!(
        "SELECT bucket_start, {column} FROM analytics.org_hours_by
         WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3 AND {column} IS NOT NULL ORDER BY bucket_start"
    );
    let starts = wanted.buckets.starts();
    // Safe: what is put into the text is a constant.
    let rows = sqlx::query_as::<_, (DateTime<Utc>, Vec<u8>)>(AssertSqlSafe(statement));
    let mut rows = rows.bind(wanted.org_id).bind(from).bind(to).fetch(tx);
    while let Some((hour, packed)) = rows.try_next().await? {
        if coverage.is_summed(hour) {
            let bucket = starts[starts.partition_point(|start| *start <= hour).saturating_sub(1)];
            found.add_packed(bucket, &packed).map_err(|error| StoreError::impossible(&error.to_string()))?;
            check_size(found)?;
        }
    }
    Ok(())
}

/// Adds what raw events of these parts make.
async fn add_raw(
    tx: &mut PgConnection,
    label: Label,
    wanted: &Wanted<'_>,
    parts: &[Part],
    pending: &[Uuid],
    found: &mut Labelled,
) -> Result<(), ReadError> {
    if parts.is_empty() {
        return Ok(());
    }
    let part = |n: usize| {
        let number = |offset: usize| format!("${}", RAW_PARAMETERS + 2 * n + offset);
        PART.replace("{start}", &number(1)).replace("{end}", &number(2))
    };
    let texts: Vec<String> = (0..parts.len()).map(part).collect();
    let text = RAW.replace("{parts}", &texts.join("UNION ALL\n")).replace("{label}", columns(label).0);
    // Safe: what is put into the text are constants, and numbers of parameters.
    let mut statement = sqlx::query_as::<_, RawRow>(AssertSqlSafe(text))
        .bind(wanted.org_id)
        .bind(wanted.models)
        .bind(wanted.buckets.starts())
        .bind(latency_bounds())
        .bind(pending)
        .bind(row_limit());
    for (start, end) in parts {
        statement = statement.bind(start).bind(end);
    }
    let mut rows = statement.fetch(tx);
    while let Some(row) = rows.try_next().await? {
        found.add(row.bucket_start, row.label.as_deref(), row.outcomes()?);
        check_size(found)?;
    }
    Ok(())
}

#[derive(FromRow)]
struct RawRow {
    bucket_start: DateTime<Utc>,
    label: Option<String>,
    successes: i64,
    errors: i64,
    timeouts: i64,
    throttled: i64,
    latency_buckets: Vec<i32>,
    latency_counts: Vec<i64>,
}

impl RawRow {
    fn outcomes(&self) -> Result<Outcomes, StoreError> {
        let mut latency = Sum::default();
        for (bucket, events) in self.latency_buckets.iter().zip(&self.latency_counts) {
            latency.add(latency_bucket(*bucket)?, count("latency_counts", Some(*events))?);
        }
        let counts = [self.successes, self.errors, self.timeouts, self.throttled].map(Some);
        Ok(Outcomes { by_status: by_status(counts)?, latency: latency.histogram() })
    }
}

fn check_size(found: &Labelled) -> Result<(), ReadError> {
    if found.points() > MAX_ROWS { Err(ReadError::TooLarge) } else { Ok(()) }
}

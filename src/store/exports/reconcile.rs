//! What is known by now of what a file has: for a comparison with the file's own sums.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{
    count,
    rows::{ExportReader, Snapshot, SpecRow, changes},
};
use crate::{
    domain::export::{
        Grouping, Output, Spec, Totals,
        reconcile::{DatabaseTotals, Difference, Revised},
    },
    store::{StoreError, amount::Amount, read::ReadError},
};

/// When the rows of a file were read, and up to when they have everything: attribution is brought up to date later than rollups.
#[derive(Clone, Copy, Debug)]
pub struct ReadAt {
    pub complete_to: DateTime<Utc>,
    pub read_at: DateTime<Utc>,
}

impl ReadAt {
    pub fn of(spec: &Spec, output: &Output) -> Self {
        let read_at = output.snapshot_at;
        match spec.group_by {
            Grouping::By(_) => Self { complete_to: read_at, read_at },
            Grouping::Dimensions(_) => Self { complete_to: output.as_of.unwrap_or(read_at).min(read_at), read_at },
        }
    }
}

/// Reads all of it in one snapshot. With `raw`, raw events are counted too, which may take minutes.
pub async fn known(
    reader: &ExportReader,
    spec: &Spec,
    read_at: ReadAt,
    raw: bool,
) -> Result<DatabaseTotals, ReadError> {
    // A file that is grouped otherwise has the sums of its range too.
    let spec = Spec { group_by: Grouping::default(), ..spec.clone() };
    let mut snapshot = reader.open(&spec).await?;
    let row: TotalsRow =
        sqlx::query_as_with(include_str!("sql/exports_reconcile.sql"), SpecRow::of(&spec).arguments()?)
            .fetch_one(snapshot.conn())
            .await?;
    let raw = if raw && snapshot.floors.raw.is_none_or(|floor| floor <= spec.range.start) {
        Some(of_raw(&mut snapshot, &spec).await?)
    } else {
        None
    };
    Ok(DatabaseTotals {
        rollups: row.sums.totals()?,
        raw,
        ledger_stored: count("ledger_stored", Some(row.ledger_stored))?,
        ledger_whole: row.ledger_whole,
        whole: snapshot.floors.hourly.is_none_or(|floor| floor <= spec.range.start),
        as_of: snapshot.as_of,
        revised: revised(&mut snapshot, &spec, read_at).await?,
    })
}

async fn of_raw(snapshot: &mut Snapshot, spec: &Spec) -> Result<Totals, ReadError> {
    let statement = "SELECT count(*) AS invocations, count(*) FILTER (WHERE status <> 'success') AS errors,
                coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
                coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
                coalesce(sum(cost_cents), 0) AS cost_cents
         FROM analytics.usage_events
         WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3
           AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
           AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending))";
    let sums: SumsRow =
        sqlx::query_as_with(statement, SpecRow::of(spec).arguments()?).fetch_one(snapshot.conn()).await?;
    Ok(sums.totals()?)
}

async fn revised(snapshot: &mut Snapshot, spec: &Spec, at: ReadAt) -> Result<Revised, ReadError> {
    let ReadAt { complete_to, read_at } = at;
    let row: RevisedRow = sqlx::query_as_with(include_str!("sql/exports_revised.sql"), SpecRow::of(spec).arguments()?)
        .bind(complete_to)
        .bind(read_at)
        .fetch_one(snapshot.conn())
        .await?;
    let by = Difference {
        invocations: row.invocations.into(),
        input_tokens: row.input_tokens.into(),
        output_tokens: row.output_tokens.into(),
        cost: row.cost_cents.0,
    };
    let named = changes(snapshot.conn(), spec, Some(complete_to)).await?.named;
    Ok(Revised { count: count("revisions", Some(row.count))?, by, straddles: row.straddles, named })
}

#[derive(FromRow)]
struct SumsRow {
    invocations: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_cents: Amount,
}

impl SumsRow {
    fn totals(&self) -> Result<Totals, StoreError> {
        Ok(Totals {
            invocations: count("invocations", Some(self.invocations))?,
            errors: count("errors", Some(self.errors))?,
            input_tokens: count("input_tokens", Some(self.input_tokens))?,
            output_tokens: count("output_tokens", Some(self.output_tokens))?,
            cost: self.cost_cents.0,
        })
    }
}

#[derive(FromRow)]
struct TotalsRow {
    #[sqlx(flatten)]
    sums: SumsRow,
    ledger_stored: i64,
    ledger_whole: bool,
}

#[derive(FromRow)]
struct RevisedRow {
    count: i64,
    invocations: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_cents: Amount,
    straddles: bool,
}

//! Reading usage.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{ReadError, Reader, ReportHead, StoreError, first, source::Source};
use crate::{
    domain::query::{UsagePoint, UsageQuery, UsageReport},
    store::amount::Amount,
};

const USAGE: &str = include_str!("sql/usage.sql");

impl Reader {
    pub async fn usage(&self, query: &UsageQuery) -> Result<UsageReport, ReadError> {
        let source = Source::of(&query.buckets);
        let text = source.put_into(USAGE);
        let rows = self.report::<UsageRow>(text, query.org_id, &query.buckets, &query.models, query.by_model)?;
        let rows = source.bind(rows);
        let rows = self.in_time(async |conn| rows.fetch_all(conn).await).await?;
        let first = first(&rows)?;
        first.head.check_rollups(&query.buckets)?;
        let (freshness, as_of) = self.completeness(&first.head.org);
        let series = rows.into_iter().filter_map(UsageRow::point).collect::<Result<Vec<_>, _>>()?;
        Ok(UsageReport { series, freshness, as_of })
    }
}

#[derive(FromRow)]
struct UsageRow {
    #[sqlx(flatten)]
    head: ReportHead,
    /// None, as everything below it, where the series is empty.
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    invocations: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
}

impl UsageRow {
    fn point(self) -> Option<Result<UsagePoint, StoreError>> {
        let bucket_start = self.bucket_start?;
        let usage = super::ledger::usage(self.invocations, self.input_tokens, self.output_tokens, self.cost_cents);
        Some(usage.map(|usage| UsagePoint { bucket_start, model_id: self.model_id, usage }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{money::Cents, query::Usage},
        store::read::{Head, OrgHead},
    };

    fn row() -> UsageRow {
        UsageRow {
            head: ReportHead {
                org: OrgHead {
                    head: Head { queried_at: DateTime::UNIX_EPOCH, watermark: None },
                    last_event_at: None,
                    last_rollup_at: None,
                },
                rollups_from: None,
                raw_from: None,
            },
            bucket_start: Some(DateTime::UNIX_EPOCH),
            model_id: None,
            invocations: Some(2),
            input_tokens: Some(3),
            output_tokens: Some(4),
            cost_cents: Some(Amount(Cents::from_ten_thousandths(15_001))),
        }
    }

    #[test]
    fn a_row_becomes_an_exact_point() {
        let usage =
            Usage { invocations: 2, input_tokens: 3, output_tokens: 4, cost: Cents::from_ten_thousandths(15_001) };
        let point = UsagePoint { bucket_start: DateTime::UNIX_EPOCH, model_id: None, usage };
        assert_eq!(row().point().unwrap().unwrap(), point);
        assert!(UsageRow { bucket_start: None, ..row() }.point().is_none());
    }

    #[test]
    fn values_that_cannot_be_are_errors() {
        for row in [
            UsageRow { invocations: Some(-1), ..row() },
            UsageRow { input_tokens: None, ..row() },
            UsageRow { cost_cents: None, ..row() },
        ] {
            assert!(matches!(row.point(), Some(Err(StoreError::Permanent(_)))));
        }
    }
}

//! Reading usage.

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{HEAD_COLUMNS, MAX_ROWS, ReadError, Reader, StoreError, source::Wanted};
use crate::{
    domain::{
        attribution::{AttributionQuery, Dimension, KeyKind, KeyTotals, Measures, NoSet, Value},
        query::{UsagePoint, UsageQuery, UsageReport},
    },
    store::amount::Amount,
};

const USAGE: &str = include_str!("sql/usage.sql");

impl Reader {
    /// From rollups, or with filters from a set of attribution that has them.
    pub async fn usage(&self, query: &UsageQuery) -> Result<Result<UsageReport, NoSet>, ReadError> {
        if !query.filters.is_empty() {
            return self.filtered_usage(query).await;
        }
        let UsageQuery { org_id, buckets, models, by_model, filters: _, fill: _ } = query;
        let wanted = Wanted { org_id: *org_id, buckets, models, by_model: *by_model };
        let (rows, head) = self.of_rollups(USAGE, &wanted).await?;
        let (freshness, as_of) = self.completeness(&head.org);
        let point = |row: &PgRow| UsageRow::read(row).map_err(StoreError::from).map(UsageRow::point).transpose();
        let series = rows.iter().filter_map(|row| point(row).map(Result::flatten)).collect::<Result<Vec<_>, _>>()?;
        Ok(Ok(UsageReport { series, overflow: None, freshness, as_of }))
    }

    async fn filtered_usage(&self, query: &UsageQuery) -> Result<Result<UsageReport, NoSet>, ReadError> {
        let UsageQuery { org_id, buckets, by_model, .. } = query;
        let wanted = AttributionQuery {
            org_id: *org_id,
            buckets: buckets.clone(),
            group_by: if *by_model { vec![Dimension::Model] } else { Vec::new() },
            filters: query.all_filters(),
        };
        let mut picked = Vec::new();
        let pick = |totals: &[KeyTotals]| {
            picked.extend((0..totals.len()).filter(|place| totals[*place].kind() == KeyKind::Group));
            picked.clone()
        };
        let found = match self.attribution(&wanted, pick).await? {
            Ok(found) => found,
            Err(no_set) => return Ok(Err(no_set)),
        };
        let mut series = Vec::new();
        for (place, points) in picked.into_iter().zip(found.series) {
            let model_id = model_of(&found.totals[place].key)?;
            let starts = buckets.starts();
            let point = |(bucket, measures): (usize, Measures)| {
                Some(UsagePoint { bucket_start: *starts.get(bucket)?, model_id, usage: measures.into() })
            };
            series.extend(points.into_iter().filter_map(point));
            if series.len() > MAX_ROWS {
                return Err(ReadError::TooLarge);
            }
        }
        series.sort_unstable_by_key(|point| (point.bucket_start, point.model_id));
        let lost = found.totals.iter().filter(|one| one.kind() == KeyKind::Overflow).map(|one| one.measures);
        let overflow = Some(lost.sum::<Measures>().into());
        Ok(Ok(UsageReport { series, overflow, freshness: found.freshness, as_of: found.as_of }))
    }
}

/// The model of a key that has one.
fn model_of(key: &[Value]) -> Result<Option<Uuid>, StoreError> {
    let model_id = key.first().and_then(Value::name).map(Uuid::try_parse).transpose();
    model_id.map_err(|_| StoreError::impossible("a model of attribution"))
}

struct UsageRow {
    /// None, as everything below it, where the series is empty.
    bucket_start: Option<DateTime<Utc>>,
    model_id: Option<Uuid>,
    invocations: Option<i64>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_cents: Option<Amount>,
}

impl UsageRow {
    /// By the place of its columns: finding them by name costs more than reading them.
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            bucket_start: row.try_get(HEAD_COLUMNS)?,
            model_id: row.try_get(HEAD_COLUMNS + 1)?,
            invocations: row.try_get(HEAD_COLUMNS + 2)?,
            input_tokens: row.try_get(HEAD_COLUMNS + 3)?,
            output_tokens: row.try_get(HEAD_COLUMNS + 4)?,
            cost_cents: row.try_get(HEAD_COLUMNS + 5)?,
        })
    }

    fn point(self) -> Option<Result<UsagePoint, StoreError>> {
        let bucket_start = self.bucket_start?;
        let usage = super::ledger::usage(self.invocations, self.input_tokens, self.output_tokens, self.cost_cents);
        Some(usage.map(|usage| UsagePoint { bucket_start, model_id: self.model_id, usage }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{money::Cents, query::Usage};

    fn row() -> UsageRow {
        UsageRow {
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

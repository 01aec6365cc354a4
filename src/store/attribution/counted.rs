//! Raw events counted by org, hour and the values of some dimensions: read in pieces, so that a day of any size fits into memory.

use std::{iter::Peekable, sync::Arc, vec::IntoIter};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::sums::SumsRow;
use crate::{
    domain::{
        attribution::{Dimension, Named, kept},
        rollup::hour_of,
    },
    store::{
        StoreError,
        rollups::recount::{Pending, Span},
    },
};

/// Rows that are read by one statement.
const AT_ONCE: usize = 2000;

/// A cursor of the transaction.
pub(super) struct Counted {
    rows: Peekable<IntoIter<Row>>,
    more: bool,
}

impl Counted {
    pub async fn open(
        tx: &mut PgConnection,
        span: &Span,
        dimensions: &[Dimension],
        pending: Pending,
    ) -> Result<Self, StoreError> {
        // All of it is read: no plan that is quick for the first rows only.
        sqlx::query("SET LOCAL cursor_tuple_fraction = 1").execute(&mut *tx).await?;
        let statement = include_str!("sql/recount.sql").replace("{values}", &columns(dimensions));
        // Safe: what is put in are constants.
        sqlx::query(AssertSqlSafe(statement))
            .bind(span.start)
            .bind(span.end())
            .bind(span.org_id)
            .bind(&span.left_out)
            .bind(pending == Pending::Counted)
            .bind(fields(dimensions))
            .execute(tx)
            .await?;
        Ok(Self { rows: Vec::new().into_iter().peekable(), more: true })
    }

    /// Further sums of one org: orgs come one after the other, each with its largest keys first.
    pub async fn next(&mut self, tx: &mut PgConnection) -> Result<Option<(Uuid, Vec<Named>)>, StoreError> {
        if self.rows.peek().is_none() && self.more {
            let fetch = format!("FETCH {AT_ONCE} FROM attributed");
            let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(fetch)).fetch_all(tx).await?;
            self.more = rows.len() == AT_ONCE;
            self.rows = rows.into_iter().peekable();
        }
        let Some(org_id) = self.rows.peek().map(|row| row.org_id) else { return Ok(None) };
        let mut of_org = Vec::new();
        while let Some(row) = self.rows.next_if(|row| row.org_id == org_id) {
            of_org.push(row.named()?);
        }
        Ok(Some((org_id, of_org)))
    }

    pub async fn close(self, tx: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query("CLOSE attributed").execute(tx).await?;
        Ok(())
    }
}

/// The fields of the metadata among a set's dimensions.
pub(in crate::store) fn fields(dimensions: &[Dimension]) -> Vec<&str> {
    let named = dimensions.iter().filter_map(|dimension| match dimension {
        Dimension::Meta(field) => Some(&**field),
        _ => None,
    });
    named.collect()
}

/// A set's values of a raw event, in SQL. Fields of the metadata are named by $6.
pub(in crate::store) fn columns(dimensions: &[Dimension]) -> String {
    let mut fields = 0;
    let columns = dimensions.iter().map(|dimension| match dimension {
        Dimension::Model => "model_id::text".to_owned(),
        Dimension::Client => "client_id".to_owned(),
        Dimension::Actor => "actor_id::text".to_owned(),
        Dimension::Status => "status::text".to_owned(),
        Dimension::ErrorCode => "error_code".to_owned(),
        Dimension::Meta(_) => {
            fields += 1;
            format!("metadata ->> ($6::text[])[{fields}]")
        }
    });
    format!("ARRAY[{}]", columns.collect::<Vec<_>>().join(", "))
}

#[derive(FromRow)]
struct Row {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    values: Vec<Option<String>>,
    #[sqlx(flatten)]
    sums: SumsRow,
}

impl Row {
    fn named(self) -> Result<Named, StoreError> {
        Ok(Named {
            hour: hour_of(self.bucket_start),
            values: self.values.iter().map(|value| value.as_deref().map(|text| Arc::from(&*kept(text)))).collect(),
            measures: self.sums.measures()?,
        })
    }
}

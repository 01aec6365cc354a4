//! How many hours are summed by one step.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::store::StoreError;

/// What hours are summed from, and how much of it is little. All constants, never input.
pub(super) struct StepOfHours {
    pub table: &'static str,
    /// The column that has the time.
    pub at: &'static str,
    /// Rows of a day below which it is summed at once.
    pub few: i64,
}

impl StepOfHours {
    /// Up to where the next step goes: a day where that is little, or an hour.
    pub async fn end(
        &self,
        conn: &mut PgConnection,
        starts: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, StoreError> {
        let Self { table, at, few } = self;
        let day = to.min(starts + TimeDelta::hours(24));
        let count = format!(
            "SELECT count(*) FROM (SELECT FROM analytics.{table} WHERE {at} >= $1 AND {at} < $2 LIMIT $3) AS few"
        );
        let rows: i64 =
            sqlx::query_scalar(AssertSqlSafe(count)).bind(starts).bind(day).bind(few).fetch_one(conn).await?;
        Ok(if rows < *few { day } else { to.min(starts + TimeDelta::hours(1)) })
    }
}

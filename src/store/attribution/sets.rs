//! The sets that are kept, as the database has them.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::attribution::{Dimension, Set},
    store::{StoreError, rollups::merge::hold_off, transaction::in_transaction},
};

/// A set that no process has been set to keep for so long is retired: processes of other settings may work beside each other while
/// they are replaced.
const WANTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// A set with what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSet {
    pub set_id: i32,
    pub set: Set,
    pub max_keys: u32,
    /// From when on it has all events; 1970: always.
    pub complete_from: DateTime<Utc>,
    /// Days before have parts of their own, and so have months.
    pub days_to: DateTime<Utc>,
    pub months_to: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    set_id: i32,
    dimensions: Vec<String>,
    max_keys: i32,
    complete_from: DateTime<Utc>,
    days_to: DateTime<Utc>,
    months_to: DateTime<Utc>,
}

impl Row {
    fn kept(self) -> Result<KeptSet, StoreError> {
        let dimensions = self.dimensions.iter().map(|name| name.parse::<Dimension>());
        let set = dimensions.collect::<Result<Vec<_>, _>>().map_err(StoreError::broken)?;
        Ok(KeptSet {
            set_id: self.set_id,
            set: Set::new(set).map_err(StoreError::broken)?,
            max_keys: self.max_keys.unsigned_abs(),
            complete_from: self.complete_from,
            days_to: self.days_to,
            months_to: self.months_to,
        })
    }
}

/// Those that are kept, in the order in which they came.
pub async fn kept(conn: &mut PgConnection) -> Result<Vec<KeptSet>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT set_id, dimensions, max_keys, complete_from, days_to, months_to
         FROM analytics.attribution_sets WHERE retired_at IS NULL ORDER BY set_id",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::kept).collect()
}

/// Says that these are to be kept, begins those that are new, and retires those that no process wants any more.
pub async fn want(
    conn: &mut PgConnection,
    sets: &[Set],
    max_keys: u32,
    max_ahead: TimeDelta,
) -> Result<(), StoreError> {
    let max_keys = i32::try_from(max_keys).map_err(StoreError::broken)?;
    let mut missing = Vec::new();
    for set in sets {
        let known = sqlx::query(
            "UPDATE analytics.attribution_sets SET wanted_at = clock_timestamp(), max_keys = $2
             WHERE dimensions = $1 AND retired_at IS NULL",
        )
        .bind(names(set))
        .bind(max_keys)
        .execute(&mut *conn)
        .await?;
        if known.rows_affected() == 0 {
            missing.push(names(set));
        }
    }
    sqlx::query(
        "UPDATE analytics.attribution_sets SET retired_at = clock_timestamp()
         WHERE retired_at IS NULL AND wanted_at < clock_timestamp() - $1",
    )
    .bind(WANTED_WITHIN)
    .execute(&mut *conn)
    .await?;
    if missing.is_empty() {
        return Ok(());
    }
    in_transaction(conn, async |tx| {
        // A batch that is merged later, and was committed without what the set needs, is noted: whoever merges it sees the set.
        hold_off(tx).await?;
        for dimensions in missing {
            sqlx::query(include_str!("sql/set_begin.sql"))
                .bind(dimensions)
                .bind(max_keys)
                .bind(max_ahead)
                .execute(&mut *tx)
                .await?;
        }
        Ok(())
    })
    .await
}

fn names(set: &Set) -> Vec<String> {
    set.dimensions().iter().map(|dimension| dimension.name().into_owned()).collect()
}

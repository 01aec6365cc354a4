//! Rows that wait to be folded and cannot be read, damaged or of another version. Their events are in raw events: so the days of these
//! are counted again, and the rows are deleted.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PENDING, UNATTRIBUTED, fold, lock, sets};
use crate::{
    domain::{
        attribution::Partials,
        calendar::utc_day,
        finding::Finding,
        packed::PackedError,
        rollup::{Pending, day_of_hour, hour_of},
    },
    store::{StoreError, transaction::in_transaction},
};

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub batch_id: Uuid,
    pub error: PackedError,
}

impl Unreadable {
    pub fn finding(&self) -> Finding {
        Finding::AttributionUnreadable { batch_id: self.batch_id, why: self.error.to_string() }
    }
}

/// All of them.
pub async fn find(conn: &mut PgConnection) -> Result<Vec<Unreadable>, StoreError> {
    let mut found = Vec::new();
    let mut note = |batch_id, error: Option<PackedError>| {
        found.extend(error.map(|error| Unreadable { batch_id, error }));
    };
    PENDING.read(conn, |batch_id, read: Result<Partials, _>| note(batch_id, read.err())).await?;
    UNATTRIBUTED.read(conn, |batch_id, read: Result<Pending, _>| note(batch_id, read.err())).await?;
    Ok(found)
}

/// Deletes those that there are, and notes that the days of their events are to be counted again, for all sets. Raw events are read at
/// length before anybody is held up.
pub async fn replace_all(conn: &mut PgConnection) -> Result<Vec<Unreadable>, StoreError> {
    let rows = find(conn).await?;
    for row in &rows {
        let days = days_of(conn, row.batch_id).await?;
        in_transaction::<_, StoreError>(conn, async |tx| {
            lock(tx).await?;
            let sets = sets::kept(&mut *tx).await?;
            let noted = sets
                .iter()
                .flat_map(|set| days.iter().map(|(org_id, day)| (*org_id, set.set_id, day_of_hour(hour_of(*day)))));
            fold::note(&mut *tx, noted.collect()).await?;
            for table in [PENDING.table, UNATTRIBUTED.table] {
                sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM analytics.{table} WHERE batch_id = $1")))
                    .bind(row.batch_id)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        })
        .await?;
        let Unreadable { batch_id, error } = row;
        tracing::warn!(%batch_id, %error, days = days.len(), "attribution of a batch cannot be read: its days are counted again");
    }
    Ok(rows)
}

/// Orgs and UTC days that a batch may have events of: those that it has, and where raw events are gone all that have rollups.
async fn days_of(conn: &mut PgConnection, batch_id: Uuid) -> Result<Vec<(Uuid, DateTime<Utc>)>, StoreError> {
    type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let span: Option<Span> =
        sqlx::query_as("SELECT occurred_from, occurred_to FROM analytics.ingestion_batches WHERE batch_id = $1")
            .bind(batch_id)
            .fetch_optional(&mut *conn)
            .await?;
    let (from, to) = match span {
        Some((Some(from), Some(to))) => (from, to),
        // It stored nothing.
        Some(_) => return Ok(Vec::new()),
        // So old that the ledger does not have it by itself any more: all of its time is gone.
        None => {
            let committed_at: Option<DateTime<Utc>> =
                sqlx::query_scalar("SELECT committed_at FROM analytics.attribution_pending WHERE batch_id = $1")
                    .bind(batch_id)
                    .fetch_optional(&mut *conn)
                    .await?;
            let Some(committed_at) = committed_at else { return Ok(Vec::new()) };
            (committed_at, committed_at)
        }
    };
    let days =
        sqlx::query_as(include_str!("sql/unreadable_days.sql")).bind(batch_id).bind(from).bind(to).bind(utc_day(from));
    Ok(days.fetch_all(conn).await?)
}

/// Orgs that rows which cannot be read have events of, within a day.
pub(super) async fn orgs(
    tx: &mut PgConnection,
    rows: &[Unreadable],
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Vec<Uuid>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let orgs = sqlx::query_scalar(
        "SELECT DISTINCT org_id FROM analytics.usage_events WHERE occurred_at >= $1 AND occurred_at < $2 AND batch_id = ANY ($3)",
    );
    let batches: Vec<Uuid> = rows.iter().map(|row| row.batch_id).collect();
    Ok(orgs.bind(start).bind(end).bind(batches).fetch_all(tx).await?)
}

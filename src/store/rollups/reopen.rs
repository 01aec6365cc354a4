//! Reopening: hours that only a clock which stood ahead has closed.
//!
//! A watermark that was raised while the database's clock stood ahead is corrected when it is proved. What readers may have been
//! reported meanwhile is kept, and what changes an hour that was final by it is a revision: until real time has caught up, that
//! is every merge. Only an operator can know that no response had hours that had not begun.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::{
        audit::{Actor, AuditEvent, Outcome},
        partition::Topology,
    },
    store::{StoreError, access::audit, transaction::in_transaction},
};

/// A stream whose hours were closed ahead of the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Reopened {
    pub stream: String,
    /// The highest watermark that readers may have been shown.
    pub closed_to: DateTime<Utc>,
    /// What counts as such now.
    pub now_to: DateTime<Utc>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Reopening {
    Done(Vec<Reopened>),
    /// Streams whose watermark itself lies ahead of the clock: the next merge would close the hours again.
    StillAhead(Vec<String>),
}

/// Reopens the hours of all partitions that have not begun. On record, where there are any.
pub async fn reopen(
    conn: &mut PgConnection,
    topology: &Topology,
    late_after: TimeDelta,
    by_whom: &str,
) -> Result<Reopening, StoreError> {
    in_transaction(conn, async |tx| reopen_in(tx, topology, late_after, by_whom).await).await
}

async fn reopen_in(
    tx: &mut PgConnection,
    topology: &Topology,
    late_after: TimeDelta,
    by_whom: &str,
) -> Result<Reopening, StoreError> {
    let ahead: Vec<String> = sqlx::query_scalar(
        "SELECT stream FROM analytics.partition_watermarks
         WHERE stream = ANY ($1) AND watermark > clock_timestamp() ORDER BY stream FOR NO KEY UPDATE",
    )
    .bind(topology.streams())
    .fetch_all(&mut *tx)
    .await?;
    if !ahead.is_empty() {
        return Ok(Reopening::StillAhead(ahead));
    }
    let reopened: Vec<Reopened> = sqlx::query_as(include_str!("sql/watermark_reopen.sql"))
        .bind(&topology.base)
        .bind(late_after)
        .fetch_all(&mut *tx)
        .await?;
    let act = |one: &Reopened| {
        AuditEvent::new(Actor::command_line(by_whom.to_owned()), "partition.reopen", Outcome::Allowed)
            .target(&one.stream)
            .detail(format!("closed to {}, now to {}", one.closed_to.to_rfc3339(), one.now_to.to_rfc3339()))
    };
    audit::record(tx, &reopened.iter().map(act).collect::<Vec<_>>()).await?;
    Ok(Reopening::Done(reopened))
}

//! Layout: how many partitions a stream has. Kept where their progress is, so that two processes cannot differ: each would
//! read streams that the other does not, and neither would know of an event that came by both.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    domain::partition::Topology,
    store::{StoreError, transaction::in_transaction},
};

/// A stream has another number of partitions than the settings say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "broker.partitions is {configured}, and {stream} has {found} in this database: set it to {found}, or stop the service and \
     change the layout by `partitions layout --set {configured}`"
)]
pub struct Mismatch {
    pub stream: String,
    pub configured: u16,
    pub found: i32,
}

#[derive(Clone, Debug, FromRow)]
pub struct Layout {
    pub partitions: i32,
    pub changed_at: DateTime<Utc>,
    pub changed_by: String,
}

/// The layout of a stream; none where no process has ever worked on it.
pub async fn of(conn: &mut PgConnection, stream: &str) -> Result<Option<Layout>, StoreError> {
    let layout = "SELECT partitions, changed_at, changed_by FROM analytics.stream_layouts WHERE stream = $1";
    Ok(sqlx::query_as(layout).bind(stream).fetch_optional(conn).await?)
}

/// Whether the settings and the layout agree; the first process makes the layout what its settings say.
pub async fn agree(
    conn: &mut PgConnection,
    topology: &Topology,
    process: &str,
) -> Result<Option<Mismatch>, StoreError> {
    sqlx::query("INSERT INTO analytics.stream_layouts (stream, partitions, changed_by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(&topology.base)
        .bind(i32::from(topology.partitions))
        .bind(process)
        .execute(&mut *conn)
        .await?;
    check(conn, topology).await
}

/// Whether they agree still, when this process is on record: waits for a transaction that is changing the layout, so that a change
/// which did not see the process is seen by it.
pub async fn agree_firmly(conn: &mut PgConnection, topology: &Topology) -> Result<Option<Mismatch>, StoreError> {
    let found: Option<i32> =
        sqlx::query_scalar("SELECT partitions FROM analytics.stream_layouts WHERE stream = $1 FOR SHARE")
            .bind(&topology.base)
            .fetch_optional(conn)
            .await?;
    Ok(differs(topology, found))
}

/// Whether they agree, as far as a layout is known.
pub async fn check(conn: &mut PgConnection, topology: &Topology) -> Result<Option<Mismatch>, StoreError> {
    Ok(differs(topology, of(conn, &topology.base).await?.map(|layout| layout.partitions)))
}

fn differs(topology: &Topology, found: Option<i32>) -> Option<Mismatch> {
    let configured = topology.partitions;
    let found = found.filter(|found| *found != i32::from(configured))?;
    Some(Mismatch { stream: topology.base.clone(), configured, found })
}

/// Processes that work on a stream, by name.
pub async fn processes(conn: &mut PgConnection, stream: &str) -> Result<Vec<String>, StoreError> {
    let living =
        "SELECT name FROM analytics.processes WHERE stream = $1 AND expires_at >= clock_timestamp() ORDER BY name";
    Ok(sqlx::query_scalar(living).bind(stream).fetch_all(conn).await?)
}

/// Where the service has come to in a stream: the next offset, and batches that are not merged yet.
pub async fn progress(conn: &mut PgConnection, stream: &str) -> Result<(i64, i64), StoreError> {
    let progress = "SELECT coalesce((SELECT next_offset FROM analytics.partition_offsets WHERE stream = $1), 0),
                           (SELECT count(*) FROM analytics.rollup_pending WHERE stream = $1)";
    Ok(sqlx::query_as(progress).bind(stream).fetch_one(conn).await?)
}

/// Changes the number of partitions, unless a process works on them or it has changed already. False then.
pub async fn change(
    conn: &mut PgConnection,
    from: &Topology,
    partitions: u16,
    by_whom: &str,
) -> Result<bool, StoreError> {
    in_transaction(conn, async |tx| change_in(tx, from, partitions, by_whom).await).await
}

async fn change_in(tx: &mut PgConnection, from: &Topology, partitions: u16, by_whom: &str) -> Result<bool, StoreError> {
    let found: Option<i32> =
        sqlx::query_scalar("SELECT partitions FROM analytics.stream_layouts WHERE stream = $1 FOR UPDATE")
            .bind(&from.base)
            .fetch_optional(&mut *tx)
            .await?;
    let changes = found == Some(i32::from(from.partitions)) && processes(tx, &from.base).await?.is_empty();
    if changes {
        sqlx::query(include_str!("sql/layout_change.sql"))
            .bind(&from.base)
            .bind(i32::from(partitions))
            .bind(by_whom)
            .bind(from.streams())
            .execute(tx)
            .await?;
    }
    Ok(changes)
}

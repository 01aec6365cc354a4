//! Attribution in the database: what batches leave is folded into parts, about once a minute; parts are put together when their hour
//! is over; what has to be is counted again from raw events. See docs/internals/attribution.md.

pub(in crate::store) mod counted;
mod dictionary;
pub mod erase;
pub mod estimate;
pub mod fold;
mod parts;
pub mod recount;
pub mod sets;
pub mod settle;
pub(in crate::store) mod sums;
pub mod unreadable;
pub mod unused;
pub mod verify;

use sqlx::PgConnection;

use super::{StoreError, packed::PackedRows, transaction::in_snapshot};

/// Advisory lock of whoever writes parts. Whoever holds merges off as well takes it first.
pub const ATTRIBUTION_LOCK: i64 = 0x6174_7472_6962;

/// What committed batches add, and is not folded yet.
const PENDING: PackedRows = PackedRows { table: "attribution_pending", column: "partials", only: "true" };
/// Aggregates of batches that were committed without attribution, and whose hours are not counted yet.
const UNATTRIBUTED: PackedRows = PackedRows { table: "attribution_unattributed", column: "aggregates", only: "true" };
/// The same of those that are not merged yet.
const UNATTRIBUTED_UNMERGED: PackedRows =
    PackedRows { table: "rollup_pending", column: "aggregates", only: "NOT attributed" };

/// Waits until no other session writes parts, and none will until the transaction ends.
pub(in crate::store) async fn lock(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ATTRIBUTION_LOCK).execute(tx).await?;
    Ok(())
}

/// As [`lock`], without waiting: whether no other session writes parts.
async fn try_lock(tx: &mut PgConnection) -> Result<bool, StoreError> {
    let free = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(ATTRIBUTION_LOCK).fetch_one(tx).await?;
    Ok(free)
}

/// Does work in one snapshot while no other session writes parts. `None`: another does.
async fn alone<T>(
    conn: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    // Before the snapshot: what another session wrote must be in it.
    let free: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(ATTRIBUTION_LOCK).fetch_one(&mut *conn).await?;
    if !free {
        return Ok(None);
    }
    let done = in_snapshot(conn, work).await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(ATTRIBUTION_LOCK).execute(conn).await?;
    done.map(Some)
}

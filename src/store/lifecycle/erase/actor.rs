//! Erasing a person: a UTC day of an org at a time, whose rollups are counted again without the person's events, in the
//! transaction that deletes these.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Events;
use crate::{
    domain::revision::Reason,
    store::{
        StoreError,
        rollups::{
            rebuild::{self, change_pending, while_nothing_is_merged},
            recount::Rebuilt,
        },
    },
};

/// An org's UTC day with raw events of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ActorDay {
    pub org_id: Uuid,
    pub day: DateTime<Utc>,
    pub events: i64,
}

/// The days that have raw events of a person, in one org or in all of them.
pub async fn actor_days(
    conn: &mut PgConnection,
    actor_id: Uuid,
    org_id: Option<Uuid>,
) -> Result<Vec<ActorDay>, StoreError> {
    // The first batches of an org are in no hour of the ledger until they are merged.
    let mut unmerged: BTreeSet<Uuid> = BTreeSet::new();
    change_pending(&mut *conn, |pending| {
        unmerged.extend(pending.ledger.0.keys().flatten());
        false
    })
    .await?;
    let days = sqlx::query_as(include_str!("../sql/erase_actor_days.sql"))
        .bind(actor_id)
        .bind(org_id)
        .bind(unmerged.into_iter().collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    Ok(days)
}

/// Erases a person's raw events of a day, and with them what they added to its rollups; final hours that change are
/// revisions. How many events it were. The connection is [prepared](crate::store::rollups::recount::prepare).
///
/// A day below the org's raw floor keeps its rollups as they are: they cannot be counted again, and name no person.
pub async fn actor_day(
    conn: &mut PgConnection,
    actor_id: Uuid,
    of: &ActorDay,
    late_after: TimeDelta,
) -> Result<(i64, Rebuilt), StoreError> {
    let ActorDay { org_id, day, .. } = *of;
    let which = Events { org_id, actor_id: Some(actor_id), time: Some((day, day + TimeDelta::days(1))) };
    while_nothing_is_merged(conn, async |tx| {
        let gone = super::events(&mut *tx, which).await?;
        let rebuilt = rebuild::count_again(tx, day, Some(org_id), Some(Reason::Erasure), late_after).await?;
        Ok((gone, rebuilt))
    })
    .await
}

//! Orgs whose events come by a partition where they are not at home: on record, since responses about them are no more
//! complete than that partition is, and so that an operator can notify their producers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::store::{
    StoreError,
    ingest::work::{Kind, Work},
};

/// An org whose events came by another partition than its own.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Misrouted {
    pub org_id: Uuid,
    /// Of the batch at hand.
    #[sqlx(skip)]
    pub events: i64,
    /// So many of it came by this partition since then, the batch's among them.
    pub all_events: i64,
    pub first_seen_at: DateTime<Utc>,
}

/// Records the misrouted events of a batch, whatever became of them. A range that is read again is no news.
pub(super) async fn note(tx: &mut PgConnection, work: Work<'_>) -> Result<Vec<Misrouted>, StoreError> {
    let (claim, batch) = (work.claim, work.batch);
    if batch.foreign.is_empty() || work.rules.kind != Kind::Live {
        return Ok(Vec::new());
    }
    let decoded = batch.candidates().map(|candidate| (candidate.message, Some(candidate.event.org_id)));
    let rejected = batch.rejects.iter().map(|reject| (reject.message, reject.rejection.org_id));
    let mut orgs: BTreeMap<Uuid, (u16, i64)> = BTreeMap::new();
    for (message, org_id) in decoded.chain(rejected) {
        if let Some((home, org_id)) = batch.foreign.get(&message).zip(org_id) {
            orgs.entry(org_id).or_insert((*home, 0)).1 += 1;
        }
    }
    let rows: Vec<Misrouted> = sqlx::query_as(include_str!("../sql/misrouted_note.sql"))
        .bind(&claim.stream)
        .bind(i32::from(claim.partition))
        .bind(orgs.keys().copied().collect::<Vec<_>>())
        .bind(orgs.values().map(|(home, _)| claim.topology.stream_of(*home)).collect::<Vec<_>>())
        .bind(orgs.values().map(|(_, events)| *events).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?;
    let with_events = |row: Misrouted| {
        let events = orgs.get(&row.org_id).map_or(0, |(_, events)| *events);
        Misrouted { events, ..row }
    };
    Ok(rows.into_iter().map(with_events).collect())
}

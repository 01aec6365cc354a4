//! The latest duplicates of each org: what says that an event was sent again, and whether the copy differed.
//!
//! The ledger counts all of them; this names the latest for those who look for one. It is bounded whatever producers do: a
//! fixed number of slots an org, a fixed number of rows a batch.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::work::Fates;
use crate::{
    domain::{
        batch::{Batch, Candidate},
        event_fate::slot_of,
        ledger::Fate,
    },
    store::{StoreError, bound::bound},
};

/// Most duplicates of a batch that are noted, those that differ before others.
const MOST: usize = 256;

/// The copies of one event in a batch.
struct Copies<'b> {
    last: &'b Candidate,
    conflict: bool,
    count: i64,
}

/// Notes a batch's duplicates.
pub(super) async fn note(
    conn: &mut PgConnection,
    batch: &Batch,
    fates: &Fates,
    window: TimeDelta,
) -> Result<(), StoreError> {
    let noted = by_slot(batch, fates);
    if noted.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::default();
    for ((org_id, slot), Copies { last, conflict, count }) in noted {
        columns.orgs.push(org_id);
        columns.slots.push(slot);
        columns.events.push(last.event.event_id);
        columns.times.push(last.event.occurred_at);
        columns.conflicts.push(conflict);
        columns.counts.push(count);
    }
    sqlx::query_with(include_str!("sql/duplicates.sql"), columns.arguments()?)
        .bind(PgInterval { months: 0, days: 0, microseconds: window.num_microseconds().unwrap_or(i64::MAX) })
        .execute(conn)
        .await?;
    Ok(())
}

bound! {
    /// What duplicates.sql begins with.
    #[derive(Default)]
    struct Columns {
        orgs: Vec<Uuid>, slots: Vec<i16>, events: Vec<Uuid>, times: Vec<DateTime<Utc>>, conflicts: Vec<bool>,
        counts: Vec<i64>,
    }
}

/// What is noted in each slot: of several events of a slot the last, unless an earlier one differed and it does not.
fn by_slot<'b>(batch: &'b Batch, fates: &Fates) -> BTreeMap<(Uuid, i16), Copies<'b>> {
    let conflict = |candidate: &Candidate| match fates.get(candidate.message) {
        Some(Fate::Duplicate { conflict }) => Some(conflict),
        _ => None,
    };
    let mut found: Vec<(bool, &Candidate)> =
        batch.candidates().filter_map(|candidate| Some((conflict(candidate)?, candidate))).collect();
    // Those that differ first; beyond the bound the earliest go, since the latest are more likely to be queried.
    found.sort_unstable_by_key(|(conflict, candidate)| (!conflict, std::cmp::Reverse(candidate.message)));
    found.truncate(MOST);
    let mut noted: BTreeMap<(Uuid, i16), Copies<'b>> = BTreeMap::new();
    for (conflict, candidate) in found {
        let (org_id, event_id) = (candidate.event.org_id, candidate.event.event_id);
        let copies = noted.entry((org_id, slot_of(event_id))).or_insert(Copies { last: candidate, conflict, count: 0 });
        if copies.last.event.event_id == event_id {
            copies.count += 1;
        }
    }
    noted
}

//! Folding: what is pending becomes parts, exactly what deleting it gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    dictionary,
    dictionary::Wanted,
    parts::{KeyRows, PartRows},
    sets::{self, KeptSet},
};
use crate::{
    domain::{
        attribution::{Folding, KnownKeys, Named, Naming, Partials, Set},
        rollup::{self, day_of_hour, day_start, hour_of},
    },
    store::{StoreError, transaction::in_transaction},
};

/// Most bytes of pending rows that are folded at a time, beside a last row.
const MAX_BYTES: i64 = 8 << 20;
/// Most rows.
const MAX_ROWS: i64 = 2000;
/// Days of orgs and sets whose known keys are in memory at a time, unless one org has more.
const DAYS_AT_ONCE: usize = 512;

/// What a step of folding did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub batches: usize,
    /// More may be pending than a step takes.
    pub more: bool,
    /// Another session writes parts: nothing was done.
    pub busy: bool,
}

/// Streams and partitions that no process has folded for about so long.
pub async fn due(conn: &mut PgConnection, every: Duration) -> Result<Vec<(String, i32)>, StoreError> {
    // Processes look in turn, each as often: not one of them just before another.
    let every = TimeDelta::from_std(every * 3 / 4).map_err(StoreError::broken)?;
    Ok(sqlx::query_as(include_str!("sql/fold_due.sql")).bind(every).fetch_all(conn).await?)
}

/// Folds some of what is pending of a partition, in the order of commits.
pub async fn fold(conn: &mut PgConnection, stream: &str, partition: i32) -> Result<Folded, StoreError> {
    in_transaction(conn, async |tx| fold_in(tx, stream, partition).await).await
}

async fn fold_in(tx: &mut PgConnection, stream: &str, partition: i32) -> Result<Folded, StoreError> {
    if !super::try_lock(&mut *tx).await? {
        return Ok(Folded { busy: true, ..Folded::default() });
    }
    let sets = sets::kept(&mut *tx).await?;
    // Before what is pending is read: whatever the watermark covers was committed by then.
    let watermark: Option<DateTime<Utc>> =
        sqlx::query_scalar("SELECT watermark FROM analytics.partition_watermarks WHERE stream = $1 AND partition = $2")
            .bind(stream)
            .bind(partition)
            .fetch_optional(&mut *tx)
            .await?;
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/pending_take.sql"))
        .bind(stream)
        .bind(partition)
        .bind(MAX_ROWS)
        .bind(MAX_BYTES)
        .fetch_all(&mut *tx)
        .await?;
    let batches = rows.len();
    let bytes: usize = rows.iter().map(Vec::len).sum();
    let more = i64::try_from(batches).is_ok_and(|rows| rows >= MAX_ROWS)
        || i64::try_from(bytes).is_ok_and(|bytes| bytes >= MAX_BYTES);
    let of_sets: Vec<Set> = sets.iter().map(|kept| kept.set.clone()).collect();
    let mut folding = Folding::new(&of_sets);
    for packed in rows {
        folding.add(&Partials::unpack(&packed).map_err(StoreError::broken)?);
    }
    let lacking = folding.lacking().iter().map(|(org_id, set, day)| (*org_id, sets[*set].set_id, *day));
    note(tx, lacking.collect()).await?;
    let mut orgs: Vec<Uuid> = Vec::new();
    let mut days = 0;
    for org_id in folding.orgs() {
        days += folding.days(org_id);
        orgs.push(org_id);
        if days >= DAYS_AT_ONCE {
            put(tx, &sets, &mut folding, &orgs).await?;
            (orgs, days) = (Vec::new(), 0);
        }
    }
    put(tx, &sets, &mut folding, &orgs).await?;
    let unattributed_more = unattributed(tx, &sets, stream, partition).await?;
    if !more && !unattributed_more {
        sqlx::query(include_str!("sql/watermark_put.sql"))
            .bind(stream)
            .bind(partition)
            .bind(watermark)
            .execute(tx)
            .await?;
    }
    Ok(Folded { batches, more: more || unattributed_more, busy: false })
}

/// Writes what some orgs have.
async fn put(
    tx: &mut PgConnection,
    sets: &[KeptSet],
    folding: &mut Folding<'_>,
    orgs: &[Uuid],
) -> Result<(), StoreError> {
    let (mut wanted, mut sums) = (Wanted::new(), Vec::new());
    let mut days: BTreeSet<(Uuid, i32, i32)> = BTreeSet::new();
    for org_id in orgs {
        for (n, kept) in sets.iter().enumerate() {
            let named = folding.take(*org_id, n);
            want(&mut wanted, *org_id, &kept.set, &named);
            days.extend(named.iter().map(|one| (*org_id, kept.set_id, day_of_hour(one.hour))));
            sums.push((*org_id, kept, named));
        }
    }
    if days.is_empty() {
        return Ok(());
    }
    let max_keys = sets.iter().map(|kept| kept.max_keys).max().unwrap_or_default();
    let mut dictionaries = dictionary::open(tx, orgs, max_keys).await?;
    dictionary::look_up(tx, &mut dictionaries, &wanted).await?;
    let mut known = known_keys(tx, sets, days).await?;
    let (mut parts, mut keys) = (PartRows::default(), KeyRows::default());
    for (org_id, kept, named) in sums {
        let Some(dictionary) = dictionaries.get_mut(&org_id) else { continue };
        let known = known.remove(&(org_id, kept.set_id)).unwrap_or_default();
        let mut naming = Naming { set: &kept.set, max_keys: kept.max_keys, dictionary, known, hours: BTreeMap::new() };
        named.iter().for_each(|one| naming.add(one));
        let Naming { known, hours, .. } = naming;
        parts.push_hours(org_id, kept, &hours)?;
        for (day, known) in known.iter().filter(|(_, known)| known.has_grown()) {
            keys.push(org_id, kept.set_id, *day, known)?;
        }
    }
    dictionary::keep(tx, &dictionaries).await?;
    keys.put(tx).await?;
    parts.add(tx).await
}

/// Adds the values whose ids are needed.
pub(super) fn want(wanted: &mut Wanted, org_id: Uuid, set: &Set, named: &[Named]) {
    for one in named {
        for (dimension, value) in set.dimensions().iter().zip(&one.values) {
            if let Some(value) = value {
                wanted.insert((org_id, dimension.clone(), value.clone()));
            }
        }
    }
}

type Known = BTreeMap<(Uuid, i32), BTreeMap<i32, KnownKeys>>;

async fn known_keys(
    tx: &mut PgConnection,
    sets: &[KeptSet],
    days: BTreeSet<(Uuid, i32, i32)>,
) -> Result<Known, StoreError> {
    let rows: Vec<(Uuid, i32, DateTime<Utc>, Vec<u8>)> = sqlx::query_as(include_str!("sql/keys_read.sql"))
        .bind(days.iter().map(|of| of.0).collect::<Vec<_>>())
        .bind(days.iter().map(|of| of.1).collect::<Vec<_>>())
        .bind(days.iter().map(|of| day_start(of.2)).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
    let (mut known, mut unreadable) = (Known::new(), Vec::new());
    for (org_id, set_id, day, packed) in rows {
        let set = sets.iter().find(|kept| kept.set_id == set_id);
        let width = set.map_or(1, |kept| kept.set.dimensions().len());
        let day = day_of_hour(hour_of(day));
        let keys = match KnownKeys::unpack(&packed, width) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(%org_id, set_id, %error, "names of a day cannot be read: it is counted again");
                unreadable.push((org_id, set_id, day));
                KnownKeys::default()
            }
        };
        known.entry((org_id, set_id)).or_default().insert(day, keys);
    }
    note(tx, unreadable).await?;
    Ok(known)
}

/// Notes days of orgs that have to be counted from raw events, by their numbers.
pub(super) async fn note(tx: &mut PgConnection, days: Vec<(Uuid, i32, i32)>) -> Result<(), StoreError> {
    if days.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO analytics.attribution_recounts (org_id, set_id, day)
         SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[]) ON CONFLICT DO NOTHING",
    )
    .bind(days.iter().map(|of| of.0).collect::<Vec<_>>())
    .bind(days.iter().map(|of| of.1).collect::<Vec<_>>())
    .bind(days.iter().map(|of| day_start(of.2)).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes the days of batches that were committed without what they add. Whether there are more.
async fn unattributed(
    tx: &mut PgConnection,
    sets: &[KeptSet],
    stream: &str,
    partition: i32,
) -> Result<bool, StoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/unattributed_take.sql"))
        .bind(stream)
        .bind(partition)
        .bind(MAX_ROWS / 20)
        .fetch_all(&mut *tx)
        .await?;
    let more = i64::try_from(rows.len()).is_ok_and(|rows| rows >= MAX_ROWS / 20);
    let mut days = BTreeSet::new();
    for packed in rows {
        let pending = rollup::Pending::unpack(&packed).map_err(StoreError::broken)?;
        for (key, _) in pending.hourly {
            days.extend(sets.iter().map(|kept| (key.org_id, kept.set_id, day_of_hour(key.bucket))));
        }
    }
    note(tx, days.into_iter().collect()).await?;
    Ok(more)
}

//! Unused names: values that no part of an org has any more, since what named them was purged or counted again.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    fold, lock,
    sets::{self, KeptSet},
};
use crate::{
    domain::{
        attribution::{Dimension, Part},
        rollup::{day_of_hour, hour_of},
    },
    store::{OnStep, StoreError, transaction::in_transaction},
};

/// Values of an org and dimension that are deleted at a time; the next run deletes more.
const AT_ONCE: i64 = 20_000;

type Ids = HashSet<u32, RandomState>;

/// Deletes names that no part has, org by org. How many it were. There is room for as many new ones then; ids are not given again.
pub async fn delete(conn: &mut PgConnection, on_step: OnStep<'_>) -> Result<i64, StoreError> {
    let orgs: Vec<Uuid> =
        sqlx::query_scalar("SELECT DISTINCT org_id FROM analytics.attribution_dictionaries ORDER BY 1")
            .fetch_all(&mut *conn)
            .await?;
    let (mut gone, all) = (0, orgs.len());
    for (n, org_id) in orgs.into_iter().enumerate() {
        // Whoever gives an id to a value writes a part with it in one transaction, under this lock.
        gone += in_transaction(conn, async |tx| {
            lock(tx).await?;
            of_org(tx, org_id).await
        })
        .await?;
        on_step(&format!("names of attribution: {gone} that nothing has are gone, {} of {all} organisations", n + 1));
    }
    Ok(gone)
}

async fn of_org(tx: &mut PgConnection, org_id: Uuid) -> Result<i64, StoreError> {
    let (mut used, mut unreadable) = (BTreeMap::<Dimension, Ids>::new(), Vec::new());
    for set in sets::kept(&mut *tx).await? {
        unreadable.append(&mut find_used(tx, org_id, &set, &mut used).await?);
    }
    if !unreadable.is_empty() {
        // It may have any of the names.
        fold::note(tx, unreadable).await?;
        return Ok(0);
    }
    let dimensions: Vec<String> =
        sqlx::query_scalar("SELECT dimension FROM analytics.attribution_dictionaries WHERE org_id = $1")
            .bind(org_id)
            .fetch_all(&mut *tx)
            .await?;
    let mut gone = 0;
    for name in dimensions {
        let dimension: Dimension = name.parse().map_err(StoreError::broken)?;
        // Ids are at most i32::MAX: so the database has them.
        let used: Vec<i32> =
            used.get(&dimension).into_iter().flatten().filter_map(|id| i32::try_from(*id).ok()).collect();
        let deleted: i64 = sqlx::query_scalar(include_str!("sql/unused_delete.sql"))
            .bind(org_id)
            .bind(name)
            .bind(used)
            .bind(AT_ONCE)
            .fetch_one(&mut *tx)
            .await?;
        gone += deleted;
    }
    Ok(gone)
}

/// Adds the ids that an org's parts of a set have. Of those that cannot be read, the days to be counted again, and with them all that has
/// these days.
async fn find_used(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    used: &mut BTreeMap<Dimension, Ids>,
) -> Result<Vec<(Uuid, i32, i32)>, StoreError> {
    let dimensions = set.set.dimensions();
    let mut ids: Vec<Ids> = dimensions.iter().map(|_| Ids::default()).collect();
    let mut unreadable = Vec::new();
    let mut parts = sqlx::query_as::<_, (DateTime<Utc>, Vec<u8>)>(include_str!("sql/unused_parts.sql"))
        .bind(org_id)
        .bind(set.set_id)
        .fetch(tx);
    while let Some((start, packed)) = parts.try_next().await? {
        let read = Part::read(&packed, dimensions.len(), |key, _| {
            for (ids, id) in ids.iter_mut().zip(key) {
                ids.insert(*id);
            }
        });
        if let Err(error) = read {
            tracing::warn!(%org_id, set = %set.set, %start, %error, "a part cannot be read: its day is counted again");
            unreadable.push((org_id, set.set_id, day_of_hour(hour_of(start))));
        }
    }
    for (dimension, ids) in dimensions.iter().zip(ids) {
        used.entry(dimension.clone()).or_default().extend(ids);
    }
    Ok(unreadable)
}

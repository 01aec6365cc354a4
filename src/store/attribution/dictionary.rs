//! Names of values and their ids, of some orgs at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::attribution::{Dictionary, Dimension},
    store::{StoreError, bound::bound},
};

/// Values whose ids are looked up.
pub type Wanted = BTreeSet<(Uuid, Dimension, Arc<str>)>;

/// Reads the ids that values of these orgs have.
pub async fn look_up(
    tx: &mut PgConnection,
    dictionaries: &mut BTreeMap<Uuid, Dictionary>,
    wanted: &Wanted,
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Uuid, String, String, i32)> = sqlx::query_as(include_str!("sql/values_look_up.sql"))
        .bind(wanted.iter().map(|(org_id, ..)| *org_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, dimension, _)| dimension.name().into_owned()).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(.., value)| value.to_string()).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?;
    for (org_id, dimension, value, id) in rows {
        let dimension: Dimension = dimension.parse().map_err(StoreError::broken)?;
        if let Some(dictionary) = dictionaries.get_mut(&org_id) {
            dictionary.know(&dimension, value.into(), u32::try_from(id).map_err(StoreError::broken)?);
        }
    }
    Ok(())
}

/// Dictionaries of these orgs, which know no value yet. No other session adds values while parts are locked.
pub async fn open(
    tx: &mut PgConnection,
    orgs: &[Uuid],
    max_keys: u32,
) -> Result<BTreeMap<Uuid, Dictionary>, StoreError> {
    let mut dictionaries: BTreeMap<Uuid, Dictionary> =
        orgs.iter().map(|org_id| (*org_id, Dictionary::new(max_keys))).collect();
    let rows: Vec<(Uuid, String, i32, i32)> = sqlx::query_as(
        "SELECT org_id, dimension, next_id, freed FROM analytics.attribution_dictionaries WHERE org_id = ANY ($1)",
    )
    .bind(orgs)
    .fetch_all(tx)
    .await?;
    for (org_id, dimension, next, freed) in rows {
        let dimension: Dimension = dimension.parse().map_err(StoreError::broken)?;
        if let Some(dictionary) = dictionaries.get_mut(&org_id) {
            let number = |n: i32| u32::try_from(n).map_err(StoreError::broken);
            dictionary.begin_at(&dimension, number(next)?, number(freed)?);
        }
    }
    Ok(dictionaries)
}

bound! {
    /// Of values_add.sql.
    #[derive(Default)]
    struct Added {
        orgs: Vec<Uuid>, dimensions: Vec<String>, values: Vec<String>, ids: Vec<i32>,
    }
}

/// Writes the values that were added.
pub async fn keep(tx: &mut PgConnection, dictionaries: &BTreeMap<Uuid, Dictionary>) -> Result<(), StoreError> {
    let mut added = Added::default();
    for (org_id, dictionary) in dictionaries {
        for (dimension, value, id) in dictionary.added() {
            added.orgs.push(*org_id);
            added.dimensions.push(dimension.name().into_owned());
            added.values.push(value.to_string());
            added.ids.push(i32::try_from(*id).map_err(StoreError::broken)?);
        }
    }
    if !added.orgs.is_empty() {
        sqlx::query_with(include_str!("sql/values_add.sql"), added.arguments()?).execute(tx).await?;
    }
    Ok(())
}

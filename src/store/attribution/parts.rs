//! Parts of buckets, and the keys that have names, as rows.

use std::{collections::BTreeMap, ops::Range};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::sets::KeptSet;
use crate::{
    domain::{
        attribution::{KnownKeys, Part, Unit},
        packed::PackedError,
        rollup::{day_start, hour_start},
    },
    store::{StoreError, bound::bound},
};

bound! {
    /// Of parts_add.sql.
    #[derive(Default)]
    pub struct PartRows {
        orgs: Vec<Uuid>, sets: Vec<i32>, units: Vec<&'static str>, starts: Vec<DateTime<Utc>>, packed: Vec<Vec<u8>>,
    }
}

impl PartRows {
    pub fn push(
        &mut self,
        org_id: Uuid,
        set_id: i32,
        (unit, start): (Unit, DateTime<Utc>),
        part: &Part,
    ) -> Result<(), StoreError> {
        self.orgs.push(org_id);
        self.sets.push(set_id);
        self.units.push(unit.as_str());
        self.starts.push(start);
        self.packed.push(part.pack().map_err(StoreError::broken)?);
        Ok(())
    }

    /// What is added to hours, and with them to those of their days and months that have parts of their own.
    pub fn push_hours(&mut self, org_id: Uuid, set: &KeptSet, hours: &BTreeMap<i32, Part>) -> Result<(), StoreError> {
        let (mut days, mut months): (BTreeMap<_, Part>, BTreeMap<_, Part>) = Default::default();
        for (hour, part) in hours {
            let start = hour_start(*hour);
            self.push(org_id, set.set_id, (Unit::Hour, start), part)?;
            if start < set.days_to {
                days.entry(Unit::Day.start_of(start)).or_default().add_all(part);
            }
            if start < set.months_to {
                months.entry(Unit::Month.start_of(start)).or_default().add_all(part);
            }
        }
        for (unit, parts) in [(Unit::Day, days), (Unit::Month, months)] {
            for (start, part) in parts {
                self.push(org_id, set.set_id, (unit, start), &part)?;
            }
        }
        Ok(())
    }

    /// Writes them beside those that are there.
    pub async fn add(self, tx: &mut PgConnection) -> Result<(), StoreError> {
        if !self.orgs.is_empty() {
            sqlx::query_with(include_str!("sql/parts_add.sql"), self.arguments()?).execute(tx).await?;
        }
        Ok(())
    }

    /// Writes each as the part that the others of its bucket are put together into.
    pub async fn add_settled(self, tx: &mut PgConnection) -> Result<(), StoreError> {
        if !self.orgs.is_empty() {
            sqlx::query_with(include_str!("sql/parts_settle.sql"), self.arguments()?).execute(tx).await?;
        }
        Ok(())
    }
}

bound! {
    /// Of keys_put.sql.
    #[derive(Default)]
    pub struct KeyRows {
        orgs: Vec<Uuid>, sets: Vec<i32>, days: Vec<DateTime<Utc>>, packed: Vec<Vec<u8>>,
    }
}

impl KeyRows {
    pub fn push(&mut self, org_id: Uuid, set_id: i32, day: i32, known: &KnownKeys) -> Result<(), StoreError> {
        self.orgs.push(org_id);
        self.sets.push(set_id);
        self.days.push(day_start(day));
        self.packed.push(known.pack().map_err(StoreError::broken)?);
        Ok(())
    }

    /// Writes them in the place of those that are there.
    pub async fn put(self, tx: &mut PgConnection) -> Result<(), StoreError> {
        if !self.orgs.is_empty() {
            sqlx::query_with(include_str!("sql/keys_put.sql"), self.arguments()?).execute(tx).await?;
        }
        Ok(())
    }
}

/// Orgs that have parts of buckets that start within a range, in order: one of them, or all.
pub async fn orgs(
    tx: &mut PgConnection,
    org_id: Option<Uuid>,
    set: &KeptSet,
    unit: Unit,
    starts: &Range<DateTime<Utc>>,
) -> Result<Vec<Uuid>, StoreError> {
    let found = sqlx::query_scalar(
        "SELECT DISTINCT org_id FROM analytics.attribution_parts
         WHERE set_id = $1 AND unit = $2::analytics.attribution_unit AND bucket_start >= $3 AND bucket_start < $4
           AND ($5::uuid IS NULL OR org_id = $5) ORDER BY org_id",
    );
    let found = found.bind(set.set_id).bind(unit.as_str()).bind(starts.start).bind(starts.end).bind(org_id);
    Ok(found.fetch_all(tx).await?)
}

/// An org's parts of these buckets, with the start of each.
pub async fn read(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    unit: Unit,
    starts: &Range<DateTime<Utc>>,
) -> Result<Vec<(DateTime<Utc>, Vec<u8>)>, StoreError> {
    let parts = sqlx::query_as(
        "SELECT bucket_start, packed FROM analytics.attribution_parts
         WHERE org_id = $1 AND set_id = $2 AND unit = $3::analytics.attribution_unit AND bucket_start >= $4
           AND bucket_start < $5",
    );
    let parts = parts.bind(org_id).bind(set.set_id).bind(unit.as_str()).bind(starts.start).bind(starts.end);
    Ok(parts.fetch_all(tx).await?)
}

/// What parts of buckets add up to.
#[derive(Debug, Default)]
pub struct Summed {
    pub part: Part,
    /// Starts of buckets of which a part cannot be read.
    pub unreadable: Vec<(DateTime<Utc>, PackedError)>,
}

pub async fn sum(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    unit: Unit,
    starts: &Range<DateTime<Utc>>,
) -> Result<Summed, StoreError> {
    let mut summed = Summed::default();
    for (start, packed) in read(tx, org_id, set, unit, starts).await? {
        if let Err(error) = summed.part.add_packed(&packed, set.set.dimensions().len()) {
            summed.unreadable.push((start, error));
        }
    }
    Ok(summed)
}

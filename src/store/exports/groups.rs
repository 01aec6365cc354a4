//! The rows of a file by dimensions of attribution, bucket by bucket: memory holds the parts and the groups of one.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

use crate::{
    domain::{
        attribution::{AttributionQuery, Dimension, Filter, NoSet},
        calendar::{self, Buckets},
        export::{Granularity, Spec, csv::GroupRow, request},
        floor::{Gone, Missing},
    },
    store::{
        StoreError,
        attribution::sets::KeptSet,
        read::{self, ReadError},
    },
};

/// Why there is no snapshot that a file can be made of.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    NoSet(NoSet),
}

impl From<StoreError> for BeginError {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

/// The set that a file is read from, and the moment up to which that is complete.
pub(super) async fn serve(
    conn: &mut PgConnection,
    spec: &Spec,
    stream: String,
    partition: u16,
) -> Result<(KeptSet, Option<DateTime<Utc>>), BeginError> {
    let wanted = request::dimensions(&spec.group_by, &spec.models);
    let chosen = read::choose(&mut *conn, spec.org_id, spec.range.start, &wanted).await?;
    let (set, floor) = chosen.map_err(BeginError::NoSet)?;
    if spec.range.start < floor {
        let start = request::first_boundary(floor, spec.granularity);
        return Err(ReadError::Gone(Gone { start, what: Missing::Attribution }).into());
    }
    let as_of = sqlx::query_scalar("SELECT analytics.attribution_watermark($1, $2, $3, $4)")
        .bind(spec.org_id)
        .bind(set.set_id)
        .bind(stream)
        .bind(i32::from(partition))
        .fetch_one(conn)
        .await
        .map_err(ReadError::from)?;
    Ok((set, as_of))
}

/// Reads the rows of a file.
pub struct Groups<'s> {
    conn: &'s mut PgConnection,
    spec: &'s Spec,
    set: Option<&'s KeptSet>,
    /// What the next bucket begins with.
    at: DateTime<Utc>,
}

impl<'s> Groups<'s> {
    pub(super) fn new(conn: &'s mut PgConnection, spec: &'s Spec, set: Option<&'s KeptSet>) -> Self {
        Self { conn, spec, set, at: spec.range.start }
    }

    /// The rows of the next bucket, in the order of the file. None behind the last.
    pub async fn next(&mut self) -> Result<Option<Vec<GroupRow>>, ReadError> {
        let Some(set) = self.set.filter(|_| self.at < self.spec.range.end) else { return Ok(None) };
        let granularity = match self.spec.granularity {
            Granularity::Hourly => calendar::Granularity::Hour,
            Granularity::Daily => calendar::Granularity::Day,
            Granularity::Monthly => calendar::Granularity::Month,
        };
        let just_after = self.at + chrono::TimeDelta::microseconds(1);
        let bucket = Buckets::covering(self.at, just_after, granularity, Tz::UTC);
        let bucket = bucket.ok_or_else(|| super::impossible("range_start"))?;
        let start = std::mem::replace(&mut self.at, bucket.end());
        let query = AttributionQuery {
            org_id: self.spec.org_id,
            buckets: bucket,
            group_by: self.spec.group_by.dimensions().to_vec(),
            filters: self.filters(),
        };
        let totals = read::totals(&mut *self.conn, &query, set).await?;
        Ok(Some(GroupRow::of_bucket(start, totals)))
    }

    fn filters(&self) -> Vec<Filter> {
        let models = &self.spec.models;
        let values = models.iter().map(ToString::to_string).collect();
        let only_models = Filter { dimension: Dimension::Model, values, unset: false };
        if models.is_empty() { Vec::new() } else { vec![only_models] }
    }
}

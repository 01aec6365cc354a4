//! Reading attribution: several statements of one snapshot.

mod sums;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use self::sums::{Reading, Sources};
use super::{OrgHead, ReadError, Reader, refuse};
use crate::{
    domain::{
        attribution::{Attribution, AttributionQuery, Dimension, KeyTotals, NoSet, SetStatus, serving},
        calendar::Buckets,
        floor::{Gone, Missing},
    },
    store::{
        StoreError,
        attribution::sets::{self, KeptSet},
        transaction::in_snapshot,
    },
};

/// Most values that are listed at a time.
pub const MAX_VALUES: i64 = 1000;

impl Reader {
    /// Sums by key over the whole range, then the series of the keys that are picked, by their places among the totals. All of it is
    /// of one snapshot.
    pub async fn attribution(
        &self,
        query: &AttributionQuery,
        pick: impl FnOnce(&[KeyTotals]) -> Vec<usize>,
    ) -> Result<Result<Attribution, NoSet>, ReadError> {
        let read = async |tx: &mut PgConnection| self.attribution_in(tx, query, pick).await;
        self.within_limits(async |conn| in_snapshot(conn, read).await).await
    }

    /// The sets that there are, and from when on they have all of an org.
    pub async fn attribution_sets(&self, org_id: Uuid) -> Result<Vec<SetStatus>, ReadError> {
        let read = async |tx: &mut PgConnection| Ok::<_, ReadError>(status(&floors::<ReadError>(tx, org_id).await?));
        self.within_limits(async |conn| in_snapshot(conn, read).await).await
    }

    /// Values of an org in a dimension that begin so, in the order of bytes, at most so many and never more than [`MAX_VALUES`]. Values
    /// whose sums were purged may be among them.
    pub async fn attribution_values(
        &self,
        org_id: Uuid,
        dimension: &Dimension,
        prefix: &str,
        most: i64,
    ) -> Result<Vec<String>, ReadError> {
        let rows = sqlx::query_scalar(include_str!("../sql/attribution_values.sql"))
            .bind(org_id)
            .bind(dimension.name().into_owned())
            .bind(prefix)
            .bind(most.clamp(0, MAX_VALUES));
        self.in_time(async |conn| rows.fetch_all(conn).await).await
    }

    async fn attribution_in(
        &self,
        conn: &mut PgConnection,
        query: &AttributionQuery,
        pick: impl FnOnce(&[KeyTotals]) -> Vec<usize>,
    ) -> Result<Result<Attribution, NoSet>, ReadError> {
        let AttributionQuery { org_id, buckets, .. } = query;
        let (set, floor) = match choose(&mut *conn, *org_id, buckets.start(), &query.dimensions()).await? {
            Ok(chosen) => chosen,
            Err(no_set) => return Ok(Err(no_set)),
        };
        let head: AttributionHead = sqlx::query_as(include_str!("../sql/attribution_head.sql"))
            .bind(org_id)
            .bind(set.set_id)
            .bind(self.plan.topology.stream_of(self.home(*org_id)))
            .bind(i32::from(self.home(*org_id)))
            .fetch_one(&mut *conn)
            .await?;
        check(buckets, floor, head.raw_from)?;
        let (reading, sources) = read(conn, query, &set).await?;
        let (totals, places) = reading.totals(conn, &sources).await?;
        let picked = pick(&totals);
        let series = reading.series(&sources, &places, &picked)?;
        let (freshness, as_of) = self.completeness(&head.org);
        Ok(Ok(Attribution { totals, series, freshness, as_of, set: set.set.clone() }))
    }
}

/// What a query is summed from.
async fn read<'q>(
    conn: &mut PgConnection,
    query: &'q AttributionQuery,
    set: &'q KeptSet,
) -> Result<(Reading<'q>, Sources), ReadError> {
    let mut reading = Reading::new(query, set);
    reading.find_filtered(conn).await?;
    let hours = reading.parts(conn).await?;
    let raw = reading.raw(conn).await?;
    Ok((reading, Sources { hours, raw }))
}

/// Sums by key over the whole range, from a set that serves the query. For more than one of a snapshot.
pub(in crate::store) async fn totals(
    conn: &mut PgConnection,
    query: &AttributionQuery,
    set: &KeptSet,
) -> Result<Vec<KeyTotals>, ReadError> {
    let (reading, sources) = read(conn, query, set).await?;
    Ok(reading.totals(conn, &sources).await?.0)
}

/// The set that serves a query, and from when on it has all of the org.
pub(in crate::store) async fn choose(
    conn: &mut PgConnection,
    org_id: Uuid,
    start: DateTime<Utc>,
    wanted: &[&Dimension],
) -> Result<Result<(KeptSet, DateTime<Utc>), NoSet>, ReadError> {
    let floors = floors::<ReadError>(conn, org_id).await?;
    let chosen = serving(&floors, |of| &of.0.set, |of| Some(of.1), start, wanted);
    Ok(chosen.cloned().ok_or_else(|| NoSet(status(&floors))))
}

/// The sets that can be requested of an org.
pub(in crate::store) async fn statuses(conn: &mut PgConnection, org_id: Uuid) -> Result<Vec<SetStatus>, StoreError> {
    Ok(status(&floors::<StoreError>(conn, org_id).await?))
}

#[derive(FromRow)]
struct AttributionHead {
    #[sqlx(flatten)]
    org: OrgHead,
    raw_from: Option<DateTime<Utc>>,
}

/// The sets, and from when on they have all of the org.
async fn floors<E: From<StoreError> + From<sqlx::Error>>(
    conn: &mut PgConnection,
    org_id: Uuid,
) -> Result<Vec<(KeptSet, DateTime<Utc>)>, E> {
    let mut found = Vec::new();
    for set in sets::kept(&mut *conn).await? {
        let floor = sqlx::query_scalar("SELECT analytics.attribution_floor($1, $2)")
            .bind(org_id)
            .bind(set.set_id)
            .fetch_one(&mut *conn)
            .await?;
        found.push((set, floor));
    }
    Ok(found)
}

fn status(floors: &[(KeptSet, DateTime<Utc>)]) -> Vec<SetStatus> {
    let status = |(kept, floor): &(KeptSet, DateTime<Utc>)| SetStatus {
        set: kept.set.clone(),
        complete_from: Some(*floor).filter(|floor| *floor > DateTime::UNIX_EPOCH),
        max_keys: kept.max_keys,
    };
    floors.iter().map(status).collect()
}

/// Refuses what is not all there.
fn check(buckets: &Buckets, floor: DateTime<Utc>, raw_from: Option<DateTime<Utc>>) -> Result<(), ReadError> {
    let gone = Gone::of_rollups(buckets, Some(floor), raw_from);
    let of_sums = |gone: Gone| match gone.what {
        Missing::Rollups => Gone { what: Missing::Attribution, ..gone },
        _ => gone,
    };
    refuse(gone.map(of_sums))
}

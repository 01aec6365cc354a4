//! Settling: parts that belong together are put together. Nothing that readers see changes.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    fold, lock,
    parts::{self, PartRows, Summed},
    sets::{self, KeptSet},
};
use crate::{
    domain::{
        attribution::{Part, Unit},
        rollup::{day_of_hour, hour_of},
    },
    store::{OnStep, StoreError, clock, transaction::in_transaction},
};

/// Buckets of which parts are put together in one transaction.
const BUCKETS: i64 = 200;

/// How many buckets were put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    pub buckets: u64,
    pub days: u64,
    pub months: u64,
}

/// Gives days and months that are over their own parts, and puts parts of one bucket together when its hour is over. Running it
/// again does what is left.
///
/// # Errors
/// What was done before stays done.
pub async fn settle(
    conn: &mut PgConnection,
    late_after: TimeDelta,
    on_step: OnStep<'_>,
) -> Result<Settled, StoreError> {
    let mut settled = Settled::default();
    // Later events go into the parts of all sizes: this is only when most have come.
    let over = clock::now(conn).await? - late_after;
    for set in sets::kept(conn).await? {
        settled.buckets += put_together(conn, &set, over, on_step).await?;
        let mut day = set.days_to;
        while Unit::Day.end_of(day) <= over {
            in_transaction(conn, async |tx| advance(tx, &set, (Unit::Day, day)).await).await?;
            on_step(&format!("{} of {} has parts of its own", day.date_naive(), set.set));
            day = Unit::Day.end_of(day);
            settled.days += 1;
        }
        let mut month = set.months_to;
        while Unit::Month.end_of(month) <= day {
            in_transaction(conn, async |tx| advance(tx, &set, (Unit::Month, month)).await).await?;
            on_step(&format!("{} of {} has parts of its own", month.format("%Y-%m"), set.set));
            month = Unit::Month.end_of(month);
            settled.months += 1;
        }
    }
    remove_retired(conn, on_step).await?;
    Ok(settled)
}

/// Gives a day or a month its own parts, of all orgs, and has readers and folds know it.
async fn advance(tx: &mut PgConnection, set: &KeptSet, bucket: (Unit, DateTime<Utc>)) -> Result<(), StoreError> {
    lock(tx).await?;
    let (unit, start) = bucket;
    let (smaller, column) = if unit == Unit::Day { (Unit::Hour, "days_to") } else { (Unit::Day, "months_to") };
    let moved = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE analytics.attribution_sets SET {column} = $2 WHERE set_id = $1 AND {column} = $3"
    )))
    .bind(set.set_id)
    .bind(unit.end_of(start))
    .bind(start)
    .execute(&mut *tx)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(());
    }
    let orgs = parts::orgs(&mut *tx, None, set, smaller, &(start..unit.end_of(start))).await?;
    for org_id in orgs {
        sum_up(tx, org_id, set, bucket).await?;
    }
    Ok(())
}

/// Puts the sums of a day's hours, or of a month's days, in the place of the bucket's parts. While nobody else writes parts.
pub async fn sum_up(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    (unit, start): (Unit, DateTime<Utc>),
) -> Result<(), StoreError> {
    let smaller = if unit == Unit::Month { Unit::Day } else { Unit::Hour };
    let Some(sum) = sum(tx, org_id, set, smaller, start..unit.end_of(start)).await? else { return Ok(()) };
    remove(tx, org_id, set, (unit, start)).await?;
    let mut parts = PartRows::default();
    if !sum.0.is_empty() {
        parts.push(org_id, set.set_id, (unit, start), &sum)?;
    }
    parts.add_settled(tx).await
}

/// What parts add up to. None where one cannot be read: its day is noted to be counted again, and with it all that has that day.
async fn sum(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    unit: Unit,
    starts: Range<DateTime<Utc>>,
) -> Result<Option<Part>, StoreError> {
    let Summed { part, unreadable } = parts::sum(&mut *tx, org_id, set, unit, &starts).await?;
    let mut days = Vec::new();
    for (start, error) in &unreadable {
        tracing::warn!(%org_id, set = %set.set, %start, %error, "a part cannot be read: its day is counted again");
        days.push((org_id, set.set_id, day_of_hour(hour_of(*start))));
    }
    fold::note(tx, days).await?;
    Ok(unreadable.is_empty().then_some(part))
}

async fn remove(
    tx: &mut PgConnection,
    org_id: Uuid,
    set: &KeptSet,
    (unit, start): (Unit, DateTime<Utc>),
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM analytics.attribution_parts
         WHERE org_id = $1 AND set_id = $2 AND unit = $3::analytics.attribution_unit AND bucket_start = $4",
    )
    .bind(org_id)
    .bind(set.set_id)
    .bind(unit.as_str())
    .bind(start)
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts parts of one bucket together, of buckets of which an hour is over.
async fn put_together(
    conn: &mut PgConnection,
    set: &KeptSet,
    over: DateTime<Utc>,
    on_step: OnStep<'_>,
) -> Result<u64, StoreError> {
    let mut buckets = 0;
    loop {
        let some = in_transaction(conn, async |tx| put_some_together(tx, set, over).await).await?;
        buckets += some;
        if some > 0 {
            on_step(&format!("{buckets} buckets of {} are put together", set.set));
        }
        // Those that cannot be read are found again.
        if i64::try_from(some).is_ok_and(|some| some < BUCKETS) {
            return Ok(buckets);
        }
    }
}

async fn put_some_together(tx: &mut PgConnection, set: &KeptSet, over: DateTime<Utc>) -> Result<u64, StoreError> {
    lock(tx).await?;
    let loose: Vec<(Uuid, String, DateTime<Utc>)> = sqlx::query_as(include_str!("sql/parts_loose.sql"))
        .bind(set.set_id)
        .bind(over - TimeDelta::hours(1))
        .bind(BUCKETS)
        .fetch_all(&mut *tx)
        .await?;
    let (mut parts, mut put_together) = (PartRows::default(), 0);
    for (org_id, unit, start) in &loose {
        let unit: Unit = unit.parse().map_err(StoreError::broken)?;
        // A range of the one bucket: nothing else starts within an hour of it.
        let range = *start..*start + TimeDelta::hours(1);
        let Some(sum) = sum(tx, *org_id, set, unit, range).await? else { continue };
        put_together += 1;
        remove(tx, *org_id, set, (unit, *start)).await?;
        parts.push(*org_id, set.set_id, (unit, *start), &sum)?;
    }
    parts.add_settled(tx).await?;
    Ok(put_together)
}

/// Deletes what sets have that are not kept any more.
async fn remove_retired(conn: &mut PgConnection, on_step: OnStep<'_>) -> Result<(), StoreError> {
    let retired: Vec<i32> =
        sqlx::query_scalar("SELECT set_id FROM analytics.attribution_sets WHERE retired_at IS NOT NULL")
            .fetch_all(&mut *conn)
            .await?;
    for set_id in retired {
        loop {
            let gone = in_transaction::<_, StoreError>(conn, async |tx| {
                lock(tx).await?;
                let gone = sqlx::query(include_str!("sql/parts_of_retired.sql")).bind(set_id).execute(tx).await?;
                Ok(gone.rows_affected())
            })
            .await?;
            on_step(&format!("{gone} parts of a set that is not kept are deleted"));
            if gone == 0 {
                break;
            }
        }
        in_transaction::<_, StoreError>(conn, async |tx| {
            lock(tx).await?;
            for table in ["attribution_keys", "attribution_recounts", "attribution_floors", "attribution_sets"] {
                sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM analytics.{table} WHERE set_id = $1")))
                    .bind(set_id)
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

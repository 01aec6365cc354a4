//! Counting again: parts of a UTC day from its raw events, of one org or of all.
//!
//! Raw events and what is pending are of one snapshot, and nobody folds meanwhile. So each event counts once: what is pending is left
//! out and folded later, or it is counted, and what is pending loses it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    PENDING, alone,
    counted::Counted,
    dictionary,
    dictionary::Wanted,
    fold::want,
    parts::{self, KeyRows, PartRows},
    sets::{self, KeptSet},
    settle,
};
use crate::{
    domain::{
        attribution::{Dictionary, KnownKeys, Named, Naming, Part, Partials, SetRetention, Unit},
        calendar::{next_utc_day, utc_day},
        rollup::{day_of_hour, hour_of},
    },
    store::{
        StoreError, clock,
        lifecycle::chunks,
        rollups::recount::{Pending, Span, raw_from},
    },
};

/// Counts the span again, of all sets. What is pending loses what it has of it. In one snapshot, while nobody else writes parts.
pub async fn all_sets(tx: &mut PgConnection, span: &Span) -> Result<(), StoreError> {
    neutralise(tx, span).await?;
    for set in sets::kept(tx).await? {
        of_set(tx, span, &set, Pending::Counted).await?;
        // What it was noted for is done with.
        sqlx::query(
            "DELETE FROM analytics.attribution_recounts
             WHERE set_id = $1 AND day = $2 AND ($3::uuid IS NULL OR org_id = $3) AND org_id <> ALL ($4)",
        )
        .bind(set.set_id)
        .bind(span.start)
        .bind(span.org_id)
        .bind(&span.left_out)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Counts a day again that was noted for it, the oldest first. `None`: there is none, or another session writes parts.
pub async fn next_noted(conn: &mut PgConnection) -> Result<Option<(Uuid, DateTime<Utc>)>, StoreError> {
    let noted = "SELECT r.org_id, r.set_id, r.day FROM analytics.attribution_recounts AS r
                 JOIN analytics.attribution_sets AS s USING (set_id) WHERE retired_at IS NULL ORDER BY noted_at LIMIT 1";
    let found: Option<(Uuid, i32, DateTime<Utc>)> = sqlx::query_as(noted).fetch_optional(&mut *conn).await?;
    let Some((org_id, set_id, day)) = found else { return Ok(None) };
    let done = alone(conn, async |tx| {
        let span = Span::of(tx, day, Some(org_id)).await?;
        if let Some(set) = sets::kept(tx).await?.iter().find(|set| set.set_id == set_id) {
            let is_gone = raw_from(tx).await?.is_some_and(|from| day < from) || span.left_out.contains(&org_id);
            if is_gone {
                // It cannot be counted any more: from the day behind it on there is all.
                raise_floor(tx, &[org_id], set_id, span.end()).await?;
            } else {
                of_set(tx, &span, set, Pending::LeftOut).await?;
            }
        }
        sqlx::query("DELETE FROM analytics.attribution_recounts WHERE org_id = $1 AND set_id = $2 AND day = $3")
            .bind(org_id)
            .bind(set_id)
            .bind(day)
            .execute(tx)
            .await?;
        Ok(())
    })
    .await?;
    Ok(done.map(|()| (org_id, day)))
}

/// Counts another day of the history of a set that has not all of it, the newest first. `None`: every set has all that there are raw
/// events of, or another session writes parts.
pub async fn next_of_history(
    conn: &mut PgConnection,
    retention: &SetRetention,
) -> Result<Option<(i32, DateTime<Utc>)>, StoreError> {
    let (first, now) = (raw_from(conn).await?.map(next_utc_day), clock::now(conn).await?);
    let of_set = |set: &KeptSet| {
        // What would be purged at once is not counted.
        let first = first.max(Some(retention.cutoff(&set.set, now)));
        first.is_none_or(|first| set.complete_from > first) && set.complete_from > DateTime::UNIX_EPOCH
    };
    if !sets::kept(conn).await?.iter().any(of_set) {
        return Ok(None);
    }
    let done = alone(conn, async |tx| {
        // As it is while nobody else writes parts: until then days and months may have got parts of their own.
        let Some(set) = sets::kept(tx).await?.into_iter().find(of_set) else { return Ok(None) };
        let day = utc_day(set.complete_from - TimeDelta::microseconds(1));
        let span = Span::of(tx, day, None).await?;
        let (purged_to, begins) = (raw_from(tx).await?, chunks::oldest(tx).await?);
        let complete_from = match (purged_to, begins) {
            // Nothing was purged, and before there is nothing: it has all that ever was.
            (None, begins) if begins.is_none_or(|begins| day < begins) => {
                // Where the oldest day is not the first of its month, no counted day completes the month.
                let month = Unit::Month.start_of(set.complete_from);
                if set.complete_from > month {
                    sum_up_month_of_all(tx, &set, month, &[]).await?;
                }
                DateTime::UNIX_EPOCH
            }
            _ => {
                of_set_history(tx, &span, &set).await?;
                day
            }
        };
        sqlx::query("UPDATE analytics.attribution_sets SET complete_from = $2 WHERE set_id = $1")
            .bind(set.set_id)
            .bind(complete_from)
            .execute(tx)
            .await?;
        Ok(Some((set.set_id, day)))
    })
    .await?;
    Ok(done.flatten())
}

/// Sums up a month for all orgs that have a part of it or of a day in it, but for `left_out`.
async fn sum_up_month_of_all(
    tx: &mut PgConnection,
    set: &KeptSet,
    month: DateTime<Utc>,
    left_out: &[Uuid],
) -> Result<(), StoreError> {
    let mut orgs = BTreeSet::new();
    for unit in [Unit::Day, Unit::Month] {
        orgs.extend(parts::orgs(&mut *tx, None, set, unit, &(month..Unit::Month.end_of(month))).await?);
    }
    orgs.retain(|org_id| !left_out.contains(org_id));
    sum_up_month(tx, set, month, orgs).await
}

/// Sums up a month for these orgs, where the month has parts of its own.
async fn sum_up_month(
    tx: &mut PgConnection,
    set: &KeptSet,
    month: DateTime<Utc>,
    orgs: impl IntoIterator<Item = Uuid>,
) -> Result<(), StoreError> {
    if month < set.months_to {
        for org_id in orgs {
            settle::sum_up(tx, org_id, set, (Unit::Month, month)).await?;
        }
    }
    Ok(())
}

async fn of_set_history(tx: &mut PgConnection, span: &Span, set: &KeptSet) -> Result<(), StoreError> {
    raise_floor(tx, &span.left_out, set.set_id, span.end()).await?;
    of_set(tx, span, set, Pending::LeftOut).await
}

async fn raise_floor(tx: &mut PgConnection, orgs: &[Uuid], set_id: i32, to: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO analytics.attribution_floors AS f (org_id, set_id, floor_at)
         SELECT org_id, $2, $3 FROM unnest($1::uuid[]) AS org_id
         ON CONFLICT (org_id, set_id) DO UPDATE SET floor_at = greatest(f.floor_at, excluded.floor_at)",
    )
    .bind(orgs)
    .bind(set_id)
    .bind(to)
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes out of what is pending what it has of the span.
async fn neutralise(tx: &mut PgConnection, span: &Span) -> Result<(), StoreError> {
    let hours = hour_of(span.start)..hour_of(span.end());
    change_pending(tx, |partials| {
        partials.remove(|org_id, hour| {
            hours.contains(&hour)
                && span.org_id.is_none_or(|wanted| wanted == org_id)
                && !span.left_out.contains(&org_id)
        })
    })
    .await
}

/// Changes what is pending: each row for which `change` says that it did. Unless nobody else writes parts, `change` must not.
pub async fn change_pending(
    tx: &mut PgConnection,
    change: impl FnMut(&mut Partials) -> bool,
) -> Result<(), StoreError> {
    PENDING.change(tx, change).await
}

/// Puts what raw events make in the place of what a set has of the span.
async fn of_set(tx: &mut PgConnection, span: &Span, set: &KeptSet, pending: Pending) -> Result<(), StoreError> {
    let mut orgs: BTreeSet<Uuid> = sqlx::query_scalar(include_str!("sql/recount_remove.sql"))
        .bind(span.start)
        .bind(span.end())
        .bind(span.org_id)
        .bind(&span.left_out)
        .bind(set.set_id)
        .fetch_all(&mut *tx)
        .await?
        .into_iter()
        .collect();
    let mut counted = Counted::open(&mut *tx, span, set.set.dimensions(), pending).await?;
    let mut counting: Option<Counting> = None;
    while let Some((org_id, sums)) = counted.next(&mut *tx).await? {
        if let Some(before) = counting.take_if(|counting| counting.org_id != org_id) {
            before.put(tx, set).await?;
        }
        let counting = match &mut counting {
            Some(counting) => counting,
            none => none.insert(Counting::begin(tx, org_id, set).await?),
        };
        counting.add(tx, set, &sums).await?;
        orgs.insert(org_id);
    }
    if let Some(last) = counting {
        last.put(tx, set).await?;
    }
    counted.close(&mut *tx).await?;
    let month = Unit::Month.start_of(span.start);
    if set.complete_from <= month || (span.start == month && span.org_id.is_some()) {
        // Also an org without events on the day: counting one of its days again repairs the month.
        orgs.extend(span.org_id);
        sum_up_month(tx, set, month, orgs).await
    } else if span.start == month {
        // History is counted from the newest day back: a month is complete with its first day, also for orgs without events on that day.
        sum_up_month_of_all(tx, set, month, &span.left_out).await
    } else {
        Ok(())
    }
}

/// What is counted of an org's day.
struct Counting {
    org_id: Uuid,
    dictionary: BTreeMap<Uuid, Dictionary>,
    known: BTreeMap<i32, KnownKeys>,
    hours: BTreeMap<i32, Part>,
}

impl Counting {
    async fn begin(tx: &mut PgConnection, org_id: Uuid, set: &KeptSet) -> Result<Self, StoreError> {
        let dictionary = dictionary::open(tx, &[org_id], set.max_keys).await?;
        Ok(Self { org_id, dictionary, known: BTreeMap::new(), hours: BTreeMap::new() })
    }

    async fn add(&mut self, tx: &mut PgConnection, set: &KeptSet, named: &[Named]) -> Result<(), StoreError> {
        let mut wanted = Wanted::new();
        want(&mut wanted, self.org_id, &set.set, named);
        if let Some(dictionary) = self.dictionary.get(&self.org_id) {
            wanted.retain(|(_, dimension, value)| dictionary.find(dimension, value).is_none());
        }
        dictionary::look_up(tx, &mut self.dictionary, &wanted).await?;
        let Some(dictionary) = self.dictionary.get_mut(&self.org_id) else { return Ok(()) };
        let (known, hours) = (std::mem::take(&mut self.known), std::mem::take(&mut self.hours));
        let mut naming = Naming { set: &set.set, max_keys: set.max_keys, dictionary, known, hours };
        named.iter().for_each(|one| naming.add(one));
        let Naming { known, hours, .. } = naming;
        (self.known, self.hours) = (known, hours);
        Ok(())
    }

    /// Writes its hours, and its day where that has a part of its own.
    async fn put(self, tx: &mut PgConnection, set: &KeptSet) -> Result<(), StoreError> {
        dictionary::keep(tx, &self.dictionary).await?;
        let (mut keys, mut parts) = (KeyRows::default(), PartRows::default());
        for (day, known) in &self.known {
            keys.push(self.org_id, set.set_id, *day, known)?;
        }
        keys.put(tx).await?;
        let of_days = KeptSet { months_to: DateTime::UNIX_EPOCH, ..set.clone() };
        parts.push_hours(self.org_id, &of_days, &self.hours)?;
        debug_assert!(self.hours.keys().map(|hour| day_of_hour(*hour)).collect::<BTreeSet<_>>().len() <= 1);
        parts.add_settled(tx).await
    }
}

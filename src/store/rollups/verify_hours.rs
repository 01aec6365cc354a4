//! Reconciliation of sums of hours: those over all models with their rollups, those by client and by error code with raw events. Within
//! the snapshot of a day, of which both are read in pieces.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use uuid::Uuid;

use super::{
    hours_by_count::{self, Counting, Hold, Hour, Wanted},
    org_hours,
    recount::Span,
};
use crate::{
    domain::{finding::Finding, histogram::Sum, labelled},
    store::StoreError,
};

/// Rows of a cursor that are fetched at once: each has histograms of all models.
const AT_ONCE: usize = 200;

/// The part of the span that is summed, as a table says. None: nothing is.
async fn summed(
    tx: &mut PgConnection,
    span: &Span,
    statement: &'static str,
) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
    let (from, to): (DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(statement).fetch_one(tx).await?;
    let (from, to) = (from.max(span.start), to.min(span.end()));
    Ok((from < to).then_some((from, to)))
}

/// Holds hours over all models against their rollups.
pub(super) async fn over_models(
    tx: &mut PgConnection,
    span: &Span,
    note: &mut impl FnMut(Finding),
) -> Result<(), StoreError> {
    let summed = summed(tx, span, "SELECT summed_from, summed_to FROM analytics.org_hours_summed").await?;
    let Some((from, to)) = summed else { return Ok(()) };
    let declare = include_str!("sql/verify_org_hours.sql").replace("{sums}", &org_hours::sums_of_orgs());
    // Safe: what is put in are constants.
    sqlx::query(AssertSqlSafe(declare))
        .bind(from)
        .bind(to)
        .bind(span.org_id)
        .bind(&span.left_out)
        .execute(&mut *tx)
        .await?;
    let fetch = format!("FETCH {AT_ONCE} FROM org_hours");
    loop {
        let rows: Vec<OrgHour> = sqlx::query_as(AssertSqlSafe(fetch.as_str())).fetch_all(&mut *tx).await?;
        let more = rows.len() == AT_ONCE;
        rows.into_iter().filter_map(OrgHour::finding).for_each(&mut *note);
        if !more {
            break;
        }
    }
    sqlx::query("CLOSE org_hours").execute(tx).await?;
    Ok(())
}

#[derive(FromRow)]
struct OrgHour {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    differs: bool,
    kept: String,
    made: String,
    latency_histogram: Option<Vec<u8>>,
    packed: Option<Vec<u8>>,
    entries: Option<Vec<u8>>,
}

impl OrgHour {
    fn finding(self) -> Option<Finding> {
        let histogram = |packed: Option<&[u8]>, entries: Option<&[u8]>| {
            let mut sum = Sum::default();
            sum.add_concatenated(packed, entries).ok().map(|()| sum.histogram())
        };
        let kept = histogram(self.latency_histogram.as_deref(), None);
        let made = histogram(self.packed.as_deref(), self.entries.as_deref());
        let latencies = kept.is_none() || kept != made;
        (self.differs || latencies).then_some(Finding::OrgHour {
            org_id: self.org_id,
            bucket_start: self.bucket_start,
            summed: self.kept,
            rollups: self.made,
            latencies,
        })
    }
}

/// Holds hours by client and by error code against raw events.
pub(super) async fn by_label(
    tx: &mut PgConnection,
    span: &Span,
    note: &mut impl FnMut(Finding),
) -> Result<(), StoreError> {
    let summed = summed(tx, span, "SELECT summed_from, summed_to FROM analytics.org_hours_by_summed").await?;
    let Some((starts, ends)) = summed else { return Ok(()) };
    let orgs = span.org_id.map(|org_id| [org_id]);
    let orgs = orgs.as_ref().map(|org_id| &org_id[..]);
    hours_by_count::open(tx, Wanted { starts, ends, orgs }, Hold::Transaction).await?;
    let (mut counting, mut behind) = (Counting::default(), None);
    loop {
        let mut hours = Vec::new();
        let more = counting.next(tx, &mut hours).await?;
        // With the last ones all sums that are left: of hours that have no events.
        let up_to = hours.last().filter(|_| more).map(|hour| (hour.org_id, hour.bucket_start));
        if up_to.is_some() || !more {
            let made = hours.into_iter().map(|hour| ((hour.org_id, hour.bucket_start), (Some(hour), None)));
            let mut both: BTreeMap<Key, (Option<Hour>, Option<Kept>)> = made.collect();
            for kept in kept_of(tx, span, (starts, ends), behind, up_to).await? {
                let key = (kept.org_id, kept.bucket_start);
                both.entry(key).or_default().1 = Some(kept);
            }
            for (key, (made, kept)) in both.into_iter().filter(|((org_id, _), _)| !span.left_out.contains(org_id)) {
                differing(key, made, kept).into_iter().for_each(&mut *note);
            }
            behind = up_to;
        }
        if !more {
            return hours_by_count::close(tx).await;
        }
    }
}

/// An org's hour.
type Key = (Uuid, DateTime<Utc>);

#[derive(FromRow)]
struct Kept {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    changed: bool,
    clients: Option<Vec<u8>>,
    error_codes: Option<Vec<u8>>,
}

/// Sums of the span behind a key and up to another.
async fn kept_of(
    tx: &mut PgConnection,
    span: &Span,
    (starts, ends): (DateTime<Utc>, DateTime<Utc>),
    behind: Option<Key>,
    up_to: Option<Key>,
) -> Result<Vec<Kept>, StoreError> {
    let kept = sqlx::query_as(include_str!("sql/verify_hours_by.sql"))
        .bind(starts)
        .bind(ends)
        .bind(span.org_id)
        .bind(behind.map(|key| key.0))
        .bind(behind.map(|key| key.1))
        .bind(up_to.map(|key| key.0))
        .bind(up_to.map(|key| key.1));
    Ok(kept.fetch_all(tx).await?)
}

/// What is read from sums and is not what raw events make.
fn differing((org_id, bucket_start): Key, made: Option<Hour>, kept: Option<Kept>) -> Vec<Finding> {
    // What has changed is read from raw events, and what is not merged yet may be counted in one place only.
    if kept.as_ref().is_some_and(|kept| kept.changed) || made.as_ref().is_some_and(|made| made.pending) {
        return Vec::new();
    }
    let (has_kept, has_made) = (kept.is_some(), made.is_some());
    let kept = kept.map_or((None, None), |kept| (kept.clients, kept.error_codes));
    let made = made.map_or((None, None), |made| (made.clients, made.error_codes));
    let of = |by: &'static str, kept: Option<Vec<u8>>, made: Option<Vec<u8>>| {
        // Without a value in its row it is read from raw events.
        let is_read = kept.is_some() || !has_kept;
        (is_read && kept != made).then(|| Finding::HourBy {
            org_id,
            bucket_start,
            by,
            summed: text(has_kept, kept.as_deref()),
            raw: text(has_made, made.as_deref()),
        })
    };
    let found = [of("client", kept.0, made.0), of("error code", kept.1, made.1)];
    found.into_iter().flatten().collect()
}

fn text(is_there: bool, packed: Option<&[u8]>) -> String {
    match packed {
        None if is_there => "too many to be summed".to_owned(),
        None => "nothing".to_owned(),
        Some(packed) => labelled::summary(packed).unwrap_or_else(|error| error.to_string()),
    }
}

//! Whether attribution has what raw events make, and its days and months what its hours have. Reads only.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    PENDING, UNATTRIBUTED, UNATTRIBUTED_UNMERGED, parts,
    sets::{self, KeptSet},
    sums::SumsRow,
    unreadable::{self, Unreadable},
};
use crate::{
    domain::{
        attribution::{Measures, Part, Partials, Unit},
        finding::Finding,
        packed::PackedError,
        rollup::{Pending, hour_of, hour_start},
    },
    store::{StoreError, rollups::recount::Span},
};

type Hours = BTreeMap<(Uuid, i32), Measures>;

/// Holds attribution of the span, with what waits, against raw events. In one snapshot, in which the span was
/// [counted](crate::store::rollups::recount::count) without what is not merged yet.
pub async fn day(tx: &mut PgConnection, span: &Span, note: &mut impl FnMut(Finding)) -> Result<(), StoreError> {
    let sets = sets::kept(&mut *tx).await?;
    if sets.is_empty() {
        return Ok(());
    }
    let Expected { hours, mut unknown, mut unreadable } = expected(tx, span).await?;
    let mut waiting: BTreeMap<Vec<String>, Hours> = BTreeMap::new();
    let within = |org_id: Uuid, hour: i32| {
        (span.start..span.end()).contains(&hour_start(hour)) && span.org_id.is_none_or(|wanted| wanted == org_id)
    };
    let add_waiting = |batch_id, read: Result<Partials, PackedError>| match read {
        Ok(partials) => {
            let of = waiting.entry(partials.dimensions().to_vec()).or_default();
            for entry in partials.entries().filter(|entry| within(entry.org_id, entry.hour)) {
                *of.entry((entry.org_id, entry.hour)).or_default() += entry.measures;
            }
        }
        Err(error) => unreadable.push(Unreadable { batch_id, error }),
    };
    PENDING.read(&mut *tx, add_waiting).await?;
    unknown.extend(unreadable::orgs(&mut *tx, &unreadable, span.start, span.end()).await?);
    for set in &sets {
        let uncounted = uncounted(tx, set, span.start).await?;
        let is_left_out =
            |org_id: &Uuid| uncounted.contains(org_id) || span.left_out.contains(org_id) || unknown.contains(org_id);
        let mut kept = Kept::default();
        read_hours(tx, span, set, &mut kept, note).await?;
        let mut summed = kept.hours.clone();
        for (dimensions, hours) in &waiting {
            let carries = set.set.dimensions().iter().all(|of| dimensions.contains(&of.name().into_owned()));
            for (key, measures) in hours.iter().filter(|_| carries) {
                *summed.entry(*key).or_default() += *measures;
            }
        }
        let keys: BTreeSet<(Uuid, i32)> = summed.keys().chain(hours.keys()).copied().collect();
        let differing = keys.into_iter().filter(|key| {
            hour_start(key.1) >= set.complete_from && !is_left_out(&key.0) && summed.get(key) != hours.get(key)
        });
        for (org_id, hour) in differing {
            let of = |sums: &Hours| sums.get(&(org_id, hour)).copied().unwrap_or_default();
            add(note, set, (Unit::Hour, hour_start(hour)), org_id, (of(&summed), of(&hours)));
        }
        larger(tx, span, set, kept, &is_left_out, note).await?;
    }
    Ok(())
}

/// Orgs of which a set does not have all from a day on.
async fn uncounted(tx: &mut PgConnection, set: &KeptSet, from: DateTime<Utc>) -> Result<BTreeSet<Uuid>, StoreError> {
    let orgs = sqlx::query_scalar(include_str!("sql/verify_uncounted.sql")).bind(set.set_id).bind(from);
    Ok(orgs.fetch_all(tx).await?.into_iter().collect())
}

/// Days against their hours, and on its last day a month against its days: raw events may begin within a month.
async fn larger(
    tx: &mut PgConnection,
    span: &Span,
    set: &KeptSet,
    kept: Kept,
    is_left_out: impl Fn(&Uuid) -> bool,
    note: &mut impl FnMut(Finding),
) -> Result<(), StoreError> {
    if span.start < set.days_to {
        let days = totals(tx, span.org_id, set, (Unit::Day, &(span.start..span.end())), note).await?;
        compare(note, set, (Unit::Day, span.start), (&days, &kept.keys), &is_left_out);
    }
    let month = Unit::Month.start_of(span.start);
    let ends = Unit::Month.end_of(month);
    if ends == span.end() && month < set.months_to && month >= set.complete_from {
        let uncounted = uncounted(tx, set, month).await?;
        let is_left_out = |org_id: &Uuid| uncounted.contains(org_id) || is_left_out(org_id);
        let months = totals(tx, span.org_id, set, (Unit::Month, &(month..ends)), note).await?;
        let days = totals(tx, span.org_id, set, (Unit::Day, &(month..ends)), note).await?;
        compare(note, set, (Unit::Month, month), (&months, &days), is_left_out);
    }
    Ok(())
}

/// By org, each key: a name that a day lacks is a difference as well.
fn compare(
    note: &mut impl FnMut(Finding),
    set: &KeptSet,
    bucket: (Unit, DateTime<Utc>),
    (has, should): (&BTreeMap<Uuid, Part>, &BTreeMap<Uuid, Part>),
    is_left_out: impl Fn(&Uuid) -> bool,
) {
    let orgs: BTreeSet<&Uuid> = has.keys().chain(should.keys()).collect();
    for org_id in orgs.into_iter().filter(|org_id| !is_left_out(org_id)) {
        let (has, should) = (has.get(org_id), should.get(org_id));
        if has != should {
            let total = |part: Option<&Part>| part.map(Part::total).unwrap_or_default();
            add(note, set, bucket, *org_id, (total(has), total(should)));
        }
    }
}

fn add(
    note: &mut impl FnMut(Finding),
    set: &KeptSet,
    (unit, start): (Unit, DateTime<Utc>),
    org_id: Uuid,
    (has, should): (Measures, Measures),
) {
    let text = |sums: Measures| {
        let Measures { invocations, errors, input_tokens, output_tokens, cost } = sums;
        format!("{invocations} invocations, {errors} errors, {input_tokens} and {output_tokens} tokens, {cost} cents")
    };
    let finding = Finding::Attribution {
        set: set.set.to_string(),
        unit: unit.as_str(),
        org_id,
        bucket_start: start,
        has: text(has),
        should: text(should),
    };
    note(finding);
}

/// A part that cannot be read: what the bucket has beside it is compared all the same.
fn broken(set: &KeptSet, (unit, start): (Unit, DateTime<Utc>), org_id: Uuid, error: &PackedError) -> Finding {
    Finding::Attribution {
        set: set.set.to_string(),
        unit: unit.as_str(),
        org_id,
        bucket_start: start,
        has: error.to_string(),
        should: "something else".to_owned(),
    }
}

#[derive(Default)]
struct Kept {
    hours: Hours,
    keys: BTreeMap<Uuid, Part>,
}

async fn read_hours(
    tx: &mut PgConnection,
    span: &Span,
    set: &KeptSet,
    kept: &mut Kept,
    note: &mut impl FnMut(Finding),
) -> Result<(), StoreError> {
    let width = set.set.dimensions().len();
    let starts = span.start..span.end();
    for org_id in parts::orgs(&mut *tx, span.org_id, set, Unit::Hour, &starts).await? {
        for (start, packed) in parts::read(&mut *tx, org_id, set, Unit::Hour, &starts).await? {
            let mut part = Part::default();
            if let Err(error) = part.add_packed(&packed, width) {
                note(broken(set, (Unit::Hour, start), org_id, &error));
                continue;
            }
            *kept.hours.entry((org_id, hour_of(start))).or_default() += part.total();
            kept.keys.entry(org_id).or_default().add_all(&part);
        }
    }
    Ok(())
}

async fn totals(
    tx: &mut PgConnection,
    org_id: Option<Uuid>,
    set: &KeptSet,
    (unit, range): (Unit, &Range<DateTime<Utc>>),
    note: &mut impl FnMut(Finding),
) -> Result<BTreeMap<Uuid, Part>, StoreError> {
    let mut totals = BTreeMap::new();
    let width = set.set.dimensions().len();
    for org_id in parts::orgs(&mut *tx, org_id, set, unit, range).await? {
        let sum: &mut Part = totals.entry(org_id).or_default();
        for (start, packed) in parts::read(&mut *tx, org_id, set, unit, range).await? {
            if let Err(error) = sum.add_packed(&packed, width) {
                note(broken(set, (unit, start), org_id, &error));
            }
        }
    }
    Ok(totals)
}

/// What raw events make.
struct Expected {
    hours: Hours,
    /// Orgs of batches that were committed without attribution: they are noted when they are merged.
    unknown: BTreeSet<Uuid>,
    /// Batches of which that cannot be read: their orgs are not known from it.
    unreadable: Vec<Unreadable>,
}

#[derive(FromRow)]
struct HourRow {
    org_id: Uuid,
    bucket_start: DateTime<Utc>,
    #[sqlx(flatten)]
    sums: SumsRow,
}

async fn expected(tx: &mut PgConnection, span: &Span) -> Result<Expected, StoreError> {
    let rows: Vec<HourRow> = sqlx::query_as(include_str!("sql/verify_raw.sql"))
        .bind(span.start)
        .bind(span.end())
        .bind(span.org_id)
        .fetch_all(&mut *tx)
        .await?;
    let mut hours = Hours::new();
    for row in rows {
        hours.insert((row.org_id, hour_of(row.bucket_start)), row.sums.measures()?);
    }
    let (mut unknown, mut unreadable) = (BTreeSet::new(), Vec::new());
    for rows in [UNATTRIBUTED_UNMERGED, UNATTRIBUTED] {
        let note = |batch_id, read: Result<Pending, PackedError>| match read {
            Ok(pending) => unknown.extend(pending.hourly.iter().map(|(key, _)| key.org_id)),
            Err(error) => unreadable.push(Unreadable { batch_id, error }),
        };
        rows.read(&mut *tx, note).await?;
    }
    Ok(Expected { hours, unknown, unreadable })
}

//! Estimates: what sets would take, from raw events of the last days. Each of these days is counted exactly as a set of it would be, and
//! what it would have is packed and thrown away. Reads only.

use std::{
    collections::{BTreeMap, HashSet},
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use foldhash::fast::FixedState;
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::counted::Counted;
use crate::{
    domain::{
        attribution::{Dictionary, KnownKeys, LOST, Named, Naming, Part, Set},
        calendar::utc_day,
    },
    store::{
        OnStep, StoreError, clock,
        connect::milliseconds,
        lifecycle::chunks,
        rollups::recount::{Pending, Span},
        transaction::in_discarded_snapshot,
    },
};

/// What a row of parts takes beside what is packed, with its entries in the indexes, bytes: 189 were measured of 200,000 rows that were
/// written hour by hour, of 100 orgs. A row of keys takes less.
const ROW_BYTES: u64 = 190;
/// Different keys that are counted at most; the number of those of a month is too low beyond it.
const MOST_KEYS: usize = 4_000_000;
const DAYS_A_MONTH: f64 = 30.4;

/// A set that is estimated.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub set: Set,
    pub max_keys: u32,
    pub retention: TimeDelta,
}

/// What is counted, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The last so many whole UTC days.
    pub days: u16,
    /// When counting ends, whatever is left: days that are not counted by all sets then are not part of it.
    pub within: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimated {
    /// The days that were counted, the end exclusive.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub days: u64,
    /// Of these, days that have events. What a set takes in a day is a mean of all of them.
    pub days_with_events: u64,
    /// Days that were requested, have raw events, and were not counted for lack of time.
    pub days_left: u64,
    pub events: u64,
    pub sets: Vec<SetEstimate>,
}

/// Of a set: means of the days that were counted, and what it would come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetEstimate {
    pub set: String,
    /// Organisations that a day has.
    pub orgs: u64,
    /// Combinations of values with names that the organisation with most of them has in a day. Where that is `max_keys`, others lost theirs.
    pub most_keys: u64,
    pub max_keys: u32,
    /// Of a day, of all organisations.
    pub keys_a_day: u64,
    /// Of a month: extrapolated from how many more each further day has.
    pub keys_a_month: u64,
    /// Different values of a day, of all organisations and dimensions.
    pub values_a_day: u64,
    /// Of events, that lost a name: 0 to 1.
    pub beyond_cap: f64,
    pub rows_a_day: u64,
    /// With what rows and indexes take beside what is packed.
    pub bytes_a_day: u64,
    pub retention_days: i64,
    /// When it has all of its retention: hours, days and months.
    pub rows: u64,
    pub bytes: u64,
}

/// Counts the last days, the newest first. `None`: no whole day has raw events.
pub async fn estimate(
    conn: &mut PgConnection,
    wanted: &[Wanted],
    limits: Limits,
    on_step: OnStep<'_>,
) -> Result<Option<Estimated>, StoreError> {
    let ends = Instant::now() + limits.within;
    let today = utc_day(clock::now(conn).await?);
    let Some(oldest) = chunks::oldest(conn).await? else { return Ok(None) };
    let first = (today - TimeDelta::days(limits.days.into())).max(utc_day(oldest));
    let mut tallies: Vec<Tally> = wanted.iter().map(|_| Tally::default()).collect();
    let events = |tallies: &[Tally]| tallies.first().map_or(0, |tally| tally.sums.events);
    let (mut day, mut days_with_events) = (today, 0);
    while day > first {
        let next = day - TimeDelta::days(1);
        let before: Vec<Sums> = tallies.iter().map(|tally| tally.sums).collect();
        match count_day(conn, next, wanted, &mut tallies, ends).await {
            Ok(()) => {
                days_with_events += u64::from(events(&tallies) > before.first().map_or(0, |sums| sums.events));
                day = next;
            }
            // Given up for lack of time: what was counted before is what there is.
            Err(error) if error.is_transient() && Instant::now() >= ends && day < today => {
                tallies.iter_mut().zip(before).for_each(|(tally, before)| tally.sums = before);
                break;
            }
            Err(error) => return Err(error),
        }
        on_step(&format!("{} is counted, {} events so far", day.date_naive(), events(&tallies)));
    }
    if day == today {
        return Ok(None);
    }
    let events = events(&tallies);
    let days = unsigned((today - day).num_days());
    let sets = wanted.iter().zip(&tallies).map(|(wanted, tally)| tally.estimate(wanted, days)).collect();
    let days_left = unsigned((day - first).num_days());
    Ok(Some(Estimated { from: day, to: today, days, days_with_events, days_left, events, sets }))
}

/// Takes in another day of all sets.
async fn count_day(
    conn: &mut PgConnection,
    day: DateTime<Utc>,
    wanted: &[Wanted],
    tallies: &mut [Tally],
    ends: Instant,
) -> Result<(), StoreError> {
    in_discarded_snapshot(conn, async |tx| {
        for (wanted, tally) in wanted.iter().zip(tallies) {
            count(tx, day, wanted, tally, ends).await?;
            tally.sums.days += 1;
        }
        Ok(())
    })
    .await
}

async fn count(
    tx: &mut PgConnection,
    day: DateTime<Utc>,
    wanted: &Wanted,
    tally: &mut Tally,
    ends: Instant,
) -> Result<(), StoreError> {
    let span = Span { start: day, org_id: None, left_out: Vec::new() };
    limit(tx, ends).await?;
    let mut counted = Counted::open(&mut *tx, &span, wanted.set.dimensions(), Pending::Counted).await?;
    let mut counting: Option<OrgDay> = None;
    while let Some((org_id, sums)) = counted.next(&mut *tx).await? {
        limit(tx, ends).await?;
        if let Some(before) = counting.take_if(|counting| counting.org_id != org_id) {
            tally.add(&before)?;
        }
        let counting = counting.get_or_insert_with(|| OrgDay::begin(org_id, wanted.max_keys));
        sums.iter().for_each(|one| tally.know(org_id, one));
        counting.add(wanted, &sums);
    }
    if let Some(last) = counting {
        tally.add(&last)?;
    }
    counted.close(tx).await
}

/// Has the server give statements up when the time is over.
async fn limit(tx: &mut PgConnection, ends: Instant) -> Result<(), StoreError> {
    let left = ends.saturating_duration_since(Instant::now());
    // Safe: a number.
    let limit = format!("SET LOCAL statement_timeout = '{}'", milliseconds(left));
    sqlx::query(AssertSqlSafe(limit)).execute(tx).await?;
    Ok(())
}

/// An org's day while it is counted, as a set would have it.
struct OrgDay {
    org_id: Uuid,
    dictionary: Dictionary,
    known: BTreeMap<i32, KnownKeys>,
    hours: BTreeMap<i32, Part>,
}

impl OrgDay {
    fn begin(org_id: Uuid, max_keys: u32) -> Self {
        Self { org_id, dictionary: Dictionary::new(max_keys), known: BTreeMap::new(), hours: BTreeMap::new() }
    }

    fn add(&mut self, wanted: &Wanted, sums: &[Named]) {
        let (known, hours) = (std::mem::take(&mut self.known), std::mem::take(&mut self.hours));
        let Wanted { set, max_keys, .. } = wanted;
        let mut naming = Naming { set, max_keys: *max_keys, dictionary: &mut self.dictionary, known, hours };
        sums.iter().for_each(|one| naming.add(one));
        let Naming { known, hours, .. } = naming;
        (self.known, self.hours) = (known, hours);
    }
}

/// What a set has of the days that were counted.
#[derive(Debug, Default)]
struct Tally {
    sums: Sums,
    /// Keys of all days, as hashes.
    different: HashSet<u64, FixedState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    days: u64,
    events: u64,
    lost: u64,
    org_days: u64,
    org_hours: u64,
    most_keys: u64,
    keys: u64,
    values: u64,
    hour_bytes: u64,
    day_bytes: u64,
    known_bytes: u64,
    /// Different keys of the first day.
    first_keys: u64,
}

impl Tally {
    /// Takes in that an org has a key.
    fn know(&mut self, org_id: Uuid, one: &Named) {
        if self.different.len() < MOST_KEYS {
            self.different.insert(FixedState::default().hash_one((org_id, &one.values)));
        }
        if self.sums.days == 0 {
            self.sums.first_keys = self.different.len() as u64;
        }
    }

    fn add(&mut self, of: &OrgDay) -> Result<(), StoreError> {
        let sums = &mut self.sums;
        let size = |packed: Result<Vec<u8>, _>| packed.map(|bytes| bytes.len() as u64).map_err(StoreError::broken);
        let mut day = Part::default();
        for part in of.hours.values() {
            sums.hour_bytes += size(part.pack())?;
            day.add_all(part);
        }
        sums.day_bytes += size(day.pack())?;
        let keys = of.known.values().map(|known| known.count() as u64).sum::<u64>();
        for known in of.known.values() {
            sums.known_bytes += size(known.pack())?;
        }
        sums.events += day.total().invocations;
        let lost = day.0.iter().filter(|(key, _)| key.contains(&LOST));
        sums.lost += lost.map(|(_, measures)| measures.invocations).sum::<u64>();
        sums.org_days += 1;
        sums.org_hours += of.hours.len() as u64;
        sums.most_keys = sums.most_keys.max(keys);
        sums.keys += keys;
        sums.values += of.dictionary.added().len() as u64;
        Ok(())
    }

    fn estimate(&self, wanted: &Wanted, days: u64) -> SetEstimate {
        let sums = &self.sums;
        let mean = |sum: u64| sum as f64 / days as f64;
        let more_a_day = match days {
            0 | 1 => 0.0,
            _ => (self.different.len() as u64).saturating_sub(sums.first_keys) as f64 / (days - 1) as f64,
        };
        let keys_a_month = sums.first_keys as f64 + more_a_day * (DAYS_A_MONTH - 1.0);
        // Rows of hours, of the day, and of its known keys.
        let rows_a_day = mean(sums.org_hours + 2 * sums.org_days);
        let bytes_a_day = mean(sums.hour_bytes + sums.day_bytes + sums.known_bytes) + rows_a_day * ROW_BYTES as f64;
        let orgs = mean(sums.org_days);
        let bytes_a_key = sums.day_bytes as f64 / sums.keys.max(1) as f64;
        let bytes_a_month = keys_a_month * bytes_a_key + orgs * ROW_BYTES as f64;
        let retention_days = wanted.retention.num_days();
        let (kept_days, kept_months) = (retention_days as f64, retention_days as f64 / DAYS_A_MONTH);
        SetEstimate {
            set: wanted.set.to_string(),
            orgs: whole(orgs),
            most_keys: sums.most_keys,
            max_keys: wanted.max_keys,
            keys_a_day: whole(mean(sums.keys)),
            keys_a_month: whole(keys_a_month),
            values_a_day: whole(mean(sums.values)),
            beyond_cap: sums.lost as f64 / sums.events.max(1) as f64,
            rows_a_day: whole(rows_a_day),
            bytes_a_day: whole(bytes_a_day),
            retention_days,
            rows: whole(rows_a_day * kept_days + orgs * kept_months),
            bytes: whole(bytes_a_day * kept_days + bytes_a_month * kept_months),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative, and saturating")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn unsigned(days: i64) -> u64 {
    u64::try_from(days).unwrap_or_default()
}

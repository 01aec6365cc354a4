//! Merging pending aggregates into the rollups: in one transaction, exactly what deleting them gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    aggregates,
    freshness::{self, Heard, MarkerKey},
    revisions::{closed_hours, revise},
    unit::Unit,
};
use crate::{
    domain::{
        freshness::Thresholds,
        histogram::Histogram,
        ledger::Counts,
        partition::Topology,
        revision::Reason,
        rollup::{Folding, Key, Measures, Merge, Pending, first_open_hour, hour_start},
        trace::{BATCHES, Links, TraceParent},
    },
    store::{
        StoreError,
        bound::bound,
        columns::{Columns, overflow},
        ingest::partitions::{self, Claim},
        transaction::in_transaction,
    },
};

/// Advisory lock that merges share and a rebuild of rollups takes alone.
pub const ROLLUP_LOCK: i64 = 0x726f_6c6c_7570;

/// Holds merges off, and whoever else does so, until the transaction ends.
pub async fn hold_off(tx: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ROLLUP_LOCK).execute(tx).await?;
    Ok(())
}

/// Packed aggregates that one merge takes at most, by the row that reaches it: it holds them unpacked.
const MAX_BYTES: i64 = 16 << 20;

/// What a merge did.
#[derive(Debug)]
pub struct Merged {
    pub merge: Merge,
    /// More may be pending than one merge takes.
    pub more: bool,
    /// The database's clock at the merge.
    pub at: DateTime<Utc>,
    /// The partition's, where the merge could move it.
    pub watermark: Option<DateTime<Utc>>,
    /// Of each batch, how long after its commit the merge was committed.
    pub waited: Vec<Duration>,
    /// Spans of the batches, of those that are recorded.
    pub followed: Vec<TraceParent>,
}

impl Merged {
    /// How far the watermark is from the database's clock: ahead of it it is as far from the truth as behind.
    pub fn lag(&self) -> Option<Duration> {
        self.watermark.map(|watermark| (self.at - watermark).abs().to_std().unwrap_or_default())
    }
}

/// A partition's stream and number, as its rows name it.
#[derive(Clone, Copy, Debug)]
pub struct PartitionName<'a> {
    pub stream: &'a str,
    pub partition: u16,
    /// Where orgs are at home. The stream may be one of an earlier layout.
    pub topology: &'a Topology,
}

/// How pending rows are merged.
#[derive(Clone, Copy, Debug)]
pub struct MergeRules {
    /// Most that one merge takes.
    pub max_batches: i64,
    /// So long after its end a bucket is final: what changes it then is a revision.
    pub late_after: TimeDelta,
    /// What the partition's lag is judged by.
    pub freshness: Thresholds,
}

/// Merges pending rows of the partition, in the order of their commits.
pub async fn merge(
    conn: &mut PgConnection,
    partition: PartitionName<'_>,
    rules: MergeRules,
) -> Result<Merged, StoreError> {
    let (mut merged, begun) = in_transaction(conn, async |tx| merge_in(tx, partition, rules).await).await?;
    let took = begun.elapsed();
    merged.waited.iter_mut().for_each(|waited| *waited += took);
    Ok(merged)
}

async fn merge_in(
    tx: &mut PgConnection,
    partition: PartitionName<'_>,
    rules: MergeRules,
) -> Result<(Merged, Instant), StoreError> {
    // The moment is behind the lock: the holder of the lock knows which merges are before it and which are after.
    let ((), at) = sqlx::query_as("SELECT pg_advisory_xact_lock_shared($1), clock_timestamp()")
        .bind(ROLLUP_LOCK)
        .fetch_one(&mut *tx)
        .await?;
    let begun = Instant::now();
    let rows: Vec<PendingRow> = sqlx::query_as(include_str!("sql/pending_take.sql"))
        .bind(partition.stream)
        .bind(i32::from(partition.partition))
        .bind(rules.max_batches)
        .bind(MAX_BYTES)
        .fetch_all(&mut *tx)
        .await?;
    let bytes: usize = rows.iter().map(|row| row.aggregates.len()).sum();
    let more = i64::try_from(rows.len()).is_ok_and(|taken| taken == rules.max_batches)
        || i64::try_from(bytes).is_ok_and(|bytes| bytes >= MAX_BYTES);
    let Some(first) = rows.first() else {
        let merge = Merge::default();
        return Ok((Merged { merge, more, at, watermark: None, waited: Vec::new(), followed: Vec::new() }, begun));
    };
    let cuts = (first.hourly_to, first.daily_to);
    let waited = rows.iter().map(|row| (at - row.committed_at).to_std().unwrap_or_default()).collect();
    let (mut folding, mut followed) = (Folding::default(), Links::at_most(BATCHES));
    for row in rows {
        if let Some(Ok(span)) = row.traceparent.as_deref().map(str::parse) {
            followed.add(span);
        }
        let pending = Pending::unpack(&row.aggregates).map_err(StoreError::broken)?;
        folding.add(pending, row.committed_at, row.replayed);
    }
    let merge = folding.finish();
    let announced = announced(tx, partition, &merge).await?;
    let closed = closed_hours(&merge, |org_id| {
        let told_to = announced.to.get(&partition.topology.home_of(org_id))?;
        Some(first_open_hour(*told_to, rules.late_after))
    });
    add(tx, Unit::Hourly, cuts.0, &merge.hourly, &closed, at).await?;
    add(tx, Unit::Daily, cuts.1, &merge.daily, &[], at).await?;
    add_ledger(tx, &merge.ledger).await?;
    let mut watermark = None;
    if let Some(published_to) = merge.published_to.and_then(DateTime::from_timestamp_micros) {
        watermark = raise_watermark(tx, partition, published_to, None).await?;
    }
    let lag_ms = watermark.max(announced.watermark).map(|watermark| (at - watermark).num_milliseconds().max(0));
    let status = rules.freshness.judge(lag_ms);
    freshness::record(tx, &Heard { events: &last_events(&merge), at, lag_ms, status }).await?;
    Ok((Merged { merge, more, at, watermark, waited, followed: followed.take() }, begun))
}

/// A partition with pending rows that its own pipeline may not merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    pub stream: String,
    pub partition: u16,
    /// The calling process holds it.
    pub ours: bool,
}

/// Partitions with pending rows that a process holds, or that no living process does.
pub async fn idle(conn: &mut PgConnection, process: Uuid) -> Result<Vec<Idle>, StoreError> {
    let rows: Vec<(String, i32, bool)> =
        sqlx::query_as(include_str!("sql/pending_idle.sql")).bind(process).fetch_all(conn).await?;
    let idle = |(stream, partition, ours)| Some(Idle { stream, partition: u16::try_from(partition).ok()?, ours });
    Ok(rows.into_iter().filter_map(idle).collect())
}

/// The newest event of each org and model that a merge has.
pub fn last_events(merge: &Merge) -> BTreeMap<MarkerKey, DateTime<Utc>> {
    let mut last = BTreeMap::new();
    let counted = merge.daily.iter().map(|(key, measures)| ((key.org_id, key.model_id), measures.last_event_at));
    for (key, micros) in counted.chain(merge.neutral.iter().map(|(key, micros)| (*key, *micros))) {
        if let Some(at) = DateTime::from_timestamp_micros(micros) {
            let newest = last.entry(key).or_insert(at);
            *newest = at.max(*newest);
        }
    }
    last
}

/// Declares the partition complete up to a moment by the database's clock, while nothing is pending, the epoch is still
/// ours, and the database is where we committed to. Only true while it is caught up. Returns the watermark, where it was
/// touched.
///
/// # Errors
/// `LostCommits` where the database has less than was committed in this epoch.
pub async fn caught_up(
    conn: &mut PgConnection,
    claim: &Claim,
    committed: i64,
    up_to: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let Claim { stream, partition, topology, .. } = claim;
    let partition = PartitionName { stream, partition: *partition, topology };
    let raised = raise_watermark(conn, partition, up_to, Some((claim.epoch, committed))).await?;
    if raised.is_none() {
        partitions::check_committed(conn, claim, committed).await?;
    }
    Ok(raised)
}

/// What responses may have said when a merge begins.
struct Announced {
    /// By home partition, up to where its orgs are complete.
    to: BTreeMap<u16, DateTime<Utc>>,
    /// The partition's own watermark, where it is known.
    watermark: Option<DateTime<Utc>>,
}

async fn announced(
    tx: &mut PgConnection,
    partition: PartitionName<'_>,
    merge: &Merge,
) -> Result<Announced, StoreError> {
    let topology = partition.topology;
    let orgs: BTreeSet<Uuid> = merge.hourly.keys().map(|key| key.org_id).collect();
    let homes: BTreeSet<u16> = orgs.into_iter().map(|org_id| topology.home_of(org_id)).collect();
    let homes: BTreeMap<String, u16> = homes.into_iter().map(|home| (topology.stream_of(home), home)).collect();
    // This one's too, which is about to be raised: every merge locks watermarks before it locks rollups.
    let streams: BTreeSet<&str> = homes.keys().map(String::as_str).chain([partition.stream]).collect();
    type Row = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = sqlx::query_as(include_str!("sql/watermark_lock.sql"))
        .bind(streams.into_iter().collect::<Vec<_>>())
        .bind(&topology.base)
        .fetch_all(tx)
        .await?;
    let mut announced = Announced { to: BTreeMap::new(), watermark: None };
    for (stream, watermark, told_to) in rows {
        if stream == partition.stream {
            announced.watermark = watermark;
        }
        announced.to.extend(homes.get(&stream).copied().zip(told_to));
    }
    Ok(announced)
}

/// Moves the watermark, if that is forward, to at most the database's now: a producer's clock may be wrong. With an
/// epoch and a next offset, only while these are the partition's and nothing is pending.
async fn raise_watermark(
    conn: &mut PgConnection,
    name: PartitionName<'_>,
    to: DateTime<Utc>,
    caught_up_in: Option<(i64, i64)>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let watermark = sqlx::query_scalar(include_str!("sql/watermark_raise.sql"))
        .bind(name.stream)
        .bind(i32::from(name.partition))
        .bind(to)
        .bind(caught_up_in.map(|(epoch, _)| epoch))
        .bind(caught_up_in.map(|(_, next_offset)| next_offset))
        .fetch_optional(conn)
        .await?;
    Ok(watermark)
}

#[derive(sqlx::FromRow)]
struct PendingRow {
    committed_at: DateTime<Utc>,
    aggregates: Vec<u8>,
    /// Of the batch's span.
    traceparent: Option<String>,
    /// Of a range that was read again.
    replayed: bool,
    /// Up to where hours are materialised, and days; null where there are no aggregates.
    hourly_to: Option<DateTime<Utc>>,
    daily_to: Option<DateTime<Utc>>,
}

bound! {
    /// Keys of rollups as statements take them: side by side.
    #[derive(Clone, Default)]
    struct Keys {
        orgs: Vec<Uuid>, starts: Vec<DateTime<Utc>>, models: Vec<Uuid>,
    }
}

impl Keys {
    fn of<'k>(unit: Unit, keys: impl Iterator<Item = &'k Key>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.orgs.push(key.org_id);
            columns.starts.push(unit.start_of(key.bucket));
            columns.models.push(key.model_id);
        }
        columns
    }
}

/// Adds to rollups, of which those before the cut may be materialised. Of those that are `closed` it is noted what they had before.
async fn add(
    conn: &mut PgConnection,
    unit: Unit,
    cut: Option<DateTime<Utc>>,
    rows: &BTreeMap<Key, Measures>,
    closed: &[(&Key, &Measures, Reason)],
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let is_cut = |key: &&Key| cut.is_some_and(|cut| unit.start_of(key.bucket) < cut);
    let materialised = Keys::of(unit, rows.keys().filter(is_cut));
    recall(conn, unit, materialised).await?;
    let keys: Vec<&Key> = rows.keys().collect();
    let mut before = vec![None; keys.len()];
    lock(conn, unit, &keys, &mut before).await?;
    if before.contains(&None) {
        // Those that no merge has made yet.
        let missing = keys.iter().zip(&before).filter(|(_, before)| before.is_none()).map(|(key, _)| *key);
        let seed = unit.statement(include_str!("sql/rollup_seed.sql"));
        sqlx::query_with(seed, Keys::of(unit, missing).arguments()?).execute(&mut *conn).await?;
        lock(conn, unit, &keys, &mut before).await?;
    }
    if !closed.is_empty() {
        revise(conn, closed, at).await?;
    }
    let mut columns = Columns::default();
    for ((key, measures), packed) in rows.iter().zip(before) {
        let missing = || StoreError::Permanent(format!("a row of {}_rollups is not there", unit.as_str()));
        let packed = packed.ok_or_else(missing)?;
        // Of a row that was materialised it is in the form of that.
        let mut histogram = Histogram::default();
        histogram.read(&packed).map_err(StoreError::broken)?;
        histogram.merge(&measures.latency);
        columns.push(key, unit.start_of(key.bucket), measures, histogram.pack())?;
    }
    let add = unit.statement(include_str!("sql/rollup_add.sql"));
    sqlx::query_with(add, columns.arguments()?).bind(at).execute(conn).await?;
    Ok(())
}

/// Locks those of the rows that are there and not locked yet, in the order of their keys, and puts their histograms into `before`.
async fn lock(
    conn: &mut PgConnection,
    unit: Unit,
    keys: &[&Key],
    before: &mut [Option<Vec<u8>>],
) -> Result<(), StoreError> {
    let wanted: Vec<usize> = (0..keys.len()).filter(|n| before[*n].is_none()).collect();
    let lock = unit.statement(include_str!("sql/rollup_lock.sql"));
    let columns = Keys::of(unit, wanted.iter().map(|n| keys[*n]));
    let found: Vec<(i64, Vec<u8>)> = sqlx::query_as_with(lock, columns.arguments()?).fetch_all(conn).await?;
    for (n, histogram) in found {
        // Ordinals count from 1.
        let key = usize::try_from(n - 1).ok().and_then(|n| wanted.get(n).copied());
        let key = key.ok_or_else(|| StoreError::Permanent(format!("no key has the number {n}")))?;
        before[key] = Some(histogram);
    }
    Ok(())
}

/// Moves rows of these keys that are materialised into the table.
async fn recall(conn: &mut PgConnection, unit: Unit, keys: Keys) -> Result<(), StoreError> {
    let (first, last) = (keys.starts.iter().min().copied(), keys.starts.iter().max().copied());
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    aggregates::allow_deletes(conn).await?;
    // Excluding chunks again for each key costs more than looking into each chunk's index.
    sqlx::query("SET LOCAL timescaledb.enable_runtime_exclusion = off").execute(&mut *conn).await?;
    let recall = unit.statement(include_str!("sql/rollup_recall.sql"));
    sqlx::query_with(recall, keys.arguments()?).bind(first).bind(last).execute(&mut *conn).await?;
    Ok(())
}

async fn add_ledger(conn: &mut PgConnection, rows: &BTreeMap<(Option<Uuid>, i32), Counts>) -> Result<(), StoreError> {
    let column = |value: fn(&Counts) -> u64| -> Result<Vec<i64>, StoreError> {
        rows.values().map(|counts| i64::try_from(value(counts)).map_err(overflow)).collect()
    };
    let hours = LedgerHours {
        orgs: rows.keys().map(|(org_id, _)| *org_id).collect(),
        hours: rows.keys().map(|(_, hour)| hour_start(*hour)).collect(),
        received: column(|c| c.received)?,
        stored: column(|c| c.stored)?,
        duplicates: column(|c| c.duplicates)?,
        conflicts: column(|c| c.conflicts)?,
        rejected: column(|c| c.rejected)?,
        late: column(|c| c.late)?,
    };
    sqlx::query_with(include_str!("sql/ledger_add.sql"), hours.arguments()?).execute(conn).await?;
    Ok(())
}

bound! {
    /// Of ledger_add.sql.
    struct LedgerHours {
        orgs: Vec<Option<Uuid>>, hours: Vec<DateTime<Utc>>, received: Vec<i64>, stored: Vec<i64>,
        duplicates: Vec<i64>, conflicts: Vec<i64>, rejected: Vec<i64>, late: Vec<i64>,
    }
}

//! The batch transaction: events, dead letters, ledger, aggregates and progress become durable together or not at all.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, postgres::types::PgInterval};

use super::{StoreError, partitions::Claim, rows};
use crate::domain::{
    batch::{Batch, Candidate},
    ledger::{Counts, Fate, Ledger},
    rollup::Pending,
};

/// Bytes of a dead letter's payload that are kept.
const KEPT_PAYLOAD_BYTES: usize = 64 * 1024;

/// What a commit did, or had done already.
#[derive(Clone, Debug)]
pub struct Committed {
    pub counts: Counts,
    pub next_offset: i64,
    /// Events that the database refused for their data; among the rejected.
    pub refused: usize,
    /// As the database has it now; see `partition_offsets.foreign_writes`.
    pub foreign_writes: i64,
    /// The database's clock.
    pub completed_at: DateTime<Utc>,
    /// This batch was committed by an earlier attempt whose answer was lost.
    pub again: bool,
}

/// How a batch is stored, beside its content.
#[derive(Clone, Copy, Debug)]
pub struct CommitRules {
    pub window: TimeDelta,
    /// More refusals than this mean that not the events are wrong but the deployment.
    pub max_refused: usize,
    pub retries: i32,
    pub started_at: DateTime<Utc>,
}

/// Why an event is stored or not; indexes are those of the messages.
type Fates = BTreeMap<usize, Fate>;

/// Stores a batch. Call it again with the same batch when the answer was lost: it is stored once.
///
/// # Errors
/// `Fenced` when another process holds the partition or has moved its offset; `Permanent` when the database refuses
/// more events than allowed; all else is the database's trouble, and nothing was stored or the answer was lost.
pub async fn commit(
    conn: &mut PgConnection,
    claim: &Claim,
    batch: &Batch,
    rules: &CommitRules,
) -> Result<Committed, StoreError> {
    let mut tx = conn.begin().await?;
    let foreign_writes = match lock(&mut tx, claim, batch).await? {
        Lock::Held { foreign_writes } => foreign_writes,
        Lock::CommittedBefore(committed) => return Ok(committed),
    };
    let mut sorted = Sorted::default();
    let complete = foreign_writes == batch.window_version;
    if !(complete && copy_fresh(&mut tx, batch, &mut sorted).await?) {
        // The window was wrong or incomplete: the database decides about every event.
        let all: Vec<&Candidate> = batch.fresh.iter().chain(&batch.suspects).collect();
        store_suspects(&mut tx, batch, &all, rules, &mut sorted).await?;
    } else if !batch.suspects.is_empty() {
        store_suspects(&mut tx, batch, &batch.suspects.iter().collect::<Vec<_>>(), rules, &mut sorted).await?;
    }
    settle_repeats(&mut tx, batch, rules, &mut sorted).await?;
    if sorted.refused.len() > rules.max_refused {
        return Err(too_many_refused(batch, &sorted));
    }
    dead_letters(&mut tx, claim, batch, &sorted.refused).await?;
    note_foreign(&mut tx, claim, batch, &sorted.fates).await?;
    let (counts, completed_at) = finish(&mut tx, claim, batch, rules, &sorted).await?;
    tx.commit().await?;
    Ok(Committed {
        counts,
        next_offset: batch.raw.next_offset(),
        refused: sorted.refused.len(),
        foreign_writes,
        completed_at,
        again: false,
    })
}

/// What became of the events so far.
#[derive(Default)]
struct Sorted {
    fates: Fates,
    /// Refused by the database: index of the message and SQLSTATE.
    refused: BTreeMap<usize, String>,
}

enum Lock {
    Held { foreign_writes: i64 },
    CommittedBefore(Committed),
}

/// Locks the partition's row, and those of the home partitions of events that came here by mistake: their writers must
/// not store the same event meanwhile. In one order, so that two such batches cannot wait for each other.
async fn lock(tx: &mut PgConnection, claim: &Claim, batch: &Batch) -> Result<Lock, StoreError> {
    let homes = batch.foreign.values().map(|partition| claim.topology.stream_of(*partition));
    let streams: BTreeSet<String> = homes.chain([claim.stream.clone()]).collect();
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT stream, epoch, next_offset, foreign_writes FROM analytics.partition_offsets
         WHERE stream = ANY($1) ORDER BY stream FOR UPDATE",
    )
    .bind(streams.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let ours = rows.into_iter().find(|row| row.0 == claim.stream);
    let (_, epoch, next_offset, foreign_writes) =
        ours.ok_or_else(|| StoreError::Permanent("the partition has no row of progress".to_owned()))?;
    if epoch == claim.epoch && next_offset == batch.raw.first_offset {
        return Ok(Lock::Held { foreign_writes });
    }
    let before: Option<LedgerRow> = sqlx::query_as(
        "SELECT received, stored, duplicates, conflicts, rejected, late, next_offset, completed_at
         FROM analytics.ingestion_batches WHERE batch_id = $1",
    )
    .bind(batch.raw.id)
    .fetch_optional(tx)
    .await?;
    let before = before.ok_or(StoreError::Fenced { partition: claim.partition, ours: claim.epoch, found: epoch })?;
    Ok(Lock::CommittedBefore(before.committed(foreign_writes)))
}

#[derive(sqlx::FromRow)]
struct LedgerRow {
    received: i64,
    stored: i64,
    duplicates: i64,
    conflicts: i64,
    rejected: i64,
    late: i64,
    next_offset: i64,
    completed_at: DateTime<Utc>,
}

impl LedgerRow {
    fn committed(&self, foreign_writes: i64) -> Committed {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let counts = Counts {
            received: count(self.received),
            stored: count(self.stored),
            duplicates: count(self.duplicates),
            conflicts: count(self.conflicts),
            rejected: count(self.rejected),
            late: count(self.late),
        };
        Committed {
            counts,
            next_offset: self.next_offset,
            refused: 0,
            foreign_writes,
            completed_at: self.completed_at,
            again: true,
        }
    }
}

/// The quick path. False when the database found an event known or refused one: nothing was stored then.
async fn copy_fresh(tx: &mut PgConnection, batch: &Batch, sorted: &mut Sorted) -> Result<bool, StoreError> {
    if batch.fresh.is_empty() {
        return Ok(true);
    }
    let mut savepoint = tx.begin().await?;
    let rows = rows::encode(batch.fresh.iter(), batch.raw.id, false);
    match copy(&mut savepoint, "analytics.usage_events", rows::COLUMNS, &rows).await {
        Ok(stored) if stored == batch.fresh.len() as u64 => savepoint.commit().await?,
        Ok(stored) => {
            return Err(StoreError::Permanent(format!("{stored} of {} events were stored", batch.fresh.len())));
        }
        Err(error) if data_error(&error).is_some() => {
            savepoint.rollback().await?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    sorted.fates.extend(batch.fresh.iter().map(|c| (c.message, Fate::Stored { late: c.late })));
    Ok(true)
}

async fn copy(conn: &mut PgConnection, table: &str, columns: &str, rows: &[u8]) -> Result<u64, sqlx::Error> {
    // Names are constants of this module; sqlx asks to be told that they are no input.
    let statement = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
    let mut copy = conn.copy_in_raw(&statement).await?;
    copy.send(rows).await?;
    copy.finish().await
}

/// Lets the database decide, and finds what it refuses by halving.
async fn store_suspects(
    tx: &mut PgConnection,
    batch: &Batch,
    suspects: &[&Candidate],
    rules: &CommitRules,
    sorted: &mut Sorted,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/suspects_table.sql")).execute(&mut *tx).await?;
    let mut suspects = suspects.to_vec();
    suspects.sort_unstable_by_key(|candidate| candidate.event.occurred_at);
    let mut open = by_time(&suspects, rules.window);
    while let Some(part) = open.pop() {
        if sorted.refused.len() > rules.max_refused {
            return Err(too_many_refused(batch, sorted));
        }
        let mut savepoint = tx.begin().await?;
        match decide(&mut savepoint, batch, part, rules).await {
            Ok(fates) => {
                savepoint.commit().await?;
                sorted.fates.extend(fates);
            }
            Err(error) => {
                let Some(code) = data_error(&error) else { return Err(error.into()) };
                savepoint.rollback().await?;
                if let [one] = part {
                    sorted.fates.insert(one.message, Fate::Rejected);
                    sorted.refused.insert(one.message, code);
                } else {
                    let (first, second) = part.split_at(part.len() / 2);
                    open.extend([second, first]);
                }
            }
        }
    }
    Ok(())
}

/// Parts of suspects in order of time, none longer than two windows: what is looked up for a part is opened in all the
/// chunks that any of it can be in, and a single old event would open them all for everyone.
fn by_time<'a>(suspects: &'a [&'a Candidate], window: TimeDelta) -> Vec<&'a [&'a Candidate]> {
    let mut parts = Vec::new();
    let mut rest = suspects;
    while let Some(first) = rest.first() {
        let end = first.event.occurred_at + window * 2;
        let (part, later) = rest.split_at(rest.partition_point(|candidate| candidate.event.occurred_at <= end));
        parts.push(part);
        rest = later;
    }
    parts
}

async fn decide(
    conn: &mut PgConnection,
    batch: &Batch,
    suspects: &[&Candidate],
    rules: &CommitRules,
) -> Result<Fates, sqlx::Error> {
    let times = || suspects.iter().map(|candidate| candidate.event.occurred_at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(Fates::new()) };
    let rows = rows::encode(suspects.iter().copied(), batch.raw.id, true);
    copy(conn, "pg_temp.suspects", &format!("ordinal, {}", rows::COLUMNS), &rows).await?;
    let window = PgInterval { months: 0, days: 0, microseconds: rules.window.num_microseconds().unwrap_or(i64::MAX) };
    let decided: Vec<(i32, bool, bool)> = sqlx::query_as(include_str!("sql/suspects.sql"))
        .bind(window)
        .bind(first - rules.window)
        .bind(last + rules.window)
        .fetch_all(&mut *conn)
        .await?;
    // Truncating would make a new file each time; the end of the transaction does it once.
    sqlx::query("DELETE FROM pg_temp.suspects").execute(conn).await?;
    let fates = decided.into_iter().filter_map(|(ordinal, stored, conflict)| {
        let candidate = suspects.get(usize::try_from(ordinal).ok()?)?;
        let fate = if stored { Fate::Stored { late: candidate.late } } else { Fate::Duplicate { conflict } };
        Some((candidate.message, fate))
    });
    Ok(fates.collect())
}

/// A repeat of what this batch stored is a duplicate. Where the first one was not stored, because it was known or
/// refused, the repeat is judged by what the database has; of several repeats each after the one before.
async fn settle_repeats(
    tx: &mut PgConnection,
    batch: &Batch,
    rules: &CommitRules,
    sorted: &mut Sorted,
) -> Result<(), StoreError> {
    let mut open = Vec::new();
    for repeat in &batch.repeats {
        let message = repeat.candidate.message;
        match sorted.fates.get(&repeat.of) {
            Some(Fate::Stored { .. }) => {
                sorted.fates.insert(message, Fate::Duplicate { conflict: repeat.conflict });
            }
            // The same to the letter: the same answer.
            Some(fate) if !repeat.conflict => {
                let fate = *fate;
                sorted.fates.insert(message, fate);
                if let Some(code) = sorted.refused.get(&repeat.of).cloned() {
                    sorted.refused.insert(message, code);
                }
            }
            _ => open.push(repeat),
        }
    }
    while !open.is_empty() {
        let mut firsts = BTreeSet::new();
        let (round, later) = open.into_iter().partition::<Vec<_>, _>(|repeat| firsts.insert(repeat.of));
        let round: Vec<&Candidate> = round.into_iter().map(|repeat| &repeat.candidate).collect();
        store_suspects(tx, batch, &round, rules, sorted).await?;
        open = later;
    }
    Ok(())
}

/// Not the events are wrong then but the deployment.
fn too_many_refused(batch: &Batch, sorted: &Sorted) -> StoreError {
    StoreError::Permanent(format!(
        "the database refuses more than {} of {} events, the last for SQLSTATE {}: the schema does not fit",
        sorted.refused.len() - 1,
        batch.raw.messages.len(),
        sorted.refused.last_key_value().map_or("", |(_, code)| code),
    ))
}

/// SQLSTATE of an error that an event's data is to blame for: class 22 (data exception) or 23 (constraint).
fn data_error(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    (code.starts_with("22") || code.starts_with("23")).then(|| code.into_owned())
}

async fn dead_letters(
    tx: &mut PgConnection,
    claim: &Claim,
    batch: &Batch,
    refused: &BTreeMap<usize, String>,
) -> Result<(), StoreError> {
    let candidates = batch.fresh.iter().chain(&batch.suspects).chain(batch.repeats.iter().map(|r| &r.candidate));
    let orgs: BTreeMap<usize, _> =
        candidates.filter(|c| refused.contains_key(&c.message)).map(|c| (c.message, c.event.org_id)).collect();
    let by_rule = batch.rejects.iter().map(|reject| {
        let reasons = reject.rejection.reasons.iter().map(ToString::to_string).collect::<Vec<_>>();
        (reject.message, reject.rejection.org_id, reasons)
    });
    let by_database = refused.iter().map(|(message, code)| {
        (*message, orgs.get(message).copied(), vec![format!("event: refused by the database, SQLSTATE {code}")])
    });
    let (mut offsets, mut org_ids, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    let (mut payloads, mut lengths, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for (message, org_id, why) in by_rule.chain(by_database) {
        let message = &batch.raw.messages[message];
        offsets.push(message.offset);
        org_ids.push(org_id);
        reasons.push(serde_json::to_string(&why).map_err(|error| StoreError::Permanent(error.to_string()))?);
        payloads.push(&message.body[..message.body.len().min(KEPT_PAYLOAD_BYTES)]);
        lengths.push(i64::try_from(message.body.len()).unwrap_or(i64::MAX));
        hashes.push(Sha256::digest(&message.body).to_vec());
    }
    if offsets.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/dead_letters.sql"))
        .bind(&claim.stream)
        .bind(claim.incarnation)
        .bind(i32::from(claim.partition))
        .bind(batch.raw.id)
        .bind(offsets)
        .bind(org_ids)
        .bind(reasons)
        .bind(payloads)
        .bind(lengths)
        .bind(hashes)
        .execute(tx)
        .await?;
    Ok(())
}

/// Tells the home partitions of misrouted events that were stored that their windows miss something.
async fn note_foreign(tx: &mut PgConnection, claim: &Claim, batch: &Batch, fates: &Fates) -> Result<(), StoreError> {
    let stored = |message: &usize| matches!(fates.get(message), Some(Fate::Stored { .. }));
    let homes = batch.foreign.iter().filter(|(message, _)| stored(message));
    let streams: BTreeSet<String> = homes.map(|(_, partition)| claim.topology.stream_of(*partition)).collect();
    if streams.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE analytics.partition_offsets SET foreign_writes = foreign_writes + 1 WHERE stream = ANY($1)")
        .bind(streams.into_iter().collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

async fn finish(
    tx: &mut PgConnection,
    claim: &Claim,
    batch: &Batch,
    rules: &CommitRules,
    sorted: &Sorted,
) -> Result<(Counts, DateTime<Utc>), StoreError> {
    let mut ledger = Ledger::default();
    for reject in &batch.rejects {
        ledger.count(reject.rejection.org_id, Fate::Rejected);
    }
    let candidates = || batch.fresh.iter().chain(&batch.suspects).chain(batch.repeats.iter().map(|r| &r.candidate));
    let mut stored = Vec::with_capacity(batch.fresh.len());
    for candidate in candidates() {
        let fate = sorted.fates.get(&candidate.message);
        let fate = *fate.ok_or_else(|| StoreError::Permanent("an event was left undecided".to_owned()))?;
        ledger.count(Some(candidate.event.org_id), fate);
        if matches!(fate, Fate::Stored { .. }) {
            stored.push(&candidate.event);
        }
    }
    let counts = ledger.total();
    let orgs = i32::try_from(ledger.orgs()).unwrap_or(i32::MAX);
    let occurred_from = stored.iter().map(|event| event.occurred_at).min();
    let occurred_to = stored.iter().map(|event| event.occurred_at).max();
    let pending = Pending::of(stored.into_iter(), ledger, batch.published_to.map(|at| at.timestamp_micros()));
    let aggregates = pending.pack().map_err(|error| StoreError::Permanent(error.to_string()))?;
    let last_message = batch.raw.messages.last().map(|message| Sha256::digest(&message.body).to_vec());
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let completed_at: Option<DateTime<Utc>> = sqlx::query_scalar(include_str!("sql/finish_batch.sql"))
        .bind(batch.raw.id)
        .bind(&claim.stream)
        .bind(claim.incarnation)
        .bind(i32::from(claim.partition))
        .bind(batch.raw.first_offset)
        .bind(batch.raw.next_offset())
        .bind(n(counts.received))
        .bind(n(counts.stored))
        .bind(n(counts.duplicates))
        .bind(n(counts.conflicts))
        .bind(n(counts.rejected))
        .bind(n(counts.late))
        .bind(orgs)
        .bind(occurred_from)
        .bind(occurred_to)
        .bind(rules.retries)
        .bind(rules.started_at)
        .bind(aggregates)
        .bind(last_message)
        .bind(claim.epoch)
        .fetch_optional(tx)
        .await?;
    let completed_at =
        completed_at.ok_or(StoreError::Fenced { partition: claim.partition, ours: claim.epoch, found: 0 })?;
    Ok((counts, completed_at))
}

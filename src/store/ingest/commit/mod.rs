//! The batch transaction: events, dead letters, ledger, aggregates and progress become durable together or not at all.

mod lock;
mod misrouted;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use self::lock::{Lock, lock};
pub use self::misrouted::Misrouted;
use super::{
    dead_letters, duplicates, lookup,
    partitions::Claim,
    raw_floor,
    repair::{self, Repaired},
    work::{CommitRules, Fates, Kind, Work, data_error},
};
use crate::{
    domain::{
        attribution::{Dimension, Partials},
        batch::{Batch, Candidate},
        event::Event,
        hole::{HoleReason, Missing},
        ledger::{Counts, Fate, Ledger, Tally},
        rollup::{Pending, day_of},
        trace::span,
    },
    store::{
        StoreError,
        bound::bound,
        clock::{self, Reading},
        rows,
        step::step,
        transaction::in_transaction,
    },
};

const UNIQUE_VIOLATION: &str = "23505";

/// What a commit did, or had done already.
#[derive(Clone, Debug)]
pub struct Committed {
    pub counts: Counts,
    pub next_offset: i64,
    /// Events that the database refused for their data; among the rejected.
    pub refused: usize,
    /// Lost rows of raw events that were put back; among the duplicates. Not known of an earlier attempt.
    pub repaired: usize,
    /// As the database has it now; see `partition_offsets.foreign_writes`.
    pub foreign_writes: i64,
    /// The database's clock.
    pub completed_at: DateTime<Utc>,
    /// What was learnt of the database's clock; not of an earlier attempt, whose time is an old one.
    pub clock: Option<Reading>,
    /// Orgs whose events came by this partition and are at home in another one.
    pub misrouted: Vec<Misrouted>,
    /// This batch was committed by an earlier attempt whose response was lost.
    pub again: bool,
}

/// Stores a batch. Call it again with the same batch when the response was lost: it is stored once.
///
/// # Errors
/// `Fenced` when another process holds the partition; `Moved` when its offset is another; `Unfit` when the database refuses more
/// events than allowed; all else is the database's trouble, and nothing was stored or the response was lost.
pub async fn commit(
    conn: &mut PgConnection,
    claim: &Claim,
    batch: &Batch,
    rules: &CommitRules,
) -> Result<Committed, StoreError> {
    in_transaction(conn, async |tx| commit_in(tx, Work { claim, batch, rules }).await).await
}

async fn commit_in(tx: &mut PgConnection, work: Work<'_>) -> Result<Committed, StoreError> {
    let Work { claim, batch, rules } = work;
    let foreign_writes = match lock(tx, work).await? {
        Lock::Held { foreign_writes } => foreign_writes,
        Lock::CommittedBefore(committed) => return Ok(committed),
    };
    // The clock that judged the events may have been behind or ahead: nothing becomes a dead letter by it alone.
    let judged_again = match batch.has_rejects_of_time() {
        true => batch.judged_again(clock::now(tx).await?),
        false => None,
    };
    let batch = judged_again.as_ref().unwrap_or(batch);
    let work = Work { batch, ..work };
    let mut sorted = Sorted::of(batch);
    let (mut fresh, mut suspects): (Vec<&Candidate>, Vec<&Candidate>) =
        (batch.fresh.iter().collect(), batch.suspects.iter().collect());
    if foreign_writes != batch.foreign_writes {
        // The window missed something: nothing is certain.
        suspects.append(&mut fresh);
    }
    store(tx, work, fresh, &suspects, &mut sorted).await?;
    settle_repeats(tx, work, &mut sorted).await?;
    dead_letters::keep(tx, claim, batch, &sorted.refused, &sorted.too_old).await?;
    if matches!(rules.kind, Kind::Live) {
        duplicates::note(tx, batch, &sorted.fates, rules.window).await?;
    }
    note_foreign(tx, claim, batch, &sorted.fates).await?;
    let misrouted = misrouted::note(tx, work).await?;
    if let Kind::Replay(replay_id) = rules.kind {
        repair::take_letters(tx, work, &sorted.fates).await?;
        repair::record(tx, work, replay_id, &sorted.repaired).await?;
    }
    let (counts, completed) = finish(tx, work, &sorted).instrument(step!(span::FINISH)).await?;
    Ok(Committed {
        counts,
        next_offset: batch.raw.next_offset(),
        refused: sorted.refused.len(),
        repaired: sorted.repaired.count(),
        foreign_writes,
        completed_at: completed.at,
        clock: Some(completed),
        misrouted,
        again: false,
    })
}

/// What became of the events so far.
struct Sorted {
    fates: Fates,
    /// Refused by the database: index of the message and SQLSTATE.
    refused: BTreeMap<usize, String>,
    /// Put back; they are duplicates.
    repaired: Repaired,
    /// Rejected, since what they could repeat is not kept any more.
    too_old: BTreeSet<usize>,
}

impl Sorted {
    fn of(batch: &Batch) -> Self {
        Self {
            fates: Fates::of(batch),
            refused: BTreeMap::new(),
            repaired: Repaired::default(),
            too_old: BTreeSet::new(),
        }
    }
}

/// Stores the fresh ones, and of the others those that are not known yet: by one COPY when all is as expected.
async fn store<'a>(
    tx: &mut PgConnection,
    work: Work<'_>,
    fresh: Vec<&'a Candidate>,
    suspects: &[&'a Candidate],
    sorted: &mut Sorted,
) -> Result<(), StoreError> {
    let mut new = fresh;
    new.extend(only_new(tx, suspects, work, sorted).await?);
    let batch = work.batch;
    for message in raw_floor::beyond(tx, &new, work.rules.window, work.rules.started_at).await? {
        sorted.fates.insert(message, Fate::Rejected);
        sorted.too_old.insert(message);
    }
    if !sorted.too_old.is_empty() {
        new.retain(|candidate| !sorted.too_old.contains(&candidate.message));
    }
    // As the unique index of each day has them: neighbours are put on a page one after the other.
    new.sort_unstable_by_key(|Candidate { event, .. }| (day_of(event.occurred_at), event.org_id, event.event_id));
    if copy(tx, batch, &new, sorted).await?.is_none() {
        return Ok(());
    }
    // The window was wrong about an event, or the database refuses one: look all up, then find it by halving.
    let new = only_new(tx, &new, work, sorted).await?;
    let mut open = vec![new.as_slice()];
    while let Some(part) = open.pop() {
        let Some(code) = copy(tx, batch, part, sorted).await? else { continue };
        match part {
            [one] if code == UNIQUE_VIOLATION => {
                sorted.fates.insert(one.message, Fate::Duplicate { conflict: false });
            }
            [one] => {
                sorted.fates.insert(one.message, Fate::Rejected);
                sorted.refused.insert(one.message, code);
                if sorted.refused.len() > work.rules.max_refused {
                    return Err(too_many_refused(batch, sorted));
                }
            }
            _ => {
                let (first, second) = part.split_at(part.len() / 2);
                open.extend([second, first]);
            }
        }
    }
    Ok(())
}

/// Notes those that are known as duplicates and gives the others; of a replay those that were never handled as an event before.
async fn only_new<'a>(
    tx: &mut PgConnection,
    suspects: &[&'a Candidate],
    work: Work<'_>,
    sorted: &mut Sorted,
) -> Result<Vec<&'a Candidate>, StoreError> {
    let known = lookup::look_up(tx, suspects, work.rules.window).instrument(step!(span::LOOK_UP)).await?;
    sorted.fates.extend(known.iter().map(|(message, known)| (*message, Fate::Duplicate { conflict: known.conflict })));
    let unknown = suspects.iter().copied().filter(|candidate| !known.contains_key(&candidate.message)).collect();
    match work.rules.kind {
        Kind::Live => Ok(unknown),
        Kind::Replay(_) => repair::sort_out(tx, work, unknown, &mut sorted.fates, &mut sorted.repaired).await,
    }
}

/// Stores events, all or none. None were where an SQLSTATE comes back: the one that their data is to blame for.
async fn copy(
    tx: &mut PgConnection,
    batch: &Batch,
    events: &[&Candidate],
    sorted: &mut Sorted,
) -> Result<Option<String>, StoreError> {
    if events.is_empty() {
        return Ok(None);
    }
    let copying = in_transaction(tx, async |savepoint| rows::store(savepoint, events, batch.raw.id).await);
    match copying.instrument(step!(span::COPY)).await {
        Ok(stored) if stored == events.len() as u64 => {}
        Ok(stored) => return Err(StoreError::Permanent(format!("{stored} of {} events were stored", events.len()))),
        Err(error) => return data_error(&error).map(Some).ok_or_else(|| error.into()),
    }
    sorted.fates.extend(events.iter().map(|c| (c.message, Fate::Stored { late: c.late })));
    Ok(None)
}

/// A repeat of what this batch stored is a duplicate. Where the first one was not stored, because it was known or
/// refused, the repeat is judged by what the database has; of several repeats each after the one before.
async fn settle_repeats(tx: &mut PgConnection, work: Work<'_>, sorted: &mut Sorted) -> Result<(), StoreError> {
    let mut open = Vec::new();
    for repeat in &work.batch.repeats {
        let message = repeat.candidate.message;
        match sorted.fates.get(repeat.of) {
            Some(Fate::Stored { .. }) => {
                sorted.fates.insert(message, Fate::Duplicate { conflict: repeat.conflict });
            }
            // The same to the letter: the same result.
            Some(fate) if !repeat.conflict => {
                sorted.fates.insert(message, fate);
                if let Some(code) = sorted.refused.get(&repeat.of).cloned() {
                    sorted.refused.insert(message, code);
                }
                if sorted.too_old.contains(&repeat.of) {
                    sorted.too_old.insert(message);
                }
            }
            _ => open.push(repeat),
        }
    }
    while !open.is_empty() {
        let mut firsts = BTreeSet::new();
        let (round, later) = open.into_iter().partition::<Vec<_>, _>(|repeat| firsts.insert(repeat.of));
        let round: Vec<&Candidate> = round.into_iter().map(|repeat| &repeat.candidate).collect();
        store(tx, work, Vec::new(), &round, sorted).await?;
        open = later;
    }
    Ok(())
}

/// Not the events are wrong then but the deployment.
fn too_many_refused(batch: &Batch, sorted: &Sorted) -> StoreError {
    StoreError::Unfit(format!(
        "it refuses more than {} of {} events, the last for SQLSTATE {}: the schema does not fit",
        sorted.refused.len() - 1,
        batch.raw.messages.len(),
        sorted.refused.last_key_value().map_or("", |(_, code)| code),
    ))
}

/// Marks the home partitions of events that their windows have not seen, so that these windows are loaded again:
/// of misrouted ones, and of those that another clock had rejected.
async fn note_foreign(tx: &mut PgConnection, claim: &Claim, batch: &Batch, fates: &Fates) -> Result<(), StoreError> {
    let stored = |message: &usize| matches!(fates.get(*message), Some(Fate::Stored { .. }));
    let homes = batch.foreign.iter().filter(|(message, _)| stored(message)).map(|(_, partition)| *partition);
    let ours = batch.readmitted.iter().any(|message| !batch.foreign.contains_key(message) && stored(message));
    let homes = homes.chain(ours.then_some(claim.partition));
    let streams: BTreeSet<String> = homes.map(|partition| claim.topology.stream_of(partition)).collect();
    if streams.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE analytics.partition_offsets SET foreign_writes = foreign_writes + 1 WHERE stream = ANY($1)")
        .bind(streams.into_iter().collect::<Vec<_>>())
        .execute(tx)
        .await?;
    Ok(())
}

bound! {
    /// What finish_batch.sql and finish_replay.sql begin with.
    struct BatchRow<'a> {
        batch_id: Uuid, stream: &'a str, incarnation: i32, partition: i32, first_offset: i64, next_offset: i64,
        received: i64, stored: i64, duplicates: i64, conflicts: i64, rejected: i64, late: i64, orgs: i32,
        occurred_from: Option<DateTime<Utc>>, occurred_to: Option<DateTime<Utc>>, retries: i32,
        started_at: DateTime<Utc>, aggregates: Vec<u8>, traceparent: Option<String>, partials: Option<Vec<u8>>,
        attributed: bool,
    }
}

async fn finish(tx: &mut PgConnection, work: Work<'_>, sorted: &Sorted) -> Result<(Counts, Reading), StoreError> {
    let Work { claim, batch, rules } = work;
    let mut ledger = Tally::default();
    for reject in &batch.rejects {
        ledger.count(reject.rejection.org_id, Fate::Rejected);
    }
    let mut stored = Vec::with_capacity(batch.fresh.len());
    for candidate in batch.candidates() {
        let fate = sorted.fates.get(candidate.message);
        let fate = fate.ok_or_else(|| StoreError::Permanent("an event was left undecided".to_owned()))?;
        ledger.count(Some(candidate.event.org_id), fate);
        if matches!(fate, Fate::Stored { .. }) {
            stored.push(&candidate.event);
        }
    }
    let ledger = Ledger::from(ledger);
    let counts = ledger.total();
    let orgs = i32::try_from(ledger.orgs()).unwrap_or(i32::MAX);
    let occurred_from = stored.iter().map(|event| event.occurred_at).min();
    let occurred_to = stored.iter().map(|event| event.occurred_at).max();
    let partials = partials(&rules.carried, &stored)?;
    let pending = Pending::of(stored.into_iter(), ledger, batch.published_to.map(|at| at.timestamp_micros()));
    let aggregates = pending.pack().map_err(StoreError::broken)?;
    let last_message = batch.raw.last_message().map(|hash| hash.to_vec());
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let statement = match rules.kind {
        Kind::Live => include_str!("../sql/finish_batch.sql"),
        Kind::Replay(_) => include_str!("../sql/finish_replay.sql"),
    };
    let row = BatchRow {
        batch_id: batch.raw.id,
        stream: &claim.stream,
        incarnation: claim.incarnation,
        partition: i32::from(claim.partition),
        first_offset: batch.raw.first_offset,
        next_offset: batch.raw.next_offset(),
        received: n(counts.received),
        stored: n(counts.stored),
        duplicates: n(counts.duplicates),
        conflicts: n(counts.conflicts),
        rejected: n(counts.rejected),
        late: n(counts.late),
        orgs,
        occurred_from,
        occurred_to,
        retries: rules.retries,
        started_at: rules.started_at,
        aggregates,
        traceparent: rules.span.map(|span| span.to_string()),
        partials,
        attributed: !rules.carried.is_empty(),
    };
    let query = sqlx::query_scalar_with(statement, row.arguments()?);
    let query = match rules.kind {
        Kind::Live => {
            let missing = batch.raw.missing;
            let describe = |Missing { to, why, .. }: Missing| why.describe(batch.raw.first_offset, to);
            query
                .bind(last_message)
                .bind(claim.epoch)
                .bind(missing.map(|missing| missing.to))
                .bind(missing.map(|missing| missing.why == HoleReason::LeftOut))
                .bind(missing.map(describe))
                .bind(missing.and_then(|missing| missing.after))
        }
        Kind::Replay(replay_id) => query.bind(replay_id).bind(claim.epoch),
    };
    let sent_at = Instant::now();
    let completed_at: Option<DateTime<Utc>> = query.fetch_optional(tx).await?;
    let completed_at = completed_at
        .ok_or_else(|| StoreError::Permanent("a row of progress changed while it was locked".to_owned()))?;
    Ok((counts, Reading::received(completed_at, sent_at)))
}

/// What the events add to attribution, packed; none where there is nothing.
fn partials(carried: &[Dimension], stored: &[&Event]) -> Result<Option<Vec<u8>>, StoreError> {
    if carried.is_empty() || stored.is_empty() {
        return Ok(None);
    }
    let packed = Partials::of(carried, stored.iter().copied()).pack();
    packed.map(Some).map_err(StoreError::broken)
}

//! Repair: puts lost rows of raw events back when their messages are read again, and counts nothing a second time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    lookup,
    partitions::Claim,
    work::{Fates, Work, data_error},
};
use crate::{
    domain::{
        batch::Candidate,
        ledger::Fate,
        repair::{Handled, Past, Seen, Verdict},
    },
    store::{StoreError, bound::bound, rows, transaction::in_transaction},
};

/// Offsets that a log line names.
const NAMED: usize = 20;

/// What a replayed batch has put back so far.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    /// Indexes of the messages.
    messages: BTreeSet<usize>,
    /// Rows of the ledger that are not touched any more: what they miss cannot be determined.
    unclear: BTreeSet<Uuid>,
}

impl Repaired {
    pub fn count(&self) -> usize {
        self.messages.len()
    }
}

/// What is known of the offsets [from, to) of the partition.
pub async fn past(conn: &mut PgConnection, claim: &Claim, (from, to): (i64, i64)) -> Result<Past, StoreError> {
    type Row = (Uuid, i64, i64, i64, i64, i64);
    let rows: Vec<Row> = sqlx::query_as(include_str!("sql/past_rows.sql"))
        .bind(&claim.stream)
        .bind(claim.incarnation)
        .bind(i32::from(claim.partition))
        .bind(from)
        .bind(to)
        .fetch_all(&mut *conn)
        .await?;
    let row = |(batch_id, first_offset, next_offset, stored, purged, duplicates)| Handled {
        batch_id,
        first_offset,
        next_offset,
        stored,
        purged,
        duplicates,
    };
    let rejected: Vec<(i64, Option<Uuid>)> = sqlx::query_as(
        "SELECT stream_offset, taken_by FROM analytics.dead_letters
         WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND stream_offset >= $4 AND stream_offset < $5",
    )
    .bind(&claim.stream)
    .bind(claim.incarnation)
    .bind(i32::from(claim.partition))
    .bind(from)
    .bind(to)
    .fetch_all(conn)
    .await?;
    Ok(Past { rows: rows.into_iter().map(row).collect(), rejected: rejected.into_iter().collect() })
}

/// Sorts out the events of a replayed batch that raw events do not have: gives those that are new, and puts those back
/// that were lost. These and those that stay away are duplicates: they were counted before.
pub(super) async fn sort_out<'a>(
    tx: &mut PgConnection,
    work: Work<'_>,
    unknown: Vec<&'a Candidate>,
    fates: &mut Fates,
    repaired: &mut Repaired,
) -> Result<Vec<&'a Candidate>, StoreError> {
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let raw = &work.batch.raw;
    let offset = |candidate: &Candidate| raw.messages[candidate.message].offset;
    let past = past(tx, work.claim, (raw.first_offset, raw.next_offset())).await?;
    let (new, handled): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|one| past.is_new(offset(one)));
    fates.extend(handled.iter().map(|one| (one.message, Fate::Duplicate { conflict: false })));
    let mut open = above_raw_floors(tx, handled).await?;
    let (mut unclear, mut put_back) = (Vec::new(), false);
    for row in &past.rows {
        let first = raw.messages.partition_point(|message| message.offset < row.first_offset);
        let behind = raw.messages.partition_point(|message| message.offset < row.next_offset);
        let mine = open.range(first..behind.max(first)).map(|(_, one)| *one);
        let mut mine: Vec<&Candidate> = mine.filter(|one| past.took(row, offset(one))).collect();
        if put_back {
            // What was put back may be what some of these repeat.
            let known = lookup::look_up(tx, &mine, work.rules.window).await?;
            fates.extend(known.iter().map(|(n, known)| (*n, Fate::Duplicate { conflict: known.conflict })));
            open.retain(|message, _| !known.contains_key(message));
            mine.retain(|one| !known.contains_key(&one.message));
        }
        if mine.is_empty() {
            continue;
        }
        let mut verdict = Verdict::Unclear;
        if !repaired.unclear.contains(&row.batch_id) {
            let of_row = |one: &&Candidate| (first..behind).contains(&one.message) && past.took(row, offset(one));
            let events: Vec<&Candidate> = work.batch.candidates().filter(of_row).collect();
            verdict = row.judge(seen(tx, row, &events, mine.len()).await?);
        }
        if verdict == Verdict::Lost && !copy(tx, &mine, row.batch_id).await? {
            verdict = Verdict::Unclear;
        }
        match verdict {
            // Another row may miss them.
            Verdict::Whole => continue,
            Verdict::Lost => {
                put_back = true;
                repaired.messages.extend(mine.iter().map(|one| one.message));
            }
            Verdict::Unclear => {
                repaired.unclear.insert(row.batch_id);
                unclear.extend(mine.iter().map(|one| offset(one)));
            }
        }
        for one in mine {
            open.remove(&one.message);
        }
    }
    log(work.claim, &unclear, open.values().map(|one| offset(one)).collect());
    Ok(new)
}

fn log(claim: &Claim, unclear: &[i64], away: Vec<i64>) {
    let named = |offsets: &[i64]| offsets[..offsets.len().min(NAMED)].to_vec();
    let partition = claim.partition;
    if !unclear.is_empty() {
        let (events, offsets) = (unclear.len(), named(unclear));
        tracing::warn!(
            partition,
            events,
            ?offsets,
            "events are missing, and it is not clear which of them were lost: read a wider range again"
        );
    }
    if !away.is_empty() {
        let (events, offsets) = (away.len(), named(&away));
        tracing::info!(partition, events, ?offsets, "events are not repaired: purged or erased, or resends of such");
    }
}

/// Those that lie above what retention has purged, by message.
async fn above_raw_floors<'a>(
    conn: &mut PgConnection,
    handled: Vec<&'a Candidate>,
) -> Result<BTreeMap<usize, &'a Candidate>, StoreError> {
    if handled.is_empty() {
        return Ok(BTreeMap::new());
    }
    let orgs: BTreeSet<Uuid> = handled.iter().map(|one| one.event.org_id).collect();
    let floors: Vec<(Option<Uuid>, DateTime<Utc>)> =
        sqlx::query_as("SELECT org_id, raw_from FROM analytics.raw_horizons WHERE org_id IS NULL OR org_id = ANY($1)")
            .bind(orgs.into_iter().collect::<Vec<_>>())
            .fetch_all(conn)
            .await?;
    let gone = |one: &Candidate| {
        let of = |org: &Option<Uuid>| org.is_none_or(|org| org == one.event.org_id);
        floors.iter().any(|(org, raw_from)| of(org) && one.event.occurred_at < *raw_from)
    };
    Ok(handled.into_iter().filter(|one| !gone(one)).map(|one| (one.message, one)).collect())
}

/// What the batch shows of a row by these events.
async fn seen(
    conn: &mut PgConnection,
    row: &Handled,
    events: &[&Candidate],
    unknown: usize,
) -> Result<Seen, StoreError> {
    let mut seen = Seen { events: events.len(), present: 0, unknown };
    let times = || events.iter().map(|one| one.event.occurred_at);
    // Without need it is not looked for.
    let (Some(first), Some(last), true) = (times().min(), times().max(), row.has_to_be_whole()) else {
        return Ok(seen);
    };
    let present: i64 = sqlx::query_scalar(include_str!("sql/repair_present.sql"))
        .bind(events.iter().map(|one| one.event.org_id).collect::<Vec<_>>())
        .bind(events.iter().map(|one| one.event.event_id).collect::<Vec<_>>())
        .bind(times().collect::<Vec<_>>())
        .bind(row.batch_id)
        .bind(first)
        .bind(last)
        .fetch_one(conn)
        .await?;
    seen.present = usize::try_from(present).unwrap_or_default();
    Ok(seen)
}

/// Stores rows under the id of the batch that counts them. False: the database refuses them for their data.
async fn copy(tx: &mut PgConnection, events: &[&Candidate], batch_id: Uuid) -> Result<bool, StoreError> {
    match in_transaction(tx, async |savepoint| rows::store(savepoint, events, batch_id).await).await {
        Ok(_) => {}
        Err(error) => {
            let Some(code) = data_error(&error) else { return Err(error.into()) };
            tracing::warn!(%batch_id, code, "the database refuses rows that were lost");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Records what was put back, in the transaction of the batch that did it.
pub(super) async fn record(
    tx: &mut PgConnection,
    work: Work<'_>,
    replay_id: Uuid,
    repaired: &Repaired,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (repaired.messages.first(), repaired.messages.last()) else { return Ok(()) };
    let (claim, batch) = (work.claim, work.batch);
    let put_back = || batch.candidates().filter(|one| repaired.messages.contains(&one.message));
    let orgs: BTreeSet<Uuid> = put_back().map(|one| one.event.org_id).collect();
    let foreign = batch.foreign.iter().filter(|(message, _)| repaired.messages.contains(message));
    let homes = foreign.map(|(_, partition)| claim.topology.stream_of(*partition));
    let streams: BTreeSet<String> = homes.chain([claim.stream.clone()]).collect();
    let row = RepairRow {
        batch_id: Uuid::now_v7(),
        stream: &claim.stream,
        incarnation: claim.incarnation,
        partition: i32::from(claim.partition),
        first_offset: batch.raw.messages[*first].offset,
        next_offset: batch.raw.messages[*last].offset + 1,
        rows: i64::try_from(repaired.count()).unwrap_or(i64::MAX),
        orgs: i32::try_from(orgs.len()).unwrap_or(i32::MAX),
        occurred_from: put_back().map(|one| one.event.occurred_at).min(),
        occurred_to: put_back().map(|one| one.event.occurred_at).max(),
        retries: work.rules.retries,
        started_at: work.rules.started_at,
        replay_id,
        streams: streams.into_iter().collect(),
    };
    sqlx::query_with(include_str!("sql/repair_record.sql"), row.arguments()?).execute(tx).await?;
    Ok(())
}

bound! {
    /// Of repair_record.sql.
    struct RepairRow<'a> {
        batch_id: Uuid, stream: &'a str, incarnation: i32, partition: i32, first_offset: i64, next_offset: i64,
        rows: i64, orgs: i32, occurred_from: Option<DateTime<Utc>>, occurred_to: Option<DateTime<Utc>>,
        retries: i32, started_at: DateTime<Utc>, replay_id: Uuid, streams: Vec<String>,
    }
}

/// Notes rejected messages that the batch took for events after all: from now on they are not new.
pub(super) async fn take_letters(tx: &mut PgConnection, work: Work<'_>, fates: &Fates) -> Result<(), StoreError> {
    let raw = &work.batch.raw;
    let refused = fates.of_kind(|fate| matches!(fate, Fate::Rejected));
    let rejected = work.batch.rejects.iter().map(|reject| reject.message).chain(refused);
    sqlx::query(
        "UPDATE analytics.dead_letters SET taken_by = $1
         WHERE stream = $2 AND incarnation = $3 AND partition = $4 AND stream_offset >= $5 AND stream_offset < $6
           AND taken_by IS NULL AND NOT stream_offset = ANY($7)",
    )
    .bind(raw.id)
    .bind(&work.claim.stream)
    .bind(work.claim.incarnation)
    .bind(i32::from(work.claim.partition))
    .bind(raw.first_offset)
    .bind(raw.next_offset())
    .bind(rejected.map(|message| raw.messages[message].offset).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

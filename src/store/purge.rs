//! Taking away what is older than its retention, in bounded pieces, each a transaction of its own: whoever ends it at any
//! moment loses nothing, and running it again does the rest.

mod ledger;
mod raw;
mod records;
mod rollups;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{StoreError, clock, org_settings};
use crate::domain::retention::{Cutoffs, OrgDays, Retention};

/// As its runs are recorded.
pub const TASK: &str = "purge";
/// Rows that one transaction takes away at most.
const PIECE: i64 = 5000;

/// What is told of the steps: for whoever waits, and as a sign of life.
pub type Tell<'t> = &'t mut (dyn FnMut(&str) + Send);

/// What was taken away, or with `dry_run` what would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    pub dry_run: bool,
    /// The database's clock, by which ages were judged.
    pub at: DateTime<Utc>,
    pub raw: RawPurged,
    pub rollups: RollupsPurged,
    pub ledger: LedgerPurged,
    pub records: RecordsPurged,
}

/// Raw events: whole days of everybody's, and those of orgs with a shorter retention.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RawPurged {
    pub before: DateTime<Utc>,
    pub chunks: u64,
    pub events: i64,
    pub bytes: i64,
    pub orgs: u64,
    pub org_events: i64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollupsPurged {
    pub before: DateTime<Utc>,
    pub hourly: i64,
    pub daily: i64,
    pub revisions: i64,
    pub freshness: i64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerPurged {
    pub before: DateTime<Utc>,
    /// Rows that went into a partition's fold.
    pub folded: i64,
    pub repairs: i64,
    pub hours: i64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordsPurged {
    pub dead_letters: i64,
    pub audit_events: i64,
    pub supervision_events: i64,
    pub replays: i64,
    pub processes: i64,
}

impl Purged {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let Self { raw, rollups, ledger, records, .. } = self;
        format!(
            "{}: {} days of raw events with {} events and {} bytes, {} events of {} orgs; rollups {} hourly, {} daily, {} \
             revisions, {} markers; ledger {} rows folded, {} repairs, {} hours; {} dead letters, {} audit events, {} \
             supervision events, {} replays, {} processes",
            if self.dry_run { "would be taken away" } else { "taken away" },
            raw.chunks,
            raw.events,
            raw.bytes,
            raw.org_events,
            raw.orgs,
            rollups.hourly,
            rollups.daily,
            rollups.revisions,
            rollups.freshness,
            ledger.folded,
            ledger.repairs,
            ledger.hours,
            records.dead_letters,
            records.audit_events,
            records.supervision_events,
            records.replays,
            records.processes,
        )
    }
}

/// What a run works by.
struct Run {
    dry_run: bool,
    now: DateTime<Utc>,
    retention: Retention,
    cutoffs: Cutoffs,
    /// Orgs with a retention of their own.
    orgs: Vec<OrgDays>,
}

/// Takes away what is older than its retention. With `dry_run` it is only counted, as it is now: what folding the ledger
/// would find after raw events had gone is not foreseen.
///
/// # Errors
/// What was done before stays done.
pub async fn purge(
    conn: &mut PgConnection,
    retention: Retention,
    dry_run: bool,
    tell: Tell<'_>,
) -> Result<Purged, StoreError> {
    let now = clock::now(conn).await?;
    let orgs = org_settings::days(conn).await?;
    let run = Run { dry_run, now, retention, cutoffs: retention.cutoffs(now), orgs };
    Ok(Purged {
        dry_run,
        at: now,
        // Raw events first: a row of the ledger can be folded when its events are gone.
        raw: raw::purge(conn, &run, tell).await?,
        rollups: rollups::purge(conn, &run, tell).await?,
        ledger: ledger::purge(conn, &run, tell).await?,
        records: records::purge(conn, &run, tell).await?,
    })
}

/// Repeats a piece of work until it finds less than it may take; how much it was in all.
async fn in_pieces(mut piece: impl AsyncFnMut() -> Result<i64, StoreError>) -> Result<i64, StoreError> {
    let mut all = 0;
    loop {
        let done = piece().await?;
        all += done;
        if done < PIECE {
            return Ok(all);
        }
    }
}

//! Deletes what is older than its retention, in bounded pieces, each a transaction of its own: interrupted at any
//! moment loses nothing, and running it again does the rest.

mod aggregates;
mod attribution;
mod ledger;
mod raw;
mod records;
mod rollups;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

pub use self::attribution::AttributionPurged;
use super::org_settings;
use crate::{
    config::{Database, Settings},
    domain::{
        attribution::SetRetention,
        retention::{Cutoffs, OrgDays, Retention},
    },
    store::{
        OnStep, StoreError, clock,
        rollups::engine::{self, Engine},
    },
};

/// As its runs are recorded.
pub const TASK: &str = "purge";
/// Rows that one transaction deletes at most.
const PIECE: i64 = 5000;

/// Dropping a chunk waits for locks only shortly, and may meet a writer: it is tried so often.
const ATTEMPTS: u32 = 20;

/// What was deleted, or with `dry_run` what would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    pub dry_run: bool,
    /// The database's clock, by which ages were judged.
    pub at: DateTime<Utc>,
    pub raw: RawPurged,
    pub rollups: RollupsPurged,
    pub attribution: AttributionPurged,
    pub ledger: LedgerPurged,
    pub records: RecordsPurged,
    /// What was left as it is, and why.
    pub left: Vec<String>,
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
    /// Where continuous aggregates keep the rollups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregates: Option<AggregatesPurged>,
}

/// Whole chunks of the continuous aggregates: what they keep may be older than the retention by the length of one.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregatesPurged {
    pub chunks: i64,
    pub hourly: i64,
    pub daily: i64,
    pub bytes: i64,
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
    /// Those that are over since long; their files went before.
    pub export_jobs: i64,
    /// Records of duplicates.
    pub duplicates: i64,
    pub console_sessions: i64,
    pub console_links: i64,
}

impl Purged {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let Self { raw, rollups, attribution, ledger, records, .. } = self;
        let mut text = format!(
            "{}: {} days of raw events with {} events and {} bytes, {} events of {} orgs; rollups {} hourly, {} daily, {} \
             revisions, {} markers; attribution {} parts, {} days of keys, {} values; ledger {} rows folded, {} repairs, {} hours; {} dead letters, {} audit events, {} \
             supervision events, {} replays, {} processes, {} export jobs, {} duplicates, {} sessions and {} links of the console",
            if self.dry_run { "would be deleted" } else { "deleted" },
            raw.chunks,
            raw.events,
            raw.bytes,
            raw.org_events,
            raw.orgs,
            rollups.hourly,
            rollups.daily,
            rollups.revisions,
            rollups.freshness,
            attribution.parts,
            attribution.keys,
            attribution.values,
            ledger.folded,
            ledger.repairs,
            ledger.hours,
            records.dead_letters,
            records.audit_events,
            records.supervision_events,
            records.replays,
            records.processes,
            records.export_jobs,
            records.duplicates,
            records.console_sessions,
            records.console_links,
        );
        if let Some(AggregatesPurged { chunks, hourly, daily, bytes }) = &rollups.aggregates {
            text += &format!(
                "; continuous aggregates {chunks} chunks with {hourly} hourly and {daily} daily rollups and {bytes} bytes"
            );
        }
        if !self.left.is_empty() {
            text += &format!("; left as it is: {}", self.left.join("; "));
        }
        text
    }
}

/// What is purged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where the owner of continuous aggregates is found, which is read only where these are.
    pub database: Database,
    pub retention: Retention,
    pub attribution: SetRetention,
}

impl Rules {
    pub fn of(settings: &Settings) -> Self {
        Self {
            database: settings.database.clone(),
            retention: settings.retention(),
            attribution: settings.attribution.retention(),
        }
    }
}

/// What a run works by.
struct Run<'r> {
    dry_run: bool,
    now: DateTime<Utc>,
    retention: Retention,
    attribution: &'r SetRetention,
    cutoffs: Cutoffs,
    /// Whose rollups readers see.
    engine: Engine,
    /// Orgs with a retention of their own.
    orgs: Vec<OrgDays>,
}

/// Deletes what is older than its retention. With `dry_run` it is only counted, as it is now: what folding the ledger
/// would find after raw events had gone is not foreseen.
///
/// # Errors
/// What was done before stays done.
pub async fn purge(
    conn: &mut PgConnection,
    rules: &Rules,
    dry_run: bool,
    on_step: OnStep<'_>,
) -> Result<Purged, StoreError> {
    let now = clock::now(conn).await?;
    let engine = engine::state(conn).await?.engine;
    let orgs = org_settings::days(conn).await?;
    let Rules { database, retention, attribution } = rules;
    let cutoffs = retention.cutoffs(now);
    let mut run = Run { dry_run, now, retention: *retention, attribution, cutoffs, engine, orgs };
    let mut left = Vec::new();
    if engine == Engine::Continuous {
        keep_to_aggregates(&mut run, &mut left);
    }
    let purged = Purged {
        dry_run,
        at: now,
        // Raw events first: a row of the ledger can be folded when its events are gone.
        raw: raw::purge(conn, &run, on_step).await?,
        rollups: rollups::purge(conn, database, &run, &mut left, on_step).await?,
        attribution: attribution::purge(conn, &run, on_step).await?,
        ledger: ledger::purge(conn, &run, on_step).await?,
        records: records::purge(conn, &run, on_step).await?,
        left,
    };
    for what in &purged.left {
        tracing::warn!(what, "left as it is");
    }
    Ok(purged)
}

/// Leaves out what continuous aggregates cannot do: they are dropped by chunks, which are everybody's.
fn keep_to_aggregates(run: &mut Run<'_>, left: &mut Vec<String>) {
    let before = run.orgs.len();
    run.orgs.retain(|org| org.raw.is_none() && org.rollups.is_none());
    if run.orgs.len() < before {
        left.push(format!(
            "the retention of {} organisations: continuous aggregates cannot keep to it, see `retention list`",
            before - run.orgs.len()
        ));
    }
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

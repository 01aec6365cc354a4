//! What is known of the installation: from the database, and from processes that respond. No org and no event is in it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::domain::freshness::FreshnessStatus;

/// As the database has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// By the database's clock, as all ages are.
    pub looked_at: DateTime<Utc>,
    /// When its schema was created.
    pub installed_at: Option<DateTime<Utc>>,
    pub stream: String,
    /// Living ones, and those whose lease expired within the last hour.
    pub processes: Vec<Process>,
    pub partitions: Vec<Partition>,
    /// Committed batches that are not merged into the rollups.
    pub pending: Waiting,
    pub attribution: Attribution,
    /// Corrected dead letters that are not published.
    pub corrections: Waiting,
    pub dead_letters: DeadLetters,
    pub exports: Exports,
    pub replays: Replays,
    pub verify: Verify,
    /// By task.
    pub maintenance: Vec<MaintenanceRun>,
    pub rollups: Rollups,
    pub versions: Versions,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Host and process number.
    pub name: String,
    /// Of its build: the newest migration that it knows; none: of a build that did not record it.
    pub newest_migration: Option<i64>,
    pub started_at: DateTime<Utc>,
    /// Whether its lease is valid.
    pub leased: bool,
    pub partitions: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    pub partition: u16,
    /// The name of the process that has it; none where it is free.
    pub owner: Option<String>,
    /// Whether the owner's lease is valid.
    pub leased: bool,
    pub next_offset: i64,
    /// Up to which publish time everything is in the rollups; none before the partition was first read.
    pub watermark: Option<DateTime<Utc>>,
    /// Behind the database's clock; negative where it is ahead.
    #[serde(serialize_with = "as_seconds", rename = "lagSeconds")]
    pub lag: Option<TimeDelta>,
    /// How complete responses are: by the watermark, or where something was left unread, by that.
    pub as_of: AsOf,
    /// Offsets that were left unread, and that nobody has acknowledged.
    pub unread: i64,
    /// How often within an hour the stream had dropped messages before they were read.
    pub gaps: i64,
    /// What the log has last of it, by its owner.
    pub last_event: Option<PartitionEvent>,
}

/// Up to when the responses about a partition's orgs are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AsOf {
    pub at: Option<DateTime<Utc>>,
    /// None: unknown, since the partition was never read, or the watermark is ahead of the clock.
    pub status: Option<FreshnessStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionEvent {
    /// A kind of the supervision log.
    pub what: String,
    pub at: DateTime<Utc>,
    pub cause: Option<String>,
}

/// How many wait, and since when the first of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub count: i64,
    pub since: Option<DateTime<Utc>>,
}

/// What attribution has not summed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribution {
    /// Committed batches that are not folded.
    pub batches: Waiting,
    /// UTC days of orgs and sets that have to be counted again.
    pub days: Waiting,
    /// How far it is behind usage, of the partition that is furthest behind.
    #[serde(serialize_with = "in_seconds", rename = "lagSeconds")]
    pub lag: TimeDelta,
}

impl Default for Attribution {
    fn default() -> Self {
        Self { batches: Waiting::default(), days: Waiting::default(), lag: TimeDelta::zero() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// Those without a correction; counted up to [`MOST_COUNTED`].
    pub open: i64,
    /// Rejected within the last 24 hours.
    pub last_day: i64,
    /// The most frequent reasons of these.
    pub reasons: Vec<ReasonCount>,
}

/// So many open dead letters are counted, no more: the table may be large.
pub const MOST_COUNTED: i64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReasonCount {
    pub reason: String,
    pub count: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exports {
    pub waiting: Waiting,
    pub running: i64,
    /// For good, and not cancelled.
    pub failed_last_hour: i64,
    pub failed_last_day: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replays {
    pub open: Waiting,
    /// Cancelled ones among them.
    pub failed_last_day: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// When it ended last; none: never.
    pub at: Option<DateTime<Utc>>,
    /// What it found.
    pub differences: Option<i64>,
}

/// What waits in the database, and what was verified in it: for metrics and for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Committed batches that are not merged.
    pub rollup: Waiting,
    pub attribution: Attribution,
    /// Corrections that are stored and not published.
    pub corrections: Waiting,
    /// Exports that are to be generated.
    pub exports: Waiting,
    pub verify: Verify,
}

/// The last run of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceRun {
    pub task: String,
    pub process: String,
    pub started_at: DateTime<Utc>,
    /// None: it is at work, or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// done or failed.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When the last run began that was done; none: never, as far as is known.
    pub last_done_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollups {
    /// live or continuous.
    pub engine: String,
    /// Up to where hours are read from the aggregates; with continuous.
    pub cut: Option<DateTime<Utc>>,
    /// Whether a switch has begun and not ended.
    pub switching: bool,
    #[serde(serialize_with = "as_seconds", rename = "materialisationLagSeconds")]
    pub materialisation_lag: Option<TimeDelta>,
    /// Those that the database runs for the service.
    pub jobs: Vec<Job>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub job: String,
    pub scheduled: bool,
    pub every_seconds: i64,
    pub succeeded_at: Option<DateTime<Utc>>,
    /// For how long it has left something undone; none where that is not known.
    pub waits_seconds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of this command.
    pub command: String,
    /// The schema's, which may be older or newer than this command.
    pub schema: i64,
    pub postgresql: String,
    pub timescaledb: String,
    /// community or apache.
    pub edition: &'static str,
}

/// A process as its operations port shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationsPort {
    pub url: String,
    /// Whether the caller named it, and expects a process there.
    pub expected: bool,
    /// Why it does not say how it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// ready, degraded, starting, draining or unfit.
    pub status: Option<String>,
    pub version: Option<String>,
    /// Groups of actors.
    pub actors: usize,
    pub partitions: Vec<u16>,
    /// What of it is not up: dependencies and actors.
    pub down: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub name: String,
    /// down or unfit.
    pub state: String,
    pub cause: String,
    /// A server that the process uses, and not an actor.
    #[serde(skip)]
    pub is_dependency: bool,
    /// Whether it is an actor that is out of restarts.
    pub parked: bool,
}

fn in_seconds<S: Serializer>(span: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
    span.as_seconds_f64().serialize(serializer)
}

fn as_seconds<S: Serializer>(span: &Option<TimeDelta>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(|span| span.as_seconds_f64()).serialize(serializer)
}

//! Findings: what a reconciliation of raw events, rollups and ledger finds to differ, and what fixes it.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::attribution::Unit;

/// Something that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Finding {
    /// A rollup is not what its raw events make.
    Rollup {
        /// hourly or daily.
        unit: &'static str,
        org_id: Uuid,
        model_id: Uuid,
        bucket_start: DateTime<Utc>,
        /// Invocations, tokens in and out, cents, last event: as the rollup has them, and as raw events make them.
        rollup: String,
        raw: String,
        /// The columns that differ.
        columns: Vec<String>,
    },
    /// An hour over all models is not the sum of its rollups.
    OrgHour {
        org_id: Uuid,
        bucket_start: DateTime<Utc>,
        /// Invocations, tokens in and out, cents: as the hour has them, and as its rollups make them.
        summed: String,
        rollups: String,
        /// The latencies differ.
        latencies: bool,
    },
    /// An hour by client or error code is not what its raw events make.
    HourBy {
        org_id: Uuid,
        bucket_start: DateTime<Utc>,
        /// client or error code.
        by: &'static str,
        summed: String,
        raw: String,
    },
    /// A batch has other raw events than the ledger says.
    Batch {
        batch_id: Uuid,
        stream: String,
        partition: i32,
        incarnation: i32,
        first_offset: i64,
        next_offset: i64,
        stored: i64,
        purged: i64,
        raw: i64,
    },
    /// Raw events whose batch has no row in the ledger.
    Orphans { batch_id: Uuid, raw: i64 },
    /// The chain of a partition's rows is broken: from where one ends to where the next begins.
    Chain { stream: String, partition: i32, incarnation: i32, ends: i64, begins: i64 },
    /// A partition reads on at another offset than the one where its ledger ends.
    Progress { stream: String, partition: i32, ledger: i64, next_offset: i64 },
    /// What is committed to a partition cannot be merged, or is not.
    Pending { stream: String, partition: i32, batches: i64, since: DateTime<Utc>, why: String },
    /// Offsets that were not read, and that no operator has acknowledged.
    Unread {
        stream: String,
        partition: i32,
        incarnation: i32,
        first_offset: i64,
        next_offset: i64,
        noted_at: DateTime<Utc>,
    },
    /// Sums of attribution are not what raw events make, or those of a day or a month not what its hours or days have.
    Attribution {
        set: String,
        /// hour, day or month.
        unit: &'static str,
        org_id: Uuid,
        bucket_start: DateTime<Utc>,
        has: String,
        should: String,
    },
    /// What a batch adds to attribution waits, and cannot be read.
    AttributionUnreadable { batch_id: Uuid, why: String },
    /// An hour of the ledger is not the sum of the batches that were committed in it.
    LedgerHour { hour: DateTime<Utc>, batches: String, hours: String },
}

impl Finding {
    /// In a sentence, with what fixes it.
    pub fn text(&self) -> String {
        match self {
            Self::Rollup { unit, org_id, model_id, bucket_start, rollup, raw, columns } => {
                format!(
                    "{unit} rollup of org {org_id}, model {model_id} at {}: it has {rollup}, raw events make {raw} \
                     (differs in {}); `{}` rebuilds it from raw events",
                    time(*bucket_start),
                    columns.join(", "),
                    refresh(*bucket_start)
                )
            }
            Self::OrgHour { org_id, bucket_start, summed, rollups, latencies } => format!(
                "hour of org {org_id} over all models at {}: it has {summed}, its rollups make {rollups}{}; {}",
                time(*bucket_start),
                if *latencies { ", with other latencies" } else { "" },
                sum_again(*bucket_start)
            ),
            Self::HourBy { org_id, bucket_start, by, summed, raw } => format!(
                "hour of org {org_id} by {by} at {}: it has {summed}, raw events make {raw}; {}",
                time(*bucket_start),
                sum_again(*bucket_start)
            ),
            Self::Batch { batch_id, stream, partition, first_offset, next_offset, stored, purged, raw, .. } => {
                let advice = if *raw < stored - purged {
                    format!(
                        "`replay --partition {partition} --from {first_offset} --to {next_offset}` puts back what the \
                         stream still has; what it has not is lost"
                    )
                } else {
                    "the surplus was not stored by the service and cannot be distinguished: nothing repairs it by itself"
                        .to_owned()
                };
                format!(
                    "batch {batch_id} of {stream} (offsets {first_offset} to {}): {raw} raw events where the ledger has \
                     {stored} stored and {purged} purged; {advice}",
                    next_offset - 1
                )
            }
            Self::Orphans { batch_id, raw } => format!(
                "batch {batch_id}: {raw} raw events and no row in the ledger; the row cannot be made again, the hole that it \
                 leaves in the chain names its offsets"
            ),
            Self::Chain { stream, partition, incarnation, ends, begins } => format!(
                "ledger of {stream} (partition {partition}, incarnation {incarnation}): {} from offset {ends} to {begins}; \
                 a row that was taken out of it cannot be made again",
                if begins > ends { "no row" } else { "rows overlap" }
            ),
            Self::Progress { stream, partition, ledger, next_offset } => format!(
                "{stream} (partition {partition}): reading goes on at offset {next_offset}, the ledger ends at {ledger}; \
                 `partitions reset` begins at an offset of your choice, and what is stored already stays counted once"
            ),
            Self::Pending { stream, partition, batches, since, why } => format!(
                "{stream} (partition {partition}): {batches} batches, committed since {}, are in raw events and in the ledger \
                 and in no rollup: {why}; leave the rows of rollup_pending as they are: what can read them merges them",
                time(*since)
            ),
            Self::Unread { stream, partition, first_offset, next_offset, noted_at, .. } => format!(
                "{stream} (partition {partition}): offsets {first_offset} to {} were not read, noted at {}; when you know what \
                 they are, and have had events sent again, `partitions acknowledge --partition {partition}`",
                next_offset - 1,
                time(*noted_at)
            ),
            Self::Attribution { set, unit, org_id, bucket_start, has, should } => {
                let other = match *unit {
                    "hour" => "raw events make",
                    "day" => "its hours have",
                    _ => "its days have",
                };
                // Any day repairs its month; of the last one raw events are kept the longest.
                let day = match *unit {
                    "month" => Unit::Month.end_of(*bucket_start) - TimeDelta::days(1),
                    _ => *bucket_start,
                };
                format!(
                    "attribution by {set} of org {org_id}, the {unit} at {}: it has {has}, {other} {should}; \
                     `{} --org {org_id}` counts it again from raw events",
                    time(*bucket_start),
                    refresh(day)
                )
            }
            Self::AttributionUnreadable { batch_id, why } => format!(
                "attribution of batch {batch_id} cannot be folded: {why}; a running process counts its days again from raw events \
                 within some minutes, and so does `refresh` at once"
            ),
            Self::LedgerHour { hour, batches, hours } => format!(
                "ledger of the hour {}: its batches have {batches}, ledger_hourly has {hours}; it is kept by merging alone \
                 and cannot be rebuilt by org",
                time(*hour)
            ),
        }
    }
}

/// What fixes a sum of an hour.
fn sum_again(hour: DateTime<Utc>) -> String {
    format!("`{}` has it read from what it is summed from, and `maintain` sums it again", refresh(hour))
}

/// The command that counts the day of a bucket again.
fn refresh(bucket: DateTime<Utc>) -> String {
    let day = bucket.date_naive();
    format!("refresh --from {day} --to {}", day + TimeDelta::days(1))
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_the_place_and_the_command() {
        let rollup = Finding::Rollup {
            unit: "hourly",
            org_id: Uuid::nil(),
            model_id: Uuid::nil(),
            bucket_start: "2026-01-31T23:00:00Z".parse().unwrap(),
            rollup: "1".to_owned(),
            raw: "2".to_owned(),
            columns: vec!["latency_max".to_owned(), "successes".to_owned()],
        };
        let text = rollup.text();
        assert!(text.contains("(differs in latency_max, successes)"), "{text}");
        assert!(text.contains("at 2026-01-31T23:00:00Z") && text.contains("refresh --from 2026-01-31 --to 2026-02-01"));
        let batch = |raw| Finding::Batch {
            batch_id: Uuid::nil(),
            stream: "s-1".to_owned(),
            partition: 1,
            incarnation: 1,
            first_offset: 5,
            next_offset: 9,
            stored: 4,
            purged: 1,
            raw,
        };
        assert!(batch(2).text().contains("replay --partition 1 --from 5 --to 9"));
        assert!(batch(4).text().contains("nothing repairs it by itself"));
    }
}

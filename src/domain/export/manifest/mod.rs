//! The manifest beside a file: what is in it, how complete it is, and why it differs from the version before.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{ExportJob, Granularity, Grouping, Kind, Output, TimeRange, Totals, hex};
use crate::domain::revision::Reason;

/// Version of the form.
const FORMAT: u32 = 1;
/// Most changes that a manifest names.
pub const MAX_CHANGES: u16 = 1000;

/// A bucket that changed after it was final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub revision_id: Uuid,
    /// UTC hour.
    pub bucket_start: DateTime<Utc>,
    pub model_id: Uuid,
    pub reason: Reason,
    pub revised_at: DateTime<Utc>,
}

/// The changes behind a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of the version before; none where this is the first one.
    pub since: Option<DateTime<Utc>>,
    /// At most [`MAX_CHANGES`], the oldest first.
    pub named: Vec<Change>,
    /// There are more than are named.
    pub more: bool,
}

/// Fields are written in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    format: u32,
    key: &'a str,
    job_id: Uuid,
    org_id: Uuid,
    kind: Kind,
    granularity: Granularity,
    group_by: &'a Grouping,
    /// Only where the file has them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    names: bool,
    time_range: TimeRange,
    models: &'a [Uuid],
    #[serde(skip_serializing_if = "Option::is_none")]
    month: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
    rows: u64,
    bytes: u64,
    checksum_sha256: String,
    totals: Totals,
    as_of: Option<DateTime<Utc>>,
    read_at: DateTime<Utc>,
    watermark: String,
    revisions: Revisions<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Revisions<'a> {
    count: u64,
    last_revision_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    changes: &'a [Change],
    more: bool,
}

/// Writes the manifest of a file that the job made.
///
/// # Errors
/// None that memory can have.
pub fn write(job: &ExportJob, output: &Output, changes: &Changes) -> serde_json::Result<Vec<u8>> {
    let manifest = Manifest {
        format: FORMAT,
        key: &output.key,
        job_id: job.id,
        org_id: job.spec.org_id,
        kind: job.kind,
        granularity: job.spec.granularity,
        group_by: &job.spec.group_by,
        names: job.spec.names,
        time_range: job.spec.range,
        models: &job.spec.models,
        month: job.month.map(|month| month.to_string()),
        revision: output.revision,
        rows: output.rows,
        bytes: output.bytes,
        checksum_sha256: hex(&output.checksum),
        totals: output.totals,
        as_of: output.as_of,
        read_at: output.snapshot_at,
        watermark: Watermark { as_of: output.as_of, snapshot_at: output.snapshot_at }.to_string(),
        revisions: Revisions {
            count: output.revised.count,
            last_revision_id: output.revised.last,
            since: changes.since,
            changes: &changes.named,
            more: changes.more,
        },
    };
    let mut bytes = serde_json::to_vec_pretty(&manifest)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// From where a file is compared with what is known later. A text that says nothing to others, and has nothing in it that
/// would disclose something of other orgs: no offset, no transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub as_of: Option<DateTime<Utc>>,
    pub snapshot_at: DateTime<Utc>,
}

impl std::fmt::Display for Watermark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let as_of = self.as_of.map_or(i64::MIN, |as_of| as_of.timestamp_micros());
        let bytes = [as_of, self.snapshot_at.timestamp_micros()].map(i64::to_be_bytes).concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Watermark {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let [as_of, snapshot_at] = bytes.as_chunks::<8>().0 else { return None };
        let [as_of, snapshot_at] = [as_of, snapshot_at].map(|part| i64::from_be_bytes(*part));
        let as_of = if as_of == i64::MIN { None } else { Some(DateTime::from_timestamp_micros(as_of)?) };
        let parsed = Self { as_of, snapshot_at: DateTime::from_timestamp_micros(snapshot_at)? };
        (parsed.to_string() == text).then_some(parsed)
    }
}

#[cfg(test)]
mod tests;

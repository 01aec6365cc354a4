//! Rows of a file by dimensions of attribution.

use chrono::{DateTime, Utc};

use crate::domain::attribution::{KeyKind, KeyTotals, Measures, Value};

/// The columns that every such file has before those of its dimensions.
pub const GROUP_COLUMNS: [&str; 10] = [
    "org_id",
    "bucket_start",
    "granularity",
    "row_kind",
    "invocations",
    "errors",
    "error_rate",
    "input_tokens",
    "output_tokens",
    "cost_estimate_cents",
];

/// What a file has of a bucket and a combination of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    pub bucket_start: DateTime<Utc>,
    pub kind: KeyKind,
    /// By the dimensions of the file; of overflow nothing.
    pub key: Vec<Value>,
    pub measures: Measures,
}

impl GroupRow {
    /// The rows of a bucket, in the order of the file: the groups by their keys, then what is unattributed, then the overflow, one row each.
    /// What has nothing has no row.
    pub fn of_bucket(bucket_start: DateTime<Utc>, totals: Vec<KeyTotals>) -> Vec<Self> {
        let mut overflow = Measures::default();
        let mut rows: Vec<Self> = Vec::with_capacity(totals.len());
        for one in totals {
            match one.kind() {
                KeyKind::Overflow => overflow += one.measures,
                kind => rows.push(Self { bucket_start, kind, key: one.key, measures: one.measures }),
            }
        }
        rows.push(Self { bucket_start, kind: KeyKind::Overflow, key: Vec::new(), measures: overflow });
        rows.retain(|row| !row.measures.is_nothing());
        rows.sort_unstable_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        rows
    }
}

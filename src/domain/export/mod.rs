//! Exports: what can be requested, the jobs that generate them, and the files that come out.

pub mod csv;
mod grouping;
mod job;
pub mod keys;
pub mod manifest;
mod month;
pub mod reconcile;
pub mod request;
mod retry;
pub mod verification;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    money::{self, Cents},
    named::named,
};

pub use grouping::{GroupBy, Grouping, MAX_DIMENSIONS, column};
pub use job::{ExportJob, ExportPage, ExportQuery, JobForm, Output};
pub use month::Month;
pub use retry::RetryPolicy;

/// Longest range of one export.
pub const MAX_RANGE: TimeDelta = TimeDelta::days(31);
/// Longest range of what only raw events know.
pub const MAX_RAW_RANGE: TimeDelta = TimeDelta::days(7);
/// Most models that one request may name.
pub const MAX_MODELS: usize = 100;

/// The reason of a cancelled job.
pub const CANCELLED: &str = "cancelled";

named! {
    /// Length of a bucket.
    #[derive(Default, ToSchema)]
    #[schema(as = ExportGranularity)]
    pub enum Granularity {
        Hourly = "hourly",
        #[default]
        Daily = "daily",
        Monthly = "monthly",
    }
}

named! {
    /// Why there is a job.
    #[derive(ToSchema)]
    #[schema(as = ExportKind)]
    pub enum Kind {
        /// Somebody requested it
        Demand = "demand",
        /// A month's file, of which each version is kept
        Monthly = "monthly",
    }
}

named! {
    pub enum Status {
        Pending = "pending",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        /// It had succeeded, and its file is not kept any more
        Expired = "expired",
    }
}

impl Status {
    /// Whether something is still to become of it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// From `start` on, before `end`. On bucket boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExportTimeRange)]
pub struct TimeRange {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// Which rows a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub org_id: Uuid,
    pub granularity: Granularity,
    pub group_by: Grouping,
    /// Whether there are names beside the ids.
    pub names: bool,
    pub range: TimeRange,
    /// Empty: all.
    pub models: Vec<Uuid>,
}

/// Sums over all rows of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportTotals)]
pub struct Totals {
    pub invocations: u64,
    /// All but success
    pub errors: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    #[serde(rename = "costEstimateCents", serialize_with = "money::as_json_number")]
    #[schema(value_type = f64)]
    pub cost: Cents,
}

/// Changes of buckets after they were final that a file has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revised {
    pub count: u64,
    /// The newest of them.
    pub last: Option<Uuid>,
}

/// A checksum as it is shown.
fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

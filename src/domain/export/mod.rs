//! Exports: what can be requested, the jobs that generate them, and the files that come out.

pub mod csv;
mod job;
pub mod keys;
pub mod manifest;
mod month;
pub mod reconcile;
pub mod request;
mod retry;
pub mod verification;

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    audit::UnknownName,
    money::{self, Cents},
};

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

/// Length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ExportGranularity)]
pub enum Granularity {
    Hourly,
    #[default]
    Daily,
    Monthly,
}

/// What rows are grouped by, beside their bucket and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExportGroupBy)]
pub enum GroupBy {
    /// By nothing more
    #[default]
    Model,
    Client,
    ErrorCode,
}

/// Why there is a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ExportKind)]
pub enum Kind {
    /// Somebody requested it
    Demand,
    /// A month's file, of which each version is kept
    Monthly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pending,
    Running,
    Succeeded,
    Failed,
    /// It had succeeded, and its file is not kept any more
    Expired,
}

impl Granularity {
    pub const ALL: [Self; 3] = [Self::Hourly, Self::Daily, Self::Monthly];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Monthly => "monthly",
        }
    }
}

impl GroupBy {
    pub const ALL: [Self; 3] = [Self::Model, Self::Client, Self::ErrorCode];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Client => "client",
            Self::ErrorCode => "errorCode",
        }
    }

    /// The column that a file has for it.
    pub const fn column(self) -> Option<&'static str> {
        match self {
            Self::Model => None,
            Self::Client => Some("client_id"),
            Self::ErrorCode => Some("error_code"),
        }
    }
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Demand, Self::Monthly];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Monthly => "monthly",
        }
    }
}

impl Status {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Expired];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// Whether something is still to become of it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

macro_rules! from_its_name {
    ($($of:ty),*) => {$(
        impl FromStr for $of {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(UnknownName)
            }
        }
    )*};
}

from_its_name!(Granularity, GroupBy, Kind, Status);

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
    pub group_by: GroupBy,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        fn check<T: FromStr<Err = UnknownName> + Serialize + PartialEq + std::fmt::Debug + Copy>(
            all: &[T],
            name: impl Fn(T) -> &'static str,
        ) {
            for one in all {
                assert_eq!(serde_json::to_value(one).unwrap(), name(*one), "as the API writes it");
                assert_eq!(name(*one).parse::<T>().unwrap(), *one);
            }
            assert!("other".parse::<T>().is_err());
        }
        check(&Granularity::ALL, Granularity::as_str);
        check(&GroupBy::ALL, GroupBy::as_str);
        check(&Kind::ALL, Kind::as_str);
        check(&Status::ALL, Status::as_str);
    }
}

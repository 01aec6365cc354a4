//! Revisions: buckets that changed after they were final.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::query::Usage;

/// Why a bucket changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Events came later than the late threshold.
    Late,
    /// A range of the stream was read again and had what was not stored yet.
    Replay,
    /// It was counted again from raw events, and was wrong before.
    Rebuild,
    /// A person's or an organisation's events were taken away.
    Erasure,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Late, Self::Replay, Self::Rebuild, Self::Erasure];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Replay => "replay",
            Self::Rebuild => "rebuild",
            Self::Erasure => "erasure",
        }
    }
}

/// A bucket that changed after it was final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub revision_id: Uuid,
    pub model_id: Uuid,
    /// UTC hour.
    pub bucket_start: DateTime<Utc>,
    pub reason: Reason,
    /// The last of the changes.
    pub revised_at: DateTime<Utc>,
    pub changes: u64,
    pub before: Usage,
    pub after: Usage,
}

//! Revisions: buckets that changed after they were final.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    audit::UnknownName,
    calendar::Buckets,
    page::{Entry, Page},
    query::Usage,
};

/// Why a bucket changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Events came later than the late threshold.
    Late,
    /// A range of the stream was read again and had what was not stored yet.
    Replay,
    /// It was counted again from raw events, and was wrong before.
    Rebuild,
    /// A person's or an organisation's events were erased.
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

impl FromStr for Reason {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(UnknownName)
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
    /// Merges, rebuilds or erasures that changed it, within one hour.
    pub changes: u64,
    pub before: Usage,
    pub after: Usage,
}

/// A page of an org's revisions, newest first.
#[derive(Clone, Debug)]
pub struct RevisionQuery {
    pub org_id: Uuid,
    /// Of the buckets that changed, UTC.
    pub hours: Buckets,
    /// Empty: all.
    pub models: Vec<Uuid>,
    /// None: all.
    pub reason: Option<Reason>,
    /// Those older than this one.
    pub before: Option<Uuid>,
    pub limit: u16,
}

/// Everything read in one snapshot.
#[derive(Clone, Debug)]
pub struct RevisionPage {
    pub page: Page<Revision>,
    /// The moment up to which all that was published is in them; none before the first event of the org's partition.
    pub as_of: Option<DateTime<Utc>>,
}

impl Entry for Revision {
    fn id(&self) -> Uuid {
        self.revision_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_as_it_is_written() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().ok(), Some(reason));
        }
        assert!("Late".parse::<Reason>().is_err());
    }
}

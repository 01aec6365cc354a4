//! Revisions: buckets that changed after they were final.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    calendar::Buckets,
    named::named,
    page::{Entry, Page},
    query::Usage,
};

named! {
    /// Why a bucket changed.
    #[derive(Deserialize)]
    pub enum Reason {
        /// Events came later than the late threshold.
        Late = "late",
        /// A range of the stream was read again and had what was not stored yet.
        Replay = "replay",
        /// It was counted again from raw events, and was wrong before.
        Rebuild = "rebuild",
        /// A person's or an organisation's events were erased.
        Erasure = "erasure",
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

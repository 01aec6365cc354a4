//! Every org's totals.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{calendar::Buckets, query::Usage};

/// A page of orgs, in the order of their ids.
#[derive(Clone, Debug)]
pub struct SummaryQuery {
    /// Of UTC.
    pub days: Buckets,
    /// Those behind this one.
    pub after: Option<Uuid>,
    pub limit: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrgUsage {
    pub org_id: Uuid,
    pub usage: Usage,
}

/// Everything read in one snapshot.
#[derive(Clone, Debug)]
pub struct Summary {
    pub orgs: Vec<OrgUsage>,
    /// There are orgs behind these.
    pub more: bool,
    /// Orgs that used anything, on this page or not.
    pub orgs_in_all: u64,
    /// Of all of them.
    pub totals: Usage,
    /// The moment up to which all partitions are complete; none where one was never read.
    pub as_of: Option<DateTime<Utc>>,
}

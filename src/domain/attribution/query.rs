//! What can be requested of attribution, and what is read for it.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Dimension, Measures, Set, Value};
use crate::domain::{calendar::Buckets, freshness::Freshness, named::named};

#[derive(Clone, Debug)]
pub struct AttributionQuery {
    pub org_id: Uuid,
    pub buckets: Buckets,
    /// Each once. Without any there is one key, which all events have.
    pub group_by: Vec<Dimension>,
    /// An event passes that passes all of them; each dimension once.
    pub filters: Vec<Filter>,
}

/// Events pass that have one of the values in the dimension, and where `unset` also those that have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub dimension: Dimension,
    /// As the caller wrote them: what is longer than is kept is found by what is [kept](super::kept) of it.
    pub values: BTreeSet<String>,
    pub unset: bool,
}

impl AttributionQuery {
    /// Dimensions that the set has to have which serves it.
    pub fn dimensions(&self) -> Vec<&Dimension> {
        let mut wanted: Vec<&Dimension> = self.group_by.iter().collect();
        wanted.extend(self.filters.iter().map(|filter| &filter.dimension).filter(|of| !self.group_by.contains(of)));
        wanted
    }
}

/// What events of one combination of values add up to over the whole range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTotals {
    /// By the dimensions that are grouped by, in their order.
    pub key: Vec<Value>,
    /// A dimension that is filtered by has lost its name here: whether these events pass the filter is not known. They are part of
    /// the totals and of `overflow`. A key may come twice, so and otherwise.
    pub may_pass: bool,
    pub measures: Measures,
}

named! {
    /// What the events of a key are among all. Each key is of one kind, so all kinds together are the total.
    #[derive(PartialOrd, Ord)]
    pub enum KeyKind {
        Group = "group",
        /// They have none of the fields that are grouped by.
        Unattributed = "unattributed",
        /// A name that is grouped or filtered by is lost.
        Overflow = "overflow",
    }
}

impl KeyTotals {
    pub fn kind(&self) -> KeyKind {
        if self.may_pass || self.key.contains(&Value::Lost) {
            KeyKind::Overflow
        } else if !self.key.is_empty() && self.key.iter().all(|value| *value == Value::Missing) {
            KeyKind::Unattributed
        } else {
            KeyKind::Group
        }
    }
}

/// Everything read in one snapshot.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// Every key once, in no particular order; their sum is the total.
    pub totals: Vec<KeyTotals>,
    /// Of each key that was picked, in the order of picking: by bucket, in the order of the query's, where there was anything.
    pub series: Vec<Vec<(usize, Measures)>>,
    pub freshness: Freshness,
    /// The moment up to which the sums are complete; they are brought up to date about once a minute.
    pub as_of: Option<DateTime<Utc>>,
    /// What served it.
    pub set: Set,
}

/// A set as it can be requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatus {
    pub set: Set,
    /// From when on it has all events of the org; none where it always has.
    pub complete_from: Option<DateTime<Utc>>,
    /// Keys of an org and UTC day that have names at most.
    pub max_keys: u32,
}

/// No set has all dimensions that were requested. Those that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSet(pub Vec<SetStatus>);

impl fmt::Display for NoSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|status| status.set.to_string()).collect();
        match &names[..] {
            [] => f.write_str("no sets are kept: attribution.sets is empty, or was set only now"),
            names => {
                write!(f, "no set has these together with what is filtered by; the sets are: {}", names.join("; "))
            }
        }
    }
}

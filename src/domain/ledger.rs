//! The ledger's counts: every message received ends as stored, duplicate or rejected.

use std::{
    collections::{BTreeMap, HashMap},
    ops::AddAssign,
};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{calendar::Buckets, freshness::Freshness};

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stored {
        /// It occurred longer before it was published than the late threshold.
        late: bool,
    },
    Duplicate {
        /// Its content differs from what was stored first.
        conflict: bool,
    },
    Rejected,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub received: u64,
    pub stored: u64,
    pub duplicates: u64,
    /// Part of the duplicates.
    pub conflicts: u64,
    pub rejected: u64,
    /// Part of the stored.
    pub late: u64,
}

impl Counts {
    pub fn count(&mut self, fate: Fate) {
        self.received += 1;
        match fate {
            Fate::Stored { late } => {
                self.stored += 1;
                self.late += u64::from(late);
            }
            Fate::Duplicate { conflict } => {
                self.duplicates += 1;
                self.conflicts += u64::from(conflict);
            }
            Fate::Rejected => self.rejected += 1,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.rejected += other.rejected;
        self.late += other.late;
    }
}

impl Counts {
    /// Whether every message that was received ended as one of the three.
    pub fn is_balanced(&self) -> bool {
        self.received == self.stored + self.duplicates + self.rejected
    }
}

/// What became of an org's messages, by the hours of their commits.
#[derive(Clone, Debug)]
pub struct LedgerQuery {
    pub org_id: Uuid,
    pub hours: Buckets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHour {
    /// Of the commit, UTC.
    pub hour: DateTime<Utc>,
    pub counts: Counts,
}

/// Everything read in one snapshot; hours in order, those in which nothing came left out.
#[derive(Clone, Debug)]
pub struct LedgerReport {
    pub hours: Vec<LedgerHour>,
    pub freshness: Freshness,
    pub as_of: Option<DateTime<Utc>>,
    /// Since when messages of the org's partition are known not to have been read, and no operator has acknowledged it.
    pub unread_since: Option<DateTime<Utc>>,
}

impl LedgerReport {
    pub fn totals(&self) -> Counts {
        self.hours.iter().fold(Counts::default(), |mut sum, hour| {
            sum += hour.counts;
            sum
        })
    }
}

/// Counts of a batch by org; none for messages whose org cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger(pub BTreeMap<Option<Uuid>, Counts>);

/// A ledger that is being counted.
#[derive(Default)]
pub struct Tally(HashMap<Option<Uuid>, Counts, RandomState>);

impl Tally {
    pub fn count(&mut self, org_id: Option<Uuid>, fate: Fate) {
        self.0.entry(org_id).or_default().count(fate);
    }
}

impl From<Tally> for Ledger {
    fn from(tally: Tally) -> Self {
        Self(tally.0.into_iter().collect())
    }
}

impl Ledger {
    pub fn total(&self) -> Counts {
        self.0.values().fold(Counts::default(), |mut sum, counts| {
            sum += *counts;
            sum
        })
    }

    /// Orgs that can be named.
    pub fn orgs(&self) -> usize {
        self.0.keys().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_is_always_stored_plus_duplicates_plus_rejected() {
        let mut ledger = Tally::default();
        let org = Some(Uuid::from_u128(1));
        ledger.count(org, Fate::Stored { late: true });
        ledger.count(org, Fate::Stored { late: false });
        ledger.count(org, Fate::Duplicate { conflict: true });
        ledger.count(None, Fate::Rejected);
        let ledger = Ledger::from(ledger);
        let total = ledger.total();
        assert_eq!(total, Counts { received: 4, stored: 2, duplicates: 1, conflicts: 1, rejected: 1, late: 1 });
        assert_eq!(total.received, total.stored + total.duplicates + total.rejected);
        assert_eq!(ledger.orgs(), 1);
    }
}

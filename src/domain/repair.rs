//! Which events of a range that is read again are new, and which were counted before and are only missing in raw events.
//!
//! A message ends as stored, duplicate or rejected, and the ledger says by offsets in which row. So an event that raw
//! events do not have, and whose message was not rejected, is one of three: its row was lost; it was purged on
//! purpose; or it repeats an event of which one of the two holds. Only the first is put back, and nothing is counted.

use std::collections::BTreeMap;

use uuid::Uuid;

/// A row of the ledger that took messages in, as far as it matters here. Counts of messages and events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled {
    pub batch_id: Uuid,
    pub first_offset: i64,
    /// Exclusive.
    pub next_offset: i64,
    pub stored: i64,
    /// Of the stored, purged or erased since.
    pub purged: i64,
    pub duplicates: i64,
}

/// What a batch that is read again shows of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Events of its messages, those left out that it rejected.
    pub events: usize,
    /// Those of them that raw events have under the row's id.
    pub present: usize,
    /// Those of them that raw events do not have at all.
    pub unknown: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The unknown ones are what the row misses.
    Lost,
    /// The row misses nothing: they were purged or erased, or repeat what another row misses.
    Whole,
    /// Some are lost and some are not, and it is unknown which.
    Unclear,
}

impl Handled {
    fn contains(&self, offset: i64) -> bool {
        (self.first_offset..self.next_offset).contains(&offset)
    }

    /// Whether the row has to be read as a whole before anything can be said of what it misses. Otherwise it stored every
    /// event that it did not reject, and nothing was purged or erased: what is not there is lost.
    pub fn has_to_be_whole(&self) -> bool {
        self.stored > self.purged && (self.duplicates > 0 || self.purged > 0)
    }

    /// Judges the unknown events of the row.
    pub fn judge(&self, seen: Seen) -> Verdict {
        let expected = self.stored - self.purged;
        if expected <= 0 {
            return Verdict::Whole;
        }
        if !self.has_to_be_whole() {
            return Verdict::Lost;
        }
        let [events, present, unknown] =
            [seen.events, seen.present, seen.unknown].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        if events != self.stored + self.duplicates {
            return Verdict::Unclear;
        }
        match expected - present {
            missing if missing <= 0 => Verdict::Whole,
            missing if unknown <= missing => Verdict::Lost,
            _ => Verdict::Unclear,
        }
    }
}

/// What the ledger and the dead letters know of a range of offsets.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// In the order in which they are read: the live rows, then the replays that stored something.
    pub rows: Vec<Handled>,
    /// Offsets of rejected messages; with the batch of a replay that took it for an event after all, where one did.
    pub rejected: BTreeMap<i64, Option<Uuid>>,
}

impl Past {
    /// Whether the row took a message for an event: stored it, or found it to be a duplicate.
    pub fn took(&self, row: &Handled, offset: i64) -> bool {
        let as_event = match self.rejected.get(&offset) {
            None => true,
            // Ids are in the order of time: that batch and replays after it.
            Some(taken_by) => taken_by.is_some_and(|first| first <= row.batch_id),
        };
        as_event && row.contains(offset)
    }

    /// Whether it was never handled as an event: the message was rejected, skipped or never read.
    pub fn is_new(&self, offset: i64) -> bool {
        match self.rejected.get(&offset) {
            Some(taken_by) => taken_by.is_none(),
            None => !self.rows.iter().any(|row| row.contains(offset)),
        }
    }

    /// Whether a batch that ends before that offset leaves no row half read that has to be read as a whole.
    pub fn may_end(&self, offset: i64) -> bool {
        !self.rows.iter().any(|row| row.has_to_be_whole() && row.first_offset < offset && offset < row.next_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u128, offsets: std::ops::Range<i64>, stored: i64, purged: i64, duplicates: i64) -> Handled {
        let (first_offset, next_offset) = (offsets.start, offsets.end);
        Handled { batch_id: Uuid::from_u128(id), first_offset, next_offset, stored, purged, duplicates }
    }

    fn seen(events: usize, present: usize, unknown: usize) -> Seen {
        Seen { events, present, unknown }
    }

    #[test]
    fn unknown_events_of_stored_rows_are_lost() {
        assert_eq!(row(1, 0..10, 9, 0, 0).judge(seen(2, 1, 1)), Verdict::Lost);
    }

    #[test]
    fn purged_events_are_not_lost() {
        assert_eq!(row(1, 0..10, 10, 10, 0).judge(seen(10, 0, 10)), Verdict::Whole);
        assert_eq!(row(1, 0..10, 10, 4, 0).judge(seen(10, 6, 4)), Verdict::Whole);
        assert_eq!(row(1, 0..10, 10, 4, 0).judge(seen(10, 5, 5)), Verdict::Unclear, "one of the five is lost");
        assert_eq!(row(1, 0..10, 10, 4, 0).judge(seen(9, 0, 9)), Verdict::Unclear, "not all of it was read");
    }

    #[test]
    fn a_duplicate_is_no_loss() {
        assert_eq!(row(1, 0..10, 0, 0, 10).judge(seen(10, 0, 3)), Verdict::Whole);
        assert_eq!(row(1, 0..10, 8, 0, 2).judge(seen(10, 8, 1)), Verdict::Whole);
        assert_eq!(row(1, 0..10, 8, 0, 2).judge(seen(10, 7, 1)), Verdict::Lost);
        assert_eq!(row(1, 0..10, 8, 0, 2).judge(seen(10, 7, 2)), Verdict::Unclear);
        assert_eq!(row(1, 0..10, 8, 0, 2).judge(seen(6, 5, 1)), Verdict::Unclear, "it may be one of the duplicates");
    }

    #[test]
    fn unhandled_messages_are_new_until_replayed() {
        let mut past = Past { rows: vec![row(1, 0..10, 9, 0, 0), row(2, 20..30, 10, 0, 0)], rejected: BTreeMap::new() };
        assert!(!past.is_new(5) && past.is_new(10) && past.is_new(19) && !past.is_new(20) && past.is_new(30));
        past.rejected.insert(5, None);
        assert!(past.is_new(5) && !past.is_new(6));
        past.rows.push(row(3, 4..6, 1, 0, 1));
        assert!(past.is_new(5), "that replay rejected it too");
        past.rejected.insert(5, Some(Uuid::from_u128(3)));
        assert!(!past.is_new(5) && past.took(&past.rows[2], 5) && !past.took(&past.rows[0], 5));
        past.rows.pop();
        assert!(!past.is_new(5), "a replay that stored nothing found it to be a duplicate");
    }

    #[test]
    fn a_batch_cuts_no_ledger_row() {
        let rows = vec![row(1, 0..10, 9, 0, 1), row(2, 10..20, 10, 0, 0), row(3, 20..30, 10, 10, 0)];
        let past = Past { rows, rejected: BTreeMap::new() };
        let ends = |offset| past.may_end(offset);
        assert!(!ends(5) && ends(10) && ends(15) && ends(25) && ends(99));
    }
}

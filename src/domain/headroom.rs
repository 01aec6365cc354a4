//! Retention headroom: how long until a stream drops what is not committed yet.

use chrono::{DateTime, TimeDelta, Utc};

/// How far a producer's clock may be ahead before nothing is concluded from it.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// What is known of a stream's ends.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub first_offset: i64,
    pub first_published_at: Option<DateTime<Utc>>,
    /// When the oldest message was published that is not committed; now, where all are.
    pub uncommitted_since: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

impl Ends {
    /// How long it takes until the oldest message that is not committed is dropped, if the stream goes on as it did. None: its
    /// first message does not say when it was published, or names a time to come.
    ///
    /// A stream that has dropped something keeps what lies between its first message and now: by age or by size, whichever it
    /// reached first. One that has not is young: it keeps messages for `max_age`, as far as is known. The broker's
    /// `own_records` may take the first offsets.
    pub fn headroom(&self, own_records: i64, max_age: TimeDelta) -> Option<TimeDelta> {
        if self.first_offset > own_records {
            let first = self.first_published_at.filter(|first| *first <= self.now + TOLERANCE)?;
            // No message is older than the stream lets it become, whatever its producer's clock said.
            let oldest = self.now.checked_sub_signed(max_age).unwrap_or(DateTime::<Utc>::MIN_UTC);
            Some(self.uncommitted_since - first.max(oldest))
        } else {
            Some(max_age - (self.now - self.uncommitted_since))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_000_000 + hour * 3600, 0).unwrap()
    }

    fn headroom(first_offset: i64, first_at: i64, uncommitted: i64) -> Option<i64> {
        let ends = Ends {
            first_offset,
            first_published_at: Some(at(first_at)),
            uncommitted_since: at(uncommitted),
            now: at(100),
        };
        ends.headroom(1, TimeDelta::days(7)).map(|headroom| headroom.num_hours())
    }

    #[test]
    fn a_young_stream_has_its_maximum_age() {
        assert_eq!(headroom(0, 99, 100), Some(168), "caught up");
        assert_eq!(headroom(1, 0, 60), Some(128), "40 hours behind");
        assert_eq!(headroom(0, -200, -100), Some(-32), "what is not committed may go at any time");
    }

    #[test]
    fn a_stream_that_drops_keeps_what_it_has() {
        assert_eq!(headroom(5000, 0, 100), Some(100), "caught up");
        assert_eq!(headroom(5000, 0, 1), Some(1));
        assert_eq!(headroom(5000, 0, 0), Some(0), "what is first is not committed");
    }

    #[test]
    fn wrong_clocks_of_producers_conclude_nothing() {
        assert_eq!(headroom(5000, 102, 100), None, "published in two hours");
        assert_eq!(headroom(5000, -400_000, 100), Some(168), "of 1980: no more than the maximum age");
        let ends = Ends { first_offset: 9, first_published_at: Some(at(0)), uncommitted_since: at(1), now: at(1) };
        assert_eq!(ends.headroom(1, TimeDelta::days(365_000_000)), Some(TimeDelta::hours(1)), "kept for ever");
    }

    #[test]
    fn without_publish_times_headroom_is_unknown() {
        let ends = Ends { first_offset: 9, first_published_at: None, uncommitted_since: at(0), now: at(1) };
        assert_eq!(ends.headroom(1, TimeDelta::days(7)), None);
    }
}

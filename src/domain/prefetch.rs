//! Prefetch: how a stream is read on after the broker failed at something in it, and when that is given up.
//!
//! The broker ends the connection at a message that it cannot translate, and with it goes what it was about to send
//! ahead. So less and less is requested ahead, until the messages before it come one by one. Then the offset that fails
//! is known to be the one behind the last that came.

/// After each failure so many times less is requested ahead.
const NARROWER: u16 = 16;
/// Failures at the same offset, with one message requested at a time, after which trying is of no use.
const TRIES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read on from the last position, with another width.
    Again,
    /// It cannot be read.
    GiveUp,
}

#[derive(Clone, Debug)]
pub struct Prefetch {
    /// Deliveries to request ahead when all is well.
    widest: u16,
    width: u16,
    /// The first offset that has not come yet.
    next: i64,
    /// Failures without a message in between.
    failures: u32,
    /// Messages since the last failure.
    came: u64,
}

impl Prefetch {
    /// Reading begins at `next`.
    pub fn new(widest: u16, next: i64) -> Self {
        Self { widest, width: widest.max(1), next, failures: 0, came: 0 }
    }

    /// Deliveries to request ahead now.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The first offset that has not come yet.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// A message came. True where it is one that had not come before: that alone is progress, since what was not stored
    /// comes again after each failure.
    pub fn came(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        self.failures = 0;
        self.came += 1;
        // What the broker failed at lay within what it sent ahead, and is behind us.
        if self.came > u64::from(self.widest) {
            self.width = self.widest.max(1);
        }
        true
    }

    /// The broker failed at something that it was about to send.
    pub fn failed(&mut self) -> Verdict {
        self.came = 0;
        if self.width > 1 {
            self.width = (self.width / NARROWER).max(1);
            return Verdict::Again;
        }
        self.failures += 1;
        if self.failures >= TRIES { Verdict::GiveUp } else { Verdict::Again }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A broker that fails at some offsets. It sends `width` messages at a time, of which none come when it fails at one.
    fn read(prefetch: &mut Prefetch, bad: &BTreeSet<i64>, end: i64, whole_chunks: Option<i64>) -> (Vec<i64>, Verdict) {
        let (mut stored, mut failures) = (Vec::new(), 0);
        let mut next = prefetch.next();
        loop {
            if next >= end {
                return (stored, Verdict::Again);
            }
            let ahead = match whole_chunks {
                Some(chunk) => next..((next / chunk + 1) * chunk).min(end),
                None => next..(next + i64::from(prefetch.width())).min(end),
            };
            if ahead.clone().any(|offset| bad.contains(&offset)) {
                failures += 1;
                assert!(failures < 1000, "it goes on for ever");
                if prefetch.failed() == Verdict::GiveUp {
                    return (stored, Verdict::GiveUp);
                }
                continue;
            }
            for offset in ahead {
                assert!(prefetch.came(offset));
                stored.push(offset);
                next = offset + 1;
            }
        }
    }

    proptest! {
        /// Everything before the first offset that cannot be read is read, and it is given up exactly there, by a broker
        /// that sends message by message.
        #[test]
        fn reading_ends_exactly_at_what_cannot_be_read(
            bad in prop::collection::btree_set(0i64..3000, 0..3), widest in 1u16..3000,
        ) {
            let mut prefetch = Prefetch::new(widest, 0);
            let (stored, verdict) = read(&mut prefetch, &bad, 3000, None);
            let first = bad.first().copied();
            prop_assert_eq!(stored, (0..first.unwrap_or(3000)).collect::<Vec<_>>());
            prop_assert_eq!(verdict == Verdict::GiveUp, first.is_some());
            prop_assert_eq!(prefetch.next(), first.unwrap_or(3000));
        }

        /// By one that sends whole chunks: at the chunk.
        #[test]
        fn reading_ends_at_the_unreadable_chunk(bad in 0i64..3000, chunk in 1i64..200) {
            let mut prefetch = Prefetch::new(100, 0);
            let (_, verdict) = read(&mut prefetch, &BTreeSet::from([bad]), 3000, Some(chunk));
            prop_assert_eq!(verdict, Verdict::GiveUp);
            prop_assert_eq!(prefetch.next(), bad / chunk * chunk);
        }
    }

    #[test]
    fn redelivered_messages_are_no_progress() {
        let mut prefetch = Prefetch::new(1, 10);
        assert!(prefetch.came(10));
        for _ in 0..TRIES - 1 {
            assert_eq!(prefetch.failed(), Verdict::Again);
            assert!(!prefetch.came(10));
        }
        assert_eq!(prefetch.failed(), Verdict::GiveUp);
        assert_eq!(prefetch.next(), 11);
    }

    #[test]
    fn reading_widens_after_the_unreadable_place() {
        let mut prefetch = Prefetch::new(32, 0);
        assert_eq!(prefetch.failed(), Verdict::Again);
        assert_eq!(prefetch.width(), 2);
        for offset in 0..32 {
            prefetch.came(offset);
        }
        assert_eq!(prefetch.width(), 2);
        prefetch.came(32);
        assert_eq!(prefetch.width(), 32);
    }
}

//! Holes: offsets before a message, or at the end of a stream, that no delivery came for. What they mean.
//!
//! The broker spends offsets on records of its own: one for the offsets that clients of the stream protocol store, each
//! time that they do, and one for what it remembers of these and of named producers when it begins a segment. It also
//! leaves out batches of compressed messages, which it cannot deliver by AMQP 0.9.1, without a word. From an AMQP
//! connection the two look the same but for their width.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Why offsets are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleReason {
    /// The stream had dropped them: its retention was over.
    Dropped,
    /// The stream has them, and the broker delivered nothing of them.
    LeftOut,
}

impl HoleReason {
    /// What an unread end of a stream means.
    pub const UNREAD_TAIL: &str = "the stream's last chunk cannot be read over AMQP: compressed batches, which the broker leaves \
                                   out. The watermark stands still until a message follows, or the batches expire.";

    /// In a sentence, for the offsets from one to before another.
    pub fn describe(self, from: i64, to: i64) -> String {
        match self {
            Self::Dropped => {
                format!("the stream had dropped offsets from {from} to before {to} when they were to be read")
            }
            Self::LeftOut => format!(
                "the broker delivered nothing of offsets {from} to {}: compressed batches, which it leaves out over AMQP, or \
                 records of its own",
                to - 1
            ),
        }
    }
}

/// Offsets before a batch's messages that are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Exclusive.
    pub to: i64,
    pub why: HoleReason,
    /// Publish time of the message before them, where it is known.
    pub after: Option<DateTime<Utc>>,
}

/// Judges the offsets from `expected` to before `found`, the next message that came. `first`: the stream's first offset,
/// where it can be read. `own`: the widest hole that is taken for the broker's own records. `None`: nothing is missing.
pub fn judge(expected: i64, found: i64, first: Option<i64>, own: i64) -> Option<HoleReason> {
    let width = found.saturating_sub(expected);
    if width <= 0 {
        return None;
    }
    if first.is_some_and(|first| first > expected) {
        return Some(HoleReason::Dropped);
    }
    (width > own).then_some(HoleReason::LeftOut)
}

/// What is known of the end of a stream while nothing comes: whether its last chunk is one that was read. A chunk that is
/// left out, and that no message follows, shows in no other way.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// Messages that the stream was said to hold when its last chunk was looked at.
    judged: Option<u32>,
    /// Looks in a row to which nothing came.
    silent: u32,
    unread: bool,
}

/// Looks to which nothing came that prove that the last chunk cannot be read: one may be slow.
const SILENT: u32 = 2;
/// While it cannot be read it is looked at again after so long.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl Tail {
    /// Whether the last chunk has to be looked at: the stream holds another number of messages than at the last look. Zero is
    /// what a broker says that does not count yet.
    pub fn needs_look(&self, messages: u32) -> bool {
        messages > 0 && self.judged != Some(messages)
    }

    /// A look at the last chunk: whether anything of it came. True where it is now known to be unread, and was not before.
    pub fn looked(&mut self, messages: u32, came: bool) -> bool {
        if came {
            *self = Self { judged: Some(messages), ..Self::default() };
            return false;
        }
        self.silent += 1;
        if self.silent < SILENT {
            return false;
        }
        self.judged = Some(messages);
        !std::mem::replace(&mut self.unread, true)
    }

    /// Nothing proves that all was read.
    pub fn is_unread(&self) -> bool {
        self.unread || self.silent > 0
    }

    /// Something came, or it is time to look again.
    pub fn look_again(&mut self) {
        self.judged = None;
    }

    /// A message came: what is before it is judged as a hole.
    pub fn passed(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing that is wider than the broker's own records is ever taken for nothing.
        #[test]
        fn a_wide_hole_is_never_taken_for_nothing(
            expected in 0i64..1_000_000, width in 0i64..10_000, first in prop::option::of(0i64..1_000_000), own in 0i64..100,
        ) {
            let judged = judge(expected, expected + width, first, own);
            if width > own {
                prop_assert!(judged.is_some());
            }
            if width == 0 {
                prop_assert_eq!(judged, None);
            }
            // A stream drops from the front alone.
            prop_assert_eq!(judged == Some(HoleReason::Dropped), width > 0 && first.is_some_and(|first| first > expected));
        }

        /// Quiet is proved only when a look at what the stream holds now has brought something.
        #[test]
        fn a_tail_is_read_only_after_a_result(looks in prop::collection::vec((1u32..5, any::<bool>()), 1..40)) {
            let mut tail = Tail::default();
            for (messages, came) in looks {
                if tail.needs_look(messages) {
                    tail.looked(messages, came);
                    prop_assert_eq!(tail.is_unread(), !came);
                }
            }
        }
    }

    #[test]
    fn two_slow_looks_prove_a_hole() {
        let mut tail = Tail::default();
        assert!(!tail.looked(5, false));
        assert!(tail.needs_look(5));
        assert!(tail.looked(5, false));
        assert!(!tail.needs_look(5) && tail.is_unread());
        tail.look_again();
        assert!(!tail.looked(5, false), "it was reported before");
        tail.looked(5, true);
        assert!(!tail.is_unread());
        tail.passed();
        assert!(!tail.needs_look(0), "the broker does not count yet");
    }
}

//! Intake: where a partition's reading is. Groups messages into batches that follow each other without a hole, whatever
//! becomes of the subscription they come by, and says which deliveries a commit acknowledges.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    batch::{Message, MessageHash, RawBatch},
    hole::{HoleReason, Missing},
};

/// When a batch is full. It may exceed `max_bytes` by its last message.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_events: usize,
    pub max_bytes: usize,
}

pub struct Intake {
    limits: Limits,
    /// Where the last batch that was handed on ended.
    position: i64,
    /// Of the message before that.
    last_message: Option<MessageHash>,
    /// Its publish time, where it is known.
    published_at: Option<DateTime<Utc>>,
    /// What lies between the position and the messages at hand, if it is not read.
    missing: Option<Missing>,
    /// The batch at hand.
    messages: Vec<Message>,
    bytes: usize,
    last_tag: u64,
    /// Batches handed on in this subscription: where they end, and the tag of their last delivery.
    uncommitted: VecDeque<(i64, u64)>,
}

impl Intake {
    /// Reading goes on at `position`, behind a message of that hash where one is known.
    pub fn new(limits: Limits, position: i64, last_message: Option<MessageHash>) -> Self {
        Self {
            limits,
            position,
            last_message,
            published_at: None,
            missing: None,
            messages: Vec::new(),
            bytes: 0,
            last_tag: 0,
            uncommitted: VecDeque::new(),
        }
    }

    pub fn position(&self) -> i64 {
        self.position
    }

    /// Offset and hash of the message before the position, where it is known.
    pub fn known(&self) -> Option<(i64, MessageHash)> {
        self.last_message.map(|hash| (self.position - 1, hash))
    }

    /// A new subscription begins at the position: what was not handed on comes again, tags count from zero again.
    pub fn subscribe(&mut self) {
        self.clear();
        self.missing = None;
        self.last_tag = 0;
        self.uncommitted.clear();
    }

    /// Nothing comes between the position and `to`.
    pub fn skip_to(&mut self, to: i64, why: HoleReason) {
        // Nothing is lost where the next message follows the last one.
        self.missing = (to > self.position).then_some(Missing { to, why, after: self.published_at });
    }

    /// Takes a delivery in; false where it was there before. The broker sends whole chunks, which may start before the
    /// offset that was requested.
    pub fn take(&mut self, tag: u64, message: Message) -> bool {
        self.last_tag = tag;
        if message.offset < self.expected() {
            return false;
        }
        self.bytes += message.body.len();
        self.messages.push(message);
        true
    }

    /// Where the next message is if nothing is missing.
    pub fn expected(&self) -> i64 {
        self.messages.last().map_or(self.position, |last| last.offset + 1)
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.messages.len() >= self.limits.max_events || self.bytes >= self.limits.max_bytes
    }

    /// The batch at hand, which must not be empty. The next one starts where it ends.
    pub fn hand_on(&mut self, id: Uuid) -> RawBatch {
        let raw = RawBatch {
            id,
            first_offset: self.position,
            missing: self.missing.take(),
            messages: std::mem::take(&mut self.messages),
        };
        self.position = raw.next_offset();
        self.published_at = raw.messages.last().map_or(self.published_at, |message| message.published_at);
        self.last_message = raw.last_message().or(self.last_message);
        self.uncommitted.push_back((self.position, self.last_tag));
        self.clear();
        raw
    }

    /// The tag up to which a commit lets acknowledge, if the batch was of this subscription.
    pub fn committed(&mut self, next_offset: i64) -> Option<u64> {
        let mut tag = None;
        while let Some((end, last_tag)) = self.uncommitted.front()
            && *end <= next_offset
        {
            tag = Some(*last_tag);
            self.uncommitted.pop_front();
        }
        tag
    }

    /// Whether deliveries of this subscription wait for a commit.
    pub fn has_uncommitted(&self) -> bool {
        !self.uncommitted.is_empty()
    }

    fn clear(&mut self) {
        self.messages = Vec::with_capacity(self.limits.max_events.min(1024));
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// So many deliveries come.
        Deliver(usize),
        HandOn,
        /// The oldest batch in flight is committed.
        Commit,
        /// The connection is lost; the broker starts so many offsets before what is requested.
        Reconnect(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1usize..30).prop_map(Step::Deliver),
            Just(Step::HandOn),
            Just(Step::Commit),
            (0i64..10).prop_map(Step::Reconnect),
        ]
    }

    /// Offsets of a stream: they rise, with holes.
    fn offsets(holes: &[u8]) -> Vec<i64> {
        holes
            .iter()
            .scan(-1_i64, |offset, hole| {
                *offset += 1 + i64::from(*hole);
                Some(*offset)
            })
            .collect()
    }

    proptest! {
        /// Whatever the schedule, the batches are the stream: each message once, in order, each batch where the last
        /// one ended; and no delivery is acknowledged before its batch is committed.
        #[test]
        fn batches_cover_the_stream_exactly(
            holes in prop::collection::vec(0u8..3, 50..300),
            steps in prop::collection::vec(step(), 1..200),
            max_events in 1usize..20,
        ) {
            let stream = offsets(&holes);
            let limits = Limits { max_events, max_bytes: usize::MAX };
            let mut intake = Intake::new(limits, 0, None);
            intake.subscribe();
            // Where the subscription is in the stream, and its deliveries by tag: their offsets.
            let (mut next, mut tags): (usize, Vec<i64>) = (0, Vec::new());
            let (mut handed, mut in_flight): (Vec<i64>, VecDeque<i64>) = (Vec::new(), VecDeque::new());
            let (mut at_hand, mut expected_start, mut committed_to) = (0, 0, 0);
            for step in steps {
                match step {
                    Step::Deliver(count) => {
                        for _ in 0..count {
                            if next >= stream.len() || intake.is_full() {
                                break;
                            }
                            tags.push(stream[next]);
                            let body = stream[next].to_be_bytes().to_vec();
                            let message = Message::new(stream[next], None, body);
                            at_hand += usize::from(intake.take(tags.len() as u64, message));
                            next += 1;
                        }
                        prop_assert!(at_hand <= max_events);
                    }
                    Step::HandOn if at_hand > 0 => {
                        let raw = intake.hand_on(Uuid::nil());
                        prop_assert_eq!(raw.first_offset, expected_start);
                        prop_assert_eq!(raw.messages.len(), at_hand);
                        handed.extend(raw.messages.iter().map(|message| message.offset));
                        expected_start = raw.next_offset();
                        prop_assert_eq!(intake.known().map(|known| known.0), Some(expected_start - 1));
                        in_flight.push_back(expected_start);
                        at_hand = 0;
                    }
                    Step::Commit => {
                        if let Some(next_offset) = in_flight.pop_front() {
                            committed_to = next_offset;
                            if let Some(tag) = intake.committed(next_offset) {
                                let acknowledged = &tags[..usize::try_from(tag).unwrap()];
                                prop_assert!(acknowledged.iter().all(|offset| *offset < committed_to));
                            }
                        }
                    }
                    Step::Reconnect(earlier) => {
                        intake.subscribe();
                        tags.clear();
                        at_hand = 0;
                        let from = (intake.position() - earlier).max(0);
                        next = stream.partition_point(|offset| *offset < from);
                    }
                    Step::HandOn => {}
                }
            }
            prop_assert_eq!(&handed[..], &stream[..handed.len()]);
            prop_assert!(committed_to <= intake.position());
        }
    }

    #[test]
    fn missing_offsets_belong_to_the_next_batch() {
        let at: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let message = |offset| Message::new(offset, Some(at), vec![1]);
        let limits = Limits { max_events: 10, max_bytes: 100 };
        let mut intake = Intake::new(limits, 5, Some([0; 32]));
        intake.skip_to(9, HoleReason::Dropped);
        assert!(intake.take(1, message(9)));
        let raw = intake.hand_on(Uuid::nil());
        let missing = |to, why, after| Some(Missing { to, why, after });
        assert_eq!((raw.first_offset, raw.next_offset()), (5, 10));
        assert_eq!(raw.missing, missing(9, HoleReason::Dropped, None), "of the message before it nothing is known");
        intake.skip_to(10, HoleReason::LeftOut);
        intake.take(2, message(10));
        assert_eq!(intake.hand_on(Uuid::nil()).missing, None, "nothing is missing");
        intake.skip_to(20, HoleReason::LeftOut);
        intake.subscribe();
        intake.take(1, message(20));
        assert_eq!(intake.hand_on(Uuid::nil()).missing, None, "another subscription finds out for itself");
        intake.skip_to(30, HoleReason::LeftOut);
        intake.take(2, message(30));
        assert_eq!(intake.hand_on(Uuid::nil()).missing, missing(30, HoleReason::LeftOut, Some(at)));
    }

    #[test]
    fn a_batch_is_limited_by_number_and_bytes() {
        let mut intake = Intake::new(Limits { max_events: 100, max_bytes: 10 }, 0, None);
        for offset in 0..2 {
            assert!(!intake.is_full());
            intake.take(1, Message::new(offset, None, vec![0; 6]));
        }
        assert!(intake.is_full());
    }
}

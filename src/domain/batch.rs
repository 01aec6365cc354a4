//! A batch: a run of a partition's stream, decoded, judged and split for the transaction that stores it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{
    event::{Event, EventKey, Normalized, Rejection, Rules, decode, decode_noting},
    hole::Missing,
    partition::home_partition,
    window::{Novelty, Window},
};

/// How far a publish time may be ahead of what we take for the database's now, which is a little behind itself.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(1);

/// SHA-256 of a message's body.
pub type MessageHash = [u8; 32];

/// A message as it came from the stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its offset in the stream; offsets rise but are not contiguous.
    pub offset: i64,
    /// `timestamp_in_ms` header, else the `timestamp` property.
    pub published_at: Option<DateTime<Utc>>,
    pub body: Vec<u8>,
}

/// Messages of one partition in the order of the stream. Never empty.
#[derive(Clone, Debug)]
pub struct RawBatch {
    /// Chosen before the first attempt to store it, so that a commit whose response was lost is recognised.
    pub id: Uuid,
    /// Where the batch before ended.
    pub first_offset: i64,
    /// What lies between there and the messages, if it is not read.
    pub missing: Option<Missing>,
    pub messages: Vec<Message>,
}

/// An event that may be stored.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Index of its message.
    pub message: usize,
    pub event: Event,
    /// It occurred longer than the late threshold before it was published, or before the moment that its partition had reached
    /// when it came; see [`SplitRules::reached`].
    pub late: bool,
}

/// A resend within the batch.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Index of the message that it repeats.
    pub of: usize,
    pub candidate: Candidate,
    pub conflict: bool,
}

#[derive(Clone, Debug)]
pub struct Reject {
    /// Index of its message.
    pub message: usize,
    pub rejection: Rejection,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub raw: RawBatch,
    /// What it was judged by.
    pub rules: SplitRules,
    /// New for certain: the window covers their times and has none of their keys.
    pub fresh: Vec<Candidate>,
    /// The database decides whether they are new.
    pub suspects: Vec<Candidate>,
    pub repeats: Vec<Repeat>,
    pub rejects: Vec<Reject>,
    /// Events that were normalised.
    pub normalized: Normalized,
    /// Events that were rejected by one clock and accepted by another: indexes of their messages, which the window
    /// has not seen.
    pub readmitted: BTreeSet<usize>,
    /// Events that reached this partition by mistake: index of the message, and the partition where they are at home.
    /// Those that only their time was wrong of are among them.
    pub foreign: BTreeMap<usize, u16>,
    /// State of the window that called events fresh; see `partition_offsets.foreign_writes`.
    pub foreign_writes: i64,
    /// Publish time of the last message that has a believable one.
    pub published_to: Option<DateTime<Utc>>,
}

impl Batch {
    /// Every event, whatever it was taken for.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.fresh.iter().chain(&self.suspects).chain(self.repeats.iter().map(|repeat| &repeat.candidate))
    }

    /// Whether another clock might accept some of what was rejected.
    pub fn has_rejects_of_time(&self) -> bool {
        self.rejects.iter().any(|reject| reject.rejection.is_of_time_alone())
    }

    /// Judges what was rejected for its time alone again, by another clock. `None` where that accepts none of it.
    pub fn judged_again(&self, now: DateTime<Utc>) -> Option<Self> {
        let rules = SplitRules { event: Rules { now, ..self.rules.event }, ..self.rules };
        let by_time = self.rejects.iter().filter(|reject| reject.rejection.is_of_time_alone());
        let accepted: Vec<(usize, Event)> = by_time
            .filter_map(|reject| Some((reject.message, decode(self.body(reject.message), &rules.event).ok()?)))
            .collect();
        if accepted.is_empty() {
            return None;
        }
        let mut batch = self.clone();
        batch.readmitted = accepted.iter().map(|(message, _)| *message).collect();
        batch.rejects.retain(|reject| !batch.readmitted.contains(&reject.message));
        let mut seen: HashMap<EventKey, Vec<Place>> = HashMap::new();
        for (fresh, list) in [(true, &batch.fresh), (false, &batch.suspects)] {
            for (index, candidate) in list.iter().enumerate() {
                let place = Place { fresh, index, occurred_at: candidate.event.occurred_at };
                seen.entry(candidate.event.key()).or_default().push(place);
            }
        }
        for (message, event) in accepted {
            let late = rules.is_late(&event, batch.raw.messages[message].published_at, rules.reached);
            let candidate = Candidate { message, event, late };
            let places = seen.entry(candidate.event.key()).or_default();
            match batch.earlier(places, candidate.event.occurred_at) {
                Some((of, event)) => {
                    let conflict = *event != candidate.event;
                    batch.repeats.push(Repeat { of, candidate, conflict });
                }
                None => {
                    let (index, occurred_at) = (batch.suspects.len(), candidate.event.occurred_at);
                    places.push(Place { fresh: false, index, occurred_at });
                    batch.suspects.push(candidate);
                }
            }
        }
        Some(batch)
    }

    fn body(&self, message: usize) -> &[u8] {
        &self.raw.messages[message].body
    }

    /// Which of an event's key is the same, by the index of its message.
    fn earlier(&self, places: &[Place], occurred_at: DateTime<Utc>) -> Option<(usize, &Event)> {
        let same = |place: &&Place| (place.occurred_at - occurred_at).abs() <= self.rules.window;
        let place = places.iter().find(same)?;
        let first = if place.fresh { &self.fresh[place.index] } else { &self.suspects[place.index] };
        Some((first.message, &first.event))
    }
}

impl RawBatch {
    /// One behind the last message.
    pub fn next_offset(&self) -> i64 {
        self.messages.last().map_or(self.first_offset, |message| message.offset + 1)
    }

    pub fn last_message(&self) -> Option<MessageHash> {
        self.messages.last().map(|message| Sha256::digest(&message.body).into())
    }
}

/// What splitting is judged by.
#[derive(Clone, Copy, Debug)]
pub struct SplitRules {
    pub event: Rules,
    pub late_after: TimeDelta,
    /// Up to when the partition was complete, or had been read, before the batch. What occurred so much earlier may change
    /// buckets that were final, whatever its publish time says, and where it has none. None for what is read again: its
    /// revisions are those of a replay.
    pub reached: Option<DateTime<Utc>>,
    pub window: TimeDelta,
    pub partition: u16,
    pub partitions: u16,
}

impl SplitRules {
    /// Whether an event is late that was published then and came when the partition had reached that.
    fn is_late(&self, event: &Event, published_at: Option<DateTime<Utc>>, reached: Option<DateTime<Utc>>) -> bool {
        // By mistake here: its own partition may be complete up to now.
        let ours = home_partition(event.org_id, self.partitions) == self.partition;
        let reached = if ours { reached } else { reached.map(|_| self.event.now) };
        let came = published_at.max(reached).unwrap_or(event.occurred_at).min(self.event.now);
        event.occurred_at < came - self.late_after
    }
}

/// Decodes a batch and splits it.
pub fn split(raw: RawBatch, rules: &SplitRules, window: &mut Window, foreign_writes: i64) -> Batch {
    let mut batch = Batch {
        fresh: Vec::with_capacity(raw.messages.len()),
        suspects: Vec::new(),
        repeats: Vec::new(),
        rejects: Vec::new(),
        normalized: Normalized::default(),
        readmitted: BTreeSet::new(),
        foreign: BTreeMap::new(),
        rules: *rules,
        foreign_writes,
        published_to: None,
        raw,
    };
    // Where the events of each key are: nearly always one.
    let mut seen: HashMap<EventKey, Vec<Place>> = HashMap::with_capacity(batch.raw.messages.len());
    let mut reached = rules.reached;
    for (message, raw) in batch.raw.messages.iter().enumerate() {
        let now = rules.event.now;
        // A clock that is ahead would declare the stream read up to now, whatever is still to be read.
        let stamped = raw.published_at.filter(|at| *at <= now + CLOCK_TOLERANCE).map(|at| at.min(now));
        let event = match decode_noting(&raw.body, &rules.event, &mut batch.normalized) {
            Ok(event) => event,
            Err(rejection) => {
                batch.published_to = stamped.or(batch.published_to);
                let home = rejection.org_id.map(|org_id| home_partition(org_id, rules.partitions));
                if let Some(home) = home.filter(|home| *home != rules.partition && rejection.is_of_time_alone()) {
                    batch.foreign.insert(message, home);
                }
                batch.rejects.push(Reject { message, rejection });
                continue;
            }
        };
        let reached_before = reached;
        let published_to = stamped.unwrap_or(event.occurred_at.min(now));
        batch.published_to = Some(published_to);
        reached = reached.map(|reached| reached.max(published_to));
        let (key, at) = (event.key(), event.occurred_at);
        let home = home_partition(key.org_id, rules.partitions);
        let ours = home == rules.partition;
        let late = rules.is_late(&event, raw.published_at, reached_before);
        let candidate = Candidate { message, event, late };
        if !ours {
            batch.foreign.insert(message, home);
        }
        let places = seen.entry(key).or_default();
        if let Some((of, first)) = batch.earlier(places, at) {
            let conflict = *first != candidate.event;
            // It may be stored after all, where the first is not: then the window must know it.
            window.admit(key, at);
            batch.repeats.push(Repeat { of, candidate, conflict });
            continue;
        }
        let fresh = ours && window.admit(key, at) == Novelty::New;
        let list = if fresh { &mut batch.fresh } else { &mut batch.suspects };
        places.push(Place { fresh, index: list.len(), occurred_at: at });
        list.push(candidate);
    }
    batch
}

struct Place {
    fresh: bool,
    index: usize,
    occurred_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Status;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn rules(partitions: u16) -> SplitRules {
        SplitRules {
            event: Rules {
                now: NOW.parse().unwrap(),
                max_ahead: TimeDelta::minutes(5),
                retention: TimeDelta::days(400),
            },
            late_after: TimeDelta::hours(1),
            reached: None,
            window: TimeDelta::hours(24),
            partition: 0,
            partitions,
        }
    }

    fn body(event_id: u128, occurred_at: &str, latency_ms: u32) -> Vec<u8> {
        let event = Event {
            event_id: Uuid::from_u128(event_id),
            org_id: Uuid::from_u128(1),
            model_id: Uuid::from_u128(7),
            actor_id: None,
            client_id: None,
            occurred_at: occurred_at.parse().unwrap(),
            status: Status::Success,
            error_code: None,
            latency_ms,
            input_tokens: 1,
            output_tokens: 1,
            cost_estimate_cents: Default::default(),
            metadata: None,
        };
        serde_json::to_vec(&event).unwrap()
    }

    fn split_all(bodies: Vec<Vec<u8>>, partitions: u16) -> Batch {
        let messages = bodies.into_iter().zip(10..).map(|(body, offset)| Message {
            offset,
            published_at: Some(NOW.parse().unwrap()),
            body,
        });
        let raw = RawBatch { id: Uuid::nil(), first_offset: 8, missing: None, messages: messages.collect() };
        let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
        window.loaded(None);
        split(raw, &rules(partitions), &mut window, 0)
    }

    #[test]
    fn every_message_ends_in_exactly_one_place() {
        let batch = split_all(
            vec![
                body(1, "2026-03-01T11:59:00Z", 1),
                body(1, "2026-03-01T11:59:00Z", 1),
                body(1, "2026-03-01T11:59:01Z", 1),
                body(2, "2026-03-01T10:59:59Z", 1),
                b"no".to_vec(),
            ],
            1,
        );
        assert_eq!((batch.fresh.len(), batch.suspects.len(), batch.repeats.len(), batch.rejects.len()), (2, 0, 2, 1));
        assert_eq!(batch.repeats.iter().map(|r| (r.of, r.conflict)).collect::<Vec<_>>(), [(0, false), (0, true)]);
        assert_eq!(batch.fresh.iter().map(|c| c.late).collect::<Vec<_>>(), [false, true]);
        assert_eq!(batch.raw.next_offset(), 15);
    }

    #[test]
    fn lateness_is_measured_from_the_publish_time() {
        let at = |text: &str| -> DateTime<Utc> { format!("2026-03-01T{text}Z").parse().unwrap() };
        let late = |reached: Option<&str>, partitions, published: Option<&str>, occurred: &str| {
            let body = body(1, &format!("2026-03-01T{occurred}Z"), 1);
            let message = Message { offset: 0, published_at: published.map(at), body };
            let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages: vec![message] };
            let rules = SplitRules { reached: reached.map(at), ..rules(partitions) };
            let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
            split(raw, &rules, &mut window, 0).candidates().all(|candidate| candidate.late)
        };
        for (reached, published, occurred, expected) in [
            (None, Some("12:00:00"), "10:59:59", true),
            (None, Some("12:00:00"), "11:00:00", false),
            // Without a publish time: by what was reached.
            (None, None, "03:00:00", false),
            (Some("11:30:00"), None, "10:30:00", false),
            (Some("11:30:00"), None, "10:29:59", true),
            // A publish time that lies behind does not make it early.
            (Some("11:30:00"), Some("10:30:00"), "10:29:59", true),
            (Some("09:00:00"), Some("10:30:00"), "10:29:59", false),
            // A watermark that is ahead is none.
            (Some("23:00:00"), None, "11:00:00", false),
        ] {
            assert_eq!(late(reached, 1, published, occurred), expected, "{reached:?} {published:?} {occurred}");
        }
        let elsewhere = (2..9).find(|partitions| home_partition(Uuid::from_u128(1), *partitions) != 0).unwrap();
        assert!(late(Some("09:00:00"), elsewhere, None, "10:59:59"), "its own partition may be complete up to now");
    }

    #[test]
    fn events_without_publish_time_use_earlier_ones() {
        let message = |offset, body| Message { offset, published_at: None, body };
        let bodies = [
            body(1, "2026-03-01T11:00:00Z", 1),
            body(2, "2026-03-01T09:59:59Z", 1),
            body(3, "2026-03-01T10:00:00Z", 1),
        ];
        let messages = (0..).zip(bodies).map(|(offset, body)| message(offset, body)).collect();
        let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages };
        let rules = SplitRules { reached: Some(DateTime::UNIX_EPOCH), ..rules(1) };
        let mut window = Window::new(1 << 20, TimeDelta::hours(24), NOW.parse().unwrap());
        window.loaded(None);
        let batch = split(raw, &rules, &mut window, 0);
        assert_eq!(batch.fresh.iter().map(|candidate| candidate.late).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_second_clock_accepts_events_of_wrong_time() {
        let ahead = "2026-03-01T12:05:01Z";
        let batch = split_all(
            vec![
                body(1, "2026-03-01T11:59:00Z", 1),
                body(2, ahead, 1),
                body(2, ahead, 2),
                body(1, ahead, 1),
                body(3, "2026-03-01T12:30:00Z", 1),
                b"no".to_vec(),
            ],
            4,
        );
        assert_eq!(batch.rejects.iter().map(|r| r.message).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(batch.foreign.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4], "their homes are locked too");
        assert!(batch.judged_again(NOW.parse().unwrap()).is_none());
        let again = batch.judged_again("2026-03-01T12:00:01Z".parse().unwrap()).unwrap();
        assert_eq!(again.rejects.iter().map(|r| r.message).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(again.readmitted.iter().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(again.suspects.iter().map(|c| c.message).collect::<Vec<_>>(), [0, 1]);
        let repeats: Vec<_> = again.repeats.iter().map(|r| (r.candidate.message, r.of, r.conflict)).collect();
        assert_eq!(repeats, [(2, 1, true), (3, 0, true)]);
        assert_eq!(again.candidates().count() + again.rejects.len(), again.raw.messages.len());
    }

    #[test]
    fn a_clock_that_is_ahead_moves_no_watermark() {
        let now: DateTime<Utc> = NOW.parse().unwrap();
        let message = |offset, published_at, body| Message { offset, published_at, body };
        let ahead = Some(now + TimeDelta::seconds(2));
        let behind = Some(now - TimeDelta::seconds(9));
        let to = |messages| {
            let raw = RawBatch { id: Uuid::nil(), first_offset: 0, missing: None, messages };
            split(raw, &rules(1), &mut Window::new(1 << 20, TimeDelta::hours(24), now), 0).published_to
        };
        assert_eq!(to(vec![message(0, behind, b"no".to_vec()), message(1, ahead, b"no".to_vec())]), behind);
        assert_eq!(to(vec![message(0, None, b"no".to_vec())]), None);
        let event = body(1, "2026-03-01T11:59:00Z", 1);
        assert_eq!(to(vec![message(0, ahead, event)]), Some(now - TimeDelta::minutes(1)));
    }

    #[test]
    fn a_key_beyond_the_window_is_new() {
        let batch = split_all(vec![body(1, "2026-03-01T11:00:00Z", 1), body(1, "2026-02-28T10:59:59Z", 1)], 1);
        assert_eq!((batch.fresh.len(), batch.suspects.len(), batch.repeats.len()), (1, 1, 0));
    }

    #[test]
    fn an_event_of_another_partition_is_a_suspect() {
        let batch = split_all(vec![body(1, "2026-03-01T11:59:00Z", 1)], 4);
        assert_eq!((batch.fresh.len(), batch.suspects.len()), (0, 1));
        assert_eq!(batch.foreign.into_iter().collect::<Vec<_>>(), [(0, 3)]);
    }
}

//! A batch: a run of a partition's stream, decoded, judged and split for the transaction that stores it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hashbrown::HashTable;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{
    event::{Event, KeyHasher, Normalized, Rejection, Rules, decode, decode_noting},
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
    /// As the message says it: `timestamp_in_ms` header, else the `timestamp` property. Else, by the stream protocol, its chunk.
    pub published_at: Option<DateTime<Utc>>,
    /// A part of what came from the broker: not copied. Of what cannot be read, as much as is known of it.
    pub body: Bytes,
    /// Why no body can be made of it: it is rejected for that.
    pub unreadable: Option<String>,
}

impl Message {
    /// One that can be read.
    pub fn new(offset: i64, published_at: Option<DateTime<Utc>>, body: impl Into<Bytes>) -> Self {
        Self { offset, published_at, body: body.into(), unreadable: None }
    }
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
        let hasher = KeyHasher::default();
        let mut seen = Seen::for_events(batch.fresh.len() + batch.suspects.len() + accepted.len());
        for (fresh, list) in [(true, &batch.fresh), (false, &batch.suspects)] {
            for (index, candidate) in list.iter().enumerate() {
                seen.note(Place { hash: hasher.hash(candidate.event.key()), fresh, index });
            }
        }
        for (message, event) in accepted {
            let ours = !batch.foreign.contains_key(&message);
            let late = rules.is_late(&event, ours, batch.raw.messages[message].published_at, rules.reached);
            let candidate = Candidate { message, event, late };
            let hash = hasher.hash(candidate.event.key());
            match seen.earlier(&batch, hash, &candidate.event) {
                Some(first) => {
                    let (of, conflict) = (first.message, first.event != candidate.event);
                    batch.repeats.push(Repeat { of, candidate, conflict });
                }
                None => {
                    seen.note(Place { hash, fresh: false, index: batch.suspects.len() });
                    batch.suspects.push(candidate);
                }
            }
        }
        Some(batch)
    }

    fn body(&self, message: usize) -> &[u8] {
        &self.raw.messages[message].body
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
    fn is_late(
        &self,
        event: &Event,
        ours: bool,
        published_at: Option<DateTime<Utc>>,
        reached: Option<DateTime<Utc>>,
    ) -> bool {
        // By mistake here: its own partition may be complete up to now.
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
    let mut seen = Seen::for_events(batch.raw.messages.len());
    let mut reached = rules.reached;
    for (message, raw) in batch.raw.messages.iter().enumerate() {
        let now = rules.event.now;
        // A clock that is ahead would declare the stream read up to now, whatever is still to be read.
        let stamped = raw.published_at.filter(|at| *at <= now + CLOCK_TOLERANCE).map(|at| at.min(now));
        let decoded = match &raw.unreadable {
            None => decode_noting(&raw.body, &rules.event, &mut batch.normalized),
            Some(why) => Err(Rejection::unreadable(why)),
        };
        let event = match decoded {
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
        let hash = window.hash(key);
        let home = home_partition(key.org_id, rules.partitions);
        let ours = home == rules.partition;
        let late = rules.is_late(&event, ours, raw.published_at, reached_before);
        let candidate = Candidate { message, event, late };
        if !ours {
            batch.foreign.insert(message, home);
        }
        if let Some(first) = seen.earlier(&batch, hash, &candidate.event) {
            let (of, conflict) = (first.message, first.event != candidate.event);
            // It may be stored after all, where the first is not: then the window must know it.
            window.admit(hash, at);
            batch.repeats.push(Repeat { of, candidate, conflict });
            continue;
        }
        let fresh = ours && window.admit(hash, at) == Novelty::New;
        let list = if fresh { &mut batch.fresh } else { &mut batch.suspects };
        seen.note(Place { hash, fresh, index: list.len() });
        list.push(candidate);
    }
    batch
}

/// Where the events of a batch are, by the hash of their keys.
struct Seen(HashTable<Place>);

#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    fresh: bool,
    index: usize,
}

impl Seen {
    fn for_events(count: usize) -> Self {
        Self(HashTable::with_capacity(count))
    }

    fn note(&mut self, place: Place) {
        self.0.insert_unique(place.hash, place, |place| place.hash);
    }

    /// The first of the batch that is the same event. Nearly always there is none.
    fn earlier<'b>(&self, batch: &'b Batch, hash: u64, event: &Event) -> Option<&'b Candidate> {
        let candidate = |place: &Place| match place.fresh {
            true => &batch.fresh[place.index],
            false => &batch.suspects[place.index],
        };
        let places = self.0.iter_hash(hash).filter(|place| place.hash == hash);
        let of_key = places.map(candidate).filter(|other| other.event.key() == event.key());
        let same = of_key.filter(|other| (other.event.occurred_at - event.occurred_at).abs() <= batch.rules.window);
        same.min_by_key(|other| other.message)
    }
}

#[cfg(test)]
mod tests;

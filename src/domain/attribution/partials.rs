//! Partials: what one committed batch adds to attribution, as its pending row has it.

use std::{collections::HashMap, hash::BuildHasher as _};

use foldhash::fast::RandomState;
use hashbrown::hash_table::{Entry, HashTable};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Dimension, Measures, Set, kept};
use crate::domain::{
    event::{Event, Status},
    packed::{Form, PackedError},
    rollup::hour_of,
};

const FORM: Form = Form { what: "attribution of a batch", version: 1 };
/// Numbers of a key before those of its values: the org's and the hour's.
const HEAD: usize = 2;
/// The number of a value that is missing; the others are one more than their place among the texts.
const MISSING: u32 = 0;

/// Dimensions that partials have to carry to serve all of these sets, in order.
pub fn carried(sets: &[Set]) -> Vec<Dimension> {
    let mut all: Vec<Dimension> = sets.iter().flat_map(Set::dimensions).cloned().collect();
    all.sort();
    all.dedup();
    all
}

/// Sums by org, hour and the values of some dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partials {
    dimensions: Vec<String>,
    orgs: Vec<Uuid>,
    hours: Vec<i32>,
    texts: Vec<String>,
    /// For each entry the numbers of its org, its hour, and its value in each dimension.
    keys: Vec<u32>,
    measures: Vec<Measures>,
}

/// One entry of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialEntry<'p> {
    pub org_id: Uuid,
    pub hour: i32,
    /// By dimension: the places of texts, one more than they are; 0: the field is missing.
    pub values: &'p [u32],
    pub measures: Measures,
}

impl Partials {
    /// Sums the events that were stored.
    pub fn of<'e>(dimensions: &[Dimension], stored: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut summing = Summing::new(dimensions);
        for event in stored {
            summing.add(event);
        }
        summing.partials
    }

    pub fn is_empty(&self) -> bool {
        self.measures.is_empty()
    }

    /// By name, in order.
    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    pub fn entries(&self) -> impl Iterator<Item = PartialEntry<'_>> {
        let width = HEAD + self.dimensions.len();
        self.keys.chunks_exact(width).zip(&self.measures).map(|(key, measures)| PartialEntry {
            org_id: self.orgs[key[0] as usize],
            hour: self.hours[key[1] as usize],
            values: &key[HEAD..],
            measures: *measures,
        })
    }

    /// Takes out what it has of these hours, names and all. Whether there was anything.
    pub fn remove(&mut self, is_removed: impl Fn(Uuid, i32) -> bool) -> bool {
        if !self.entries().any(|entry| is_removed(entry.org_id, entry.hour)) {
            return false;
        }
        let mut left = Self { dimensions: self.dimensions.clone(), ..Self::default() };
        let (mut orgs, mut hours, mut texts) = (Numbers::default(), Numbers::default(), Numbers::default());
        for entry in self.entries().filter(|entry| !is_removed(entry.org_id, entry.hour)) {
            left.keys.push(orgs.of(entry.org_id, &mut left.orgs));
            left.keys.push(hours.of(entry.hour, &mut left.hours));
            for value in entry.values {
                let number = match value.checked_sub(1) {
                    None => MISSING,
                    Some(place) => 1 + texts.of(self.texts[place as usize].clone(), &mut left.texts),
                };
                left.keys.push(number);
            }
            left.measures.push(entry.measures);
        }
        *self = left;
        true
    }

    pub fn pack(&self) -> Result<Vec<u8>, PackedError> {
        FORM.pack(self)
    }

    pub fn unpack(bytes: &[u8]) -> Result<Self, PackedError> {
        let partials: Self = FORM.unpack(bytes)?;
        if partials.is_consistent() { Ok(partials) } else { Err(FORM.error("it contradicts itself")) }
    }

    /// Whether all numbers are those of something.
    fn is_consistent(&self) -> bool {
        let width = HEAD + self.dimensions.len();
        self.keys.len() == width * self.measures.len()
            && self.keys.chunks_exact(width).all(|key| {
                (key[0] as usize) < self.orgs.len()
                    && (key[1] as usize) < self.hours.len()
                    && key[HEAD..].iter().all(|value| *value as usize <= self.texts.len())
            })
    }
}

/// The numbers of things: their places in a list that grows.
struct Numbers<T>(HashMap<T, u32, RandomState>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    fn of(&mut self, one: T, list: &mut Vec<T>) -> u32 {
        *self.0.entry(one).or_insert_with_key(|one| {
            list.push(one.clone());
            place(list.len() - 1)
        })
    }
}

/// A batch has at most some ten thousand events.
fn place(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Partials while events are added.
struct Summing<'d> {
    dimensions: &'d [Dimension],
    partials: Partials,
    orgs: Numbers<Uuid>,
    hours: Numbers<i32>,
    ids: HashMap<Uuid, u32, RandomState>,
    texts: HashMap<Box<str>, u32, RandomState>,
    statuses: [Option<u32>; Status::ALL.len()],
    /// Places of entries by their keys.
    places: HashTable<usize>,
    hasher: RandomState,
    key: Vec<u32>,
}

impl<'d> Summing<'d> {
    fn new(dimensions: &'d [Dimension]) -> Self {
        let names = dimensions.iter().map(|dimension| dimension.name().into_owned()).collect();
        Self {
            dimensions,
            partials: Partials { dimensions: names, ..Partials::default() },
            orgs: Numbers::default(),
            hours: Numbers::default(),
            ids: HashMap::default(),
            texts: HashMap::default(),
            statuses: [None; Status::ALL.len()],
            places: HashTable::new(),
            hasher: RandomState::default(),
            key: Vec::new(),
        }
    }

    fn add(&mut self, event: &Event) {
        self.key.clear();
        self.key.push(self.orgs.of(event.org_id, &mut self.partials.orgs));
        self.key.push(self.hours.of(hour_of(event.occurred_at), &mut self.partials.hours));
        let metadata = match self.dimensions.iter().any(|of| matches!(of, Dimension::Meta(_))) {
            true => event.metadata.as_ref().map(|metadata| metadata.pairs()).unwrap_or_default(),
            false => Default::default(),
        };
        for dimension in self.dimensions {
            let value = match dimension {
                Dimension::Model => self.id(event.model_id),
                Dimension::Actor => event.actor_id.map_or(MISSING, |id| self.id(id)),
                Dimension::Client => event.client_id.as_deref().map_or(MISSING, |text| self.text(text)),
                Dimension::ErrorCode => event.error_code.as_deref().map_or(MISSING, |text| self.text(text)),
                Dimension::Status => self.status(event.status),
                Dimension::Meta(field) => metadata.get(&**field).map_or(MISSING, |text| self.text(text)),
            };
            self.key.push(value);
        }
        let (key, keys, width) = (&self.key, &self.partials.keys, self.key.len());
        let key_at = |place: &usize| &keys[place * width..(place + 1) * width];
        let hash = |key: &[u32]| self.hasher.hash_one(key);
        match self.places.entry(hash(key), |place| key_at(place) == key, |place| hash(key_at(place))) {
            Entry::Occupied(found) => self.partials.measures[*found.get()] += Measures::of(event),
            Entry::Vacant(vacant) => {
                vacant.insert(self.partials.measures.len());
                self.partials.keys.extend_from_slice(&self.key);
                self.partials.measures.push(Measures::of(event));
            }
        }
    }

    fn id(&mut self, id: Uuid) -> u32 {
        let texts = &mut self.partials.texts;
        *self.ids.entry(id).or_insert_with(|| {
            texts.push(id.to_string());
            place(texts.len())
        })
    }

    fn text(&mut self, text: &str) -> u32 {
        let text = kept(text);
        if let Some(number) = self.texts.get(&*text) {
            return *number;
        }
        self.partials.texts.push(text.to_string());
        let number = place(self.partials.texts.len());
        self.texts.insert(text.into(), number);
        number
    }

    fn status(&mut self, status: Status) -> u32 {
        let texts = &mut self.partials.texts;
        *self.statuses[status as usize].get_or_insert_with(|| {
            texts.push(status.as_str().to_owned());
            place(texts.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Cents;

    pub fn event(org: u128, at: &str, client: Option<&str>) -> Event {
        Event {
            event_id: Uuid::from_u128(9),
            org_id: Uuid::from_u128(org),
            model_id: Uuid::from_u128(7),
            actor_id: None,
            client_id: client.map(str::to_owned),
            occurred_at: at.parse().unwrap(),
            status: Status::Timeout,
            error_code: None,
            latency_ms: 5,
            input_tokens: 10,
            output_tokens: 20,
            cost_estimate_cents: Cents::from_units(3),
            metadata: Some([("a.\"b\"".to_owned(), "🦀".to_owned())].into()),
        }
    }

    fn named(partials: &Partials) -> Vec<(u128, Vec<Option<&str>>, u64)> {
        let text = |value: &u32| value.checked_sub(1).map(|place| partials.texts()[place as usize].as_str());
        let entry = |one: PartialEntry<'_>| {
            (one.org_id.as_u128(), one.values.iter().map(text).collect(), one.measures.invocations)
        };
        // The texts outlive the entries.
        partials.entries().map(entry).collect()
    }

    #[test]
    fn equal_keys_are_summed_once() {
        let set: Set = "meta.a.\"b\",status,clientId".parse().unwrap();
        let dimensions = carried(&[set.clone(), set]);
        let events = [
            event(1, "2026-03-01T10:00:00Z", Some("x")),
            event(1, "2026-03-01T10:59:00Z", Some("x")),
            event(1, "2026-03-01T10:59:00Z", None),
            event(2, "2026-03-01T10:59:00Z", Some("x")),
        ];
        let partials = Partials::of(&dimensions, &events);
        assert_eq!(partials.dimensions(), ["clientId", "status", "meta.a.\"b\""]);
        let of = |org, client, n| (org, vec![client, Some("timeout"), Some("🦀")], n);
        assert_eq!(named(&partials), [of(1, Some("x"), 2), of(1, None, 1), of(2, Some("x"), 1)]);
        assert_eq!(Partials::unpack(&partials.pack().unwrap()).unwrap(), partials);
    }

    #[test]
    fn what_is_removed_leaves_no_name_behind() {
        let dimensions = [Dimension::Client];
        let events =
            [event(1, "2026-03-01T10:00:00Z", Some("secret")), event(2, "2026-03-01T10:00:00Z", Some("stays"))];
        let mut partials = Partials::of(&dimensions, &events);
        assert!(partials.remove(|org_id, _| org_id == Uuid::from_u128(1)));
        assert!(!partials.remove(|org_id, _| org_id == Uuid::from_u128(1)));
        assert_eq!(named(&partials), [(2, vec![Some("stays")], 1)]);
        let packed = partials.pack().unwrap();
        assert!(!packed.windows(6).any(|bytes| bytes == b"secret"));
    }

    #[test]
    fn bytes_that_contradict_themselves_are_refused() {
        let mut partials = Partials::of(&[Dimension::Client], &[event(1, "2026-03-01T10:00:00Z", Some("x"))]);
        partials.keys[2] = 9;
        assert_eq!(Partials::unpack(&partials.pack().unwrap()), Err(FORM.error("it contradicts itself")));
        assert_eq!(Partials::unpack(&[]), Err(FORM.error("it is empty")));
        assert_eq!(Partials::unpack(&[7]), Err(FORM.error("version 7 is not known here")));
        assert!(Partials::unpack(&[1, 255]).is_err());
    }
}

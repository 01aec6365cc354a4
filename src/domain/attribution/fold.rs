//! Folding: what pending rows add up to by org, set and hour, and which of their keys keep their names.
//!
//! Of an org, a set and a UTC day at most so many keys have names. What lies beyond is summed by what there is little of, model and
//! status, and loses its other values: sums stay exact, and memory and disk bounded, whatever events name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use uuid::Uuid;

use super::{Dimension, LOST, MISSING, Measures, Part, Partials, Set};
use crate::domain::{
    packed::{Form, PackedError},
    rollup::day_of_hour,
};

/// Ids of the first value that has a name.
const FIRST: u32 = LOST + 1;
/// Values of an org and dimension at most, for each key that may have names.
const VALUES_A_KEY: u32 = 20;
const FORM: Form = Form { what: "keys of attribution", version: 1 };

type Sums = HashMap<Box<[u32]>, Measures, RandomState>;

/// Pending rows while they are folded.
pub struct Folding<'s> {
    sets: &'s [Set],
    texts: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32, RandomState>,
    /// By org, for each set: by hour, by the numbers of texts, which are one more than their places; 0: missing.
    orgs: BTreeMap<Uuid, Vec<BTreeMap<i32, Sums>>>,
    /// Orgs, places of sets and UTC days of which a row did not carry all dimensions.
    lacking: BTreeSet<(Uuid, usize, i32)>,
}

/// One sum of an org and set, with the names of its values.
pub struct Named {
    pub hour: i32,
    pub values: Vec<Option<Arc<str>>>,
    pub measures: Measures,
}

impl<'s> Folding<'s> {
    pub fn new(sets: &'s [Set]) -> Self {
        Self { sets, texts: Vec::new(), places: HashMap::default(), orgs: BTreeMap::new(), lacking: BTreeSet::new() }
    }

    /// Takes in a row.
    pub fn add(&mut self, partials: &Partials) {
        // Where the values of each set's dimensions stand in the row; none where it does not carry one of them.
        let place = |dimension: &Dimension| {
            let name = dimension.name();
            partials.dimensions().iter().position(|carried| *carried == name)
        };
        let places: Vec<Option<Vec<usize>>> =
            self.sets.iter().map(|set| set.dimensions().iter().map(place).collect()).collect();
        let numbers: Vec<u32> = partials.texts().iter().map(|text| self.number_of(text)).collect();
        let mut key = Vec::new();
        for entry in partials.entries() {
            let sets = self.orgs.entry(entry.org_id).or_insert_with(|| vec![BTreeMap::new(); self.sets.len()]);
            for (n, (places, hours)) in places.iter().zip(sets).enumerate() {
                let Some(places) = places else {
                    self.lacking.insert((entry.org_id, n, day_of_hour(entry.hour)));
                    continue;
                };
                let number = |value: u32| value.checked_sub(1).map_or(0, |place| numbers[place as usize]);
                key.clear();
                key.extend(places.iter().map(|place| number(entry.values[*place])));
                let sums = hours.entry(entry.hour).or_default();
                match sums.get_mut(key.as_slice()) {
                    Some(sum) => *sum += entry.measures,
                    None => {
                        sums.insert(key.as_slice().into(), entry.measures);
                    }
                }
            }
        }
    }

    fn number_of(&mut self, text: &str) -> u32 {
        if let Some(number) = self.places.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.places.insert(text, number);
        number
    }

    pub fn orgs(&self) -> Vec<Uuid> {
        self.orgs.keys().copied().collect()
    }

    /// How many UTC days an org has, each counted once a set.
    pub fn days(&self, org_id: Uuid) -> usize {
        let days =
            |hours: &BTreeMap<i32, Sums>| hours.keys().map(|hour| day_of_hour(*hour)).collect::<BTreeSet<_>>().len();
        self.orgs.get(&org_id).map_or(0, |sets| sets.iter().map(days).sum())
    }

    /// Orgs, places of sets and UTC days that have to be counted from raw events, since a row did not carry all of it.
    pub const fn lacking(&self) -> &BTreeSet<(Uuid, usize, i32)> {
        &self.lacking
    }

    /// What a set has of an org. The largest come first: these keep their names where not all can.
    pub fn take(&mut self, org_id: Uuid, set: usize) -> Vec<Named> {
        let hours = self.orgs.get_mut(&org_id).and_then(|sets| sets.get_mut(set)).map(std::mem::take);
        let mut all: Vec<(i32, Box<[u32]>, Measures)> = hours
            .unwrap_or_default()
            .into_iter()
            .flat_map(|(hour, sums)| sums.into_iter().map(move |(key, measures)| (hour, key, measures)))
            .collect();
        all.sort_unstable_by(|one, other| {
            (other.2.invocations, &one.1, one.0).cmp(&(one.2.invocations, &other.1, other.0))
        });
        let text = |number: &u32| number.checked_sub(1).map(|place| self.texts[place as usize].clone());
        let named = |(hour, key, measures): (i32, Box<[u32]>, Measures)| Named {
            hour,
            values: key.iter().map(text).collect(),
            measures,
        };
        all.into_iter().map(named).collect()
    }
}

/// The ids of an org's values, as far as they are known, and new ones.
#[derive(Debug, Default)]
pub struct Dictionary {
    dimensions: HashMap<Dimension, Ids>,
    /// Those that were not there before.
    added: Vec<(Dimension, Arc<str>, u32)>,
    most: u32,
}

#[derive(Debug, Default)]
struct Ids {
    by_value: HashMap<Arc<str>, u32, RandomState>,
    next: Option<u32>,
    /// How many of the ids before have no value any more.
    freed: u32,
}

impl Ids {
    fn next(&self) -> u32 {
        self.next.unwrap_or(FIRST)
    }

    /// How many values there are.
    fn count(&self) -> u32 {
        (self.next() - FIRST).saturating_sub(self.freed)
    }
}

impl Dictionary {
    /// Of an org of which a day may have so many keys.
    pub fn new(max_keys: u32) -> Self {
        Self { most: max_keys.saturating_mul(VALUES_A_KEY), ..Self::default() }
    }

    /// Takes in the id that a value has.
    pub fn know(&mut self, dimension: &Dimension, value: Arc<str>, id: u32) {
        self.dimensions.entry(dimension.clone()).or_default().by_value.insert(value, id);
    }

    /// Takes in the id that the next new value of a dimension gets, and how many of those before have none any more; without it the
    /// dimension has none yet.
    pub fn begin_at(&mut self, dimension: &Dimension, next: u32, freed: u32) {
        let ids = self.dimensions.entry(dimension.clone()).or_default();
        (ids.next, ids.freed) = (Some(next), freed);
    }

    pub fn find(&self, dimension: &Dimension, value: &str) -> Option<u32> {
        self.dimensions.get(dimension)?.by_value.get(value).copied()
    }

    /// The value's id, where it has one or there is room for another value.
    fn find_or_add(&mut self, dimension: &Dimension, value: &Arc<str>) -> Option<u32> {
        if let Some(id) = self.find(dimension, value) {
            return Some(id);
        }
        let ids = self.dimensions.entry(dimension.clone()).or_default();
        if ids.count() >= self.most {
            return None;
        }
        let id = ids.next();
        ids.next = Some(id + 1);
        ids.by_value.insert(value.clone(), id);
        self.added.push((dimension.clone(), value.clone(), id));
        Some(id)
    }

    fn has_room(&self, dimension: &Dimension, value: &str) -> bool {
        let count = self.dimensions.get(dimension).map_or(0, Ids::count);
        self.find(dimension, value).is_some() || count < self.most
    }

    pub fn added(&self) -> &[(Dimension, Arc<str>, u32)] {
        &self.added
    }
}

/// Keys of an org, a set and a UTC day that have names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownKeys {
    keys: HashSet<Box<[u32]>, RandomState>,
    grown: bool,
}

impl KnownKeys {
    pub fn unpack(bytes: &[u8], width: usize) -> Result<Self, PackedError> {
        let ids: Vec<u32> = FORM.unpack(bytes)?;
        if !ids.len().is_multiple_of(width) {
            return Err(FORM.error(format_args!("{} ids are no keys of {width}", ids.len())));
        }
        Ok(Self { keys: ids.chunks_exact(width).map(Into::into).collect(), grown: false })
    }

    pub fn pack(&self) -> Result<Vec<u8>, PackedError> {
        let mut keys: Vec<&[u32]> = self.keys.iter().map(AsRef::as_ref).collect();
        keys.sort_unstable();
        FORM.pack(&keys.concat())
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are more than were read.
    pub const fn has_grown(&self) -> bool {
        self.grown
    }
}

/// Sums of an org and set whose values get their ids.
pub struct Naming<'n> {
    pub set: &'n Set,
    pub max_keys: u32,
    pub dictionary: &'n mut Dictionary,
    /// By UTC day.
    pub known: BTreeMap<i32, KnownKeys>,
    pub hours: BTreeMap<i32, Part>,
}

impl Naming<'_> {
    /// Adds a sum. While there is room, a key that is not known yet becomes known.
    pub fn add(&mut self, Named { hour, values, measures }: &Named) {
        let known = self.known.entry(day_of_hour(*hour)).or_default();
        let pairs = || self.set.dimensions().iter().zip(values);
        let find = |dictionary: &Dictionary| -> Option<Box<[u32]>> {
            pairs()
                .map(|(of, value)| value.as_ref().map_or(Some(MISSING), |value| dictionary.find(of, value)))
                .collect()
        };
        let mut key = find(self.dictionary).filter(|key| known.keys.contains(key));
        let has_room = |dictionary: &Dictionary| {
            pairs().all(|(of, value)| value.as_ref().is_none_or(|value| dictionary.has_room(of, value)))
        };
        if key.is_none() && known.keys.len() < self.max_keys as usize && has_room(self.dictionary) {
            let add = |(of, value): (&Dimension, &Option<Arc<str>>)| match value {
                None => Some(MISSING),
                Some(value) => self.dictionary.find_or_add(of, value),
            };
            key = pairs().map(add).collect();
            if let Some(key) = &key {
                known.grown = true;
                known.keys.insert(key.clone());
            }
        }
        let mut lost = |(of, value): (&Dimension, &Option<Arc<str>>)| match value {
            None => MISSING,
            Some(value) if of.outlives_the_cap() => self.dictionary.find_or_add(of, value).unwrap_or(LOST),
            Some(_) => LOST,
        };
        let key = key.unwrap_or_else(|| pairs().map(&mut lost).collect());
        self.hours.entry(*hour).or_default().add(&key, *measures);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(hour: i32, values: &[Option<&str>], invocations: u64) -> Named {
        let values = values.iter().map(|value| value.map(Arc::from)).collect();
        Named { hour, values, measures: Measures { invocations, ..Measures::default() } }
    }

    fn named_all(set: &Set, max_keys: u32, sums: &[Named]) -> (BTreeMap<i32, Part>, usize) {
        let mut dictionary = Dictionary::new(max_keys);
        let mut naming =
            Naming { set, max_keys, dictionary: &mut dictionary, known: BTreeMap::new(), hours: BTreeMap::new() };
        sums.iter().for_each(|sum| naming.add(sum));
        let hours = naming.hours;
        (hours, dictionary.added.len())
    }

    #[test]
    fn beyond_the_cap_model_and_status_stay() {
        let set: Set = "status,clientId,modelId".parse().unwrap();
        let sums = [
            named(0, &[Some("success"), Some("a"), Some("m")], 5),
            named(0, &[Some("success"), Some("b"), Some("m")], 4),
            named(1, &[Some("success"), Some("c"), Some("m")], 3),
            named(1, &[Some("success"), Some("d"), Some("m")], 2),
            named(1, &[Some("error"), None, Some("m")], 1),
            // Known before: it is not beyond.
            named(23, &[Some("success"), Some("a"), Some("m")], 1),
            // Another day.
            named(24, &[Some("success"), Some("c"), Some("m")], 1),
        ];
        let (hours, values) = named_all(&set, 2, &sums);
        let keys = |hour| hours[&hour].0.iter().map(|(key, sum)| (key.to_vec(), sum.invocations)).collect::<Vec<_>>();
        assert_eq!(keys(0), [(vec![2, 2, 2], 5), (vec![2, 3, 2], 4)]);
        assert_eq!(keys(1), [(vec![2, LOST, 2], 5), (vec![3, MISSING, 2], 1)]);
        assert_eq!((keys(23), keys(24)), (vec![(vec![2, 2, 2], 1)], vec![(vec![2, 4, 2], 1)]));
        assert_eq!(values, 6, "two statuses, three clients, a model: names of what is lost are not kept");
    }

    #[test]
    fn freed_values_make_room_for_new_ones() {
        let mut dictionary = Dictionary::new(1);
        let client = Dimension::Client;
        dictionary.begin_at(&client, FIRST + VALUES_A_KEY, 0);
        assert_eq!(dictionary.find_or_add(&client, &"a".into()), None);
        dictionary.begin_at(&client, FIRST + VALUES_A_KEY, 1);
        assert!(dictionary.has_room(&client, "a"));
        assert_eq!(dictionary.find_or_add(&client, &"a".into()), Some(FIRST + VALUES_A_KEY), "no id is given twice");
        assert!(dictionary.has_room(&client, "a") && !dictionary.has_room(&client, "b"));
    }

    #[test]
    fn known_keys_come_back_unchanged() {
        let mut known = KnownKeys::default();
        known.keys.extend([vec![2, 3].into(), vec![1, 9].into()]);
        let packed = known.pack().unwrap();
        assert_eq!(KnownKeys::unpack(&packed, 2).unwrap(), known);
        assert!(KnownKeys::unpack(&packed, 3).is_err());
        assert!(KnownKeys::unpack(&[], 2).is_err());
        assert!(!known.has_grown());
    }

    proptest! {
        /// Whatever the cap, and however the events are spread over rows: nothing is lost but names.
        #[test]
        fn the_cap_changes_no_sum(
            sums in proptest::collection::vec((0..50_i32, proptest::option::of(0..30_u8), 0..5_u8, 1..9_u64), 0..200),
            max_keys in 1..40_u32,
        ) {
            let set: Set = "clientId,modelId".parse().unwrap();
            let texts: Vec<(i32, Option<String>, String, u64)> = sums
                .iter()
                .map(|(hour, client, model, n)| (*hour, client.map(|id| id.to_string()), model.to_string(), *n))
                .collect();
            let all: Vec<Named> = texts
                .iter()
                .map(|(hour, client, model, n)| named(*hour, &[client.as_deref(), Some(model)], *n))
                .collect();
            let (hours, values) = named_all(&set, max_keys, &all);
            for hour in 0..50 {
                let expected: u64 = sums.iter().filter(|sum| sum.0 == hour).map(|sum| sum.3).sum();
                prop_assert_eq!(hours.get(&hour).map_or(0, |part| part.total().invocations), expected);
                let missing: u64 = sums.iter().filter(|sum| sum.0 == hour && sum.1.is_none()).map(|sum| sum.3).sum();
                let unset = hours.get(&hour).into_iter().flat_map(|part| &part.0).filter(|(key, _)| key[0] == MISSING);
                prop_assert_eq!(unset.map(|(_, sum)| sum.invocations).sum::<u64>(), missing);
            }
            for day in 0..3 {
                let named: BTreeSet<_> = hours
                    .iter()
                    .filter(|(hour, _)| day_of_hour(**hour) == day)
                    .flat_map(|(_, part)| part.0.keys().filter(|key| !key.contains(&LOST)))
                    .collect();
                // Those without a client have nothing to lose.
                prop_assert!(named.len() <= max_keys as usize + 5);
            }
            prop_assert!(values <= 20 * 2 * max_keys as usize);
        }
    }
}

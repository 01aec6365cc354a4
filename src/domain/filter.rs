//! A set of keys by their hashes, in four bytes each, that forgets by age.
//!
//! A cuckoo filter: an entry holds 26 bits of a hash, its tag, and an age, and lies in one of two buckets that the hash names. So a key that
//! was put in is always found, and another one is taken for it about once in 2¹⁸ look-ups. A bucket is one line of the processor's cache.
//!
//! It grows by doubling, up to three times: the buckets are those of one, two, four or eight tables, and the upper bits of the tag
//! say which. A table is split into two without a look at what its hashes were.

/// Entries of a bucket.
const SLOTS: usize = 16;
const BUCKET_BYTES: usize = SLOTS * size_of::<u32>();
const TAG_BITS: u32 = 26;
const AGE_BITS: u32 = u32::BITS - TAG_BITS;
/// How often the filter doubles at most. Each time a bit of the tags becomes common to all of a table.
const MOST_DOUBLINGS: u32 = 3;
/// Sixteenths of the slots that are filled before it counts as full.
const FILLED: usize = 15;

/// How old a key is: the lower, the older. Zero is that of a free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(u8);

impl Age {
    pub const COUNT: usize = 1 << AGE_BITS;
    pub const OLDEST: Self = Self(1);

    /// From 1 to 63.
    pub fn new(age: u8) -> Self {
        Self(age.clamp(1, (1 << AGE_BITS) - 1))
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// No room is left.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

type Bucket = [u32; SLOTS];

pub struct Filter {
    tables: Vec<Vec<Bucket>>,
    doublings: u32,
    /// Buckets of a table.
    buckets: usize,
    len: usize,
}

/// Where an entry may be.
#[derive(Clone, Copy)]
struct Place {
    table: usize,
    bucket: usize,
}

impl Filter {
    /// One that takes at most so many bytes, or one bucket a table.
    pub fn new(memory_bytes: usize) -> Self {
        let buckets = ((memory_bytes / BUCKET_BYTES) >> MOST_DOUBLINGS).max(1);
        Self { tables: vec![vec![[0; SLOTS]; buckets]], doublings: 0, buckets, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// How many keys it may hold.
    pub fn capacity(&self) -> usize {
        ((self.buckets * SLOTS) << MOST_DOUBLINGS) / 16 * FILLED
    }

    /// The age of a key, or of one that looks the same.
    pub fn age(&self, hash: u64) -> Option<Age> {
        let tag = tag(hash);
        let (first, second) = self.places(hash);
        let entry = self.find(first, tag).or_else(|| self.find(second, tag));
        entry.map(|(place, slot)| age(self.tables[place.table][place.bucket][slot]))
    }

    /// Gives a key that is there another age.
    pub fn set_age(&mut self, hash: u64, age: Age) {
        let tag = tag(hash);
        let (first, second) = self.places(hash);
        if let Some((place, slot)) = self.find(first, tag).or_else(|| self.find(second, tag)) {
            self.tables[place.table][place.bucket][slot] = entry(tag, age);
        }
    }

    /// Puts in a key that is not there.
    pub fn insert(&mut self, hash: u64, age: Age) -> Result<(), Full> {
        let entry = entry(tag(hash), age);
        loop {
            if self.len < self.slots() / 16 * FILLED && self.place(hash, entry) {
                self.len += 1;
                return Ok(());
            }
            if self.doublings == MOST_DOUBLINGS {
                return Err(Full);
            }
            self.double();
        }
    }

    /// Gives every key the age that `change` says, or forgets it.
    pub fn change_ages(&mut self, change: impl Fn(Age) -> Option<Age>) {
        let mut new = [0; Age::COUNT];
        for (age, new) in (0..).zip(&mut new).skip(1) {
            *new = change(Age(age)).map_or(0, |age| u32::from(age.0));
        }
        for slot in self.tables.iter_mut().flatten().flatten().filter(|slot| **slot != 0) {
            *slot = match new[age(*slot).index()] {
                0 => 0,
                age => *slot >> AGE_BITS << AGE_BITS | age,
            };
            self.len -= usize::from(*slot == 0);
        }
    }

    fn slots(&self) -> usize {
        (self.buckets * SLOTS) << self.doublings
    }

    fn places(&self, hash: u64) -> (Place, Place) {
        let tag = tag(hash);
        let table = self.table(tag);
        // The upper half of the hash, which no tag has a part of, as a part of the number of buckets.
        let bucket = scaled(hash >> 32, self.buckets);
        (Place { table, bucket }, self.other(Place { table, bucket }, tag))
    }

    fn table(&self, tag: u32) -> usize {
        (tag >> (TAG_BITS - self.doublings)) as usize
    }

    /// The other one of an entry's two places: of the other it gives this one.
    fn other(&self, Place { table, bucket }: Place, tag: u32) -> Place {
        let sum = scaled(u64::from(tag.wrapping_mul(0x9E37_79B9)), self.buckets);
        let bucket = if sum >= bucket { sum - bucket } else { sum + self.buckets - bucket };
        Place { table, bucket }
    }

    fn find(&self, place: Place, tag: u32) -> Option<(Place, usize)> {
        let bucket = &self.tables[place.table][place.bucket];
        // Without a branch for each slot. An entry is not zero, a free slot is, and so may be a tag.
        let mut found = 0_u32;
        for (slot, entry) in bucket.iter().enumerate() {
            found |= u32::from(*entry >> AGE_BITS == tag && *entry != 0) << slot;
        }
        (found != 0).then(|| (place, found.trailing_zeros() as usize))
    }

    fn free(&self, place: Place) -> Option<usize> {
        self.tables[place.table][place.bucket].iter().position(|entry| *entry == 0)
    }

    /// Puts an entry into one of its places, or where another one can move to its other place. False where there is no room.
    fn place(&mut self, hash: u64, entry: u32) -> bool {
        let (first, second) = self.places(hash);
        for place in [first, second] {
            if let Some(slot) = self.free(place) {
                self.tables[place.table][place.bucket][slot] = entry;
                return true;
            }
        }
        for place in [first, second] {
            for slot in 0..SLOTS {
                let moving = self.tables[place.table][place.bucket][slot];
                let other = self.other(place, moving >> AGE_BITS);
                if let Some(free) = self.free(other) {
                    self.tables[other.table][other.bucket][free] = moving;
                    self.tables[place.table][place.bucket][slot] = entry;
                    return true;
                }
            }
        }
        false
    }

    /// Splits each table by the next bit of its tags. What lies in a bucket stays in the bucket of that number.
    fn double(&mut self) {
        self.doublings += 1;
        let bit = u32::BITS - self.doublings;
        for table in std::mem::take(&mut self.tables) {
            let half = |wanted: u32| {
                let is_of_half = |entry: u32| entry != 0 && entry >> bit & 1 == wanted;
                table.iter().map(|bucket| bucket.map(|entry| if is_of_half(entry) { entry } else { 0 })).collect()
            };
            self.tables.extend([half(0), half(1)]);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are meant")]
fn tag(hash: u64) -> u32 {
    hash as u32 >> AGE_BITS
}

fn entry(tag: u32, age: Age) -> u32 {
    tag << AGE_BITS | u32::from(age.0)
}

fn age(entry: u32) -> Age {
    Age((entry & ((1 << AGE_BITS) - 1)) as u8)
}

/// From 32 bits to a number below `below`, each as likely.
fn scaled(bits: u64, below: usize) -> usize {
    ((bits as u128 * below as u128) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes of numbers.
    fn hash(n: u64) -> u64 {
        let mixed = (n ^ 0x5851_F42D_4C95_7F2D).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ mixed >> 32
    }

    fn filled(memory_bytes: usize) -> (Filter, u64) {
        let mut filter = Filter::new(memory_bytes);
        let mut n = 0;
        while filter.age(hash(n)).is_some() || filter.insert(hash(n), Age::new(7)).is_ok() {
            n += 1;
        }
        (filter, n)
    }

    #[test]
    fn a_full_filter_takes_little_more_than_four_bytes_a_key() {
        for memory_bytes in [1 << 16, 1 << 20, 1_333_333] {
            let (filter, keys) = filled(memory_bytes);
            assert!((0..keys).all(|n| filter.age(hash(n)) == Some(Age::new(7))));
            let bytes: usize = filter.tables.iter().map(|table| table.len() * BUCKET_BYTES).sum();
            assert!(bytes <= memory_bytes);
            assert!(filter.len() * 100 >= filter.capacity() * 99, "{} of {}", filter.len(), filter.capacity());
            assert!(bytes as f64 / (filter.len() as f64) < 4.4);
        }
    }

    #[test]
    fn few_other_keys_look_known() {
        let (filter, keys) = filled(1 << 18);
        let known = (keys..keys + 1_000_000).filter(|n| filter.age(hash(*n)).is_some()).count();
        assert!(known < 20, "{known} of a million");
    }

    #[test]
    fn ages_change_all_at_once() {
        let mut filter = Filter::new(1 << 16);
        for n in 0..600 {
            filter.insert(hash(n), Age::new(u8::try_from(n % 3).unwrap() + 1)).unwrap();
        }
        filter.change_ages(|age| match age.index() {
            1 => None,
            2 => Some(Age::OLDEST),
            _ => Some(age),
        });
        let ages = |n| (0..600).filter(|k| k % 3 == n).map(|k| filter.age(hash(k))).collect::<Vec<_>>();
        assert_eq!(filter.len(), 400);
        assert!(ages(0).iter().all(Option::is_none));
        assert!(ages(1).iter().all(|age| *age == Some(Age::OLDEST)));
        assert!(ages(2).iter().all(|age| *age == Some(Age::new(3))));
    }

    proptest! {
        /// Against a map: whatever the hashes are, a key that is in is found, at least as young as it was put in.
        #[test]
        fn what_was_put_in_is_found(
            keys in prop::collection::vec((prop_oneof![any::<u64>(), 0u64..300, (0u64..300).prop_map(|n| n << 32)], 1u8..64), 0..1500),
            memory in 0usize..20_000,
        ) {
            let mut filter = Filter::new(memory);
            let mut known: HashMap<u64, u8> = HashMap::new();
            for (hash, age) in keys {
                match filter.age(hash) {
                    Some(found) if found >= Age::new(age) => {}
                    Some(_) => filter.set_age(hash, Age::new(age)),
                    None => if filter.insert(hash, Age::new(age)).is_err() { continue },
                }
                let oldest = known.entry(hash).or_default();
                *oldest = age.max(*oldest);
            }
            for (hash, age) in known {
                prop_assert!(filter.age(hash).is_some_and(|found| found >= Age::new(age)));
            }
        }
    }
}

//! Parts: sums of a bucket, packed. A bucket's sums are those of all of its parts.

use std::collections::BTreeMap;

use super::Measures;

/// Version of the packed form, its first byte.
const VERSION: u8 = 1;

/// The id of a value that the events do not have, and of one whose name is lost. Others follow.
pub const MISSING: u32 = 0;
pub const LOST: u32 = 1;

/// Sums by the ids of values, in the order of the set's dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(pub BTreeMap<Box<[u32]>, Measures>);

#[derive(Debug, thiserror::Error)]
#[error("a part of attribution cannot be read: {0}")]
pub struct BrokenPart(String);

impl BrokenPart {
    pub(super) const fn of(why: String) -> Self {
        Self(why)
    }
}

impl From<postcard::Error> for BrokenPart {
    fn from(error: postcard::Error) -> Self {
        Self(error.to_string())
    }
}

impl Part {
    pub fn add(&mut self, key: &[u32], measures: Measures) {
        match self.0.get_mut(key) {
            Some(sum) => *sum += measures,
            None => {
                self.0.insert(key.into(), measures);
            }
        }
    }

    pub fn add_all(&mut self, other: &Self) {
        for (key, measures) in &other.0 {
            self.add(key, *measures);
        }
    }

    pub fn total(&self) -> Measures {
        self.0.values().copied().sum()
    }

    /// The number of entries, then for each its ids and sums, all of variable length.
    pub fn pack(&self) -> Result<Vec<u8>, BrokenPart> {
        let mut bytes = postcard::to_extend(&self.0.len(), vec![VERSION])?;
        for (key, measures) in &self.0 {
            for id in key {
                bytes = postcard::to_extend(id, bytes)?;
            }
            bytes = postcard::to_extend(measures, bytes)?;
        }
        Ok(bytes)
    }

    /// Adds what is packed, of a set with so many dimensions.
    pub fn add_packed(&mut self, bytes: &[u8], width: usize) -> Result<(), BrokenPart> {
        Self::read(bytes, width, |key, measures| self.add(key, measures))
    }

    /// Goes through what is packed.
    pub fn read(bytes: &[u8], width: usize, mut entry: impl FnMut(&[u32], Measures)) -> Result<(), BrokenPart> {
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Err(BrokenPart(format!("its version is {:?}", bytes.first())));
        };
        let (entries, mut rest) = postcard::take_from_bytes::<usize>(rest)?;
        let mut key = vec![0; width];
        for _ in 0..entries {
            for id in &mut key {
                (*id, rest) = postcard::take_from_bytes(rest)?;
            }
            let measures;
            (measures, rest) = postcard::take_from_bytes(rest)?;
            entry(&key, measures);
        }
        if rest.is_empty() { Ok(()) } else { Err(BrokenPart(format!("{} bytes are left", rest.len()))) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Cents;

    fn measures() -> impl Strategy<Value = Measures> {
        (0..1_u64 << 40, 0..1_u64 << 40, 0..1_u64 << 50, 0..1_u64 << 50, 0..1_i128 << 100).prop_map(
            |(invocations, errors, input_tokens, output_tokens, cost)| Measures {
                invocations,
                errors,
                input_tokens,
                output_tokens,
                cost: Cents::from_units(cost),
            },
        )
    }

    proptest! {
        #[test]
        fn a_packed_part_comes_back_unchanged(
            entries in proptest::collection::btree_map(proptest::collection::vec(any::<u32>(), 3), measures(), 0..20)
        ) {
            let part = Part(entries.into_iter().map(|(key, sums)| (key.into(), sums)).collect());
            let packed = part.pack().unwrap();
            let mut back = Part::default();
            back.add_packed(&packed, 3).unwrap();
            prop_assert_eq!(&back, &part);
            back.add_packed(&packed, 3).unwrap();
            let twice: Measures = [part.total(), part.total()].into_iter().sum();
            prop_assert_eq!(back.total(), twice);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), width in 0..4_usize) {
            let _ = Part::read(&bytes, width, |_, _| {});
        }
    }

    #[test]
    fn a_cut_part_is_refused() {
        let mut part = Part::default();
        part.add(&[2, 300], Measures { invocations: 5, ..Measures::default() });
        let packed = part.pack().unwrap();
        for end in 0..packed.len() {
            assert!(Part::read(&packed[..end], 2, |_, _| {}).is_err(), "{end}");
        }
        assert!(Part::read(&[packed.as_slice(), &[0]].concat(), 2, |_, _| {}).is_err());
    }
}

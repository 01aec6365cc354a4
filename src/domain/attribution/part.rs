//! Parts: sums of a bucket, packed. A bucket's sums are those of all of its parts.

use std::collections::BTreeMap;

use super::Measures;
use crate::domain::packed::{Form, PackedError};

const FORM: Form = Form { what: "a part of attribution", version: 1 };

/// The id of a value that the events do not have, and of one whose name is lost. Others follow.
pub const MISSING: u32 = 0;
pub const LOST: u32 = 1;

/// Sums by the ids of values, in the order of the set's dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(pub BTreeMap<Box<[u32]>, Measures>);

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
    pub fn pack(&self) -> Result<Vec<u8>, PackedError> {
        let mut bytes = FORM.pack(&self.0.len())?;
        for (key, measures) in &self.0 {
            for id in key {
                bytes = FORM.extend(bytes, id)?;
            }
            bytes = FORM.extend(bytes, measures)?;
        }
        Ok(bytes)
    }

    /// Adds what is packed, of a set with so many dimensions.
    pub fn add_packed(&mut self, bytes: &[u8], width: usize) -> Result<(), PackedError> {
        Self::read(bytes, width, |key, measures| self.add(key, measures))
    }

    /// Goes through what is packed.
    pub fn read(bytes: &[u8], width: usize, mut entry: impl FnMut(&[u32], Measures)) -> Result<(), PackedError> {
        let (entries, mut rest) = FORM.take::<usize>(FORM.body(bytes)?)?;
        let mut key = vec![0; width];
        for _ in 0..entries {
            for id in &mut key {
                (*id, rest) = FORM.take(rest)?;
            }
            let measures;
            (measures, rest) = FORM.take(rest)?;
            entry(&key, measures);
        }
        if rest.is_empty() { Ok(()) } else { Err(FORM.error(format_args!("{} bytes are left", rest.len()))) }
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

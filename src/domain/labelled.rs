//! Outcomes by label, the name of a client or an error code: packed for one hour, and added up over many.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    histogram::Histogram,
    packed::{Form, PackedError},
    reliability::{Only, Outcomes},
};

/// Most bytes of an hour that is packed: some 150 clients with a hundred different latencies each, or 3,000 with one event. What
/// has more is not packed.
pub const MAX_BYTES: usize = 64 << 10;
const FORM: Form = Form { what: "an hour by label", version: 1 };

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    label: Option<&'a str>,
    by_status: [u64; 4],
    latency: Histogram,
}

/// Packs the labels of an hour, one after the other.
#[derive(Debug)]
pub struct Packing(Vec<u8>);

impl Default for Packing {
    fn default() -> Self {
        Self(FORM.empty())
    }
}

impl Packing {
    /// No label: events that have none.
    pub fn add(&mut self, label: Option<&str>, outcomes: Outcomes) -> Result<(), PackedError> {
        let Outcomes { by_status, latency } = outcomes;
        if self.0.len() <= MAX_BYTES {
            self.0 = FORM.extend(std::mem::take(&mut self.0), &Entry { label, by_status, latency })?;
        }
        Ok(())
    }

    /// None: they are too many.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.0.len() <= MAX_BYTES).then_some(self.0)
    }
}

/// Outcomes by bucket and label.
#[derive(Debug, Default)]
pub struct Labelled {
    buckets: BTreeMap<DateTime<Utc>, Labels>,
    points: usize,
    /// None: all labels.
    only: Option<Only>,
}

#[derive(Debug, Default)]
struct Labels {
    none: Option<Outcomes>,
    named: BTreeMap<String, Outcomes>,
}

impl Labelled {
    /// Of these labels alone: others are left out when they are added.
    pub fn of(only: Option<Only>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Buckets and labels together.
    pub const fn points(&self) -> usize {
        self.points
    }

    /// Adds what a label has of a bucket.
    pub fn add(&mut self, bucket: DateTime<Utc>, label: Option<&str>, outcomes: Outcomes) {
        if self.only.as_ref().is_some_and(|only| !only.passes(label)) {
            return;
        }
        let labels = self.buckets.entry(bucket).or_default();
        let known = match label {
            None => labels.none.as_mut(),
            Some(label) => labels.named.get_mut(label),
        };
        if let Some(known) = known {
            known.merge(&outcomes);
            return;
        }
        self.points += 1;
        match label {
            None => labels.none = Some(outcomes),
            Some(label) => drop(labels.named.insert(label.to_owned(), outcomes)),
        }
    }

    /// Adds what is packed of an hour to a bucket.
    ///
    /// # Errors
    /// It cannot be read; what is there then is of no use.
    pub fn add_packed(&mut self, bucket: DateTime<Utc>, packed: &[u8]) -> Result<(), PackedError> {
        let mut left = FORM.body(packed)?;
        while !left.is_empty() {
            let (Entry { label, by_status, latency }, rest) = FORM.take(left)?;
            self.add(bucket, label, Outcomes { by_status, latency });
            left = rest;
        }
        Ok(())
    }

    /// In order of bucket, over all labels.
    pub fn into_sums(self) -> impl Iterator<Item = (DateTime<Utc>, Outcomes)> {
        self.buckets.into_iter().map(|(bucket, labels)| {
            let mut sum = Outcomes::default();
            labels.none.iter().chain(labels.named.values()).for_each(|outcomes| sum.merge(outcomes));
            (bucket, sum)
        })
    }

    /// In order of bucket and label: what has none first.
    pub fn into_points(self) -> impl Iterator<Item = (DateTime<Utc>, Option<String>, Outcomes)> {
        self.buckets.into_iter().flat_map(|(bucket, labels)| {
            let none = labels.none.map(|outcomes| (bucket, None, outcomes));
            none.into_iter().chain(labels.named.into_iter().map(move |(label, of)| (bucket, Some(label), of)))
        })
    }
}

/// What is packed, for people.
///
/// # Errors
/// It cannot be read.
pub fn summary(packed: &[u8]) -> Result<String, PackedError> {
    let mut all = Labelled::default();
    all.add_packed(DateTime::UNIX_EPOCH, packed)?;
    let (labels, invocations) =
        (all.points(), all.into_points().map(|(.., outcomes)| outcomes.invocations()).sum::<u64>());
    Ok(format!("{labels} of them with {invocations} invocations"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes(status: usize, latencies: &[u32]) -> Outcomes {
        let mut all = Outcomes::default();
        all.by_status[status] = latencies.len() as u64;
        latencies.iter().for_each(|ms| all.latency.record(*ms));
        all
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn too_many_labels_are_not_packed() {
        let mut packing = Packing::default();
        let label = "n".repeat(200);
        for _ in 0..320 {
            packing.add(Some(&label), outcomes(0, &[1])).unwrap();
        }
        assert!(packing.finish().is_none());
        assert_eq!(Packing::default().finish(), Some(FORM.empty()));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let mut packing = Packing::default();
        packing.add(Some("a"), outcomes(1, &[7, 9])).unwrap();
        let packed = packing.finish().unwrap();
        for broken in [&packed[..packed.len() - 1], &[], &[2, 0], &[FORM.version, 1, 255]] {
            assert!(Labelled::default().add_packed(at(0), broken).is_err(), "{broken:?}");
        }
        Labelled::default().add_packed(at(0), &packed).unwrap();
    }

    type Event = (i64, Option<String>, usize, u32);

    fn sum<'a>(events: impl IntoIterator<Item = &'a Event>) -> Labelled {
        let mut sum = Labelled::default();
        for (bucket, label, status, ms) in events {
            sum.add(at(*bucket), label.as_deref(), outcomes(*status, &[*ms]));
        }
        sum
    }

    proptest! {
        #[test]
        fn packed_hours_add_up_to_their_events(
            events in prop::collection::vec((0i64..3, prop::option::of("[a-cé]{0,2}"), 0usize..4, 0u32..5000), 0..80),
        ) {
            let all: Vec<_> = sum(&events).into_points().collect();
            let mut from_packed = Labelled::default();
            // Two hours for each bucket.
            for (half, bucket) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)] {
                let part = events.iter().enumerate().filter(|(n, event)| n % 2 == half && event.0 == bucket);
                let mut packing = Packing::default();
                for (_, label, outcomes) in sum(part.map(|(_, event)| event)).into_points() {
                    packing.add(label.as_deref(), outcomes).unwrap();
                }
                from_packed.add_packed(at(bucket), &packing.finish().unwrap()).unwrap();
            }
            prop_assert_eq!(from_packed.points(), all.len());
            prop_assert_eq!(from_packed.into_points().collect::<Vec<_>>(), all.clone());
            prop_assert!(all.windows(2).all(|pair| (pair[0].0, &pair[0].1) < (pair[1].0, &pair[1].1)));
        }
    }
}

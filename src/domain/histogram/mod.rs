//! A mergeable latency histogram: exact small buckets, then logarithmic ones of ratio 1.05.
//!
//! Bucket b ≤ [`EXACT`] holds the latency b alone. Above, bucket b holds the latencies in (bound(b − 1), bound(b)],
//! where each bound is the one before times 1.05, rounded down. A bucket is represented by the value whose relative
//! distance to both its ends is the same, at most 2.44 %.

mod packed;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use self::packed::UnpackError;
use crate::domain::event::MAX_LATENCY_MS;

/// Largest latency with a bucket of its own, milliseconds. Below it, buckets of ratio 1.05 would hold one value each.
pub const EXACT: u32 = 40;

/// Buckets from which on a histogram is merged by going through all of both.
const MANY: usize = 16;

/// Upper bounds of the buckets, milliseconds; the last is the contract's bound on latency.
static BOUNDS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut bounds: Vec<u32> = (0..=EXACT).collect();
    let mut last = u64::from(EXACT);
    while last < u64::from(MAX_LATENCY_MS) {
        // A bound grows by at least two milliseconds: 40 × 1.05 is 42.
        last = (last * 105 / 100).min(u64::from(MAX_LATENCY_MS));
        bounds.push(u32::try_from(last).unwrap_or(MAX_LATENCY_MS));
    }
    bounds
});

/// Counts by bucket, sparse and in order of the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram(Vec<(u16, u64)>);

impl Histogram {
    pub fn record(&mut self, latency_ms: u32) {
        let bucket = BOUNDS.partition_point(|bound| *bound < latency_ms).min(BOUNDS.len() - 1);
        self.add(u16::try_from(bucket).unwrap_or(u16::MAX), 1);
    }

    pub fn merge(&mut self, other: &Self) {
        if other.0.len() >= MANY {
            return self.merge_many(other);
        }
        for (bucket, count) in &other.0 {
            self.add(*bucket, *count);
        }
    }

    /// Goes through both once, instead of looking for each bucket.
    fn merge_many(&mut self, other: &Self) {
        let mut theirs = other.0.iter().copied().peekable();
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        for (bucket, count) in &self.0 {
            while let Some(before) = theirs.next_if(|their| their.0 < *bucket) {
                merged.push(before);
            }
            let same = theirs.next_if(|their| their.0 == *bucket).map_or(0, |their| their.1);
            merged.push((*bucket, count + same));
        }
        merged.extend(theirs);
        self.0 = merged;
    }

    fn add(&mut self, bucket: u16, count: u64) {
        match self.0.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(i) => self.0[i].1 += count,
            Err(i) => self.0.insert(i, (bucket, count)),
        }
    }

    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// The nearest-rank percentile, milliseconds, within 2.5 % of the exact one. `percent` from 0 to 100.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let [found] = self.percentiles([percent]);
        found
    }

    /// Several percentiles at once, ascending.
    pub fn percentiles<const N: usize>(&self, percents: [f64; N]) -> [Option<f64>; N] {
        let total = self.count();
        let (mut seen, mut reached, mut counts) = (0, 0, self.0.iter());
        percents.map(|percent| {
            let rank = rank(percent, total);
            while seen < rank {
                let (bucket, count) = counts.next()?;
                (seen, reached) = (seen + count, usize::from(*bucket));
            }
            Some(representative(reached))
        })
    }
}

/// Where a percentile is among so many latencies in order, from 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn rank(percent: f64, total: u64) -> u64 {
    ((percent / 100.0 * total as f64).ceil() as u64).clamp(1, total.max(1))
}

/// A percentile as it is shown: what is beyond a hundredth of a millisecond is the histogram's, not the latency's.
pub fn shown(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

/// Adds histograms up, many of them quickly.
#[derive(Clone, Debug)]
pub struct Sum(Vec<u64>);

impl Default for Sum {
    fn default() -> Self {
        Self(vec![0; BOUNDS.len()])
    }
}

impl Sum {
    pub fn add_all(&mut self, other: &Histogram) {
        for (bucket, count) in &other.0 {
            self.add(usize::from(*bucket), *count);
        }
    }

    /// Adds latencies of one bucket; one that is not there counts as the last.
    pub fn add(&mut self, bucket: usize, count: u64) {
        self.0[bucket.min(BOUNDS.len() - 1)] += count;
    }

    pub fn histogram(&self) -> Histogram {
        let counts = (0..).zip(&self.0);
        Histogram(counts.filter(|(_, count)| **count > 0).map(|(bucket, count)| (bucket, *count)).collect())
    }
}

/// Upper bounds of the buckets in order, for code that sorts latencies into them elsewhere: a latency belongs into the first
/// bucket whose bound is not below it.
pub fn bounds() -> &'static [u32] {
    &BOUNDS
}

fn representative(bucket: usize) -> f64 {
    let high = f64::from(BOUNDS[bucket.min(BOUNDS.len() - 1)]);
    if bucket <= EXACT as usize {
        return high;
    }
    let low = f64::from(BOUNDS[bucket - 1] + 1);
    2.0 * low * high / (low + high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    fn exact(latencies: &[u32], percent: f64) -> f64 {
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
        f64::from(sorted[rank - 1])
    }

    pub(super) fn of(latencies: &[u32]) -> Histogram {
        let mut histogram = Histogram::default();
        latencies.iter().for_each(|latency| histogram.record(*latency));
        histogram
    }

    #[test]
    fn the_last_bucket_ends_at_the_bound() {
        assert!((320..370).contains(&BOUNDS.len()), "{}", BOUNDS.len());
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(BOUNDS.last(), Some(&MAX_LATENCY_MS));
    }

    #[test]
    fn zero_and_small_latencies_are_exact() {
        for latency in 0..=EXACT {
            assert_eq!(of(&[latency]).percentile(50.0), Some(f64::from(latency)));
        }
        assert_eq!(Histogram::default().percentile(50.0), None);
    }

    /// Latencies that are hard to distinguish or far apart, from a seed.
    fn hard(name: &str, n: usize, seed: u64) -> Vec<u32> {
        use rand::{Rng, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut normal = move || {
            (-2.0 * random.random::<f64>().max(1e-12).ln()).sqrt()
                * (random.random::<f64>() * std::f64::consts::TAU).cos()
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded before it is cut")]
        let ms = |value: f64| value.clamp(0.0, f64::from(MAX_LATENCY_MS)) as u32;
        (0..n)
            .map(|i| match name {
                // Responses from a cache, and one in twenty from a model that is far away: p95 lies in the gap.
                "two peaks" => ms(if i % 20 == 0 { 9000.0 + 900.0 * normal() } else { 80.0 + 4.0 * normal() }),
                "heavy tail" => ms((5.0 + 2.0 * normal()).exp()),
                // Just above a bound and just below the next, where a bucket's middle is farthest off.
                _ => {
                    let bound = 60 + i % 200;
                    if i % 2 == 0 { BOUNDS[bound] } else { BOUNDS[bound - 1] + 1 }
                }
            })
            .collect()
    }

    #[test]
    fn merged_percentiles_hold_for_hard_distributions() {
        for name in ["two peaks", "heavy tail", "edges of buckets"] {
            let mut all = Vec::new();
            let mut hours = Sum::default();
            let mut days = Histogram::default();
            for day in 0..395 {
                let latencies = hard(name, 24 * 20, day);
                for hour in latencies.chunks(20) {
                    hours.add_packed(&of(hour).pack()).unwrap();
                }
                days.merge(&of(&latencies));
                all.extend(latencies);
            }
            assert_eq!(hours.histogram(), days, "{name}");
            for percent in [50.0, 90.0, 95.0, 99.0, 99.9] {
                let (found, exact) = (days.percentile(percent).unwrap(), exact(&all, percent));
                assert!((found - exact).abs() <= exact * 0.025, "{name} p{percent}: {found} for {exact}");
            }
        }
    }

    #[test]
    fn a_bucket_is_the_number_of_lower_bounds() {
        for latency in [0, 1, 40, 41, 42, 43, 1000, MAX_LATENCY_MS] {
            let mut sum = Sum::default();
            sum.add(bounds().iter().filter(|bound| **bound < latency).count(), 1);
            assert_eq!(sum.histogram(), of(&[latency]));
        }
    }

    proptest! {
        #[test]
        fn percentiles_are_within_two_and_a_half_percent(
            latencies in prop::collection::vec(prop_oneof![0u32..=200, 0u32..=20_000, 0u32..=MAX_LATENCY_MS], 1..300),
            percent in prop_oneof![Just(50.0), Just(95.0), Just(99.0), 0.0..=100.0f64],
        ) {
            let (found, exact) = (of(&latencies).percentile(percent).unwrap(), exact(&latencies, percent));
            prop_assert!((found - exact).abs() <= exact * 0.025, "{found} for {exact}");
        }

        #[test]
        fn merging_parts_equals_recording_all(
            latencies in prop::collection::vec(0u32..=MAX_LATENCY_MS, 0..200), cut in 0usize..200,
        ) {
            let (left, right) = latencies.split_at(cut.min(latencies.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            prop_assert_eq!(&merged, &of(&latencies));
            let packed = merged.pack();
            prop_assert!(packed.len() < 2048);
            let mut read = of(right);
            read.read(&packed).unwrap();
            prop_assert_eq!(&read, &merged);
            if !merged.0.is_empty() {
                prop_assert!(read.read(&packed[..packed.len() - 1]).is_err());
            }
            let percents = [0.0, 50.0, 95.0, 99.0, 100.0];
            prop_assert_eq!(merged.percentiles(percents), percents.map(|percent| merged.percentile(percent)));
            prop_assert_eq!(Histogram::unpack(&packed).unwrap(), merged);
        }
    }
}

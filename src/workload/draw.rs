//! Seeded draws: the one place where a workload's chance comes from.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use uuid::{Builder, Uuid};

/// Random whole numbers. Not the `rand` crate's ranges, whose results may change between its versions.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// Numbers of a seed. `purpose` (at most 16 bytes count) keeps the numbers of two uses of a seed apart, `stream`
    /// those of two rows or runs.
    pub fn new(seed: u64, purpose: &[u8], stream: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[16..].iter_mut().zip(purpose) {
            *slot = *byte;
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// From 0 to `bound` - 1; 0 where `bound` is 0. (Multiply and shift: the bias is below `bound` / 2⁶⁴.)
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// The same as an index.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(u64::MAX))).unwrap_or_default()
    }

    pub fn u32_below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).unwrap_or_default()
    }

    pub fn chance(&mut self, of: u64, in_: u64) -> bool {
        self.below(in_) < of
    }

    /// A UUID of the random kind (version 4).
    pub fn uuid(&mut self) -> Uuid {
        let mut bytes = [0u8; 16];
        self.0.fill_bytes(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Zipf's distribution of exponent 1: number i (from 0) is drawn with a weight of 1 / (i + 1).
pub struct Zipf {
    /// Sums of the weights up to and with each number.
    sums: Vec<u64>,
}

impl Zipf {
    pub fn new(count: usize) -> Self {
        let mut total = 0;
        let sums = (1..=u64::try_from(count).unwrap_or_default())
            .map(|rank| {
                total += (1 << 40) / rank;
                total
            })
            .collect();
        Self { sums }
    }

    pub fn draw(&self, draw: &mut Draw) -> usize {
        let ticket = draw.below(self.sums.last().copied().unwrap_or_default());
        self.sums.partition_point(|sum| *sum <= ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_numbers_are_stable() {
        let mut draw = Draw::new(1, b"test", 0);
        let drawn: Vec<u64> = (0..4).map(|_| draw.below(1000)).collect();
        assert_eq!(drawn, DRAWN, "seeded workloads changed: published traces would be other events");
    }

    #[test]
    fn seeds_purposes_and_streams_are_apart() {
        let first = |seed, purpose: &[u8], stream| Draw::new(seed, purpose, stream).below(u64::MAX);
        let plain = first(1, b"a", 0);
        assert!([first(2, b"a", 0), first(1, b"b", 0), first(1, b"a", 1)].iter().all(|other| *other != plain));
    }

    #[test]
    fn zipf_draws_the_first_most_often() {
        let (zipf, mut draw, mut counts) = (Zipf::new(4), Draw::new(7, b"zipf", 0), [0u32; 4]);
        for _ in 0..25_000 {
            counts[zipf.draw(&mut draw)] += 1;
        }
        // Weights 12 : 6 : 4 : 3.
        for (count, expected) in counts.iter().zip([12_000, 6_000, 4_000, 3_000]) {
            assert!(count.abs_diff(expected) < 400, "{counts:?}");
        }
    }

    const DRAWN: [u64; 4] = [541, 235, 507, 107];
}

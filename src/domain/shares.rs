//! Shares: places that many want, of which none takes so many that nothing is left for another.

use std::{collections::HashMap, hash::Hash};

/// A place is given to those who hold fewer than are free. So one alone gets half of them, two get two thirds, and there
/// is always a place for one who holds none, until as many as a power of two hold some.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    free: usize,
    held: HashMap<K, usize>,
}

impl<K: Hash + Eq> Shares<K> {
    pub fn new(places: usize) -> Self {
        Self { free: places, held: HashMap::new() }
    }

    /// Whether there is a place for them now; they have it then.
    pub fn take(&mut self, whose: K) -> bool {
        let may = self.may_take(&whose);
        if may {
            self.free -= 1;
            *self.held.entry(whose).or_default() += 1;
        }
        may
    }

    pub fn may_take(&self, whose: &K) -> bool {
        self.held(whose) < self.free
    }

    /// They need one of their places no longer.
    pub fn give_back(&mut self, whose: &K) {
        if let Some(held) = self.held.get_mut(whose) {
            *held -= 1;
            self.free += 1;
            if *held == 0 {
                self.held.remove(whose);
            }
        }
    }

    pub fn held(&self, whose: &K) -> usize {
        self.held.get(whose).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(shares: &mut Shares<u8>, whose: u8) -> usize {
        std::iter::from_fn(|| shares.take(whose).then_some(())).count()
    }

    #[test]
    fn each_taker_gets_half_of_the_rest() {
        let mut shares = Shares::new(64);
        let taken: Vec<usize> = (0..8).map(|whose| takes(&mut shares, whose)).collect();
        assert_eq!(taken, [32, 16, 8, 4, 2, 1, 1, 0]);
        for _ in 0..32 {
            shares.give_back(&0);
        }
        assert_eq!((takes(&mut shares, 7), shares.held(&0)), (16, 0));
    }

    #[test]
    fn the_only_place_is_anybodys() {
        let mut shares = Shares::new(1);
        assert_eq!((takes(&mut shares, 1), takes(&mut shares, 2)), (1, 0));
        shares.give_back(&1);
        assert_eq!(takes(&mut shares, 2), 1);
        shares.give_back(&9);
        assert_eq!(takes(&mut shares, 1), 0);
    }
}

//! How long to wait before the next attempt: exponential, with full jitter.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Backoff {
    /// For a dependency that is away: short at first, since most absences are, and never long.
    pub const DEPENDENCY: Self = Self { initial: Duration::from_millis(50), max: Duration::from_secs(2) };

    /// The longest delay before an attempt; the first attempt after a failure is number 0.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        self.initial.saturating_mul(2_u32.saturating_pow(attempt.min(31))).min(self.max)
    }

    /// Anything up to the ceiling, so that many who failed together do not come back together.
    pub fn delay(&self, attempt: u32) -> Duration {
        self.ceiling(attempt).mul_f64(rand::random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_grow_to_the_maximum_and_stay_there(initial in 1u64..1000, max in 1000u64..100_000, attempt in 0u32..100) {
            let backoff = Backoff { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
            prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1));
            prop_assert!(backoff.ceiling(attempt) <= backoff.max);
            prop_assert_eq!(backoff.ceiling(0), backoff.initial);
            prop_assert!(backoff.delay(attempt) <= backoff.ceiling(attempt));
        }
    }
}

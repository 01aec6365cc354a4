//! When a job that did not come off is tried again.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub max_attempts: u32,
    /// Longest pause after the first attempt; doubled after each further one.
    pub initial: Duration,
    /// Longest pause of all.
    pub max: Duration,
}

impl RetryPolicy {
    /// How long to wait after so many attempts; none where that was the last one. `draw`, from 0 to 1, spreads jobs that failed
    /// together over the second half of the pause.
    pub fn after(&self, attempts: u32, draw: f64) -> Option<Duration> {
        if attempts >= self.max_attempts {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(31);
        let pause = self.initial.saturating_mul(1 << doublings).min(self.max);
        Some(pause.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_attempts: 6, initial: Duration::from_secs(2), max: Duration::from_secs(20) };

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let seconds = |attempts, draw| POLICY.after(attempts, draw).map(|pause| pause.as_secs());
        assert_eq!([1, 2, 3, 4, 5, 6].map(|n| seconds(n, 1.0)), [Some(2), Some(4), Some(8), Some(16), Some(20), None]);
        assert_eq!((seconds(1, 0.0), seconds(5, 0.0)), (Some(1), Some(10)));
        assert_eq!(RetryPolicy { max_attempts: 1, ..POLICY }.after(1, 0.5), None);
    }

    proptest! {
        #[test]
        fn a_pause_is_within_its_bounds(attempts in 0_u32..5000, max_attempts in 1_u32..5000, draw in -1.0..2.0_f64) {
            let policy = RetryPolicy { max_attempts, ..POLICY };
            match policy.after(attempts, draw) {
                Some(pause) => prop_assert!(attempts < max_attempts && pause >= policy.initial / 2 && pause <= policy.max),
                None => prop_assert!(attempts >= max_attempts),
            }
        }
    }
}

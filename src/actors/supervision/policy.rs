//! Restart policy: how many restarts in which time, and how long each is delayed. Pure: time is handed in.

use std::{collections::VecDeque, time::Duration};

use super::backoff::Backoff;
use crate::config;

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub backoff: Backoff,
    /// Restarts that any `window` may hold.
    pub max_restarts: usize,
    pub window: Duration,
}

impl Policy {
    pub fn of(settings: &config::Supervision) -> Self {
        let backoff = Backoff {
            initial: Duration::from_millis(settings.backoff_initial_ms),
            max: Duration::from_millis(settings.backoff_max_ms),
        };
        Self { backoff, max_restarts: settings.max_restarts, window: settings.window() }
    }
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Restart after a delay of at most this.
    Restart { within: Duration },
    /// As many restarts as are allowed were of no use.
    Exhausted,
}

/// The restarts that count: those of the last window. Moments are measured from any fixed one.
#[derive(Clone, Debug, Default)]
pub struct Restarts(VecDeque<Duration>);

impl Restarts {
    pub fn failed(&mut self, policy: &Policy, now: Duration) -> Verdict {
        let before = self.within(policy, now);
        if before >= policy.max_restarts {
            return Verdict::Exhausted;
        }
        self.0.push_back(now);
        Verdict::Restart { within: policy.backoff.ceiling(u32::try_from(before).unwrap_or(u32::MAX)) }
    }

    /// Restarts in the window that ends now.
    pub fn within(&mut self, policy: &Policy, now: Duration) -> usize {
        while self.0.front().is_some_and(|at| now.saturating_sub(*at) >= policy.window) {
            self.0.pop_front();
        }
        self.0.len()
    }

    /// Counts from zero again: an operator or a long pause has come between.
    pub fn forgive(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(max_restarts: usize, window_ms: u64) -> Policy {
        let backoff = Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(500) };
        Policy { backoff, max_restarts, window: Duration::from_millis(window_ms) }
    }

    proptest! {
        #[test]
        fn no_window_holds_more_restarts_than_allowed(
            pauses in prop::collection::vec(0u64..400, 1..200), max in 0usize..8, window_ms in 1u64..2000,
        ) {
            let policy = policy(max, window_ms);
            let mut restarts = Restarts::default();
            let mut now = Duration::ZERO;
            let mut granted: Vec<Duration> = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                let recent = granted.iter().filter(|at| now - **at < policy.window).count();
                match restarts.failed(&policy, now) {
                    Verdict::Restart { within } => {
                        prop_assert!(recent < max);
                        prop_assert!(within <= policy.backoff.max);
                        prop_assert_eq!(within, policy.backoff.ceiling(u32::try_from(recent).unwrap()));
                        granted.push(now);
                    }
                    Verdict::Exhausted => prop_assert_eq!(recent, max),
                }
            }
        }

        #[test]
        fn a_quiet_window_or_operator_restores_all_restarts(max in 1usize..8) {
            let policy = policy(max, 1000);
            let mut restarts = Restarts::default();
            let exhaust = |restarts: &mut Restarts, at| {
                let verdicts: Vec<Verdict> = (0..=max).map(|_| restarts.failed(&policy, at)).collect();
                verdicts.iter().filter(|verdict| **verdict == Verdict::Exhausted).count()
            };
            prop_assert_eq!(exhaust(&mut restarts, Duration::ZERO), 1);
            prop_assert_eq!(exhaust(&mut restarts, Duration::from_millis(1000)), 1);
            restarts.forgive();
            prop_assert_eq!(exhaust(&mut restarts, Duration::from_millis(1001)), 1);
        }
    }
}

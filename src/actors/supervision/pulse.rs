//! An actor's signs of life, in shared atomics: it is healthy while what it has begun makes progress. Not a ping: one
//! that answers and gets nowhere is as bad as one that does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Cheap to clone: the actor beats, its supervisor looks.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    in_flight: AtomicU64,
    last_beat_ms: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        let inner = Inner { started: Instant::now(), in_flight: AtomicU64::new(0), last_beat_ms: AtomicU64::new(0) };
        Self(Arc::new(inner))
    }
}

impl Pulse {
    /// Something is begun; it is done when the guard is dropped.
    pub fn work(&self) -> Working {
        self.beat();
        self.0.in_flight.fetch_add(1, Relaxed);
        Working(self.clone())
    }

    /// Progress: a step done, an attempt over. Waiting for a dependency, one attempt after another, is progress.
    pub fn beat(&self) {
        self.0.last_beat_ms.store(self.elapsed_ms(), Relaxed);
    }

    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Relaxed)
    }

    /// Since the last progress.
    pub fn silent(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.0.last_beat_ms.load(Relaxed)))
    }

    /// At work, and without progress for longer than that.
    pub fn is_stalled(&self, deadline: Duration) -> bool {
        self.in_flight() > 0 && self.silent() > deadline
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Something is under way.
#[derive(Debug)]
pub struct Working(Pulse);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.beat();
        self.0.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_at_work_can_stall() {
        let pulse = Pulse::default();
        std::thread::sleep(Duration::from_millis(5));
        assert!(!pulse.is_stalled(Duration::ZERO));
        let working = pulse.work();
        std::thread::sleep(Duration::from_millis(5));
        assert!(pulse.is_stalled(Duration::from_millis(2)));
        assert!(!pulse.is_stalled(Duration::from_secs(60)));
        pulse.beat();
        assert!(!pulse.is_stalled(Duration::from_millis(4)));
        drop(working);
        assert_eq!(pulse.in_flight(), 0);
    }
}

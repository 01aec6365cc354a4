//! An actor's signs of life: it is healthy while whatever it has begun makes progress. Not a ping: one that answers and
//! gets nowhere is as bad as one that does not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Cheap to clone: the actor works, its supervisor looks.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// By number: when each piece of work that is under way made its last step.
    works: BTreeMap<u64, Instant>,
    next: u64,
    /// When any piece of work made its last step.
    last: Instant,
}

impl Default for Inner {
    fn default() -> Self {
        Self { works: BTreeMap::new(), next: 0, last: Instant::now() }
    }
}

impl Liveness {
    /// Something is begun; it is done when the guard is dropped.
    pub fn work(&self) -> Working {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.last = Instant::now();
        let begun = inner.last;
        inner.works.insert(number, begun);
        Working { liveness: self.clone(), number }
    }

    pub fn in_flight(&self) -> usize {
        self.lock().works.len()
    }

    /// Since the last step of anything.
    pub fn silent(&self) -> Duration {
        self.lock().last.elapsed()
    }

    /// How long the piece of work that has been without a step for longest has been so.
    pub fn stuck(&self) -> Duration {
        self.lock().works.values().map(Instant::elapsed).max().unwrap_or_default()
    }

    // Every change leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is under way.
#[derive(Debug)]
pub struct Working {
    liveness: Liveness,
    number: u64,
}

impl Working {
    /// A step is done, an attempt over. Waiting for a dependency, one attempt after another, is progress.
    pub fn beat(&self) {
        let mut inner = self.liveness.lock();
        inner.last = Instant::now();
        let now = inner.last;
        inner.works.insert(self.number, now);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut inner = self.liveness.lock();
        inner.last = Instant::now();
        inner.works.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time that passes, and that is measured.
    const MOMENT: Duration = Duration::from_millis(5);

    #[test]
    fn only_who_is_at_work_can_be_stuck() {
        let liveness = Liveness::default();
        std::thread::sleep(MOMENT);
        assert_eq!(liveness.stuck(), Duration::ZERO);
        let working = liveness.work();
        std::thread::sleep(MOMENT);
        assert!(liveness.stuck() >= MOMENT);
        working.beat();
        assert!(liveness.stuck() < MOMENT);
        drop(working);
        assert_eq!((liveness.in_flight(), liveness.stuck()), (0, Duration::ZERO));
    }

    #[test]
    fn active_work_does_not_hide_stuck_work() {
        let liveness = Liveness::default();
        let stuck = liveness.work();
        std::thread::sleep(MOMENT);
        liveness.work().beat();
        assert!(liveness.stuck() >= MOMENT && liveness.silent() < MOMENT);
        drop(stuck);
        assert_eq!(liveness.stuck(), Duration::ZERO);
    }
}

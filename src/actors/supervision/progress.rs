//! What a partition has done so far, in shared atomics: health is judged by progress, not by pings.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// How many times longer the silence after subscribing must be than any later one.
const FIRST_SILENCE: u32 = 3;

/// Shared by a partition's actors; cheap to clone. It outlives restarts.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    subscribed: AtomicBool,
    /// Something came since the subscription began.
    heard: AtomicBool,
    last_arrival_ms: AtomicU64,
    received_offset: AtomicI64,
    committed_offset: AtomicI64,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Shared {
            started: Instant::now(),
            subscribed: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            last_arrival_ms: AtomicU64::new(0),
            received_offset: AtomicI64::new(0),
            committed_offset: AtomicI64::new(0),
        }))
    }
}

impl Progress {
    pub fn subscribed(&self, lives: bool) {
        // A new subscription has to be silent for a while before silence means that there is nothing.
        self.0.last_arrival_ms.store(self.elapsed_ms(), Relaxed);
        self.0.heard.store(false, Relaxed);
        self.0.subscribed.store(lives, Relaxed);
    }

    /// Messages came; the next offset after them.
    pub fn received(&self, next_offset: i64) {
        self.0.heard.store(true, Relaxed);
        self.0.last_arrival_ms.store(self.elapsed_ms(), Relaxed);
        self.0.received_offset.store(next_offset, Relaxed);
    }

    pub fn committed(&self, next_offset: i64) {
        self.0.committed_offset.store(next_offset, Relaxed);
    }

    /// Everything starts again from the committed offset.
    pub fn restarted(&self, next_offset: i64) {
        self.subscribed(false);
        self.0.received_offset.store(next_offset, Relaxed);
        self.0.committed_offset.store(next_offset, Relaxed);
    }

    pub fn committed_offset(&self) -> i64 {
        self.0.committed_offset.load(Relaxed)
    }

    /// The subscription lives, nothing has come for `quiet`, and nothing that came is uncommitted. Where nothing has
    /// come at all yet the silence must last longer: the broker may still be looking for where to begin.
    pub fn caught_up(&self, quiet: Duration) -> bool {
        let quiet = if self.0.heard.load(Relaxed) { quiet } else { quiet * FIRST_SILENCE };
        let silent_ms = self.elapsed_ms().saturating_sub(self.0.last_arrival_ms.load(Relaxed));
        self.0.subscribed.load(Relaxed)
            && u128::from(silent_ms) >= quiet.as_millis()
            && self.0.received_offset.load(Relaxed) <= self.0.committed_offset.load(Relaxed)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caught_up_needs_a_subscription_and_nothing_uncommitted() {
        let progress = Progress::default();
        assert!(!progress.caught_up(Duration::ZERO));
        progress.subscribed(true);
        assert!(progress.caught_up(Duration::ZERO));
        assert!(!progress.caught_up(Duration::from_secs(60)));
        progress.received(5);
        assert!(!progress.caught_up(Duration::ZERO));
        progress.committed(5);
        assert!(progress.caught_up(Duration::ZERO));
        progress.subscribed(false);
        assert!(!progress.caught_up(Duration::ZERO));
    }
}

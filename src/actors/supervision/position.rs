//! How far a partition is, in shared atomics: its actors write, merging and operators read.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicI32, AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// A proof that nothing is on its way is worth something for so long: a little more than the time to the next one.
const PROOF_LASTS: Duration = Duration::from_millis(2500);
/// No moment.
const NEVER: u64 = u64::MAX;

/// Shared by a partition's actors; cheap to clone. It outlives restarts.
#[derive(Clone, Debug)]
pub struct PartitionPosition(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    subscribed: AtomicBool,
    /// When the broker was last queried and responded without anything having come since the query.
    proved_quiet_ms: AtomicU64,
    received_offset: AtomicI64,
    committed_offset: AtomicI64,
    /// 0: never claimed.
    incarnation: AtomicI32,
    epoch: AtomicI64,
    /// The watermark's lag, and when it was that.
    lag_ms: AtomicU64,
    lag_at_ms: AtomicU64,
    /// The watermark, microseconds since 1970.
    complete_to: AtomicI64,
}

impl Default for PartitionPosition {
    fn default() -> Self {
        Self(Arc::new(Shared {
            started: Instant::now(),
            subscribed: AtomicBool::new(false),
            proved_quiet_ms: AtomicU64::new(NEVER),
            received_offset: AtomicI64::new(0),
            committed_offset: AtomicI64::new(0),
            incarnation: AtomicI32::new(0),
            epoch: AtomicI64::new(0),
            lag_ms: AtomicU64::new(NEVER),
            lag_at_ms: AtomicU64::new(0),
            complete_to: AtomicI64::new(i64::MIN),
        }))
    }
}

impl PartitionPosition {
    /// The subscription begins or ends: what was proved before counts no more.
    pub fn subscribed(&self, lives: bool) {
        self.0.proved_quiet_ms.store(NEVER, Release);
        self.0.subscribed.store(lives, Relaxed);
    }

    /// Messages came; the next offset after them.
    pub fn received(&self, next_offset: i64) {
        self.0.received_offset.store(next_offset, Relaxed);
        self.0.proved_quiet_ms.store(NEVER, Release);
    }

    /// The broker was queried at that moment and responded, and nothing has come in between.
    pub fn proved_quiet(&self, queried_at: Instant) {
        let ms = queried_at.saturating_duration_since(self.0.started).as_millis();
        self.0.proved_quiet_ms.store(u64::try_from(ms).unwrap_or(NEVER), Release);
    }

    pub fn committed(&self, next_offset: i64) {
        self.0.committed_offset.store(next_offset, Relaxed);
    }

    /// Everything starts again from the committed offset.
    pub fn claimed(&self, incarnation: i32, next_offset: i64) {
        self.subscribed(false);
        self.0.incarnation.store(incarnation, Relaxed);
        self.0.received_offset.store(next_offset, Relaxed);
        self.0.committed_offset.store(next_offset, Relaxed);
    }

    /// The epoch that the claim began.
    pub fn began(&self, epoch: i64) {
        self.0.epoch.store(epoch, Relaxed);
    }

    /// The epoch of the last claim; 0 before the first.
    pub fn epoch(&self) -> i64 {
        self.0.epoch.load(Relaxed)
    }

    pub fn committed_offset(&self) -> i64 {
        self.0.committed_offset.load(Relaxed)
    }

    /// The incarnation that was claimed last; 0 before the first claim.
    pub fn incarnation(&self) -> i32 {
        self.0.incarnation.load(Relaxed)
    }

    /// How long ago all that was published until then was here and committed; `None` while that is not known.
    pub fn caught_up(&self) -> Option<Duration> {
        let proved_ms = self.0.proved_quiet_ms.load(Acquire);
        let ago = Duration::from_millis(self.elapsed_ms().saturating_sub(proved_ms));
        let proved = proved_ms != NEVER && ago <= PROOF_LASTS && self.0.subscribed.load(Relaxed);
        let nothing_open = self.0.received_offset.load(Relaxed) <= self.0.committed_offset.load(Relaxed);
        (proved && nothing_open).then_some(ago)
    }

    /// The watermark is that far behind the database's clock.
    pub fn lags(&self, lag: Duration) {
        self.0.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(NEVER - 1), Relaxed);
        self.0.lag_at_ms.store(self.elapsed_ms(), Relaxed);
    }

    /// The partition is complete up to there, as the database has it; none: it was never read.
    pub fn complete_to(&self, watermark: Option<DateTime<Utc>>) {
        let micros = watermark.map_or(i64::MIN, |at| at.timestamp_micros());
        self.0.complete_to.store(micros, Relaxed);
    }

    pub fn watermark(&self) -> Option<DateTime<Utc>> {
        let micros = self.0.complete_to.load(Relaxed);
        (micros != i64::MIN).then(|| DateTime::from_timestamp_micros(micros)).flatten()
    }

    /// By how much the watermark is behind now; `None` before it was known.
    pub fn lag(&self) -> Option<Duration> {
        let lag = self.0.lag_ms.load(Relaxed);
        let since = self.elapsed_ms().saturating_sub(self.0.lag_at_ms.load(Relaxed));
        (lag != NEVER).then(|| Duration::from_millis(lag.saturating_add(since)))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caught_up_requires_proof_and_no_uncommitted_messages() {
        let progress = PartitionPosition::default();
        let proved = || progress.proved_quiet(Instant::now());
        proved();
        assert_eq!(progress.caught_up(), None, "no subscription");
        progress.subscribed(true);
        assert_eq!(progress.caught_up(), None, "a proof of another subscription");
        proved();
        assert!(progress.caught_up().is_some());
        progress.received(5);
        assert_eq!(progress.caught_up(), None, "something came since");
        proved();
        assert_eq!(progress.caught_up(), None, "it is not committed");
        progress.committed(5);
        assert!(progress.caught_up().is_some());
        progress.subscribed(false);
        assert_eq!(progress.caught_up(), None);
    }

    #[test]
    fn the_watermark_is_the_last_reported_one() {
        let progress = PartitionPosition::default();
        assert_eq!(progress.watermark(), None);
        let at = |micros| DateTime::from_timestamp_micros(micros);
        for watermark in [at(7), at(5), None] {
            progress.complete_to(watermark);
            assert_eq!(progress.watermark(), watermark);
        }
    }

    #[test]
    fn an_old_proof_is_none() {
        let progress = PartitionPosition::default();
        progress.subscribed(true);
        // The proof is of a later moment.
        std::thread::sleep(Duration::from_millis(2));
        progress.proved_quiet(Instant::now());
        // Until it is too old.
        std::thread::sleep(PROOF_LASTS + Duration::from_millis(5));
        assert_eq!(progress.caught_up(), None);
    }

    #[test]
    fn a_lag_grows_by_itself() {
        let progress = PartitionPosition::default();
        assert_eq!(progress.lag(), None);
        progress.lags(Duration::from_secs(3));
        // The time by which it grows.
        std::thread::sleep(Duration::from_millis(3));
        assert!(progress.lag().is_some_and(|lag| lag > Duration::from_secs(3)));
    }
}

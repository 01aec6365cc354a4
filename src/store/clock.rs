//! The database's clock, by which ages are judged, without reading it each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Instant,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::StoreError;

/// What time it is.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(conn).await?)
}

/// What time it is, with when that was read.
pub async fn read(conn: &mut PgConnection) -> Result<Reading, StoreError> {
    let sent_at = Instant::now();
    Ok(Reading::received(now(conn).await?, sent_at))
}

/// A time of the database, with the two moments that it lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub at: DateTime<Utc>,
    sent_at: Instant,
    received_at: Instant,
}

impl Reading {
    /// What was just received by a statement that was sent at that moment.
    pub fn received(at: DateTime<Utc>, sent_at: Instant) -> Self {
        Self { at, sent_at, received_at: Instant::now() }
    }
}

/// Follows the database's clock: anchored by each response that carries its time, running on by the monotonic clock in
/// between, so that a jump of this machine's clock changes nothing. It never goes back: where the database's clock is set
/// back it stands still until that has caught up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DatabaseClock {
    started: Instant,
    /// The database's time when this clock was started, as far as is known. Microseconds since 1970, as `latest`.
    base: Arc<AtomicI64>,
    /// The latest time that was given.
    latest: Arc<AtomicI64>,
}

impl DatabaseClock {
    pub fn new(now: DateTime<Utc>) -> Self {
        let now = now.timestamp_micros();
        Self { started: Instant::now(), base: Arc::new(AtomicI64::new(now)), latest: Arc::new(AtomicI64::new(now)) }
    }

    /// Corrects the clock by what a reading proves, and by no more: it was the database's time at some moment between
    /// sending and receiving, so a response that comes late says that much less.
    pub fn observe(&self, reading: &Reading) {
        let at = reading.at.timestamp_micros();
        let (least, most) = (at - self.elapsed_at(reading.received_at), at - self.elapsed_at(reading.sent_at));
        // Of several threads one observes; the others only read.
        self.base.store(self.base.load(Relaxed).clamp(least, most), Relaxed);
    }

    pub fn now(&self) -> DateTime<Utc> {
        let now = self.base.load(Relaxed) + self.elapsed_at(Instant::now());
        let now = now.max(self.latest.fetch_max(now, Relaxed));
        DateTime::from_timestamp_micros(now).unwrap_or_default()
    }

    /// Negative before the start.
    fn elapsed_at(&self, moment: Instant) -> i64 {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        micros(moment.saturating_duration_since(self.started)) - micros(self.started.saturating_duration_since(moment))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> (DatabaseClock, DateTime<Utc>) {
        let now = DateTime::from_timestamp(1_772_000_000, 0).unwrap();
        (DatabaseClock::new(now), now)
    }

    /// How far the clock is from the time it was started with, to a tenth of a second.
    fn ahead(clock: &DatabaseClock, started: DateTime<Utc>) -> f64 {
        ((clock.now() - started).as_seconds_f64() * 10.0).round() / 10.0
    }

    #[test]
    fn a_late_response_does_not_rewind_the_clock() {
        let (clock, now) = clock();
        // Queried five seconds ago, read right then, received now.
        let sent_at = clock.started - SECOND * 5;
        clock.observe(&Reading::received(now - TimeDelta::seconds(5), sent_at));
        assert_eq!(ahead(&clock, now), 0.0);
        // Of a response that comes at once as much is believed as there was no time for.
        clock.observe(&Reading::received(now + TimeDelta::seconds(7), sent_at));
        assert_eq!(ahead(&clock, now), 7.0);
    }

    #[test]
    fn the_clock_stops_while_the_database_rewinds() {
        let (clock, now) = clock();
        clock.observe(&Reading::received(now + TimeDelta::hours(2), Instant::now()));
        assert_eq!(ahead(&clock, now), 7200.0);
        clock.observe(&Reading::received(now, Instant::now()));
        let stands = clock.now();
        assert!(stands >= now + TimeDelta::hours(2));
        // Time passes, and it stands.
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.now(), stands);
        clock.observe(&Reading::received(now + TimeDelta::hours(3), Instant::now()));
        assert_eq!(ahead(&clock, now), 10_800.0);
    }
}

//! The database's clock, by which ages are judged, without asking for it each time.

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

/// Set from each answer that carries the database's time; runs on by the monotonic clock in between, so that a jump of
/// this machine's clock changes nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DatabaseClock {
    started: Instant,
    /// The database's time when this clock was started, microseconds since 1970.
    base: Arc<AtomicI64>,
}

impl DatabaseClock {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { started: Instant::now(), base: Arc::new(AtomicI64::new(now.timestamp_micros())) }
    }

    pub fn set(&self, now: DateTime<Utc>) {
        self.base.store(now.timestamp_micros() - self.elapsed(), Relaxed);
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.base.load(Relaxed) + self.elapsed()).unwrap_or_default()
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

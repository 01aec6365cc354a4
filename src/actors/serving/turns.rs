//! Turns: one request at a time uses something, a bounded number wait for it, each for a bounded time.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit},
    time::timeout,
};

use super::error::QueryError;

/// Clones take turns with each other.
pub struct Turns<T> {
    used: Arc<Mutex<T>>,
    /// A place for each that uses it or waits.
    pub(super) queue: Arc<Semaphore>,
    wait: Duration,
}

impl<T> Clone for Turns<T> {
    fn clone(&self) -> Self {
        Self { used: Arc::clone(&self.used), queue: Arc::clone(&self.queue), wait: self.wait }
    }
}

impl<T> Turns<T> {
    pub fn new(used: T, queue: usize, wait: Duration) -> Self {
        Self { used: Arc::new(Mutex::new(used)), queue: Arc::new(Semaphore::new(queue)), wait }
    }

    /// # Errors
    /// `Busy`: as many wait already as may, or one's turn does not come in time.
    pub async fn take(&self) -> Result<Turn<'_, T>, QueryError> {
        let place = self.queue.try_acquire().map_err(|_| QueryError::Busy)?;
        let used = timeout(self.wait, self.used.lock()).await.map_err(|_| QueryError::Busy)?;
        Ok(Turn { used, _place: place })
    }
}

/// Lasts until it is dropped.
pub struct Turn<'t, T> {
    used: MutexGuard<'t, T>,
    _place: SemaphorePermit<'t>,
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.used
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_waits_for_its_turn_and_no_longer_than_it_may() {
        let turns = Turns::new(1, 2, Duration::from_millis(20));
        let mut first = turns.take().await.unwrap();
        *first += 1;
        assert_eq!(turns.take().await.map(|turn| *turn), Err(QueryError::Busy));
        drop(first);
        assert_eq!(turns.take().await.map(|turn| *turn), Ok(2));
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_without_a_wait() {
        let turns = Turns::new((), 1, Duration::from_secs(3600));
        let _first = turns.take().await.unwrap();
        assert_eq!(turns.take().await.map(|turn| *turn), Err(QueryError::Busy));
    }
}

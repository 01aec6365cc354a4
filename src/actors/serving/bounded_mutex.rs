//! BoundedMutex: one request at a time uses a value; a bounded number of others wait for it, each for a bounded time.

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

/// Clones share the same value and queue.
pub struct BoundedMutex<T> {
    used: Arc<Mutex<T>>,
    /// A place for each that uses it or waits.
    pub(super) queue: Arc<Semaphore>,
    wait: Duration,
}

impl<T> Clone for BoundedMutex<T> {
    fn clone(&self) -> Self {
        Self { used: Arc::clone(&self.used), queue: Arc::clone(&self.queue), wait: self.wait }
    }
}

impl<T> BoundedMutex<T> {
    pub fn new(used: T, queue: usize, wait: Duration) -> Self {
        Self { used: Arc::new(Mutex::new(used)), queue: Arc::new(Semaphore::new(queue)), wait }
    }

    /// # Errors
    /// `Busy`: the queue is full, or the lock was not free in time.
    pub async fn lock(&self) -> Result<BoundedMutexGuard<'_, T>, QueryError> {
        let place = self.queue.try_acquire().map_err(|_| QueryError::Busy)?;
        let used = timeout(self.wait, self.used.lock()).await.map_err(|_| QueryError::Busy)?;
        Ok(BoundedMutexGuard { used, _place: place })
    }
}

/// Holds the lock until it is dropped.
pub struct BoundedMutexGuard<'t, T> {
    used: MutexGuard<'t, T>,
    _place: SemaphorePermit<'t>,
}

impl<T> Deref for BoundedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.used
    }
}

impl<T> DerefMut for BoundedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_exclusive_and_waiting_is_bounded() {
        let mutex = BoundedMutex::new(1, 2, Duration::from_millis(20));
        let mut first = mutex.lock().await.unwrap();
        *first += 1;
        assert_eq!(mutex.lock().await.map(|guard| *guard), Err(QueryError::Busy));
        drop(first);
        assert_eq!(mutex.lock().await.map(|guard| *guard), Ok(2));
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_without_a_wait() {
        let mutex = BoundedMutex::new((), 1, Duration::from_secs(3600));
        let _first = mutex.lock().await.unwrap();
        assert_eq!(mutex.lock().await.map(|guard| *guard), Err(QueryError::Busy));
    }
}

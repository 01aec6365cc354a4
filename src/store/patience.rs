//! Patience: work that needs a lock which others hold for long is tried again, instead of waiting in the queue for the lock. Whoever
//! comes later waits behind a waiting one, so each attempt waits shortly (`lock_timeout`).

use std::time::Duration;

use super::StoreError;

/// Between two attempts: who waited behind one gets the lock.
const PAUSE: Duration = Duration::from_millis(500);

/// Tries the work until no lock is in its way, at most so many times.
pub(super) async fn with_patience<T>(
    attempts: u32,
    mut work: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        match work().await {
            Err(error) if attempt < attempts && error.is_in_the_way() => {
                // Once for each doubling of the wait.
                if attempt.is_power_of_two() {
                    tracing::info!(%error, attempt, "waiting for others, who use what is to be changed");
                }
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

//! A world for each test: a database and a stream of its own on the shared servers, and the service's own binary.
//! Dropping it takes all of it away.

mod facts;
mod service;
mod world;

pub use facts::*;
pub use service::Service;
pub use world::World;

use std::time::{Duration, Instant};

/// Waits for a condition, not for a time.
///
/// # Panics
/// It does not come true in a minute.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "in a minute it did not come true that {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

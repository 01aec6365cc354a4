//! A world for each test: a database, a stream and a Redis database of its own on the shared servers, and the service's own
//! binary.
//! Dropping it deletes all of it.

mod attribution;
mod cache;
mod contract;
mod database_server;
mod facts;
pub mod files;
mod foreign;
mod load;
mod object_store;
mod operator;
mod otlp;
mod procedure;
mod prometheus;
mod protocols;
mod proxy;
mod replica;
pub mod service;
mod stack;
mod tls;
mod world;

pub use database_server::DatabaseServer;
pub use facts::*;
pub use foreign::has_foreign_clients;
pub use load::{FLAWS, Load, RATE, exact_with_resends, millis, more, resend};
pub use object_store::{Asked, BUCKET, Fault, LocalStore, S3Server, SECOND_BUCKET};
pub use operator::{Asking, Happened};
pub use otlp::{OtlpReceiver, Received, attribute};
pub use procedure::{Place, commands};
pub use prometheus::{Prometheus, Scrape, prometheus_tool};
pub use protocols::Protocol;
pub use proxy::Proxy;
pub use replica::Replica;
pub use service::{Service, free_address, responded};
pub use stack::{Stopped, stack};
pub use tls::{TlsFront, certify};
pub use world::{World, local_folder, output_of, stack_variables};

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// How much larger than in `make test` a run is to be: ANALYTICS_TEST_SCALE, 1 by default.
pub fn scale() -> u32 {
    std::env::var("ANALYTICS_TEST_SCALE").map_or(1, |scale| scale.parse().unwrap())
}

/// Says that the test at hand cannot run here, or not all of it. Past the capturing of what tests print, so that it is seen.
pub fn not_run(why: &str) {
    // Each test has a thread of its name.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: {why}");
}

/// A bound on how long something takes. Other work on the machine must not fail a short run: a larger one is made to show it.
pub fn bound(within: Duration) -> Duration {
    if scale() == 1 { within * 6 } else { within }
}

/// What a look gives, once it gives the same a second later.
pub async fn rested<T: Copy + PartialEq>(what: &str, mut look: impl AsyncFnMut() -> T) -> T {
    eventually(what, async || {
        let before = look().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some(look().await).filter(|after| *after == before)
    })
    .await
}

/// What waits for no server that is away, within [`bound`]: what does takes seconds.
pub const AT_ONCE: Duration = Duration::from_millis(500);

/// How long a condition may take to come true. Long, since a busy machine is no fault: what never comes true fails all the same.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits for a condition, not for a time.
///
/// # Panics
/// It does not come true within [`PATIENCE`], or longer where the run is larger.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE * scale();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not come true that {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

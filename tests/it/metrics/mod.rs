//! Metrics of running processes: each moves when its thing happens, and a scrape has them whatever is away.

mod dependencies;
mod formats;
mod partitions;
mod requests;
mod waiting;

use crate::harness::{Scrape, Service, eventually};

/// Waits until the metrics of a process are as they are to be.
async fn shown(service: &Service, what: &str, check: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = Scrape::default();
    let waiting = eventually(what, async || {
        last = service.scrape().await;
        check(&last).then(|| last.clone())
    });
    waiting.await
}

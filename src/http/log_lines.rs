//! Log lines about requests that are refused: anybody can cause them, so their number is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::limiter::Limiter;
use crate::config::Rate;

const RATE: Rate = Rate { per_second: 20, burst: 200 };

/// Clones count together.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Inner>);

#[derive(Default)]
struct Inner {
    limiter: std::sync::OnceLock<Option<Limiter<()>>>,
    left_out: AtomicU64,
}

impl LogLines {
    /// Whether one more may be written; says then how many were not since the last that was.
    pub fn one_more(&self) -> bool {
        let limiter = self.0.limiter.get_or_init(|| Limiter::new(RATE));
        if limiter.as_ref().is_some_and(|limiter| limiter.count(()).is_err()) {
            self.0.left_out.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let left_out = self.0.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::info!(left_out, "lines about refused requests were left out");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_logged_boundedly() {
        let lines = LogLines::default();
        let written = (0..10_000).filter(|_| lines.clone().one_more()).count();
        assert!((200..300).contains(&written), "{written}");
    }
}

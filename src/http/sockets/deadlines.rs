//! How long a connection may be at each stage.

use std::time::Duration;

use super::connection::{Observed, Stage};
use crate::telemetry::metrics::Closing;

/// Longest that a connection waits for its next request. Longer than the 60 seconds of common load balancers, so that
/// it is they who close it and no request falls between.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Longest that a connection stays open behind its last response, so that the client can read that.
const CLOSING: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Of a request's head, from its first byte or from the connection's beginning.
    pub head: Duration,
    /// Of a response until its last byte is taken, with so much more time for each `bytes_per_second` of it.
    pub response: Duration,
    pub bytes_per_second: u64,
}

impl Deadlines {
    /// Why a connection must be closed, where it must.
    pub fn overdue(&self, Observed { stage, lasts, written }: Observed) -> Option<Closing> {
        let (longest, why) = match stage {
            Stage::Idle => (KEEP_ALIVE, Closing::Idle),
            Stage::Head => (self.head, Closing::Head),
            // The body has a deadline of its own, and is refused with 408; handlers have theirs.
            Stage::Body | Stage::Handling => return None,
            Stage::Responding | Stage::Flushing => {
                let earned = Duration::from_secs_f64(written as f64 / self.bytes_per_second.max(1) as f64);
                (self.response + earned, Closing::Response)
            }
            Stage::Closing => (CLOSING, Closing::Closing),
        };
        (lasts > longest).then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_enough_reader_is_never_overdue() {
        let deadlines =
            Deadlines { head: Duration::from_secs(5), response: Duration::from_secs(30), bytes_per_second: 1000 };
        let overdue = |stage, seconds, written| {
            deadlines.overdue(Observed { stage, lasts: Duration::from_secs(seconds), written })
        };
        assert_eq!(overdue(Stage::Responding, 31, 0), Some(Closing::Response));
        assert_eq!(overdue(Stage::Responding, 31, 2000), None);
        assert_eq!(overdue(Stage::Responding, 129, 100_000), None);
        assert_eq!(overdue(Stage::Flushing, 131, 100_000), Some(Closing::Response));
        assert_eq!(overdue(Stage::Head, 6, 0), Some(Closing::Head));
        assert_eq!(overdue(Stage::Idle, 6, 0), None);
        assert_eq!(overdue(Stage::Idle, 76, 0), Some(Closing::Idle));
        assert_eq!(overdue(Stage::Handling, 1000, 0), None);
        assert_eq!(overdue(Stage::Closing, 2, 0), Some(Closing::Closing));
    }
}

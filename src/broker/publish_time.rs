//! When a message was published, as its producer or the broker stamped it.

use chrono::{DateTime, Datelike, Utc};

/// A stamp is hostile: what no clock would say is no time.
pub(super) fn publish_time(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).filter(|at| (1970..2200).contains(&at.year()))
}

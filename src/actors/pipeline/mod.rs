//! One partition's pipeline: what reads its stream, makes it durable and adds it up.
//!
//! ```text
//! consumer/n --Split--> dedupe/n --Write--> writer/n --Stored--> rollup/n --Merged--> freshness
//!     ^                    ^                   |                    ^
//!     |                    +----Incomplete-----+                    |
//!     +---------------Committed----------------+                 replay/n
//! ```
//!
//! A message lives in its receiver's file, and what the writer reports of a batch in the writer's, so that no two files use each
//! other:
//!
//! | message | from | to |
//! |---|---|---|
//! | [`dedupe::Split`] | [`consumer`] | [`dedupe`] |
//! | [`writer::Write`] | [`dedupe`] | [`writer`] |
//! | [`writer::Incomplete`] | [`writer`] | [`dedupe`] |
//! | [`writer::Committed`] | [`writer`] | [`consumer`] |
//! | [`writer::Stored`] | [`writer`], [`replay`] | [`rollup`] |
//! | [`Merged`](super::housekeeping::freshness::Merged) | [`rollup`] | `freshness` |
//! | [`Drain`](super::supervision::exit::Drain), [`End`](super::supervision::exit::End) | the supervisor | each |
//!
//! A batch carries a [`Credit`] from the consumer to its commit: the number of credits is the bound of everything that is
//! in flight. Mailboxes are none. [`partition`] starts the five actors, which end together and are restarted as a whole.
//!
//! Not here: which partitions this process holds, and what is done once for all of them (`housekeeping`).

use tokio::sync::OwnedSemaphorePermit;

use crate::telemetry::metrics::CreditTaken;

pub mod consumer;
pub mod dedupe;
pub mod misrouted;
pub mod partition;
pub mod replay;
pub mod rollup;
pub mod writer;

/// What bounds a partition's work in flight: taken before a batch is handed on, given back when it is dropped.
pub struct Credit {
    _permit: OwnedSemaphorePermit,
    _taken: CreditTaken,
}

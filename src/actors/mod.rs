//! The pipeline and the queries, as actors.
//!
//! One pipeline a partition, restarted as a whole by its [`partition`] supervisor:
//!
//! ```text
//! consumer/n --Split--> dedupe/n --Write--> writer/n --Stored--> rollup/n --Merged--> freshness
//!     ^                    ^                   |
//!     |                    +----Incomplete-----+
//!     +---------------Committed----------------+
//! ```
//!
//! A batch carries a credit from the consumer to its commit: the number of credits is the bound of everything that is
//! in flight. Mailboxes are none. Beside the pipelines, [`query`] answers the API's questions and [`corrections`] publishes
//! what takes the place of dead letters. One actor a file; a message lives in its receiver's file.

pub mod consumer;
pub mod corrections;
pub mod dedupe;
pub mod freshness;
pub mod partition;
pub mod query;
pub mod rollup;
pub mod supervision;
pub mod writer;

/// What bounds a partition's work in flight: taken before a batch is handed on, given back when it is dropped.
pub type Credit = tokio::sync::OwnedSemaphorePermit;

//! The pipeline and the queries, as actors.
//!
//! One pipeline a [`partition`], restarted as a whole:
//!
//! ```text
//! consumer/n --Split--> dedupe/n --Write--> writer/n --Stored--> rollup/n --Merged--> freshness
//!     ^                    ^                   |                    ^
//!     |                    +----Incomplete-----+                    |
//!     +---------------Committed----------------+                 replay/n
//! ```
//!
//! A batch carries a credit from the consumer to its commit: the number of credits is the bound of everything that is
//! in flight. Mailboxes are none. Beside the pipelines, [`query`] answers the API's questions and [`corrections`]
//! publishes what takes the place of dead letters, [`events`] what comes by HTTP; [`jwks`] reads the keys that tokens are checked
//! by, [`audit`] records who did what, [`keys`] knows whose API keys are; [`pending_merger`] merges what partitions that do
//! not run have pending; [`exports`] takes requests for files and [`export`] generates them; [`maintenance`] purges and
//! maintains. One actor a file; a message lives in its receiver's file. [`lease`] decides which partitions have a pipeline in
//! this process; [`supervision`] keeps all of them alive.

pub mod admission;
pub mod audit;
pub mod consumer;
pub mod corrections;
pub mod dedupe;
pub mod events;
pub mod export;
pub mod exports;
pub mod freshness;
pub mod jwks;
pub mod keys;
pub mod lease;
pub mod maintenance;
pub mod misrouted;
pub mod partition;
pub mod pending_merger;
pub mod query;
mod reader;
pub mod recorder;
pub mod replay;
pub mod rollup;
mod stream_check;
pub mod supervision;
mod turns;
pub mod writer;

/// What bounds a partition's work in flight: taken before a batch is handed on, given back when it is dropped.
pub type Credit = tokio::sync::OwnedSemaphorePermit;

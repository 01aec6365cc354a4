//! What is done once for the process beside its pipelines, by the clock and by what the database lists; no request waits for it.
//!
//! [`lease`] decides which partitions have a pipeline in this process, [`pending_merger`] merges what partitions that do not run
//! have pending, [`stream_watcher`] shows what the streams still have, [`freshness`] publishes markers in Redis, [`maintenance`]
//! purges and maintains the data, [`recorder`] writes the supervision log.
//!
//! Not here: restarting actors (`supervision`), generating files (`export_generator`).

pub mod attributor;
pub mod freshness;
pub mod lease;
pub mod maintenance;
pub mod pending_merger;
pub mod recorder;
pub mod stream_watcher;

//! What runs: the pipelines and what is around them, as actors. One actor a file; a message lives in its receiver's file.
//!
//! ```text
//! supervisor
//!   jwks               serving           keys of the issuer of tokens
//!   issuer             serving           signs people in by an issuer
//!   recorder           housekeeping      writes the supervision log
//!   audit              serving           writes the audit log
//!   keys               serving           API keys
//!   sessions           serving           who is signed in to the console
//!   names              serving           what ids are called
//!   query/k            serving           reads the database for the API
//!   freshness          housekeeping      publishes markers in Redis
//!   pending-merger     housekeeping      merges what partitions that do not run have pending
//!   stream-watcher     housekeeping      shows what the streams still have
//!   attributor         housekeeping      keeps the sums by client, person, team and error
//!   lease              housekeeping      starts and ends the partitions of this process:
//!   partition/n        pipeline          reads a partition's stream; these five as one:
//!     consumer/n       pipeline          receives and groups into batches
//!     dedupe/n         pipeline          decodes and judges
//!     writer/n         pipeline          makes batches durable
//!     rollup/n         pipeline          merges them into the rollups
//!     replay/n         pipeline          reads ranges again
//!   corrections        serving           replaces dead letters
//!   events             serving           publishes events that come over HTTP
//!   maintenance        housekeeping      purges and maintains
//!   exports            serving           takes the requests for files
//!   export/k           export_generator  generates files
//! ```
//!
//! They are in the order of their start, which is the reverse of the drain's: `src/app/tree.rs` has the table that says so.
//! [`pipeline`] has a picture of its flow. [`supervision`] keeps all of them alive.

pub mod export_generator;
pub mod housekeeping;
pub mod pipeline;
pub mod serving;
pub mod supervision;

//! What is added up from raw events: merging what is pending into the rollups, the engines that keep them, freshness markers,
//! and counting again to verify, rebuild or reopen what was added up.
//!
//! Not here: what makes it pending (`ingest`), the reads of the API (`read`), purging (`lifecycle`).

pub mod aggregates;
pub mod background_jobs;
pub mod engine;
pub mod freshness;
pub mod hours_by;
mod hours_by_count;
pub mod merge;
pub mod org_hours;
pub mod pending;
pub mod rebuild;
pub mod recount;
pub mod reopen;
mod revisions;
mod step_of_hours;
pub mod switch;
pub mod unit;
pub mod verify;
mod verify_hours;

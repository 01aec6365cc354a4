//! What a pipeline writes and needs for it: the batch transaction and what it is made of, progress, leases and layout of the
//! partitions, and messages that are read again, corrected or were never read.
//!
//! Not here: what is added up from it (`rollups`), how long it stays (`lifecycle`).

pub mod commit;
pub mod corrections;
mod dead_letters;
mod duplicates;
pub mod layout;
pub mod lease;
mod lookup;
pub mod partitions;
mod raw_floor;
pub mod repair;
pub mod replays;
pub mod unread;
pub mod work;

//! How long data stays and how its tables are kept: purging, erasing, an org's own retention, the floors that follow from
//! these, chunks, compression, whose turn it is to change the data's past, and what waits in it.
//!
//! Not here: the sums themselves (`rollups`), files of exports (`exports`).

pub mod backlog;
pub mod chunks;
pub mod erase;
pub mod floors;
pub mod maintain;
pub mod maintenance;
pub mod org_settings;
pub mod purge;

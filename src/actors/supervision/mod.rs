//! A supervision layer of our own on actix, whose supervisor restarts without delay or limit and survives no panic.
//!
//! ```text
//! supervisor (one for one)
//!   partition/n: consumer/n, dedupe/n, writer/n, rollup/n, replay/n (one for all)
//!   lease, freshness, recorder, query/k (groups of one)
//! ```
//!
//! A group is made by a factory, so that its state is always new. A member reports its end through a guard that it
//! owns, however it ends; its health is judged by the progress of what it has begun. What happens is noted in the log.

pub mod actor_ref;
pub mod backoff;
pub mod exit;
pub mod group;
pub mod liveness;
pub mod log;
pub mod orders;
pub mod policy;
pub mod position;
pub mod registry;
pub mod single;
pub mod supervisor;
#[cfg(test)]
mod tests;

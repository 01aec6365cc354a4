//! A supervision layer of our own on actix, whose supervisor restarts without delay or limit and survives no panic.
//!
//! The root restarts its children one for one. A partition is a group of five, which fail and start again as one (one for all);
//! each other child is a group of one ([`single`]). The whole tree is shown in [`actors`](super).
//!
//! A group is made by a factory, so that its state is always new. Each member owns its vitals: they report its end, however
//! it ends, and the progress of what it has begun, by which its health is judged. What happens is noted in the log.

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
pub mod vitals;

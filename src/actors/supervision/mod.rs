//! A thin supervision layer on actix: its own supervisor restarts without delay or limit and does not survive a panic.
//!
//! A child reports its end through a guard that it owns, however it ends. A restarted child is a new one.

pub mod backoff;
pub mod exit;
pub mod progress;

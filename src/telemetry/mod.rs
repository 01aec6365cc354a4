//! Logs, metrics and readiness.

pub mod log;
pub mod metrics;
pub mod readiness;

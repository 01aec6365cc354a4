//! The rules of the service as plain functions and types: no actor, no clock, no database.

pub mod event;
pub mod freshness;
pub mod money;
pub mod partition;
pub mod query;
pub mod workload;

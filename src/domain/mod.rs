//! The rules of the service as plain functions and types: no actor, no clock, no database.

pub mod api_key;
pub mod audit;
pub mod batch;
pub mod calendar;
pub mod correction;
pub mod dead_letter;
pub mod event;
pub mod finding;
pub mod freshness;
pub mod histogram;
pub mod intake;
pub mod lease;
pub mod ledger;
pub mod money;
pub mod partition;
pub mod query;
pub mod reliability;
pub mod repair;
pub mod retention;
pub mod revision;
pub mod rollup;
pub mod submission;
pub mod summary;
pub mod supervision;
pub mod window;
pub mod workload;

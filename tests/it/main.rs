//! Tests against the real servers of `make stack`: one binary, one world (database, stream, process) a test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod dead_letters;
mod engines;
mod erase;
mod fault_actors;
mod fault_away;
mod fault_drain;
mod fault_killed;
mod fault_poison;
mod fault_processes;
mod fault_proxy;
mod fault_servers;
mod fault_stream;
mod harness;
mod http_answers;
mod http_api_keys;
mod http_audit;
mod http_description;
mod http_events;
mod http_raw_gone;
mod http_reports;
mod http_revisions;
mod http_zones;
mod layout;
mod operations_cli;
mod pipeline_exact;
mod pipeline_rejects;
mod proxy;
mod purge;
mod reconcile;
mod repair;
mod replay_file;
mod store_commit;
mod store_lease;
mod store_merge;
mod store_schema;

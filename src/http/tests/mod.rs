//! The API against a query actor with fixed reports.

mod access_table;
mod api_keys;
mod attribution;
mod audit;
mod audit_table;
mod bad_input;
mod console;
mod credentials;
mod dead_letters;
mod events;
mod exports;
mod filters;
mod names;
mod operations;
mod rate_limits;
mod reports;
mod revisions;
mod support;
mod tokens;

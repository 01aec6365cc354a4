//! The Analytics Service: turns the inference events of an AI platform into usage, spend and freshness views.
//!
//! `domain` holds the rules, pure. Adapters (`broker`, `store`, `cache`, `objects`) reach the servers. `actors` are the pipeline
//! and the queries; `http` sends them messages. `app` puts everything together, `cli` calls it. `workload` generates events to
//! publish, for `cli` and the benches only.

pub mod actors;
pub mod app;
pub mod auth;
pub mod broker;
pub mod cache;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod objects;
pub mod store;
pub mod telemetry;
pub mod workload;

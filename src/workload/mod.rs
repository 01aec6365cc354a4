//! Workloads: which events a trace or a load generator publishes, by documented rules.
//!
//! Pure: the same plan and the same times give the same bytes. Random numbers are ChaCha8, drawn as whole numbers and
//! used with integer arithmetic only, so that they are the same on every machine and with every version of the crates.
//! [`tally::Tally`] adds up what a correct service stores of it.

mod catalogue;
mod draw;
mod invalid;
pub mod synthetic;
pub mod tally;
pub mod trace;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{event::Event, money::Cents};

/// How a workload's messages differ from plain events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event that was not sent before.
    Original { late: bool },
    /// An earlier event again.
    Resend(Resend),
    /// Breaks a rule of the contract.
    Invalid,
}

/// What a resend has in common with its original, beside the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// The same bytes.
    Identical,
    /// The same but for `occurredAt`, within 20 hours of the original's.
    OtherTime,
    /// The same `occurredAt`, other tokens and cost.
    OtherContent,
}

/// What a sender has to know about a message whose body it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: Kind,
    /// The org that a reader of the message finds; none where it can find none.
    pub org_id: Option<Uuid>,
    /// What an original adds to its org's usage.
    pub usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub occurred_at: DateTime<Utc>,
    pub input_tokens: u32,
    pub output_tokens: u32,
    pub cost: Cents,
}

impl Note {
    fn original(event: &Event, late: bool) -> Self {
        let usage = Usage {
            occurred_at: event.occurred_at,
            input_tokens: event.input_tokens,
            output_tokens: event.output_tokens,
            cost: event.cost_estimate_cents,
        };
        Self { kind: Kind::Original { late }, org_id: Some(event.org_id), usage: Some(usage) }
    }
}

/// Why a workload cannot go on. A plan's numbers are judged where they are given.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// Names the line, which counts from 1 with the header, and the column.
    #[error("line {line}: {column}: {problem}")]
    Trace { line: u64, column: &'static str, problem: String },
    #[error("cannot write an event as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

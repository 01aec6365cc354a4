//! An inference event: the fields of the contract and the rules that a message must keep to become one.

mod decode;
mod json;

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::money::Cents;

pub use decode::{decode, org_of};

/// Longest message that is read; a longer one becomes a dead letter. Bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
pub const MAX_LATENCY_MS: u32 = 86_400_000;
pub const MAX_TOKENS: u32 = 1_000_000_000;
/// Cents of one event.
pub const MAX_COST: Cents = Cents::from_units(10_i128.pow(14));
/// Characters of `clientId` and of `errorCode`.
pub const MAX_TEXT_CHARS: usize = 200;
/// Bytes of `metadata` as sent.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

/// How an inference ended. All but success count as errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Success,
    Error,
    Timeout,
    Throttled,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Success, Self::Error, Self::Timeout, Self::Throttled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
        }
    }
}

/// What an event is recognised by. Two events of one key are the same while their `occurred_at` lie within the
/// dedupe window of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub org_id: Uuid,
    pub event_id: Uuid,
}

/// One inference call. Unknown fields are ignored
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// With orgId what the event is recognised by: a resend carries the same
    pub event_id: Uuid,
    pub org_id: Uuid,
    pub model_id: Uuid,
    /// The person or service that called
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<Uuid>,
    /// API key or application
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, nullable = false)]
    pub client_id: Option<String>,
    /// When the inference completed, cut to microseconds. Not more than 5 minutes ahead of the service's clock, not older
    /// than raw events are kept
    pub occurred_at: DateTime<Utc>,
    /// All but success count as errors
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub error_code: Option<String>,
    #[schema(minimum = 0, maximum = 86_400_000)]
    pub latency_ms: u32,
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub input_tokens: u32,
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub output_tokens: u32,
    /// A decimal, at most four places
    #[serde(serialize_with = "crate::domain::money::as_json_number")]
    #[schema(value_type = f64, minimum = 0, maximum = 10_000_000_000_i64, multiple_of = 0.0001)]
    pub cost_estimate_cents: Cents,
    /// Region, guardrail version and so on; at most 8 KiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub metadata: Option<BTreeMap<String, String>>,
}

impl Event {
    pub fn key(&self) -> EventKey {
        EventKey { org_id: self.org_id, event_id: self.event_id }
    }
}

/// What the bounds on `occurredAt` are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// How far ahead of `now` an event may lie.
    pub max_ahead: TimeDelta,
    /// How long raw events are kept; older ones are refused.
    pub retention: TimeDelta,
}

/// Why a message is no event: every rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Only when the JSON is valid and has exactly one `orgId`, itself valid.
    pub org_id: Option<Uuid>,
    /// The same of `eventId`.
    pub event_id: Option<Uuid>,
    pub reasons: Vec<Reason>,
}

/// A broken rule: `field: reason`. Never quotes the message, whose bytes are hostile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub field: &'static str,
    pub rule: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

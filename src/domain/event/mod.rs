//! An inference event: the fields of the contract and the rules that a message must keep to become one.

mod decode;
mod json;
mod metadata;

use std::{fmt, hash::BuildHasher, ops::AddAssign};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    money::{self, Cents},
    named::named,
};

pub use decode::{decode, decode_noting, org_of};
pub use metadata::Metadata;

/// Longest message that is read; a longer one becomes a dead letter. Bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
pub const MAX_LATENCY_MS: u32 = 86_400_000;
pub const MAX_TOKENS: u32 = 1_000_000_000;
/// Cents of one event.
pub const MAX_COST: Cents = Cents::from_units(10_i128.pow(10 + money::SCALE));
/// Characters of `clientId`, and of `errorCode` as it is stored.
pub const MAX_TEXT_CHARS: usize = 200;
/// Bytes of `metadata` as compact JSON, which is what is stored.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

named! {
    /// How an inference ended. All but success count as errors.
    #[derive(PartialOrd, Ord, Hash, Deserialize, ToSchema)]
    pub enum Status {
        Success = "success",
        Error = "error",
        Timeout = "timeout",
        Throttled = "throttled",
    }
}

/// What an event is recognised by. Two events of one key are the same while their `occurred_at` lie within the
/// dedupe window of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub org_id: Uuid,
    pub event_id: Uuid,
}

/// Hashes keys: quickly, and by a secret of its own, so that no producer can choose keys of one hash.
#[derive(Clone, Default)]
pub struct KeyHasher(foldhash::quality::RandomState);

impl KeyHasher {
    pub fn hash(&self, key: EventKey) -> u64 {
        self.0.hash_one((key.org_id.as_u128(), key.event_id.as_u128()))
    }
}

/// One inference call. Unknown fields are ignored, whatever they hold
///
/// Beside what this schema says, a message has at most 64 KiB and 128 levels of arrays and objects in one another, and each
/// field of the schema at most once. NUL and halves of surrogate pairs in clientId, errorCode and metadata are stored as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// With orgId what the event is recognised by: a resend carries the same
    #[schema(value_type = String, format = Uuid, max_length = 36, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    pub event_id: Uuid,
    #[schema(value_type = String, format = Uuid, max_length = 36, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    pub org_id: Uuid,
    #[schema(value_type = String, format = Uuid, max_length = 36, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    pub model_id: Uuid,
    /// The person or service that called
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid, max_length = 36, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    pub actor_id: Option<Uuid>,
    /// API key or application
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200, nullable = false)]
    pub client_id: Option<String>,
    /// When the inference completed, cut to microseconds; a leap second is the last microsecond of its minute. Not more than 5
    /// minutes ahead of the service's clock and not older than raw events are kept, which this schema cannot say
    #[schema(
        value_type = String,
        format = DateTime,
        pattern = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$(?!\\n)"
    )]
    pub occurred_at: DateTime<Utc>,
    /// All but success count as errors
    pub status: Status,
    /// Kept to 200 characters: of a longer one the first 199 and an ellipsis
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// An integer, which 374.0 and 1e3 are too
    #[schema(minimum = 0, maximum = 86_400_000)]
    pub latency_ms: u32,
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub input_tokens: u32,
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub output_tokens: u32,
    /// A decimal, kept exactly to twelve places and rounded half to even beyond
    #[serde(serialize_with = "crate::domain::money::as_json_number")]
    #[schema(value_type = f64, minimum = 0, maximum = 10_000_000_000_i64)]
    pub cost_estimate_cents: Cents,
    /// Region, guardrail version and so on; at most 8 KiB as compact JSON, which this schema cannot say
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>, nullable = false)]
    pub metadata: Option<Metadata>,
}

impl Event {
    pub fn key(&self) -> EventKey {
        EventKey { org_id: self.org_id, event_id: self.event_id }
    }
}

/// Events of which a field had to be normalised, by field: NUL and halves of surrogate pairs, which cannot be stored, and
/// an `errorCode` that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Normalized {
    pub client_id: u64,
    pub error_code: u64,
    pub metadata: u64,
}

impl Normalized {
    /// With the fields' names in the contract.
    pub fn by_field(&self) -> [(&'static str, u64); 3] {
        [("clientId", self.client_id), ("errorCode", self.error_code), ("metadata", self.metadata)]
    }
}

impl AddAssign for Normalized {
    fn add_assign(&mut self, other: Self) {
        self.client_id += other.client_id;
        self.error_code += other.error_code;
        self.metadata += other.metadata;
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

impl Rejection {
    /// A message that no body can be made of.
    pub fn unreadable(why: &str) -> Self {
        Self { org_id: None, event_id: None, reasons: vec![Reason { field: "body", rule: why.to_owned() }] }
    }

    /// Whether another clock might accept the message: nothing but its time is wrong.
    pub fn is_of_time_alone(&self) -> bool {
        !self.reasons.is_empty() && self.reasons.iter().all(|reason| reason.field == "occurredAt")
    }
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

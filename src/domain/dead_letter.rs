//! Dead letters as they are read: what was rejected, why, and whether it was corrected.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    named::named,
    page::{Entry, Page},
};

named! {
    /// How far a rejected message has come.
    pub enum State {
        /// Rejected, and nothing done about it.
        Open = "open",
        /// A correction is stored and is to be published.
        Corrected = "corrected",
        /// The broker has confirmed the correction.
        Replayed = "replayed",
    }
}

impl State {
    pub fn of(corrected_at: Option<DateTime<Utc>>, replayed_at: Option<DateTime<Utc>>) -> Self {
        match (corrected_at, replayed_at) {
            (_, Some(_)) => Self::Replayed,
            (Some(_), None) => Self::Corrected,
            (None, None) => Self::Open,
        }
    }
}

/// Whose dead letters are meant: one that is not among them stays hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterScope {
    Org(Uuid),
    /// Messages that do not name their org.
    Unreadable,
    Any,
}

impl LetterScope {
    pub const fn org_id(self) -> Option<Uuid> {
        match self {
            Self::Org(org_id) => Some(org_id),
            Self::Unreadable | Self::Any => None,
        }
    }
}

/// A page of dead letters, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterQuery {
    pub whose: LetterScope,
    /// Rejected at this moment or later.
    pub start: Option<DateTime<Utc>>,
    /// Rejected before this moment.
    pub end: Option<DateTime<Utc>>,
    /// None: all.
    pub state: Option<State>,
    /// Of messages with this `eventId`.
    pub event_id: Option<Uuid>,
    /// Those that have this in one of their reasons, upper and lower case as it is.
    pub reason: Option<String>,
    /// Those older than this one.
    pub before: Option<Uuid>,
    pub limit: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Version 7: in the order of time, and disclosing nothing of other letters.
    pub id: Uuid,
    /// None where the message does not name it.
    pub org_id: Option<Uuid>,
    /// Not for an org: offsets disclose something of other orgs.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Origin)]
    pub origin: Option<Origin>,
    pub rejected_at: DateTime<Utc>,
    /// Each `field: reason`.
    pub reasons: Vec<String>,
    /// Of the whole message, as the hash.
    pub payload_bytes: u64,
    #[serde(serialize_with = "as_hex")]
    #[schema(value_type = String)]
    pub payload_sha256: Vec<u8>,
    pub state: State,
    pub corrected_by: Option<String>,
    pub corrected_at: Option<DateTime<Utc>>,
    pub replayed_at: Option<DateTime<Utc>>,
}

/// Where a message came from; only where it names no organisation
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeadLetterOrigin)]
pub struct Origin {
    #[schema(required = false)]
    pub stream: String,
    #[schema(required = false)]
    pub partition: u16,
    #[schema(required = false)]
    pub offset: i64,
}

pub type DeadLetterPage = Page<DeadLetter>;

impl Entry for DeadLetter {
    fn id(&self) -> Uuid {
        self.id
    }
}

/// A dead letter with its message.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedLetter {
    #[serde(flatten)]
    pub letter: DeadLetter,
    #[serde(flatten)]
    pub payload: Payload,
    /// Only the message's first bytes are kept.
    pub payload_truncated: bool,
    /// The event that takes the message's place. As it is stored, so that no amount goes through a float.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub correction: Option<Box<RawValue>>,
}

/// The bytes of a message: a text where they are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Payload {
    #[serde(rename = "payload")]
    Text(String),
    #[serde(rename = "payloadBase64", serialize_with = "as_base64")]
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    serializer.serialize_str(&STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: Uuid::from_u128(7),
            org_id: Some(Uuid::nil()),
            origin: None,
            rejected_at: DateTime::UNIX_EPOCH,
            reasons: vec!["status: is required".to_owned()],
            payload_bytes: 3,
            payload_sha256: vec![0, 0xab],
            state: State::Open,
            corrected_by: None,
            corrected_at: None,
            replayed_at: None,
        }
    }

    #[test]
    fn an_orgs_letter_has_no_offset() {
        let expected = json!({
            "id": Uuid::from_u128(7), "orgId": Uuid::nil(), "rejectedAt": "1970-01-01T00:00:00Z", "reasons": ["status: is required"],
            "payloadBytes": 3, "payloadSha256": "00ab", "state": "open", "correctedBy": null, "correctedAt": null,
            "replayedAt": null,
        });
        assert_eq!(serde_json::to_value(letter()).unwrap(), expected);
        let origin = Origin { stream: "s".to_owned(), partition: 1, offset: 9 };
        let json = serde_json::to_value(DeadLetter { origin: Some(origin), ..letter() }).unwrap();
        assert_eq!((&json["stream"], &json["partition"], &json["offset"]), (&json!("s"), &json!(1), &json!(9)));
    }

    #[test]
    fn payloads_and_corrections_keep_their_digits() {
        let opened = |payload: &[u8], correction: Option<&str>| {
            let correction = correction.map(|text| RawValue::from_string(text.to_owned()).unwrap());
            let payload = Payload::from(payload.to_vec());
            serde_json::to_string(&OpenedLetter { letter: letter(), payload, payload_truncated: false, correction })
                .unwrap()
        };
        assert!(opened(b"{\0}", None).contains(r#""payload":"{\u0000}","payloadTruncated":false}"#));
        assert!(opened(b"\xff\xfe", None).contains(r#""payloadBase64":"//4=""#));
        assert!(
            opened(b"", Some(r#"{"c":0.10000000000000000001}"#))
                .contains(r#""correction":{"c":0.10000000000000000001}"#)
        );
    }
}

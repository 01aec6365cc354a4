//! From the bytes of a message to an event, or to every reason why not.

mod plain;
mod scanner;

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::error::Category;
use uuid::Uuid;

use super::{
    Event, MAX_COST, MAX_LATENCY_MS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_TEXT_CHARS, MAX_TOKENS, Metadata,
    Normalized, Reason, Rejection, Rules, Status,
    json::{FIELDS, Fields, Storable, TOO_DEEP, storable, storable_map, string},
};
use crate::domain::{decimal, money::Cents, timestamp};

/// Reads one message.
///
/// # Errors
/// Every rule of the contract that the message breaks, each with its field; `message` where the bytes as a whole
/// are no readable JSON object.
pub fn decode(body: &[u8], rules: &Rules) -> Result<Event, Rejection> {
    decode_noting(body, rules, &mut Normalized::default())
}

/// The same, and counts what had to be normalised of an event.
///
/// # Errors
/// As for [`decode`].
pub fn decode_noting(body: &[u8], rules: &Rules, normalized: &mut Normalized) -> Result<Event, Rejection> {
    match plain::read(body, rules) {
        Some(event) => Ok(event),
        None => any_form(body, rules, normalized),
    }
}

/// The same by a decoder that reads every form, and finds every reason.
fn any_form(body: &[u8], rules: &Rules, normalized: &mut Normalized) -> Result<Event, Rejection> {
    let fields = parse(body).map_err(|rule| Rejection {
        org_id: None,
        event_id: None,
        reasons: vec![Reason { field: "message", rule }],
    })?;
    let mut reader = Reader { fields, reasons: Vec::new(), normalized: Normalized::default() };
    match reader.event(rules) {
        Some(event) if reader.reasons.is_empty() => {
            *normalized += reader.normalized;
            Ok(event)
        }
        _ => {
            let [org_id, event_id] = ["orgId", "eventId"].map(|name| id(&reader.fields, name));
            Err(Rejection { org_id, event_id, reasons: reader.reasons })
        }
    }
}

/// The org that a message belongs to, be it an event or not; see [`Rejection::org_id`].
pub fn org_of(body: &[u8]) -> Option<Uuid> {
    id(&parse(body).ok()?, "orgId")
}

/// What a field that comes once says, where it is a UUID.
fn id(fields: &Fields<'_>, name: &str) -> Option<Uuid> {
    let field = fields.0[FIELDS.iter().position(|field| *field == name)?];
    if field.repeated { None } else { uuid(field.text?).ok() }
}

fn parse(body: &[u8]) -> Result<Fields<'_>, String> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(format!("is {} bytes long, at most {MAX_MESSAGE_BYTES} are read", body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|e| format!("is not UTF-8 after byte {}", e.valid_up_to()))?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data if error.to_string().starts_with(TOO_DEEP) => TOO_DEEP.to_owned(),
        Category::Data => "must be a JSON object".to_owned(),
        _ => format!("is not valid JSON at line {} column {}", error.line(), error.column()),
    })
}

struct Reader<'a> {
    fields: Fields<'a>,
    reasons: Vec<Reason>,
    normalized: Normalized,
}

impl<'a> Reader<'a> {
    /// Judges every field, so that all reasons are found, before it gives up on any.
    fn event(&mut self, rules: &Rules) -> Option<Event> {
        let event_id = self.required("eventId", uuid);
        let org_id = self.required("orgId", uuid);
        let model_id = self.required("modelId", uuid);
        let actor_id = self.optional("actorId", |raw| if raw == "null" { Ok(None) } else { uuid(raw).map(Some) });
        let client_id = self.optional("clientId", client_id);
        let occurred_at = self.required("occurredAt", |raw| occurred_at(raw, rules));
        let status = self.required("status", status);
        let error_code = self.optional("errorCode", error_code);
        let latency_ms = self.required("latencyMs", |raw| integer(raw, MAX_LATENCY_MS));
        let input_tokens = self.required("inputTokens", |raw| integer(raw, MAX_TOKENS));
        let output_tokens = self.required("outputTokens", |raw| integer(raw, MAX_TOKENS));
        let cost_estimate_cents = self.required("costEstimateCents", cost);
        let metadata = self.optional("metadata", metadata);
        let client_id = noted(client_id, &mut self.normalized.client_id);
        let error_code = noted(error_code, &mut self.normalized.error_code);
        let metadata = noted(metadata, &mut self.normalized.metadata);
        Some(Event {
            event_id: event_id?,
            org_id: org_id?,
            model_id: model_id?,
            actor_id,
            client_id,
            occurred_at: occurred_at?,
            status: status?,
            error_code,
            latency_ms: latency_ms?,
            input_tokens: input_tokens?,
            output_tokens: output_tokens?,
            cost_estimate_cents: cost_estimate_cents?,
            metadata,
        })
    }

    fn required<T>(&mut self, field: &'static str, read: impl FnOnce(&'a str) -> Result<T, String>) -> Option<T> {
        match self.take(field)? {
            Some(raw) => self.keep(field, read(raw)),
            None => self.keep(field, Err("is required".to_owned())),
        }
    }

    fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&'a str) -> Result<Option<T>, String>,
    ) -> Option<T> {
        let raw = self.take(field)??;
        self.keep(field, read(raw)).flatten()
    }

    /// The field's text; nothing at all where it is there twice.
    fn take(&mut self, field: &'static str) -> Option<Option<&'a str>> {
        let found = self.fields.0[FIELDS.iter().position(|name| *name == field)?];
        if found.repeated {
            return self.keep(field, Err("is there more than once".to_owned()));
        }
        Some(found.text)
    }

    fn keep<T>(&mut self, field: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|rule| self.reasons.push(Reason { field, rule })).ok()
    }
}

fn uuid(raw: &str) -> Result<Uuid, String> {
    string(raw)
        .filter(|text| text.len() == uuid::fmt::Hyphenated::LENGTH)
        .and_then(|text| Uuid::try_parse(&text).ok())
        .ok_or_else(|| "must be a UUID of the form 00000000-0000-0000-0000-000000000000".to_owned())
}

/// A value, and whether it had to be normalised.
type Noted<T> = (T, bool);

/// Counts where a value had to be normalised.
fn noted<T>(value: Option<Noted<T>>, count: &mut u64) -> Option<T> {
    value.map(|(value, normalized)| {
        *count += u64::from(normalized);
        value
    })
}

fn client_id(raw: &str) -> Result<Option<Noted<String>>, String> {
    let Storable { text, normalized } =
        storable(raw).ok_or_else(|| format!("must be a string of at most {MAX_TEXT_CHARS} characters"))?;
    if is_too_long(&text) {
        return Err(format!("must have at most {MAX_TEXT_CHARS} characters"));
    }
    Ok(Some((text.into_owned(), normalized)))
}

/// Some platforms put a whole error message here: the beginning of one is worth more than a dead letter.
fn error_code(raw: &str) -> Result<Option<Noted<String>>, String> {
    if raw == "null" {
        return Ok(None);
    }
    let Storable { text, normalized } = storable(raw).ok_or("must be a string or null")?;
    if is_too_long(&text) {
        let kept = text.chars().take(MAX_TEXT_CHARS - 1).chain(['\u{2026}']).collect();
        return Ok(Some((kept, true)));
    }
    Ok(Some((text.into_owned(), normalized)))
}

fn is_too_long(text: &str) -> bool {
    text.len() > MAX_TEXT_CHARS && text.chars().count() > MAX_TEXT_CHARS
}

fn status(raw: &str) -> Result<Status, String> {
    let status = string(raw).and_then(|text| text.parse().ok());
    status.ok_or_else(|| "must be one of success, error, timeout, throttled".to_owned())
}

fn integer(raw: &str, max: u32) -> Result<u32, String> {
    // Nearly all are written plainly; 374.0 and 1e3 are integers too.
    let value = raw.parse::<u32>().ok().or_else(|| {
        let number = decimal::scaled(raw, 0).ok().filter(|number| number.written == Ordering::Equal)?;
        u32::try_from(number.units).ok()
    });
    value.filter(|value| *value <= max).ok_or_else(|| format!("must be an integer from 0 to {max}"))
}

fn cost(raw: &str) -> Result<Cents, String> {
    Cents::from_json_within(raw, MAX_COST).ok_or_else(|| format!("must be a number from 0 to {MAX_COST}"))
}

fn occurred_at(raw: &str, rules: &Rules) -> Result<DateTime<Utc>, String> {
    let at = string(raw)
        .and_then(|text| timestamp::occurred(&text))
        .ok_or_else(|| "must be an RFC 3339 timestamp".to_owned())?;
    if at > rules.now + rules.max_ahead {
        let seconds = rules.max_ahead.num_seconds();
        return Err(format!("lies more than {seconds} seconds ahead of the database's clock"));
    }
    if at < rules.now - rules.retention {
        let days = rules.retention.num_days();
        return Err(format!("is older than the {days} days for which raw events are kept"));
    }
    Ok(at)
}

fn metadata(raw: &str) -> Result<Option<Noted<Metadata>>, String> {
    let (pairs, normalized) = storable_map(raw).ok_or("must be an object whose values are strings")?;
    let metadata = Metadata::from(&pairs);
    // What is stored is never longer than what was sent: no spaces, no escapes that are not needed.
    if metadata.as_json().len() > MAX_METADATA_BYTES {
        return Err(format!("must have at most {MAX_METADATA_BYTES} bytes as compact JSON"));
    }
    Ok(Some((metadata, normalized)))
}

#[cfg(test)]
mod tests;

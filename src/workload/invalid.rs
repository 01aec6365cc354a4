//! Messages that break the contract, each in one way. They are invalid whatever the service's settings are.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{WorkloadError, draw::Draw};
use crate::domain::event::{Event, MAX_LATENCY_MS, MAX_MESSAGE_BYTES, MAX_TEXT_CHARS, MAX_TOKENS};

/// Fields that are required, without orgId.
const REQUIRED: [&str; 8] =
    ["eventId", "modelId", "occurredAt", "status", "latencyMs", "inputTokens", "outputTokens", "costEstimateCents"];
/// More levels than a parser follows.
const DEPTH: usize = 300;

/// Breaks an event in a drawn way and writes it. Returns the org that can still be read from it.
pub fn write(
    event: Event,
    now: DateTime<Utc>,
    draw: &mut Draw,
    body: &mut Vec<u8>,
) -> Result<Option<Uuid>, WorkloadError> {
    let org_id = event.org_id;
    let Value::Object(mut fields) = serde_json::to_value(&event)? else { return Ok(None) };
    // Two in three keep a readable org.
    if draw.chance(2, 3) {
        let twice = draw.chance(1, 12);
        if !twice {
            break_field(&mut fields, now, draw);
        }
        serde_json::to_writer(&mut *body, &fields)?;
        if twice {
            add(body, &format!("\"eventId\":\"{}\"", event.event_id));
        }
        return Ok(Some(org_id));
    }
    break_message(fields, org_id, draw, body)?;
    Ok(None)
}

fn break_field(fields: &mut Map<String, Value>, now: DateTime<Utc>, draw: &mut Draw) {
    let (field, value) = match draw.below(11) {
        0 => {
            fields.remove(REQUIRED[draw.index(REQUIRED.len())]);
            return;
        }
        1 => ("inputTokens", json!(u64::from(MAX_TOKENS) + 1)),
        2 => ("latencyMs", json!(-1)),
        3 => ("latencyMs", json!(u64::from(MAX_LATENCY_MS) + 1)),
        4 => ("costEstimateCents", json!(-0.000_01)),
        5 => ("costEstimateCents", json!(10_000_000_001_u64)),
        6 => ("status", json!("ok")),
        7 => ("clientId", json!("x".repeat(MAX_TEXT_CHARS + 1))),
        8 => ("errorCode", json!(500)),
        9 if draw.chance(1, 2) => ("occurredAt", json!(now + TimeDelta::days(1))),
        9 => ("occurredAt", json!("1999-12-31T23:59:59Z")),
        _ => ("metadata", json!({ "region": 1 })),
    };
    fields.insert(field.to_owned(), value);
}

fn break_message(
    mut fields: Map<String, Value>,
    org_id: Uuid,
    draw: &mut Draw,
    body: &mut Vec<u8>,
) -> Result<(), WorkloadError> {
    let way = draw.below(20);
    match way {
        0..=2 => drop(fields.remove("orgId")),
        3..=5 => drop(fields.insert("orgId".to_owned(), json!("acme"))),
        6 => drop(fields.insert("note".to_owned(), json!("x".repeat(MAX_MESSAGE_BYTES)))),
        _ => {}
    }
    serde_json::to_writer(&mut *body, &fields)?;
    match way {
        7..=9 => body.truncate(body.len() / 2),
        10..=12 => body[20..23].copy_from_slice(&[0xc3, 0x28, 0xff]),
        13..=14 => {
            body.insert(0, b'[');
            body.push(b']');
        }
        15..=16 => add(body, &format!("\"orgId\":\"{org_id}\"")),
        17..=18 => add(body, &format!("\"nested\":{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        19 => body.clear(),
        _ => {}
    }
    Ok(())
}

/// Adds a field to a written object, be it there or not.
fn add(body: &mut Vec<u8>, field: &str) {
    body.pop();
    body.extend_from_slice(format!(",{field}}}").as_bytes());
}

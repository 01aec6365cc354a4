//! Which bytes of a record are the event.
//!
//! A stream client may write any bytes. Most clients write AMQP 1.0 messages, and so does the broker where a message came by
//! another protocol: sections, each a described value (OASIS AMQP 1.0, part 3, section 3.2). A record that begins with 0x00,
//! as a described value does, is taken for a message. Where it is not a well-formed one the reason says so: taken for bare
//! bytes it could be no event either, since no JSON text begins with 0x00, and the producer would learn less.

use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};

use super::value::{Value, Values};
use crate::{broker::publish_time::publish_time, domain::trace::TraceParent};

/// Where the broker notes when it received a message, if it is configured to. AMQP 0.9.1 consumers get it as `timestamp_in_ms`.
const RECEIVED_TIME: &[u8] = b"x-opt-rabbitmq-received-time";
/// The same by the producer; a header of that name of AMQP 0.9.1 becomes an application property.
const TIMESTAMP: &[u8] = b"timestamp_in_ms";
/// Place of `creation-time` in the properties; `timestamp` of AMQP 0.9.1 becomes that.
const CREATION_TIME: usize = 9;

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub body: Result<Bytes, Unreadable>,
    pub published_at: Option<DateTime<Utc>>,
    pub producer: Option<TraceParent>,
}

/// A record in which no event can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: String,
    /// What was to be read. Of records that can only be read together the first has all of it, and the others have nothing.
    pub bytes: Bytes,
}

/// Why a message has no body that could be an event. Permanent: it is so in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("begins like an AMQP 1.0 message and is malformed at byte {0}")]
    Malformed(usize),
    #[error("an AMQP 1.0 message with an unknown section at byte {0}")]
    UnknownSection(usize),
    #[error("an AMQP 1.0 message without a body")]
    NoBody,
    #[error("the body of the AMQP 1.0 message is neither binary data nor a string: {0}")]
    NoBytes(&'static str),
    #[error("the AMQP 1.0 message has more than one body")]
    Bodies,
}

/// Finds the event in a record. A body in one piece is a slice of the record.
pub fn read(record: Bytes) -> Content {
    if record.first() != Some(&0) {
        return Content { body: Ok(record), published_at: None, producer: None };
    }
    let mut stamps = Stamps::default();
    let body = match find_body(&record, &mut stamps) {
        Ok(Body::Slice { start, end }) => {
            let mut body = record;
            body.truncate(end);
            body.advance(start);
            Ok(body)
        }
        Ok(Body::Joined(bytes)) => Ok(bytes.into()),
        Err(error) => Err(Unreadable { reason: error.to_string(), bytes: record }),
    };
    let Stamps { received, stamped, created, producer } = stamps;
    Content { body, published_at: received.or(stamped).or(created), producer }
}

/// What sections before the body say.
#[derive(Default)]
struct Stamps {
    received: Option<DateTime<Utc>>,
    stamped: Option<DateTime<Utc>>,
    created: Option<DateTime<Utc>>,
    producer: Option<TraceParent>,
}

enum Body {
    /// Where it is in the record.
    Slice {
        start: usize,
        end: usize,
    },
    Joined(Vec<u8>),
}

fn find_body(record: &[u8], stamps: &mut Stamps) -> Result<Body, MessageError> {
    let mut values = Values { rest: record };
    let mut body: Option<Body> = None;
    // A body that is data may come in several sections, any other in one.
    let mut is_data = false;
    while !values.rest.is_empty() {
        let at = record.len() - values.rest.len();
        let (section, value) = next_section(&mut values).ok_or(MessageError::Malformed(at))?;
        let section = section.ok_or(MessageError::UnknownSection(at))?;
        let bytes = match section {
            Section::MessageAnnotations => {
                stamps.annotations(value);
                continue;
            }
            Section::Properties => {
                stamps.properties(value);
                continue;
            }
            Section::ApplicationProperties => {
                stamps.application_properties(value);
                continue;
            }
            Section::Passed => continue,
            Section::Data => value.binary(),
            Section::Value => value.binary().or_else(|| value.text()),
            Section::Sequence => None,
        };
        let bytes = bytes.ok_or(MessageError::NoBytes(value.kind()))?;
        let end = record.len() - values.rest.len();
        body = Some(match body {
            None => Body::Slice { start: end - bytes.len(), end },
            Some(_) if !(is_data && section == Section::Data) => return Err(MessageError::Bodies),
            Some(Body::Slice { start, end }) => Body::Joined([&record[start..end], bytes].concat()),
            Some(Body::Joined(mut joined)) => {
                joined.extend_from_slice(bytes);
                Body::Joined(joined)
            }
        });
        is_data = section == Section::Data;
    }
    body.ok_or(MessageError::NoBody)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    MessageAnnotations,
    Properties,
    ApplicationProperties,
    Data,
    Sequence,
    Value,
    /// Nothing of it is needed: header, delivery annotations, footer.
    Passed,
}

/// The next section's descriptor, by its number or its name, and its value.
fn next_section<'a>(values: &mut Values<'a>) -> Option<(Option<Section>, Value<'a>)> {
    values.rest = values.rest.strip_prefix(&[0])?;
    let descriptor = values.next()?;
    let section = match (descriptor.integer(), descriptor.text()) {
        (Some(0x70 | 0x71 | 0x78), _)
        | (_, Some(b"amqp:header:list" | b"amqp:delivery-annotations:map" | b"amqp:footer:map")) => {
            Some(Section::Passed)
        }
        (Some(0x72), _) | (_, Some(b"amqp:message-annotations:map")) => Some(Section::MessageAnnotations),
        (Some(0x73), _) | (_, Some(b"amqp:properties:list")) => Some(Section::Properties),
        (Some(0x74), _) | (_, Some(b"amqp:application-properties:map")) => Some(Section::ApplicationProperties),
        (Some(0x75), _) | (_, Some(b"amqp:data:binary")) => Some(Section::Data),
        (Some(0x76), _) | (_, Some(b"amqp:amqp-sequence:list")) => Some(Section::Sequence),
        (Some(0x77), _) | (_, Some(b"amqp:amqp-value:*")) => Some(Section::Value),
        _ => None,
    };
    Some((section, values.next()?))
}

/// What cannot be read here is no reason to refuse the body: the section ends where its length says.
impl Stamps {
    fn annotations(&mut self, section: Value<'_>) {
        for (key, value) in entries(section) {
            if key == RECEIVED_TIME {
                self.received = value.integer().and_then(publish_time);
            }
        }
    }

    fn application_properties(&mut self, section: Value<'_>) {
        for (key, value) in entries(section) {
            if key == TIMESTAMP {
                self.stamped = value.integer().and_then(publish_time);
            } else if key == TraceParent::HEADER.as_bytes() {
                let text = value.text().or_else(|| value.binary());
                self.producer = text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            }
        }
    }

    fn properties(&mut self, section: Value<'_>) {
        let field = section.items().and_then(|mut fields| fields.nth(CREATION_TIME));
        self.created = field.and_then(Value::integer).and_then(publish_time);
    }
}

/// The entries of a map whose keys are strings or symbols.
fn entries<'a>(map: Value<'a>) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
    let mut items = map.items();
    std::iter::from_fn(move || {
        let items = items.as_mut()?;
        Some((items.next()?, items.next()?))
    })
    .filter_map(|(key, value)| Some((key.text()?, value)))
}

#[cfg(test)]
mod tests;

//! The JSON object of a message, its fields still as text, so that each can be judged by itself.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The fields of the contract, in its order.
pub const FIELDS: [&str; 13] = [
    "eventId",
    "orgId",
    "modelId",
    "actorId",
    "clientId",
    "occurredAt",
    "status",
    "errorCode",
    "latencyMs",
    "inputTokens",
    "outputTokens",
    "costEstimateCents",
    "metadata",
];

/// Levels of arrays and objects in one another, the message's own object among them.
const MAX_DEPTH: usize = 128;
/// What an error begins with where a message has more.
pub const TOO_DEEP: &str = "is nested deeper than 128 levels";

/// A field that may come only once: which of two `orgId` would count?
#[derive(Clone, Copy, Default)]
pub struct Field<'a> {
    pub text: Option<&'a str>,
    pub repeated: bool,
}

/// One entry for each of [`FIELDS`].
#[derive(Default)]
pub struct Fields<'a>(pub [Field<'a>; FIELDS.len()]);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?.get();
            // A name that is no text, such as one with half a surrogate pair, matches no field.
            let name = string(name.get());
            match FIELDS.iter().position(|field| name.as_deref() == Some(*field)) {
                Some(i) => {
                    let field = &mut fields.0[i];
                    field.repeated = field.text.is_some();
                    field.text = Some(value);
                }
                // What an unknown field holds is of no interest, but how deep it goes: the parser skips any depth.
                None if is_deeper(value, MAX_DEPTH - 1) => return Err(A::Error::custom(TOO_DEEP)),
                None => {}
            }
        }
        Ok(fields)
    }
}

/// Whether arrays and objects lie in one another by more than `max` levels in a valid JSON value.
fn is_deeper(value: &str, max: usize) -> bool {
    if !value.starts_with(['[', '{']) {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

/// The string that a JSON value is, if it is one.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A text that can be stored: whatever cannot be is U+FFFD in it.
pub struct Storable<'a> {
    pub text: Cow<'a, str>,
    pub normalized: bool,
}

/// The string that a JSON value is, if it is one, with U+FFFD for each NUL, which PostgreSQL does not store, and for each
/// half of a surrogate pair, which is no character.
pub fn storable(raw: &str) -> Option<Storable<'_>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        // Without an escape there is neither in a valid JSON text.
        return Some(Storable { text: Cow::Borrowed(inner), normalized: false });
    }
    let Normalized { text, normalized } = serde_json::from_str(raw).ok()?;
    Some(Storable { text: Cow::Owned(text), normalized })
}

/// The same for the strings of a JSON object; the last one where a key comes again. None where it is no object of strings.
pub fn storable_map(raw: &str) -> Option<(BTreeMap<String, String>, bool)> {
    if !raw.contains('\\') {
        return Some((serde_json::from_str(raw).ok()?, false));
    }
    let pairs: Pairs = serde_json::from_str(raw).ok()?;
    Some((pairs.map, pairs.normalized))
}

/// An owned [`Storable`].
struct Normalized {
    text: String,
    normalized: bool,
}

impl<'de> Deserialize<'de> for Normalized {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Normalized;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Normalized, E> {
                normalize(bytes).ok_or_else(|| E::custom("is not UTF-8"))
            }
        }
        // As bytes the parser gives half a surrogate pair too, in the three bytes that UTF-8 does not allow for it.
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

fn normalize(bytes: &[u8]) -> Option<Normalized> {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    let half = |at: usize| bytes[at] == 0xed && bytes.get(at + 1).is_some_and(|second| *second >= 0xa0);
    let first = (0..bytes.len()).find(|at| bytes[*at] == 0 || half(*at));
    let Some(first) = first else {
        return Some(Normalized { text: str::from_utf8(bytes).ok()?.to_owned(), normalized: false });
    };
    let mut out = bytes[..first].to_vec();
    let mut at = first;
    while at < bytes.len() {
        if bytes[at] == 0 || half(at) {
            out.extend_from_slice(REPLACEMENT);
            at += if bytes[at] == 0 { 1 } else { 3 };
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(Normalized { text: String::from_utf8(out).ok()?, normalized: true })
}

struct Pairs {
    map: BTreeMap<String, String>,
    normalized: bool,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Pairs, A::Error> {
                let (mut map, mut normalized) = (BTreeMap::new(), false);
                while let Some((key, value)) = pairs.next_entry::<Normalized, Normalized>()? {
                    normalized |= key.normalized || value.normalized;
                    map.insert(key.text, value.text);
                }
                Ok(Pairs { map, normalized })
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

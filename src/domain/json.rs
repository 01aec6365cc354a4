//! Objects of requests: JSON, in which no name may stand twice. Of two values one would be taken silently.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::event::Reason;

/// Longest name that is shown again.
const MAX_SHOWN: usize = 40;

/// Reads an object.
///
/// # Errors
/// It is none, or a name stands twice in it or in what is in it.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Reason> {
    let twice = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Unique(&twice).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match read {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) | Err(_) => {
            let rule = twice.into_inner().unwrap_or_else(|| "must be a JSON object".to_owned());
            Err(Reason { field: "body", rule })
        }
    }
}

/// Reads a value; notes the first name that stands twice.
#[derive(Clone, Copy)]
struct Unique<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                *self.0.borrow_mut() = Some(format!("must not have {} twice", shown(&name)));
                return Err(A::Error::custom("a name stands twice"));
            }
            let value = map.next_value_seed(self)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// Anything may stand in a name; it comes back only where it is plain text.
fn shown(name: &str) -> &str {
    let plain = (1..=MAX_SHOWN).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { name } else { "a field" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_names_are_found_at_any_depth() {
        for (body, rule) in [
            (r#"{"role": "finance", "role": "org_admin"}"#, "must not have role twice"),
            (r#"{"timeRange": {"start": 1, "end": 2, "start": 1}}"#, "must not have start twice"),
            (r#"{"models": [{"a": 1}, {"b": 1, "b": null}]}"#, "must not have b twice"),
            (r#"{"rol\u0065": 1, "role": 2}"#, "must not have role twice"),
            (r#"{"<script>": 1, "<script>": 2}"#, "must not have a field twice"),
            (r#"["role"]"#, "must be a JSON object"),
            (r#"{"role": 1} {}"#, "must be a JSON object"),
            ("{", "must be a JSON object"),
        ] {
            assert_eq!(object(body.as_bytes()), Err(Reason { field: "body", rule: rule.to_owned() }), "{body}");
        }
    }

    #[test]
    fn numbers_are_read_exactly() {
        let body = r#"{"a": [1, -2, 0.5, "x", null, true, {"a": {}}], "b": {"a": "\u00e9"}}"#;
        let expected = json!({"a": [1, -2, 0.5, "x", null, true, {"a": {}}], "b": {"a": "é"}});
        assert_eq!(Value::Object(object(body.as_bytes()).unwrap()), expected);
    }
}

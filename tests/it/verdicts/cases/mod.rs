//! Messages, and whether each is an event.

mod values;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use uuid::Uuid;

pub const ORG: Uuid = Uuid::from_u128(0xE0_5E7);

pub struct Case {
    pub name: String,
    pub body: Vec<u8>,
    pub is_event: bool,
    /// Why the schema, or what validators make of it, cannot say the same.
    pub left_out: Option<&'static str>,
}

const AGE: &str = "a schema knows no time";
const DOUBLES: &str = "validators read numbers as doubles, which cannot distinguish";
const FORMATS: &str = "the validators' format checks disagree with one another";
const SIZE: &str = "a schema does not measure bytes or depth";
const TWICE: &str = "a validator sees the last of two fields of a name";

/// The fields that an event must have, in JSON.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn new(n: usize, at: DateTime<Utc>) -> Self {
        let quoted = |text: &str| format!("\"{text}\"");
        let fields = [
            ("eventId", quoted(&Uuid::from_u128(0xE7_0000 + n as u128).to_string())),
            ("orgId", quoted(&ORG.to_string())),
            ("modelId", quoted(&Uuid::from_u128(7).to_string())),
            ("occurredAt", quoted(&at.to_rfc3339_opts(SecondsFormat::Micros, true))),
            ("status", quoted("success")),
            ("latencyMs", "12".to_owned()),
            ("inputTokens", "3".to_owned()),
            ("outputTokens", "4".to_owned()),
            ("costEstimateCents", "0.25".to_owned()),
        ];
        Self(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(found, _)| found != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(found, _)| found != name);
        self
    }

    fn text(&self) -> String {
        let fields: Vec<String> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

struct Cases {
    at: DateTime<Utc>,
    found: Vec<Case>,
}

impl Cases {
    fn fields(&self) -> Fields {
        Fields::new(self.found.len(), self.at)
    }

    fn add(&mut self, name: String, body: Vec<u8>, is_event: bool, left_out: Option<&'static str>) {
        self.found.push(Case { name, body, is_event, left_out });
    }

    /// Values of a field, written as JSON.
    fn values(&mut self, field: &str, is_event: bool, values: &[&str]) {
        for value in values {
            self.value(field, is_event, value, None);
        }
    }

    fn value(&mut self, field: &str, is_event: bool, value: &str, left_out: Option<&'static str>) {
        let body = self.fields().set(field, value).text();
        let shown: String = value.chars().take(60).collect();
        self.add(format!("{field} = {shown}"), body.into_bytes(), is_event, left_out);
    }

    fn message(&mut self, is_event: bool, change: impl FnOnce(String) -> String) {
        let body = change(self.fields().text());
        let shown: String = body.chars().take(60).collect();
        self.add(shown, body.into_bytes(), is_event, None);
    }

    fn unknown(&mut self) {
        let (digits, long) = ("7".repeat(400), format!("\"{}\"", "x".repeat(50_000)));
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        self.values(
            "unknown",
            true,
            &[
                "null",
                "\"\\ud800\"",
                "{\"\\udfff\":\"\\ud800\"}",
                "1e999",
                "-1e999",
                "1e-999",
                &digits,
                "[1e999,{\"a\":-0.0}]",
                "{\"a\":1,\"a\":2}",
                "\"\\u0000\"",
                &long,
                &nested(100),
                "\"[[[{{{\"",
            ],
        );
        for name in ["\\ud800", "\\u0000", "", "__proto__", "constructor", "OrgId", "orgId "] {
            self.values(name, true, &["{}"]);
        }
        self.value("unknown", false, &nested(128), Some(SIZE));
        self.value("unknown", false, &format!("\"{}\"", "x".repeat(70_000)), Some(SIZE));
        self.values(
            "unknown",
            false,
            &["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10", "'x'", "\"\\x\"", "\"\t\""],
        );
    }

    fn messages(&mut self) {
        for (field, _) in self.fields().0 {
            let body = self.fields().without(&field).text();
            self.add(format!("without {field}"), body.into_bytes(), false, None);
        }
        self.message(true, |text| format!(" \r\n\t{text} \n"));
        self.message(true, |text| text.replacen("\"orgId\"", "\"\\u006frgId\"", 1));
        self.message(false, |text| format!("[{text}]"));
        self.message(false, |text| format!("{text}{text}"));
        self.message(false, |text| format!("{text},"));
        self.message(false, |text| format!("\u{feff}{text}"));
        self.message(false, |text| text.replacen('{', "{,", 1));
        self.message(false, |text| text.replacen('}', ",}", 1));
        self.message(false, |text| format!("/**/{text}"));
        self.message(false, |text| text[..text.len() / 2].to_owned());
        self.message(false, |text| text.replace('"', "'"));
        for text in ["", " ", "{}", "null", "true", "1", "\"{}\"", "{", "[]", "not json"] {
            self.message(false, |_| text.to_owned());
        }
        let utf16 = self.fields().text().encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.add("UTF-16".to_owned(), utf16, false, None);
        let mut latin1 = self.fields().set("clientId", "\"caf?\"").text().into_bytes();
        let at = latin1.iter().position(|byte| *byte == b'?').unwrap();
        latin1[at] = 0xe9;
        self.add("Latin-1".to_owned(), latin1, false, None);
        let twice = self.fields().text().replacen('{', "{\"latencyMs\":1,", 1);
        self.add("a field twice".to_owned(), twice.into_bytes(), false, Some(TWICE));
        for (is_event, more) in [
            (false, r#""latencyM\u0073":12"#),
            (false, r#""metadata":{"a":"b"},"metadata":{"a":"b"}"#),
            (false, r#""actorId":null,"actorId":null"#),
            // Of the two nothing is used, or the last one.
            (true, r#""unknown":1,"unknown":2"#),
            (true, r#""unknown":{"a":1,"a":2}"#),
            (true, r#""metadata":{"a":"b","a":"c"}"#),
        ] {
            let body = self.fields().text().replacen('{', &format!("{{{more},"), 1);
            self.add(format!("twice: {more}"), body.into_bytes(), is_event, Some(TWICE));
        }
    }
}

/// Some two hundred and more, for this time.
pub fn cases(now: DateTime<Utc>) -> Vec<Case> {
    let mut cases = Cases { at: now - TimeDelta::minutes(1), found: Vec::new() };
    cases.costs();
    cases.integers();
    cases.ids();
    cases.times();
    cases.texts();
    cases.metadata();
    cases.unknown();
    cases.messages();
    cases.found
}

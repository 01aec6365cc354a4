//! Messages, and whether each is an event.

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
const DOUBLES: &str = "validators read numbers as doubles, which cannot tell";
const FORMATS: &str = "the validators' format checks disagree with one another";
const SIZE: &str = "a schema does not measure bytes or depth";
const TWICE: &str = "a validator sees the last of two fields of a name";

/// The fields of an event, in JSON.
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

    fn costs(&mut self) {
        let field = "costEstimateCents";
        let tiny = format!("0.{}1", "0".repeat(300));
        self.values(
            field,
            true,
            &[
                "0",
                "-0",
                "0.0",
                "1",
                "74.77",
                "0.1",
                "0.0034999999999999996",
                "0.00004",
                "0.30000000000000004",
                "1e-12",
                "1e-13",
                "1e10",
                "10000000000",
                "10000000000.0",
                "9999999999.999999",
                "1E5",
                "1e+2",
                "123456789.123456789",
                "5e-324",
                &tiny,
            ],
        );
        let long = "9".repeat(400);
        self.values(
            field,
            false,
            &[
                "-1",
                "-0.0001",
                "-1e-9",
                "10000000001",
                "10000000000.01",
                "1e11",
                "1e308",
                "1e999",
                "-1e999",
                &long,
                "\"1\"",
                "\"\"",
                "null",
                "true",
                "[]",
                "{}",
                "[1]",
            ],
        );
        self.value(field, false, "10000000000.0000001", Some(DOUBLES));
        self.value(field, false, "-1e-400", Some(DOUBLES));
    }

    fn integers(&mut self) {
        for (field, max) in [("latencyMs", 86_400_000), ("inputTokens", 1_000_000_000), ("outputTokens", 1_000_000_000)]
        {
            let (most, written, over) = (format!("{max}"), format!("{max}.0"), format!("{}", max + 1));
            self.values(field, true, &["0", "-0", "374.0", "1e3", "12.50e1", "100e-2", &most, &written]);
            self.values(
                field,
                false,
                &["-1", "1.5", "0.1", "1e-1", &over, "1e99", "1e999", "\"5\"", "null", "true", "[5]", "{}", "-0.5"],
            );
        }
        self.value("inputTokens", false, "1.00000000000000000001", Some(DOUBLES));
        self.value("inputTokens", false, "1e-400", Some(DOUBLES));
    }

    fn ids(&mut self) {
        let good = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        for field in ["eventId", "modelId", "actorId"] {
            let upper = format!("\"{}\"", good.to_uppercase());
            let escaped = format!("\"\\u0036{}\"", &good[1..]);
            self.values(field, true, &[&format!("\"{good}\""), &upper, &escaped]);
            self.values(field, true, &[&format!("\"{}\"", Uuid::nil()), &format!("\"{}\"", Uuid::max())]);
            let bare = format!("\"{}\"", good.replace('-', ""));
            let wrapped = [("{", "}"), ("urn:uuid:", ""), ("", "0"), ("", "\\n"), ("", " "), (" ", "")]
                .map(|(before, behind)| format!("\"{before}{good}{behind}\""));
            self.values(field, false, &wrapped.each_ref().map(String::as_str));
            self.values(
                field,
                false,
                &[&bare, "\"\"", "5", "\"6ba7b810-9dad-11d1-80b4-00c04fd430cg\"", "\"\\ud800\"", "[]"],
            );
        }
        self.values("actorId", true, &["null"]);
        self.values("eventId", false, &["null"]);
        self.values("orgId", true, &[&format!("\"{}\"", ORG.to_string().to_uppercase())]);
        self.values("orgId", false, &["null", "\"acme\"", "7"]);
    }

    fn times(&mut self) {
        let day = (self.at - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
        let quoted = |time: &str| format!("\"{day}{time}\"");
        for time in [
            "T10:00:00Z",
            "t10:00:00z",
            "T10:00:00+00:00",
            "T10:00:00-00:00",
            "T10:00:00+05:30",
            "T10:00:00-11:59",
            "T10:00:00.1Z",
            "T10:00:00.123456Z",
            "T10:00:00.123456789012Z",
            "T23:59:59.9999999Z",
            "T00:00:00Z",
        ] {
            self.values("occurredAt", true, &[&quoted(time)]);
        }
        for time in [
            "T10:00:00",
            "",
            "T24:00:00Z",
            "T10:60:00Z",
            "T10:00:61Z",
            "T10:00Z",
            "T10:00:00+24:00",
            "T10:00:00+0530",
            "T10:00:00+05:60",
            "T10:00:00,5Z",
            "T10:00:00.Z",
            "T10:00:00Z\\n",
            "T10:00:00Z ",
            "T10:00:00\u{2212}05:00",
            "T10:00:00 Z",
            "_10:00:00Z",
            "T1:00:00Z",
            "T10:00:00ZZ",
        ] {
            self.values("occurredAt", false, &[&quoted(time)]);
        }
        self.values(
            "occurredAt",
            false,
            &[
                "null",
                "1772359200",
                "\"\"",
                "\"now\"",
                "\"2026-13-01T00:00:00Z\"",
                "\"2026-02-30T00:00:00Z\"",
                "\"20260101T000000Z\"",
            ],
        );
        self.value("occurredAt", true, &quoted(" 10:00:00Z"), Some(FORMATS));
        self.value("occurredAt", true, &quoted("T23:59:60Z"), Some(FORMATS));
        self.value("occurredAt", true, &quoted("T10:00:60.5+01:00"), Some(FORMATS));
        self.value("occurredAt", false, "\"2001-01-01T00:00:00Z\"", Some(AGE));
        self.value("occurredAt", false, "\"2999-01-01T00:00:00Z\"", Some(AGE));
    }

    fn texts(&mut self) {
        self.values("status", true, &["\"success\"", "\"error\"", "\"timeout\"", "\"throttled\"", "\"\\u0065rror\""]);
        self.values("status", false, &["\"Success\"", "\"\"", "null", "1", "\"ok\"", "\"success \"", "[\"success\"]"]);
        let text = |what: &str, times: usize| format!("\"{}\"", what.repeat(times));
        let (longest, astral, halves) = (text("\u{e9}", 200), text("\u{1f600}", 200), text("\\ud800", 200));
        self.values("clientId", true, &["\"\"", "\"web\"", &longest, &astral, &halves, "\"a\\u0000b\"", "\"\\udfff\""]);
        self.values("clientId", false, &[&text("x", 201), &text("\u{1f600}", 201), "null", "5", "[]", "true", "{}"]);
        let (over, huge) = (text("\u{e9}", 201), text("x", 20_000));
        self.values(
            "errorCode",
            true,
            &[
                "null",
                "\"\"",
                "\"rate_limit\"",
                &longest,
                &over,
                &huge,
                "\"\\u0000\"",
                "\"\\ud83d\"",
                "\"\\ud83d\\ude00\"",
            ],
        );
        self.values("errorCode", false, &["7", "[]", "{}", "true"]);
    }

    fn metadata(&mut self) {
        let many: Vec<String> = (0..200).map(|n| format!("\"key{n}\":\"value\"")).collect();
        let many = format!("{{{}}}", many.join(","));
        let spaced = format!("{{ \"k\" : {} \"v\" }}", " ".repeat(9000));
        self.values(
            "metadata",
            true,
            &[
                "{}",
                "{\"region\":\"eu\"}",
                "{\"\":\"\"}",
                "{\"\\u0000\":\"\\u0000\"}",
                "{\"\\ud800\":\"\\udc00\"}",
                "{\"a\":\"1\",\"a\":\"2\"}",
                "{\"__proto__\":\"x\"}",
                &many,
                &spaced,
            ],
        );
        self.values(
            "metadata",
            false,
            &[
                "null",
                "[]",
                "\"x\"",
                "5",
                "{\"a\":1}",
                "{\"a\":null}",
                "{\"a\":[]}",
                "{\"a\":{\"b\":\"c\"}}",
                "{\"a\":true}",
                "{\"a\":\"b\",\"c\":1.5}",
            ],
        );
        let large = format!("{{\"k\":\"{}\"}}", "v".repeat(8192));
        self.value("metadata", false, &large, Some(SIZE));
        self.value("metadata", false, "{\"a\":1,\"a\":\"2\"}", Some(TWICE));
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
        for field in [
            "eventId",
            "orgId",
            "modelId",
            "occurredAt",
            "status",
            "latencyMs",
            "inputTokens",
            "outputTokens",
            "costEstimateCents",
        ] {
            let body = self.fields().without(field).text();
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

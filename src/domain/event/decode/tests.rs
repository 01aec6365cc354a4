use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;

pub(super) fn rules() -> Rules {
    Rules {
        now: "2026-03-01T12:00:00Z".parse().unwrap(),
        max_ahead: TimeDelta::minutes(5),
        retention: TimeDelta::days(400),
    }
}

pub(super) fn valid() -> Value {
    json!({
        "eventId": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "orgId": "00000000-0000-0000-0000-000000000001",
        "modelId": "00000000-0000-0000-0000-0000000000aa",
        "occurredAt": "2026-03-01T11:59:59.1234567+01:00",
        "status": "success",
        "latencyMs": 12,
        "inputTokens": 3,
        "outputTokens": 4,
        "costEstimateCents": 0.25
    })
}

fn with(field: &str, value: Value) -> Result<Event, Rejection> {
    let mut event = valid();
    event[field] = value;
    decode(event.to_string().as_bytes(), &rules())
}

/// The event with the raw JSON text of one more field.
fn with_text(field: &str, value: &str) -> Result<Event, Rejection> {
    let mut event = valid();
    event.as_object_mut().unwrap().remove(field);
    let text = event.to_string();
    decode(format!("{{\"{field}\":{value},{}", &text[1..]).as_bytes(), &rules())
}

fn reasons(result: Result<Event, Rejection>) -> Vec<String> {
    result.unwrap_err().reasons.iter().map(ToString::to_string).collect()
}

#[test]
fn a_valid_event_is_read_whole() {
    let mut event = valid();
    event["actorId"] = json!("00000000-0000-0000-0000-0000000000bb");
    event["clientId"] = json!("k\u{e9}y");
    event["errorCode"] = Value::Null;
    event["metadata"] = json!({"region": "eu", "guardrail": "7"});
    event["unknown"] = json!({"a": [1, {"b": null}]});
    let event = decode(event.to_string().as_bytes(), &rules()).unwrap();
    assert_eq!(event.occurred_at.to_rfc3339(), "2026-03-01T10:59:59.123456+00:00");
    assert_eq!(event.cost_estimate_cents.to_string(), "0.25");
    assert_eq!(event.client_id.as_deref(), Some("k\u{e9}y"));
    assert_eq!(event.error_code, None);
    assert_eq!(event.metadata.unwrap().as_json(), r#"{"guardrail":"7","region":"eu"}"#);
}

#[test]
fn each_bound_holds_on_both_sides() {
    let text = |n: usize| json!("\u{e9}".repeat(n));
    let metadata = |bytes: usize| json!({"k": "v".repeat(bytes - r#"{"k":""}"#.len())});
    let at = |text: &str| json!(text);
    let cases: Vec<(&str, Value, Value)> = vec![
        ("latencyMs", json!(86_400_000), json!(86_400_001)),
        ("latencyMs", json!(0), json!(-1)),
        ("inputTokens", json!(1_000_000_000), json!(1_000_000_001)),
        ("inputTokens", json!(0), json!(-1)),
        ("outputTokens", json!(1_000_000_000), json!(1_000_000_001)),
        ("outputTokens", json!(374.0), json!(1.5)),
        ("clientId", text(200), text(201)),
        ("metadata", metadata(8192), metadata(8193)),
        ("metadata", json!({}), json!({"region": 1})),
        ("occurredAt", at("2026-03-01T12:05:00Z"), at("2026-03-01T12:05:00.000001Z")),
        ("occurredAt", at("2025-01-25T12:00:00Z"), at("2025-01-25T11:59:59.999999Z")),
        ("actorId", Value::Null, json!("")),
        ("errorCode", Value::Null, json!(7)),
        ("status", json!("throttled"), json!("Success")),
        ("eventId", json!("6BA7B810-9DAD-11D1-80B4-00C04FD430C8"), json!("6ba7b8109dad11d180b400c04fd430c8")),
    ];
    for (field, good, bad) in cases {
        assert!(with(field, good.clone()).is_ok(), "{field} {good}");
        let reasons = reasons(with(field, bad.clone()));
        assert!(reasons.len() == 1 && reasons[0].starts_with(&format!("{field}: ")), "{field} {bad} {reasons:?}");
    }
    for (field, good, bad) in [
        ("costEstimateCents", "10000000000", "10000000000.0000000000001"),
        ("costEstimateCents", "0", "-0.0001"),
        ("costEstimateCents", "0.0000000000001", "-1e-30"),
        ("costEstimateCents", "1e10", "1e11"),
        ("costEstimateCents", "1.50000", "\"1.5\""),
        ("latencyMs", "8.64e7", "8.64000001e7"),
        ("inputTokens", "1e3", "1e-1"),
        ("inputTokens", "-0", "-1e0"),
        ("outputTokens", "1000000000.000", "1e999"),
    ] {
        assert!(with_text(field, good).is_ok(), "{good}");
        assert_eq!(reasons(with_text(field, bad)).len(), 1, "{bad}");
    }
}

#[test]
fn an_integer_is_one_however_it_is_written() {
    for (text, tokens) in [("374.0", 374), ("1e3", 1000), ("12.5e1", 125), ("0.0", 0), ("1E+2", 100), ("300e-2", 3)] {
        assert_eq!(with_text("inputTokens", text).unwrap().input_tokens, tokens, "{text}");
    }
}

#[test]
fn every_required_field_is_missed_by_name() {
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
        let mut event = valid();
        event.as_object_mut().unwrap().remove(field);
        assert_eq!(reasons(decode(event.to_string().as_bytes(), &rules())), [format!("{field}: is required")]);
    }
}

#[test]
fn all_reasons_are_given_at_once() {
    let event = json!({"orgId": "00000000-0000-0000-0000-000000000001", "latencyMs": "12", "status": "done"});
    let rejection = decode(event.to_string().as_bytes(), &rules()).unwrap_err();
    assert_eq!(rejection.reasons.len(), 8, "{rejection:?}");
    assert_eq!(rejection.org_id, Some(Uuid::from_u128(1)));
}

/// What is stored of an event with this field, and what was counted.
fn normalized(field: &str, value: &str) -> (Event, Normalized) {
    let text = valid().to_string();
    let mut counted = Normalized::default();
    let body = format!("{{\"{field}\":{value},{}", &text[1..]);
    (decode_noting(body.as_bytes(), &rules(), &mut counted).unwrap(), counted)
}

#[test]
fn unstorable_characters_are_replaced() {
    for (text, stored, changed) in [
        (r#""a\u0000b""#, "a\u{fffd}b", true),
        (r#""\ud83d""#, "\u{fffd}", true),
        (r#""x\ude00\ud83dy""#, "x\u{fffd}\u{fffd}y", true),
        (r#""\ud83d\ude00\u0001\n""#, "\u{1f600}\u{1}\n", false),
        (r#""\ud7ff\ue000""#, "\u{d7ff}\u{e000}", false),
    ] {
        let (event, counted) = normalized("clientId", text);
        assert_eq!((event.client_id.as_deref(), counted.client_id), (Some(stored), u64::from(changed)), "{text}");
        let (event, counted) = normalized("errorCode", text);
        assert_eq!((event.error_code.as_deref(), counted.error_code), (Some(stored), u64::from(changed)), "{text}");
        let (event, counted) = normalized("metadata", &format!("{{{text}:{text}}}"));
        let expected = Some(Metadata::from(&BTreeMap::from([(stored.to_owned(), stored.to_owned())])));
        assert_eq!((event.metadata, counted.metadata), (expected, u64::from(changed)), "{text}");
    }
    for field in ["eventId", "orgId", "occurredAt", "status"] {
        let reasons = reasons(with_text(field, r#""\ud83d""#));
        assert!(reasons.len() == 1 && reasons[0].starts_with(field), "identity is never normalised: {reasons:?}");
    }
}

#[test]
fn a_long_error_code_is_cut_and_counted() {
    let stored = |length: usize| {
        let (event, counted) = normalized("errorCode", &format!("\"{}\"", "\u{e9}".repeat(length)));
        (event.error_code.unwrap(), counted.error_code)
    };
    assert_eq!(stored(200), ("\u{e9}".repeat(200), 0));
    assert_eq!(stored(201), ("\u{e9}".repeat(199) + "\u{2026}", 1));
    assert_eq!(stored(30_000), ("\u{e9}".repeat(199) + "\u{2026}", 1));
}

#[test]
fn metadata_is_measured_as_it_is_stored() {
    // Spaces and escapes that are not needed are not stored.
    let value = format!("{{ \"k\" :   \"{}\" }}", "\\u00e9".repeat(4000));
    assert!(value.len() > 24_000);
    assert_eq!(with_text("metadata", &value).unwrap().metadata.unwrap().as_json().len(), r#"{"k":""}"#.len() + 8000);
    let value = format!("{{\"k\":\"{}\"}}", "\\u0001".repeat(1364));
    assert!(with_text("metadata", &value).is_ok(), "8,192 bytes");
    assert_eq!(
        reasons(with_text("metadata", &format!("{{\"k\":\"{}\"}}", "\\n".repeat(4093)))),
        ["metadata: must have at most 8192 bytes as compact JSON"]
    );
}

#[test]
fn an_unknown_field_is_ignored_whatever_it_holds() {
    let digits = "9".repeat(400);
    for value in [
        r#""\ud800""#,
        r#"{"\udfff":"\ud800"}"#,
        "1e999",
        "-1e-999",
        digits.as_str(),
        "[1e999,{\"a\":-0.0}]",
        "null",
        r#"{"a":1,"a":2}"#,
        r#""\u0000""#,
        r#""[[[{{{\"[""#,
    ] {
        assert!(with_text("x", value).is_ok(), "{value}");
    }
    for name in [r#""\ud800""#, r#""\u0000""#, r#""""#, r#""orgid""#] {
        let text = valid().to_string();
        assert!(decode(format!("{{{name}:1,{name}:2,{}", &text[1..]).as_bytes(), &rules()).is_ok(), "{name}");
    }
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(with_text("x", &nested(127)).is_ok());
    assert_eq!(reasons(with_text("x", &nested(128))), ["message: is nested deeper than 128 levels"]);
    let text = valid().to_string().replacen("\"orgId\"", "\"\\u006frgId\"", 1);
    assert!(decode(text.as_bytes(), &rules()).is_ok(), "a known name may be written with escapes");
}

#[test]
fn a_leap_second_ends_its_minute() {
    let event = with("occurredAt", json!("2026-03-01T11:59:60.5Z")).unwrap();
    assert_eq!(event.occurred_at.to_rfc3339(), "2026-03-01T11:59:59.999999+00:00");
}

#[test]
fn repeated_fields_are_refused() {
    let text = valid().to_string();
    let twice = format!("{{\"orgId\":\"00000000-0000-0000-0000-000000000002\",{}", &text[1..]);
    let rejection = decode(twice.as_bytes(), &rules()).unwrap_err();
    assert_eq!(rejection.org_id, None);
    assert_eq!(rejection.reasons[0].to_string(), "orgId: is there more than once");
}

#[test]
fn bytes_that_are_no_object_are_not_quoted() {
    let deep = |open: &str, close: &str| format!("{{\"x\":{}{}}}", open.repeat(9_000), close.repeat(9_000));
    for (body, reason) in [
        (b"".to_vec(), "message: is not valid JSON at line 1 column 0"),
        (b"{".to_vec(), "message: is not valid JSON at line 1 column 1"),
        (b"[1]".to_vec(), "message: must be a JSON object"),
        (b"\"secret\"".to_vec(), "message: must be a JSON object"),
        (b"{\"a\":\"\xff\"}".to_vec(), "message: is not UTF-8 after byte 6"),
        (vec![b' '; MAX_MESSAGE_BYTES + 1], "message: is 65537 bytes long, at most 65536 are read"),
        (deep("[", "]").into_bytes(), "message: is nested deeper than 128 levels"),
        (deep("{\"y\":", "}").replace(":}", ":0}").into_bytes(), "message: is nested deeper than 128 levels"),
    ] {
        assert_eq!(reasons(decode(&body, &rules())), [reason]);
    }
    let metadata = reasons(with_text("metadata", &format!("{}{}", "[".repeat(4000), "]".repeat(4000))));
    assert_eq!(metadata, ["metadata: must be an object whose values are strings"]);
}

#[test]
fn a_message_of_maximum_length_is_read() {
    let mut body = valid().to_string().into_bytes();
    body.resize(MAX_MESSAGE_BYTES, b' ');
    assert!(decode(&body, &rules()).is_ok());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = decode(&body, &rules());
    }

    #[test]
    fn a_changed_byte_never_panics(at in 0usize..300, byte in proptest::num::u8::ANY) {
        let mut body = valid().to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let _ = decode(&body, &rules());
    }
}

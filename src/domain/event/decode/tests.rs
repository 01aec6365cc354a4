use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;

fn rules() -> Rules {
    Rules {
        now: "2026-03-01T12:00:00Z".parse().unwrap(),
        max_ahead: TimeDelta::minutes(5),
        retention: TimeDelta::days(400),
    }
}

fn valid() -> Value {
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
    assert_eq!(event.cost_estimate_cents, Cents::from_units(2500));
    assert_eq!(event.client_id.as_deref(), Some("k\u{e9}y"));
    assert_eq!(event.error_code, None);
    assert_eq!(event.metadata.unwrap()["region"], "eu");
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
        ("outputTokens", json!(0), json!(1.5)),
        ("clientId", text(200), text(201)),
        ("errorCode", text(200), text(201)),
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
    for (good, bad) in [
        ("10000000000", "10000000000.0001"),
        ("0", "-0.0001"),
        ("0.0001", "0.00001"),
        ("1e10", "1e11"),
        ("1.50000", "\"1.5\""),
    ] {
        assert!(with_text("costEstimateCents", good).is_ok(), "{good}");
        assert_eq!(reasons(with_text("costEstimateCents", bad)).len(), 1, "{bad}");
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

#[test]
fn a_null_character_is_refused_wherever_it_would_be_stored() {
    for (field, value) in [
        ("clientId", json!("a\0b")),
        ("errorCode", json!("\0")),
        ("metadata", json!({"k": "\0"})),
        ("metadata", json!({"\0": "v"})),
    ] {
        assert_eq!(reasons(with(field, value)), [format!("{field}: must not have a NUL character")]);
    }
}

#[test]
fn a_repeated_field_is_refused_and_a_repeated_org_is_nobodys() {
    let text = valid().to_string();
    let twice = format!("{{\"orgId\":\"00000000-0000-0000-0000-000000000002\",{}", &text[1..]);
    let rejection = decode(twice.as_bytes(), &rules()).unwrap_err();
    assert_eq!(rejection.org_id, None);
    assert_eq!(rejection.reasons[0].to_string(), "orgId: is there more than once");
}

#[test]
fn bytes_that_are_no_object_are_refused_without_being_quoted() {
    let deep = |open: &str, close: &str| format!("{{\"x\":{}{}}}", open.repeat(20_000), close.repeat(20_000));
    for (body, reason) in [
        (b"".to_vec(), "message: is not valid JSON at line 1 column 0"),
        (b"{".to_vec(), "message: is not valid JSON at line 1 column 1"),
        (b"[1]".to_vec(), "message: must be a JSON object"),
        (b"\"secret\"".to_vec(), "message: must be a JSON object"),
        (b"{\"a\":\"\xff\"}".to_vec(), "message: is not UTF-8 after byte 6"),
        (vec![b' '; MAX_MESSAGE_BYTES + 1], "message: is 65537 bytes long, at most 65536 are read"),
        (deep("[", "]").into_bytes(), "message: is nested deeper than 128 levels"),
        (format!("{{\"x\":{}", "{\"y\":".repeat(9_000)).into_bytes(), "message: is nested deeper than 128 levels"),
    ] {
        assert_eq!(reasons(decode(&body, &rules())), [reason]);
    }
    let metadata = reasons(with_text("metadata", &format!("{}{}", "[".repeat(4000), "]".repeat(4000))));
    assert_eq!(metadata, ["metadata: must be an object whose values are strings"]);
}

#[test]
fn a_message_of_just_the_longest_length_is_read() {
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
    fn a_valid_event_with_one_byte_changed_never_panics(at in 0usize..300, byte in proptest::num::u8::ANY) {
        let mut body = valid().to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let _ = decode(&body, &rules());
    }
}

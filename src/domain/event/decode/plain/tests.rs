use proptest::prelude::*;

use super::{
    super::{
        Normalized, any_form,
        tests::{rules, valid},
    },
    *,
};
use crate::domain::event::json::FIELDS;

#[test]
fn usual_messages_are_plain() {
    let full = r#"{"eventId": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "orgId": "00000000-0000-0000-0000-000000000001",
        "modelId": "00000000-0000-0000-0000-0000000000aa", "actorId": null, "clientId": "k~y", "errorCode": null,
        "occurredAt": "2026-03-01T11:59:59.1234567+01:00", "status": "timeout", "latencyMs": 86400000, "inputTokens": 0,
        "outputTokens": 1000000000, "costEstimateCents": 999999.123456789012, "metadata": {"b": "2", "a": "~"},
        "x": "y", "n": -1.5, "t": true}"#
        .replace('~', "\u{e9}");
    for text in [full.replace(['\n', ' '], ""), full, valid().to_string()] {
        let event = read(text.as_bytes(), &rules()).unwrap();
        assert_eq!(any_form(text.as_bytes(), &rules(), &mut Normalized::default()), Ok(event), "{text}");
    }
}

/// Texts of a field's value: the first is plain, the others are plain, or readable, or broken.
fn values(field: &str) -> Vec<&'static str> {
    let values = match field {
        "eventId" | "orgId" | "modelId" => {
            r#""6ba7b810-9dad-11d1-80b4-00c04fd430c8"|"6BA7B810-9DAD-11D1-80B4-00C04FD430C8"|"6ba7b8109dad11d180b400c04fd430c8"|
            "6ba7b810-9dad-11d1-80b4-00c04fd430c"|"\u0036ba7b810-9dad-11d1-80b4-00c04fd430c8"|null"#
        }
        "actorId" => r#"null|"6ba7b810-9dad-11d1-80b4-00c04fd430c8"|""|nul"#,
        "clientId" | "errorCode" => "\"abc\"|\"\"|null|\"k\u{e9}y\"|\"a\\nb\"|\"\\u0000\"|\"a\tb\"|7",
        "occurredAt" => {
            r#""2026-03-01T11:59:59.1234567+01:00"|"2026-03-01 11:59:60z"|"2026-03-01T12:05:00Z"|"2026-03-01T12:05:00.000001Z"|
            "2025-01-25T11:59:59Z"|"now"|null"#
        }
        "status" => r#""success"|"error"|"timeout"|"throttled"|"Success"|"erro\u0072"|null"#,
        "latencyMs" | "inputTokens" | "outputTokens" => {
            r#"0|12|86400000|86400001|1000000000|1000000001|9999999999|18446744073709551617|374.0|1e3|-0|007|1.5|"1"|1x"#
        }
        "costEstimateCents" => {
            "0.25|0|999999.999999999999|1000000|10000000000|10000000001|0.0000000000005|123456.1234567890125|1.50000|1e-3|-1|-0|
            01|1.|.5|1.5.5|0.|1.5e2|null"
        }
        "metadata" => {
            r#"{"a":"b"}|{}|{ }|{"b":"1","a":"2"}|{ "a" : "b" , "c":"" }|{"a":"1","a":"2"}|{"a":1}|{"a":"\u0000"}|{"é":"😀"}|
            {"a":"b",}|{"a" "b"}|{"b":"","a":"","b":""}|null|[]"#
        }
        _ => r#"1|"x"|null|true|false|-1.5|[1,{}]|{"a":[]}|1e9|-|01|1.|tru|"\u0000""#,
    };
    values.split('|').map(str::trim).collect()
}

/// Members of an object: all of the contract's in some order, with some missing, some twice and some that are unknown.
fn members() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let names = || FIELDS.into_iter().chain(["x", "orgid", ""]);
    let value = |name: &'static str| {
        let (first, all) = (values(name)[0], values(name));
        // Mostly the first one, which is plain: else no message would be.
        prop_oneof![8 => Just(first), 2 => prop::sample::select(all)].prop_map(move |value| (name, value))
    };
    let member = |name| prop::option::weighted(0.97, value(name));
    let some = |member: Vec<Option<_>>| member.into_iter().flatten().collect::<Vec<_>>();
    let extra = prop::sample::select(names().collect::<Vec<_>>()).prop_flat_map(value);
    let all = names().map(member).collect::<Vec<_>>().prop_map(some);
    (all, prop::option::weighted(0.1, extra))
        .prop_flat_map(|(all, extra)| Just([all, extra.into_iter().collect()].concat()).prop_shuffle())
}

proptest! {
    /// Both decoders take the same plain messages for the same events.
    #[test]
    fn plain_messages_are_read_as_by_every_form(
        members in members(), blanks in "[ \t\n\r]{0,2}", cut in prop::option::weighted(0.1, 0usize..600),
        change in prop::option::weighted(0.2, (0usize..600, any::<u8>())),
    ) {
        let pair = |(name, value): (&str, &str)| format!("{blanks}\"{name}\"{blanks}:{blanks}{value}{blanks}");
        let text = members.into_iter().map(pair).collect::<Vec<_>>().join(",");
        let mut body = format!("{blanks}{{{text}}}{blanks}").into_bytes();
        if let Some((at, byte)) = change && at < body.len() {
            body[at] = byte;
        }
        body.truncate(cut.unwrap_or(usize::MAX));
        if let Some(event) = read(&body, &rules()) {
            let mut normalized = Normalized::default();
            prop_assert_eq!(any_form(&body, &rules(), &mut normalized), Ok(event));
            prop_assert_eq!(normalized, Normalized::default());
        }
    }

    #[test]
    fn strings_of_every_length_are_plain(text in "[^\"\\\\\\x00-\\x1f]{0,40}", special in "[\"\\\\\\x00-\\x1f]") {
        let body = valid().to_string().replacen('{', &format!("{{\"clientId\":\"{text}\","), 1);
        prop_assert_eq!(read(body.as_bytes(), &rules()).unwrap().client_id, Some(text.clone()));
        let body = valid().to_string().replacen('{', &format!("{{\"clientId\":\"{text}{special}{text}\","), 1);
        prop_assert_eq!(read(body.as_bytes(), &rules()), None);
    }
}

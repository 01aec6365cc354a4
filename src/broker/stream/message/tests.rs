use proptest::{collection::vec, prelude::*};

use super::*;
use crate::broker::stream::chunk::encoder::{binary, list, long, map, message, section, string, symbol, timestamp};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn body(record: &[u8]) -> Result<String, String> {
    let body = read(Bytes::copy_from_slice(record)).body;
    body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|unreadable| unreadable.reason)
}

fn published(record: &[u8]) -> Option<i64> {
    read(Bytes::copy_from_slice(record)).published_at.map(|at| at.timestamp_millis())
}

fn data(body: &[u8]) -> Vec<u8> {
    section(0x75, &binary(body))
}

#[test]
fn bare_bytes_are_the_event() {
    for bytes in [&b"{}"[..], b"", b"\xff\0", b"Sp"] {
        let read = read(Bytes::copy_from_slice(bytes));
        assert_eq!(read, Content { body: Ok(Bytes::copy_from_slice(bytes)), published_at: None, producer: None });
    }
}

#[test]
fn data_of_every_form_is_the_event() {
    assert_eq!(body(&data(b"{}")), Ok("{}".to_owned()));
    assert_eq!(body(&data(b"")), Ok(String::new()));
    let long = "x".repeat(70_000);
    assert_eq!(body(&data(long.as_bytes())), Ok(long));
    assert_eq!(body(&message(0, None, &[b"{\"a\"", b":", b"1}"])), Ok("{\"a\":1}".to_owned()));
    for value in [string("{}"), symbol("{}"), binary(b"{}"), [&[0xb1, 0, 0, 0, 2][..], b"{}"].concat()] {
        assert_eq!(body(&section(0x77, &value)), Ok("{}".to_owned()));
    }
}

#[test]
fn descriptors_of_every_form_are_known() {
    let value = binary(b"{}");
    for descriptor in [
        vec![0x53, 0x75],
        vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0x75],
        symbol("amqp:data:binary"),
        [&[0xb3, 0, 0, 0, 16][..], b"amqp:data:binary"].concat(),
    ] {
        assert_eq!(body(&[&[0][..], &descriptor, &value].concat()), Ok("{}".to_owned()), "{descriptor:02x?}");
    }
    let named = |name: &str, value: &[u8]| [&[0][..], &symbol(name), value].concat();
    let all = [
        named("amqp:header:list", &list(&[])),
        named("amqp:delivery-annotations:map", &map(&[])),
        named("amqp:message-annotations:map", &map(&[])),
        named("amqp:properties:list", &list(&[])),
        named("amqp:application-properties:map", &map(&[])),
        named("amqp:amqp-value:*", &string("{}")),
        named("amqp:footer:map", &map(&[])),
    ];
    assert_eq!(body(&all.concat()), Ok("{}".to_owned()));
}

#[test]
fn a_body_that_is_no_bytes_has_a_reason() {
    for (value, kind) in [(vec![0x40], "null"), (map(&[]), "map"), (list(&[]), "list"), (vec![0x54, 1], "number")] {
        let reason = body(&section(0x77, &value)).unwrap_err();
        assert!(reason.contains("neither binary data nor a string") && reason.contains(kind), "{reason}");
    }
    assert!(body(&section(0x76, &list(&[string("{}")]))).unwrap_err().ends_with(": list"));
    assert!(body(&section(0x75, &string("{}"))).unwrap_err().ends_with(": string"));
    assert_eq!(body(&section(0x70, &list(&[]))).unwrap_err(), "an AMQP 1.0 message without a body");
    assert!(body(&section(0x79, &list(&[]))).unwrap_err().contains("unknown section at byte 0"));
    let two = [section(0x77, &string("{}")), data(b"{}")].concat();
    assert!(body(&two).unwrap_err().contains("more than one body"));
    let two = [data(b"{}"), section(0x77, &string("{}"))].concat();
    assert!(body(&two).unwrap_err().contains("more than one body"));
}

#[test]
fn a_malformed_message_says_where_and_is_kept() {
    let whole = message(1, Some(TRACE), &[b"{}"]);
    for length in 1..whole.len() {
        let cut = Bytes::copy_from_slice(&whole[..length]);
        let Err(unreadable) = read(cut.clone()).body else { panic!("cut to {length} is read") };
        assert_eq!(unreadable.bytes, cut);
    }
    let behind = [whole.as_slice(), b"{}"].concat();
    let reason = body(&behind).unwrap_err();
    assert_eq!(reason, format!("begins like an AMQP 1.0 message and is malformed at byte {}", whole.len()));
}

#[test]
fn the_producer_is_found_as_text_of_any_kind() {
    for value in [string(TRACE), symbol(TRACE), binary(TRACE.as_bytes())] {
        let record =
            [section(0x74, &map(&[string("other"), long(1), string("traceparent"), value])), data(b"")].concat();
        assert_eq!(read(record.into()).producer.map(|producer| producer.to_string()), Some(TRACE.to_owned()));
    }
    for value in [string("00-"), long(1), map(&[])] {
        let record = [section(0x74, &map(&[string("traceparent"), value])), data(b"")].concat();
        assert_eq!(read(record.into()).producer, None);
    }
}

#[test]
fn publish_times_have_an_order() {
    const MS: i64 = 1_700_000_000_000;
    let annotation = section(0x72, &map(&[symbol("x-opt-rabbitmq-received-time"), timestamp(MS + 1)]));
    let stamped = |value: &[u8]| section(0x74, &map(&[string("timestamp_in_ms"), value.to_vec()]));
    let mut fields = vec![vec![0x40]; 9];
    fields.push(timestamp(MS + 3));
    let properties = section(0x73, &list(&fields));
    let message = |sections: &[&[u8]]| [sections.concat(), data(b"{}")].concat();
    assert_eq!(published(&message(&[&annotation, &properties, &stamped(&long(MS + 2))])), Some(MS + 1));
    assert_eq!(published(&message(&[&properties, &stamped(&long(MS + 2))])), Some(MS + 2));
    assert_eq!(published(&message(&[&properties, &stamped(&timestamp(MS + 2))])), Some(MS + 2));
    assert_eq!(published(&message(&[&properties])), Some(MS + 3));
    assert_eq!(published(&message(&[&properties, &stamped(&string("soon"))])), Some(MS + 3));
    assert_eq!(published(&message(&[&stamped(&long(i64::MAX)), &properties])), Some(MS + 3));
    assert_eq!(published(&message(&[&stamped(&long(-1))])), None);
    assert_eq!(published(&message(&[&section(0x73, &list(&fields[..9]))])), None);
}

#[test]
fn properties_of_every_type_are_passed_over() {
    // By qpid-proton 0.40 over AMQP 1.0, as RabbitMQ 4.0.5 stores it: a list with a map in an annotation, a UUID, NaN, a decimal and a
    // character in application properties.
    let recorded = "005370c006054040404143005372c14506a30a782d6f70742d6c697374c00e025501c10902a1016bc003015502a30a782d6578\
         6368616e6765a100a30d782d726f7574696e672d6b6579a10966782d70726f746f6e005373c0130a404040404040404040830000018bcfe569f4\
         005374d1000000980000000ca101619800000000000000000000000000000001a10162827ff8000000000000a10163840000000000000001a101\
         647300000061a10f74696d657374616d705f696e5f6d73810000018bcfe5687ba10b7472616365706172656e74a13730302d3061663736353139\
         31366364343364643834343865623231316338303331\
         39632d623761643662373136393230333333312d3031005375a0077b2264223a317d";
    let digits: Vec<u8> = recorded.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let record: Vec<u8> = digits.chunks(2).map(pair).collect();
    assert_eq!(body(&record), Ok("{\"d\":1}".to_owned()));
    assert_eq!(published(&record), Some(1_700_000_000_123));
    assert_eq!(read(record.into()).producer.map(|producer| producer.to_string()), Some(TRACE.to_owned()));
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in vec(any::<u8>(), 0..200)) {
        let record = Bytes::from([&[0][..], &bytes].concat());
        match read(record.clone()).body {
            Ok(body) => prop_assert!(body.len() < record.len()),
            Err(unreadable) => prop_assert_eq!(unreadable.bytes, record),
        }
    }

    #[test]
    fn no_flips_break_it(flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..6)) {
        let mut bytes = message(1, Some(TRACE), &[b"{\"a\"", b":1}"]);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let length = bytes.len();
        if let Ok(body) = read(bytes.into()).body {
            prop_assert!(body.len() <= length);
        }
    }
}

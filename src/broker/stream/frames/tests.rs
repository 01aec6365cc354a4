use bytes::Bytes;
use proptest::prelude::*;

use super::{
    FrameError, key, requests,
    responses::{Endpoint, Fields, Inbound, Members, read},
};
use crate::broker::incoming::StartAt;

/// A frame without its length, which must be right.
fn content(frame: Vec<u8>) -> Bytes {
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
    Bytes::from(frame).slice(4..)
}

fn text(text: &str) -> Vec<u8> {
    [&i16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn a_subscription_is_written_as_described() {
    let frame = content(requests::subscribe(7, 3, "s", StartAt::Offset(258), 10));
    let expected =
        [&[0, 7, 0, 1, 0, 0, 0, 7, 3, 0, 1, b's', 0, 4][..], &258_i64.to_be_bytes(), &10_u16.to_be_bytes()].concat();
    assert_eq!(frame, expected);
    let first = content(requests::subscribe(7, 3, "s", StartAt::First, 10));
    assert_eq!(first[12..], [0, 1, 0, 10], "first has no offset");
    let time = content(requests::subscribe(7, 3, "s", StartAt::Time("1970-01-01T00:00:01Z".parse().unwrap()), 1));
    assert_eq!(time[12..], [0, 5, 0, 0, 0, 0, 0, 0, 3, 232, 0, 1]);
}

#[test]
fn commands_are_written_as_described() {
    assert_eq!(content(requests::credit(1, 2)), [0, 9, 0, 1, 1, 0, 2][..]);
    assert_eq!(content(requests::heartbeat()), [0, 0x17, 0, 1][..]);
    assert_eq!(content(requests::tune(0, 5)), [0x80, 0x14, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5][..]);
    let login = content(requests::sasl_authenticate(2, "PLAIN", b"\0u\0p"));
    assert_eq!(login, [&[0, 0x13, 0, 1, 0, 0, 0, 2][..], &text("PLAIN"), &[0, 0, 0, 4], b"\0u\0p"].concat());
    let versions = content(requests::exchange_versions(9));
    assert_eq!(versions, [0, 0x1b, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 8, 0, 1, 0, 2][..]);
}

#[test]
fn notices_are_read() {
    let read = |bytes: &[u8]| read(Bytes::copy_from_slice(bytes)).unwrap();
    assert_eq!(
        read(&[0, 0x14, 0, 1, 0, 16, 0, 0, 0, 0, 0, 60]),
        Inbound::Tune { frame_max: 1 << 20, heartbeat_seconds: 60 }
    );
    assert_eq!(read(&[0, 0x17, 0, 1]), Inbound::Heartbeat);
    assert_eq!(read(&[&[0, 0x10, 0, 1, 0, 6][..], &text("s")].concat()), Inbound::MetadataUpdate { code: 6 });
    assert_eq!(read(&[0x80, 9, 0, 1, 0, 4, 1]), Inbound::CreditRefused { code: 4 });
    let close = read(&[&[0, 0x16, 0, 1, 0, 0, 0, 5, 0, 1][..], &text("bye")].concat());
    assert_eq!(close, Inbound::Close { correlation: 5, code: 1, reason: "bye".to_owned() });
    let loud = text(&format!("a\n\u{1b}[31m\0{}", "é".repeat(600)));
    let Inbound::Close { reason, .. } = read(&[&[0, 0x16, 0, 1, 0, 0, 0, 5, 0, 1][..], &loud].concat()) else {
        panic!("no close")
    };
    assert!(reason.starts_with("a\u{fffd}\u{fffd}[31m\u{fffd}é") && reason.len() <= 500, "{reason}");
    let response = read(&[0x80, 0x1c, 0, 1, 0, 0, 0, 5, 0, 1]);
    assert_eq!(
        response,
        Inbound::Response { key: key::STREAM_STATS, correlation: 5, body: Bytes::from_static(&[0, 1]) }
    );
    assert_eq!(read(&[0, 0x1a, 0, 1, 9]), Inbound::Other);
}

#[test]
fn members_are_read_by_reference() {
    let node = |reference: u16, host: &str, port: u32| {
        [&reference.to_be_bytes()[..], &text(host), &port.to_be_bytes()].concat()
    };
    let body = [
        &2_u32.to_be_bytes()[..],
        &node(0, "a", 5552),
        &node(1, "b", 5553),
        &1_u32.to_be_bytes(),
        &text("s"),
        &[0, 1, 0, 1],
        &2_u32.to_be_bytes(),
        // The second is a node that is away.
        &[0, 0, 0xff, 0xff],
    ];
    let members = Fields::of(key::METADATA, Bytes::from(body.concat())).members().unwrap();
    let endpoint = |host: &str, port| Endpoint { host: host.to_owned(), port };
    assert_eq!(members, Members { code: 1, leader: Some(endpoint("b", 5553)), replicas: vec![endpoint("a", 5552)] });
}

#[test]
fn a_count_that_is_not_there_is_an_error() {
    let error = FrameError { key: key::STREAM_STATS };
    let fields = |body: &'static [u8]| Fields::of(key::STREAM_STATS, Bytes::from_static(body));
    assert_eq!(fields(&[0xff, 0xff, 0xff, 0xff, 0, 1, b'a']).statistics(), Err(error));
    assert_eq!(fields(&[0, 0, 0, 1, 0x7f, 0xff]).texts(), Err(error));
    assert_eq!(fields(&[0, 0, 0, 1, 0, 1, 0xff]).texts(), Err(error), "no UTF-8");
    assert_eq!(fields(&[]).properties(), Ok(Vec::new()), "a broker leaves out an empty list");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = read(bytes.clone());
        let fields = || Fields::of(0, bytes.clone());
        let _ = (fields().members(), fields().texts(), fields().properties(), fields().statistics());
    }
}

//! Chunks that RabbitMQ 4.0.5 delivered, of messages by real clients; and content that reference implementations compressed.

use super::*;

/// Python's rstream 1.1.1: messages, bare bytes, a batch by gzip, a batch that is not compressed; `{"n":0}` to `{"n":2}` each.
const RSTREAM: [&str; 4] = [
    "5000000300000003000001a229bb0b3000000000000000010000000000000000ccfdc33d0000003000000000000000000000000c005375a0077b\
     226e223a307d0000000c005375a0077b226e223a317d0000000c005375a0077b226e223a327d",
    "5000000300000003000001a229bb0e0900000000000000010000000000000000a9512ef8000000210000000000000000000000077b226e223a30\
     7d000000077b226e223a317d000000077b226e223a327d",
    "5000000100000003000001a229bb122d00000000000000010000000000000000a32c4f5500000037000000000000000090000300000030000000\
     2c1f8b080027bb0c6b02ff636060e061082e5dc05ead94a7646550cb80c23744e31bd502003dc3fdcc30000000",
    "5000000100000003000001a229bb163e0000000000000001000000000000000030852cf60000003b000000000000000080000300000030000000\
     300000000c005375a0077b226e223a307d0000000c005375a0077b226e223a317d0000000c005375a0077b226e223a327d",
];
/// The same by pika 1.3 over AMQP 0.9.1, with headers and a property of time; its second message, and one without a body.
const PIKA: [&str; 3] = [
    "5000000100000001000001a229bb1cd900000000000000010000000000000000e621ba86000000e60000002b00000000000000e2005370c00605\
     4140404143005372c13206a306782d6d696e65a10179a30a782d65786368616e6765a100a30d782d726f7574696e672d6b6579a10766782d7069\
     6b61005373c0290da1016d4040404040a3106170706c69636174696f6e2f6a736f6e4040830000018bcfe56be8404040005374c16104a10f7469\
     6d657374616d705f696e5f6d73810000018bcfe5687ba10b7472616365706172656e74a13730302d306166373635313931366364343364643834\
     34386562323131633830333139632d623761643662373136393230333333312d3031005375a0077b2270223a317d",
    "5000000100000001000001a229bb1cdb0000000000000001000000000000000135937224000000470000002b0000000000000043005370c00605\
     4240404143005372c12704a30a782d65786368616e6765a100a30d782d726f7574696e672d6b6579a10766782d70696b61005375a0077b227022\
     3a327d",
    "5000000100000001000001a229bb1cdc00000000000000010000000000000002c68b3b6c000000400000002b000000000000003c005370c00605\
     4240404143005372c12704a30a782d65786368616e6765a100a30d782d726f7574696e672d6b6579a10766782d70696b61005375a000",
];
/// Of the three messages of `RSTREAM[0]`, each behind its length, 48 bytes: by libsnappy in snappy's framing format, by liblz4
/// with 64 KiB blocks as the Java client writes it and with a checksum as the Go client does, by libzstd with a checksum.
const SNAPPY: &str = "ff060000734e6150705900210000faab22eb303c0000000c005375a0077b226e223a307d36100000313a100004327d";
const LZ4_JAVA: &str = "04224d186040821e000000fa010000000c005375a0077b226e223a307d100018311000506e223a327d00000000";
const LZ4_GO: &str =
    "04224d186440a71e000000fa010000000c005375a0077b226e223a307d100018311000506e223a327d0000000042ff7aa8";
pub const ZSTD: &str = "28b52ffd0458dd0000980000000c005375a0077b226e223a307d31327d0200a013469e4bae689442";

pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn python_stream_clients_are_read() {
    for recorded in RSTREAM {
        let chunk = parse(hex(recorded)).unwrap();
        assert_eq!(contents_of(chunk.records()), ok(&[(0, "{\"n\":0}"), (1, "{\"n\":1}"), (2, "{\"n\":2}")]));
        assert_eq!(chunk.timestamp().unwrap().timestamp() / 100, 17_959_964);
    }
}

#[test]
fn amqp_0_9_1_clients_are_read() {
    let records: Vec<Record> = PIKA.into_iter().flat_map(|recorded| parse(hex(recorded)).unwrap().records()).collect();
    let bodies: Vec<&[u8]> = records.iter().map(|record| record.content.as_deref().unwrap()).collect();
    assert_eq!(bodies, [&b"{\"p\":1}"[..], b"{\"p\":2}", b""]);
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records[0].published_at, DateTime::from_timestamp_millis(1_700_000_000_123));
    let producer = records[0].producer.unwrap().to_string();
    assert_eq!(producer, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!((records[1].published_at, records[1].producer), (None, None));
}

#[test]
fn reference_implementations_are_read() {
    for (compression, recorded) in
        [(encoder::SNAPPY, SNAPPY), (encoder::LZ4, LZ4_JAVA), (encoder::LZ4, LZ4_GO), (encoder::ZSTD, ZSTD)]
    {
        let chunk = parse(chunk(0, 0, &[sub_entry(compression, 3, 48, &hex(recorded))])).unwrap();
        let read = contents_of(chunk.records());
        assert_eq!(read, ok(&[(0, "{\"n\":0}"), (1, "{\"n\":1}"), (2, "{\"n\":2}")]), "{recorded}");
    }
}

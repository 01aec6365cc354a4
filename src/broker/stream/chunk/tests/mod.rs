mod arbitrary;
pub mod encoder;
mod recorded;

use super::{compression::MAX_UNCOMPRESSED, *};
use encoder::{GZIP, LZ4, SNAPPY, ZSTD, batch, chunk, chunk_of, compress, contents, simple, sub_entry};

const COMPRESSIONS: [u8; 5] = [0, GZIP, SNAPPY, LZ4, ZSTD];

fn parse(bytes: impl Into<Bytes>) -> Result<Chunk, ChunkError> {
    Chunk::parse(bytes.into())
}

/// Offset and content of each record, or the reason why it has none.
fn contents_of(records: Records) -> Vec<(i64, Result<String, String>)> {
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    records.map(|record| (record.offset, record.content.map(text).map_err(|unreadable| unreadable.reason))).collect()
}

fn ok(records: &[(i64, &str)]) -> Vec<(i64, Result<String, String>)> {
    records.iter().map(|(offset, text)| (*offset, Ok((*text).to_owned()))).collect()
}

#[test]
fn the_header_is_read() {
    let chunk = parse(chunk(41, 1_700_000_000_123, &[simple(b"a"), simple(b"b")])).unwrap();
    assert_eq!((chunk.first_offset(), chunk.next_offset(), chunk.epoch()), (41, 43, 1));
    assert_eq!(chunk.timestamp(), DateTime::from_timestamp_millis(1_700_000_000_123));
    assert!(chunk.is_user());
    assert_eq!(contents_of(chunk.records()), ok(&[(41, "a"), (42, "b")]));
}

#[test]
fn a_timestamp_no_clock_says_is_none() {
    for timestamp in [i64::MIN, -1, 7_258_118_400_000, i64::MAX] {
        assert_eq!(parse(chunk(0, timestamp, &[])).unwrap().timestamp(), None, "{timestamp}");
    }
}

#[test]
fn a_record_is_a_slice_of_its_chunk() {
    let bytes = Bytes::from(chunk(0, 0, &[simple(&encoder::message(0, None, &[b"{}"])), batch(0, &[b"[]".to_vec()])]));
    let range = bytes.as_ptr_range();
    for record in parse(bytes.clone()).unwrap().records() {
        let content = record.content.unwrap();
        assert!(range.contains(&content.as_ptr()), "{content:?} was copied");
    }
}

#[test]
fn sub_entries_of_every_compression_are_read() {
    for compression in COMPRESSIONS {
        let records: Vec<Vec<u8>> = (0..1000).map(|n| format!("{{\"n\": {n}}}").into_bytes()).collect();
        let chunk = parse(chunk(7, 0, &[simple(b"x"), batch(compression, &records), simple(b"y")])).unwrap();
        let read = contents_of(chunk.records());
        assert_eq!((read.len(), chunk.next_offset()), (1002, 1009), "{compression}");
        assert!(read.iter().zip(7..).all(|((offset, _), expected)| *offset == expected), "{compression}");
        assert_eq!(read[1000], (1007, Ok("{\"n\": 999}".to_owned())), "{compression}");
        assert_eq!(read[1001], (1008, Ok("y".to_owned())), "{compression}");
    }
}

#[test]
fn reading_begins_within_a_chunk() {
    for compression in COMPRESSIONS {
        let records = [b"b".to_vec(), b"c".to_vec(), b"d".to_vec()];
        let entries = [simple(b"a"), batch(compression, &records), batch(compression, &[]), simple(b"e")];
        let chunk = parse(chunk(10, 0, &entries)).unwrap();
        let all = ok(&[(10, "a"), (11, "b"), (12, "c"), (13, "d"), (14, "e")]);
        for (from, expected) in [(i64::MIN, &all[..]), (10, &all), (11, &all[1..]), (12, &all[2..]), (13, &all[3..])] {
            assert_eq!(contents_of(chunk.records_from(from)), expected, "{compression} from {from}");
        }
        assert_eq!(contents_of(chunk.records_from(14)), &all[4..]);
        for from in [15, i64::MAX] {
            assert_eq!(contents_of(chunk.records_from(from)), []);
        }
    }
}

#[test]
fn the_brokers_own_records_are_nobodys() {
    let mut tracking = chunk(3, 0, &[simple(b"any")]);
    tracking[1] = 1;
    tracking.extend([0; 43]);
    let chunk = parse(tracking).unwrap();
    assert_eq!((chunk.first_offset(), chunk.next_offset(), chunk.is_user()), (3, 4, false));
    assert_eq!(contents_of(chunk.records_from(0)), []);
}

#[test]
fn a_damaged_chunk_is_an_error() {
    let whole = chunk(5, 0, &[simple(b"one"), batch(GZIP, &[b"two".to_vec()])]);
    for length in 0..whole.len() {
        assert!(parse(whole[..length].to_vec()).is_err(), "cut to {length}");
    }
    assert!(matches!(parse([whole.as_slice(), b"x"].concat()), Err(ChunkError::Length { offset: 5, .. })));
    for at in Header::BYTES..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(matches!(parse(flipped), Err(ChunkError::Crc { offset: 5, .. })), "flipped at {at}");
    }
    for first in [0x40, 0x51, 0] {
        let mut other = whole.clone();
        other[0] = first;
        assert_eq!(parse(other).unwrap_err(), ChunkError::Format(first));
    }
}

#[test]
fn counts_that_disagree_are_errors() {
    let data = [simple(b"a").bytes, batch(0, &[b"b".to_vec(), b"c".to_vec()]).bytes].concat();
    assert!(parse(chunk_of(0, 0, 2, 3, &data)).is_ok());
    for (entries, records) in [(1, 1), (1, 3), (3, 3), (u16::MAX, 3)] {
        let error = parse(chunk_of(0, 0, entries, records, &data)).unwrap_err();
        assert_eq!(error, ChunkError::Entries { offset: 0, data: data.len() }, "{entries} entries");
    }
    for records in [0, 2, 4, u32::MAX] {
        let error = parse(chunk_of(0, 0, 2, records, &data)).unwrap_err();
        assert_eq!(error, ChunkError::Count { offset: 0, found: 3, stated: records });
    }
}

#[test]
fn offsets_out_of_range_are_errors() {
    let last = u64::try_from(i64::MAX).unwrap() - 1;
    assert_eq!(parse(chunk(last, 0, &[simple(b"a")])).unwrap().next_offset(), i64::MAX);
    for first in [last + 1, last + 2, u64::MAX] {
        assert_eq!(parse(chunk(first, 0, &[simple(b"a")])).unwrap_err(), ChunkError::Offset(first));
    }
}

/// Reads a chunk of one sub-entry with a record before and one behind it, and expects the reason for each of its records, or
/// once for all that there cannot be.
fn assert_unreadable(compression: u8, counted: u16, uncompressed: usize, body: &[u8], reason: &str) {
    let entries = [simple(b"before"), sub_entry(compression, counted, uncompressed, body), simple(b"behind")];
    let records: Vec<Record> = parse(chunk(0, 0, &entries)).unwrap().records().collect();
    let last = i64::from(counted) + 1;
    assert_eq!(records.last().unwrap().offset, last);
    if usize::from(counted) > body.len() {
        assert_eq!(
            records.iter().map(|record| (record.begins, record.offset)).collect::<Vec<_>>(),
            [(0, 0), (1, last - 1), (last, last)]
        );
    } else {
        assert_eq!(records.len(), usize::from(counted) + 2);
        assert!(records.iter().zip(0..).all(|(record, offset)| (record.begins, record.offset) == (offset, offset)));
    }
    let bytes = |record: &Record| record.content.as_ref().unwrap_err().bytes.clone();
    let between = &records[1..records.len() - 1];
    for record in between {
        let found = &record.content.as_ref().unwrap_err().reason;
        assert!(found.starts_with("sub-entry") && found.contains(reason), "{found}");
    }
    assert_eq!(bytes(&between[0]), body);
    assert!(between[1..].iter().all(|record| bytes(record).is_empty()));
    assert_eq!(records.last().unwrap().content.as_deref(), Ok(&b"behind"[..]));
}

#[test]
fn what_cannot_be_decompressed_takes_its_offsets() {
    let content = contents(&[b"one".to_vec(), b"two".to_vec()]);
    for compression in 5..8 {
        assert_unreadable(compression, 2, content.len(), &content, "is not known");
    }
    for (compression, name) in [(GZIP, "gzip"), (SNAPPY, "snappy"), (LZ4, "lz4"), (ZSTD, "zstd")] {
        assert_unreadable(compression, 2, content.len(), b"no such format", &format!("{name} cannot be decompressed"));
        let whole = compress(compression, &content);
        assert_unreadable(compression, 2, content.len(), &whole[..whole.len() / 2], "");
        assert_unreadable(compression, 2, content.len(), b"", "");
        assert_unreadable(compression, 2, content.len() - 1, &whole, "more than the");
        assert_unreadable(compression, 2, MAX_UNCOMPRESSED + 1, &whole, "at most");
        assert_unreadable(compression, 3, content.len(), &whole, "3 records are counted, only 2 are there");
        assert_unreadable(compression, 1, content.len(), &whole, "7 bytes more are there");
    }
    assert_unreadable(0, 3, content.len(), &content, "3 records are counted, only 2 are there");
    assert_unreadable(0, u16::MAX, 0, b"", "only 0 are there");
    assert_unreadable(0, 2, 8, &[0, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 2, 1], "only 1 are there");
}

#[test]
fn reading_begins_within_records_that_cannot_be() {
    let entries = [simple(b"a"), sub_entry(0, 1000, 6, b"no ten"), simple(b"z")];
    let chunk = parse(chunk(10, 0, &entries)).unwrap();
    for (from, begins) in [(11, 11), (12, 12), (1010, 1010)] {
        let records: Vec<_> = chunk.records_from(from).map(|record| (record.begins, record.offset)).collect();
        assert_eq!(records, [(begins, 1010), (1011, 1011)], "from {from}");
    }
    assert_eq!(chunk.records_from(1011).count(), 1);
}

#[test]
fn a_bomb_is_not_decompressed() {
    let zeros = vec![0; MAX_UNCOMPRESSED + 1];
    for compression in [GZIP, SNAPPY, LZ4, ZSTD] {
        let body = compress(compression, &zeros);
        assert_unreadable(compression, 1, 1000, &body, "more than the 1000 bytes");
        assert_unreadable(compression, 40, MAX_UNCOMPRESSED, &body, "more than the");
        assert_unreadable(compression, 40, zeros.len(), &body, "at most");
    }
}

#[test]
fn few_records_are_no_reason_to_decompress_much() {
    let zeros = vec![0; MAX_UNCOMPRESSED];
    let body = compress(ZSTD, &zeros);
    assert_unreadable(ZSTD, 2, zeros.len(), &body, "at most 2097152 are read");
    // No record comes between these: all of them are passed over at once.
    let mut entries: Vec<_> = (0..300).map(|_| sub_entry(ZSTD, 0, zeros.len(), &body)).collect();
    entries.push(simple(b"behind"));
    let (chunk, since) = (parse(chunk(0, 0, &entries)).unwrap(), std::time::Instant::now());
    assert_eq!(contents_of(chunk.records()), ok(&[(0, "behind")]));
    assert!(since.elapsed() < std::time::Duration::from_secs(5), "{:?}", since.elapsed());
}

#[test]
fn several_frames_are_one_content() {
    let records = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let content = contents(&records);
    for compression in [GZIP, SNAPPY, LZ4, ZSTD] {
        let body = [compress(compression, &content[..5]), compress(compression, &content[5..])].concat();
        let chunk = parse(chunk(0, 0, &[sub_entry(compression, 3, content.len(), &body)])).unwrap();
        assert_eq!(contents_of(chunk.records()), ok(&[(0, "one"), (1, "two"), (2, "three")]), "{compression}");
    }
    // A frame of Zstandard that is to be passed over.
    let body = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2][..], &compress(ZSTD, &content)].concat();
    let chunk = parse(chunk(0, 0, &[sub_entry(ZSTD, 3, content.len(), &body)])).unwrap();
    assert_eq!(contents_of(chunk.records()).len(), 3);
    assert_unreadable(ZSTD, 3, content.len(), &body[..9], "cannot be decompressed");
}

#[test]
fn a_wrong_checksum_within_a_sub_entry_is_seen() {
    let content = contents(&[vec![b'x'; 100]]);
    // zstd's own encoder here writes none: 4 bytes of it end the recorded frame of `recorded::ZSTD`.
    let mut gzip = compress(GZIP, &content);
    let at = gzip.len() - 8;
    gzip[at] ^= 1;
    assert_unreadable(GZIP, 1, content.len(), &gzip, "gzip cannot be decompressed");
    let mut snappy = compress(SNAPPY, &content);
    snappy[14] ^= 1;
    assert_unreadable(SNAPPY, 1, content.len(), &snappy, "snappy cannot be decompressed");
    let mut zstd = recorded::hex(recorded::ZSTD);
    let last = zstd.len() - 1;
    zstd[last] ^= 1;
    assert_unreadable(ZSTD, 3, 48, &zstd, "its checksum is wrong");
}

//! Writes what the decoder reads: chunks as the broker delivers them, sub-entries as clients compress them, AMQP 1.0 messages.

use std::io::Write;

pub const GZIP: u8 = 1;
pub const SNAPPY: u8 = 2;
pub const LZ4: u8 = 3;
pub const ZSTD: u8 = 4;

/// An entry of a chunk, and how many records it has.
#[derive(Debug)]
pub struct Entry {
    pub records: u32,
    pub bytes: Vec<u8>,
}

pub fn simple(record: &[u8]) -> Entry {
    Entry { records: 1, bytes: [&length(record), record].concat() }
}

/// A sub-entry, compressed or not.
pub fn batch(compression: u8, records: &[Vec<u8>]) -> Entry {
    let content = contents(records);
    sub_entry(compression, u16::try_from(records.len()).unwrap(), content.len(), &compress(compression, &content))
}

/// A sub-entry that says of its body what it likes.
pub fn sub_entry(compression: u8, records: u16, uncompressed: usize, body: &[u8]) -> Entry {
    let mut bytes = vec![0x80 | compression << 4];
    bytes.extend(records.to_be_bytes());
    bytes.extend(u32::try_from(uncompressed).unwrap().to_be_bytes());
    bytes.extend(length(body));
    bytes.extend(body);
    Entry { records: u32::from(records), bytes }
}

/// The content of a sub-entry.
pub fn contents(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().flat_map(|record| [&length(record), record.as_slice()].concat()).collect()
}

pub fn compress(compression: u8, content: &[u8]) -> Vec<u8> {
    match compression {
        GZIP => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        SNAPPY => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(content).unwrap();
            encoder.into_inner().unwrap()
        }
        LZ4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        ZSTD => ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest),
        _ => content.to_vec(),
    }
}

pub fn chunk(first_offset: u64, timestamp: i64, entries: &[Entry]) -> Vec<u8> {
    let data: Vec<u8> = entries.iter().flat_map(|entry| entry.bytes.iter().copied()).collect();
    let records = entries.iter().map(|entry| entry.records).sum();
    chunk_of(first_offset, timestamp, u16::try_from(entries.len()).unwrap(), records, &data)
}

/// A chunk that says of its data what it likes; the checksum is right.
pub fn chunk_of(first_offset: u64, timestamp: i64, entries: u16, records: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x50, 0];
    bytes.extend(entries.to_be_bytes());
    bytes.extend(records.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(1_u64.to_be_bytes());
    bytes.extend(first_offset.to_be_bytes());
    bytes.extend(crc32fast::hash(data).to_be_bytes());
    bytes.extend(length(data));
    // A trailer that the broker keeps for itself, and no Bloom filter.
    bytes.extend([0, 0, 0, 43, 0, 0, 0, 0]);
    bytes.extend(data);
    bytes
}

/// An AMQP 1.0 message with the sections that RabbitMQ 4 writes for one of AMQP 0.9.1, and its data in so many pieces.
pub fn message(published_ms: i64, traceparent: Option<&str>, pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = section(0x70, &list(&[vec![0x41], vec![0x40], vec![0x40], vec![0x40], vec![0x43]]));
    bytes.extend(section(0x72, &map(&[symbol("x-exchange"), string(""), symbol("x-routing-key"), string("usage")])));
    let mut properties = vec![string("timestamp_in_ms"), long(published_ms)];
    properties.extend(traceparent.into_iter().flat_map(|text| [string("traceparent"), string(text)]));
    bytes.extend(section(0x74, &map(&properties)));
    for piece in pieces {
        bytes.extend(section(0x75, &binary(piece)));
    }
    bytes
}

pub fn section(descriptor: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, descriptor], value].concat()
}

pub fn binary(bytes: &[u8]) -> Vec<u8> {
    sized(0xa0, bytes)
}

pub fn string(text: &str) -> Vec<u8> {
    sized(0xa1, text.as_bytes())
}

pub fn symbol(text: &str) -> Vec<u8> {
    sized(0xa3, text.as_bytes())
}

pub fn long(value: i64) -> Vec<u8> {
    [&[0x81][..], &value.to_be_bytes()].concat()
}

pub fn timestamp(millis: i64) -> Vec<u8> {
    [&[0x83][..], &millis.to_be_bytes()].concat()
}

pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xc0, items)
}

/// Of keys and values in turn.
pub fn map(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xc1, items)
}

fn compound(code: u8, items: &[Vec<u8>]) -> Vec<u8> {
    let content = items.concat();
    let (count, size) = (u32::try_from(items.len()).unwrap(), u32::try_from(content.len()).unwrap());
    match (u8::try_from(count), u8::try_from(size + 1)) {
        (Ok(count), Ok(size)) => [&[code, size, count], content.as_slice()].concat(),
        _ => [&[code + 0x10][..], &(size + 4).to_be_bytes(), &count.to_be_bytes(), &content].concat(),
    }
}

fn sized(code: u8, bytes: &[u8]) -> Vec<u8> {
    match u8::try_from(bytes.len()) {
        Ok(size) => [&[code, size], bytes].concat(),
        Err(_) => [&[code + 0x10][..], &length(bytes), bytes].concat(),
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

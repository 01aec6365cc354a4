//! A chunk around any data: it is refused, or its records are those that it states, or stand for them.
#![no_main]

use analytics_service_fuzz::broker::stream::chunk::Chunk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, e0, e1, r0, r1, r2], data)) = input.split_first_chunk::<6>() else { return };
    let mut bytes = vec![0x50, kind & 1, e0, e1, 0, r0, r1, r2];
    bytes.extend([0; 24]);
    bytes.extend(crc32fast::hash(data).to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(data);
    let Ok(chunk) = Chunk::parse(bytes.into()) else { return };
    let mut next = 0;
    for record in chunk.records() {
        assert!(record.begins == next && record.offset >= next);
        next = record.offset + 1;
    }
    assert_eq!(next, if chunk.is_user() { chunk.next_offset() } else { 0 });
    let rest: i64 = chunk.records_from(next / 2).map(|record| record.offset + 1 - record.begins).sum();
    assert_eq!(rest, next - next / 2);
});

//! A chunk around any data: it is refused, or has exactly the records that it states.
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
        assert_eq!(record.offset, next);
        next += 1;
    }
    assert_eq!(next, if chunk.is_user() { chunk.next_offset() } else { 0 });
    assert_eq!(chunk.records_from(next / 2).count() as i64, next - next / 2);
});

//! What a test encoder writes comes back exactly, and no bytes at all break the decoder or its promise.

use proptest::{collection::vec, prelude::*};

use super::*;

/// A record, and the body that is in it.
fn record() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let bare = vec(any::<u8>(), 0..300).prop_map(|mut body| {
        if body.first() == Some(&0) {
            body[0] = b'{';
        }
        (body.clone(), body)
    });
    let message =
        (any::<i64>(), any::<bool>(), vec(vec(any::<u8>(), 0..300), 1..4)).prop_map(|(at, traced, pieces)| {
            let trace = traced.then_some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
            let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            (encoder::message(at, trace, &slices), pieces.concat())
        });
    prop_oneof![bare, message]
}

/// Entries as they are written, and the bodies of their records.
fn entries() -> impl Strategy<Value = (Vec<encoder::Entry>, Vec<Vec<u8>>)> {
    let entry = (prop::option::of(0_u8..5), vec(record(), 0..20));
    vec(entry, 0..12).prop_map(|entries| {
        let mut bodies = Vec::new();
        let mut written = Vec::new();
        for (compression, records) in entries {
            let (records, of_records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            bodies.extend(of_records);
            match compression {
                Some(compression) => written.push(batch(compression, &records)),
                None => written.extend(records.iter().map(|record| simple(record))),
            }
        }
        (written, bodies)
    })
}

/// Every record that a chunk states is there or stood for, and their offsets follow each other. No more of them than a test has time for.
fn assert_promise(chunk: &Chunk) {
    let stated = usize::try_from(chunk.next_offset() - chunk.first_offset()).unwrap();
    let mut next = chunk.first_offset();
    for record in chunk.records().take(100_000) {
        assert!(record.begins == next && record.offset >= next);
        next = record.offset + 1;
        if let Ok(content) = record.content {
            assert!(content.len() <= MAX_UNCOMPRESSED);
        }
    }
    if stated < 100_000 {
        assert_eq!(next, chunk.next_offset());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read((entries, bodies) in entries(), first in 0..1_u64 << 62, skipped in 0..200_usize) {
        let chunk = parse(chunk(first, 0, &entries)).unwrap();
        let read: Vec<(i64, Vec<u8>)> =
            chunk.records().map(|record| (record.offset, record.content.unwrap().to_vec())).collect();
        let first = i64::try_from(first).unwrap();
        let expected: Vec<(i64, Vec<u8>)> = (first..).zip(bodies).collect();
        prop_assert_eq!(&read, &expected);
        prop_assert_eq!(chunk.next_offset(), first + i64::try_from(expected.len()).unwrap());
        let from = first + i64::try_from(skipped).unwrap();
        let rest: Vec<i64> = chunk.records_from(from).map(|record| record.offset).collect();
        let expected: Vec<i64> = (from..chunk.next_offset()).collect();
        prop_assert_eq!(rest, expected);
    }

    #[test]
    fn no_bytes_break_the_header(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(chunk) = parse(bytes) {
            assert_promise(&chunk);
        }
    }

    #[test]
    fn no_bytes_break_the_entries(entries in 0..5_u16, records in 0..20_u32, data in vec(any::<u8>(), 0..200)) {
        if let Ok(chunk) = parse(chunk_of(0, 0, entries, records, &data)) {
            assert_promise(&chunk);
        }
    }

    #[test]
    fn no_bytes_break_a_sub_entry(compression in 0..8_u8, counted in 0..100_u16, stated in 0..1_000_000_usize, body in vec(any::<u8>(), 0..300)) {
        assert_promise(&parse(chunk(0, 0, &[sub_entry(compression, counted, stated, &body)])).unwrap());
    }

    #[test]
    fn no_flips_break_the_promise((entries, _) in entries(), flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..20)) {
        let whole = chunk(0, 0, &entries);
        prop_assume!(whole.len() > Header::BYTES);
        let (header, data) = whole.split_at(Header::BYTES);
        let mut data = data.to_vec();
        for (at, bit) in flips {
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
        }
        let (entries, records) = (u16::from_be_bytes(at(header.first_chunk().unwrap(), 2)), u32::from_be_bytes(at(header.first_chunk().unwrap(), 4)));
        if let Ok(chunk) = parse(chunk_of(0, 0, entries, records, &data)) {
            assert_promise(&chunk);
        }
    }

    #[test]
    fn no_flips_break_decompression(compression in 1..5_u8, records in vec(vec(any::<u8>(), 0..100), 1..20), flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..4)) {
        let content = contents(&records);
        let mut body = compress(compression, &content);
        for (at, bit) in flips {
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
        }
        let counted = u16::try_from(records.len()).unwrap();
        assert_promise(&parse(chunk(0, 0, &[sub_entry(compression, counted, content.len(), &body)])).unwrap());
    }
}

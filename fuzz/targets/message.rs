//! Any record: its body is a part of it, or there is a reason.
#![no_main]

use analytics_service_fuzz::broker::stream::message;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    match message::read(Bytes::copy_from_slice(record)).body {
        Ok(body) => assert!(body.len() <= record.len()),
        Err(unreadable) => assert_eq!(unreadable.bytes, record),
    }
});

//! The records of a chunk, one after the other, each a slice of the chunk's bytes.
//!
//! A chunk has entries: simple ones, which are a record each, and sub-entries, which are a batch of records that a producer
//! wrote and may have compressed. The broker does not look into those, so what is in one is hostile: where it is not what its
//! header says, each record that the header counts is there with the reason, and takes its offset. Where it counts more than there can be,
//! one record stands for all, so that a few bytes are no flood.

use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};

use super::compression::{SubEntryError, decompress};
use crate::{
    broker::stream::message::{self, Content, Unreadable},
    domain::trace::TraceParent,
};

/// One message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first offset that it stands for: its own, but for a sub-entry that states more records than it has bytes.
    pub begins: i64,
    pub offset: i64,
    /// The event's bytes, as its producer wrote them.
    pub content: Result<Bytes, Unreadable>,
    /// What the message itself says. Without it the chunk's timestamp is the best that is known.
    pub published_at: Option<DateTime<Utc>>,
    /// The producer's span, by the application property `traceparent`.
    pub producer: Option<TraceParent>,
}

/// Iterates over records. A sub-entry is decompressed when its first record is due, so that one at a time is in memory.
#[derive(Clone, Debug)]
pub struct Records {
    /// Entries that are not begun.
    rest: Bytes,
    /// Of the next record.
    offset: i64,
    /// What is left of the sub-entry that is begun.
    begun: SubEntry,
}

#[derive(Clone, Debug)]
enum SubEntry {
    /// Records, each behind its length, all of which are known to be there.
    Readable(Bytes),
    Unreadable {
        left: u16,
        cause: Unreadable,
    },
    /// So many records, of which one takes the place of all.
    Impossible {
        records: u16,
        cause: Unreadable,
    },
}

impl Records {
    /// Of data that [`count`] has found to be right.
    pub(super) fn new(data: Bytes, first_offset: i64) -> Self {
        Self { rest: data, offset: first_offset, begun: SubEntry::Readable(Bytes::new()) }
    }

    /// Passes over what lies before an offset; entries that end before it are not decompressed.
    pub(super) fn skip_to(&mut self, offset: i64) {
        while let Some(entry) = Entry::of(&self.rest)
            && self.offset + i64::from(entry.records()) <= offset
        {
            self.rest.advance(entry.header() + entry.body);
            self.offset += i64::from(entry.records());
        }
        if self.offset < offset && self.next_of_entries().is_some() {
            // What stands for all stands for those from the offset on.
            if let SubEntry::Impossible { records, .. } = &mut self.begun {
                let passed = u16::try_from(offset - self.offset).unwrap_or(u16::MAX);
                (*records, self.offset) = (records.saturating_sub(passed), offset);
            }
            while self.offset < offset && self.next().is_some() {}
        }
    }

    /// The next record of the sub-entry that is begun, before it is decoded.
    fn next_of_begun(&mut self) -> Option<Result<Bytes, Unreadable>> {
        match &mut self.begun {
            SubEntry::Impossible { records, cause } => {
                // The offset of the last one.
                self.offset += i64::from(records.checked_sub(1)?);
                *records = 0;
                Some(Err(std::mem::take(cause)))
            }
            SubEntry::Readable(left) => next_of(left).map(Ok),
            SubEntry::Unreadable { left, cause } => {
                *left = left.checked_sub(1)?;
                let bytes = std::mem::take(&mut cause.bytes);
                Some(Err(Unreadable { reason: cause.reason.clone(), bytes }))
            }
        }
    }

    /// The same of the entry that follows; none where that is a sub-entry, which then is begun.
    fn next_of_entries(&mut self) -> Option<Option<Bytes>> {
        let entry = Entry::of(&self.rest)?;
        self.rest.advance(entry.header());
        let body = self.rest.split_to(entry.body);
        Some(match entry.batch {
            None => Some(body),
            Some(batch) => {
                self.begun = batch.begin(body);
                None
            }
        })
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let begins = self.offset;
        let record = loop {
            if let Some(record) = self.next_of_begun() {
                break record;
            }
            if let Some(record) = self.next_of_entries()? {
                break Ok(record);
            }
        };
        let offset = self.offset;
        self.offset += 1;
        let (content, published_at, producer) = match record {
            Ok(bytes) => {
                let Content { body, published_at, producer } = message::read(bytes);
                (body, published_at, producer)
            }
            Err(unreadable) => (Err(unreadable), None, None),
        };
        Some(Record { begins, offset, content, published_at, producer })
    }
}

/// Splits the next record off a sub-entry's content.
fn next_of(content: &mut Bytes) -> Option<Bytes> {
    let (length, _) = content.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= content.len() - 4)?;
    content.advance(4);
    Some(content.split_to(length))
}

/// How many records the entries have that fill the data; `None` where they do not.
pub(super) fn count(mut data: &[u8], entries: u16) -> Option<u64> {
    let mut records = 0;
    for _ in 0..entries {
        let entry = Entry::of(data)?;
        records += u64::from(entry.records());
        data = &data[entry.header() + entry.body..];
    }
    data.is_empty().then_some(records)
}

/// The header of an entry whose body is there.
#[derive(Clone, Copy)]
struct Entry {
    /// What a sub-entry has; a simple entry is a record.
    batch: Option<Batch>,
    /// Length of what follows the header.
    body: usize,
}

#[derive(Clone, Copy)]
struct Batch {
    compression: u8,
    records: u16,
    uncompressed: u32,
}

impl Entry {
    /// Set in the first byte of a sub-entry. The next three bits are its compression.
    const SUB_ENTRY: u8 = 0x80;

    fn of(data: &[u8]) -> Option<Self> {
        let (&first, _) = data.split_first()?;
        let (batch, header, length) = if first & Self::SUB_ENTRY == 0 {
            let (header, _) = data.split_first_chunk::<4>()?;
            (None, header.len(), u32::from_be_bytes(*header))
        } else {
            let (&[_, r0, r1, u0, u1, u2, u3, l0, l1, l2, l3], _) = data.split_first_chunk::<11>()?;
            let batch = Batch {
                compression: first >> 4 & 7,
                records: u16::from_be_bytes([r0, r1]),
                uncompressed: u32::from_be_bytes([u0, u1, u2, u3]),
            };
            (Some(batch), 11, u32::from_be_bytes([l0, l1, l2, l3]))
        };
        let body = usize::try_from(length).ok().filter(|body| *body <= data.len() - header)?;
        Some(Self { batch, body })
    }

    fn header(&self) -> usize {
        if self.batch.is_some() { 11 } else { 4 }
    }

    fn records(&self) -> u16 {
        self.batch.map_or(1, |batch| batch.records)
    }
}

impl Batch {
    fn begin(self, body: Bytes) -> SubEntry {
        let content = decompress(self.compression, &body, self.records, self.uncompressed);
        match content.and_then(|content| self.check(&content).map(|()| content)) {
            Ok(content) => SubEntry::Readable(content),
            Err(error) if usize::from(self.records) > body.len() => {
                let reason = format!("sub-entry of {} bytes that states {} records: {error}", body.len(), self.records);
                SubEntry::Impossible { records: self.records, cause: Unreadable { reason, bytes: body } }
            }
            Err(error) => {
                let cause = Unreadable { reason: format!("sub-entry: {error}"), bytes: body };
                SubEntry::Unreadable { left: self.records, cause }
            }
        }
    }

    /// Whether the content is exactly the records that are counted.
    fn check(self, mut content: &[u8]) -> Result<(), SubEntryError> {
        for record in 0..self.records {
            let rest = content
                .split_first_chunk::<4>()
                .and_then(|(length, rest)| rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..));
            content = rest.ok_or(SubEntryError::Short { counted: self.records, whole: record })?;
        }
        if content.is_empty() {
            Ok(())
        } else {
            Err(SubEntryError::Long { counted: self.records, left: content.len() })
        }
    }
}

//! A chunk: the unit in which the broker stores, replicates and delivers a stream.
//!
//! Source of the format: the head of `osiris_log.erl` in github.com/rabbitmq/osiris, and `Deliver` in the broker's
//! `deps/rabbitmq_stream/docs/PROTOCOL.adoc`. All integers are big-endian.

mod compression;
mod records;

use bytes::Bytes;
use chrono::{DateTime, Utc};

pub use self::records::{Record, Records};
use crate::broker::publish_time::publish_time;

/// Of the header, which the data follow: the broker does not deliver the Bloom filter that lies between them in its files.
const HEADER: usize = 48;
/// Magic number 5 and version 0, four bits each.
const MAGIC_VERSION: u8 = 0x50;
/// Messages of producers. Other types are the broker's own records.
const USER: u8 = 0;

/// Why a chunk cannot be used. Its bytes were damaged, on their way or where they are stored: reading it again may help, once
/// or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk of {0} bytes is shorter than its header of {HEADER}")]
    Short(usize),
    #[error("a chunk begins with {0:#04x}, not with {MAGIC_VERSION:#04x}: it is damaged, or of a newer format")]
    Format(u8),
    #[error("chunk {offset}: {found} bytes follow the header, which states {stated}")]
    Length { offset: u64, found: usize, stated: u64 },
    #[error("chunk {offset}: the CRC of its data is {found:#010x}, the header states {stated:#010x}")]
    Crc { offset: u64, found: u32, stated: u32 },
    #[error("chunk {offset}: its entries do not fill its {data} bytes of data")]
    Entries { offset: u64, data: usize },
    #[error("chunk {offset}: its entries count {found} records, the header states {stated}")]
    Count { offset: u64, found: u64, stated: u32 },
    #[error("chunk {0}: its offsets are out of range")]
    Offset(u64),
}

/// A chunk whose lengths, checksum and counts are right.
#[derive(Clone, Debug)]
pub struct Chunk {
    first_offset: i64,
    records: u32,
    timestamp: Option<DateTime<Utc>>,
    epoch: u64,
    kind: u8,
    data: Bytes,
}

impl Chunk {
    /// Checks a chunk as a `Deliver` frame carries it, from its header to the end of the frame.
    ///
    /// # Errors
    /// It is damaged, or of a format that is not known.
    pub fn parse(mut bytes: Bytes) -> Result<Self, ChunkError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(ChunkError::Short(bytes.len()));
        };
        if header[0] != MAGIC_VERSION {
            return Err(ChunkError::Format(header[0]));
        }
        let kind = header[1];
        let entries = u16::from_be_bytes(at(header, 2));
        let records = u32::from_be_bytes(at(header, 4));
        let timestamp = i64::from_be_bytes(at(header, 8));
        let epoch = u64::from_be_bytes(at(header, 16));
        let offset = u64::from_be_bytes(at(header, 24));
        let crc = u32::from_be_bytes(at(header, 32));
        let length = u32::from_be_bytes(at(header, 36));
        let trailer = u32::from_be_bytes(at(header, 40));

        let first_offset = i64::try_from(offset).ok().filter(|first| first.checked_add(i64::from(records)).is_some());
        let first_offset = first_offset.ok_or(ChunkError::Offset(offset))?;
        // What the broker appends for itself comes with its own records only.
        let (stated, with_trailer) = (u64::from(length), u64::from(length) + u64::from(trailer));
        let found = rest.len();
        let Some(data) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Err(ChunkError::Length { offset, found, stated });
        };
        if ![stated, with_trailer].contains(&(found as u64)) {
            return Err(ChunkError::Length { offset, found, stated });
        }
        let computed = crc32fast::hash(data);
        if computed != crc {
            return Err(ChunkError::Crc { offset, found: computed, stated: crc });
        }
        if kind == USER {
            let counted = records::count(data, entries).ok_or(ChunkError::Entries { offset, data: data.len() })?;
            if counted != u64::from(records) {
                return Err(ChunkError::Count { offset, found: counted, stated: records });
            }
        }
        let end = HEADER + data.len();
        bytes.truncate(end);
        let data = bytes.split_off(HEADER);
        Ok(Self { first_offset, records, timestamp: publish_time(timestamp), epoch, kind, data })
    }

    /// Offset of its first record, by which the broker names the chunk.
    pub fn first_offset(&self) -> i64 {
        self.first_offset
    }

    /// One behind its last record.
    pub fn next_offset(&self) -> i64 {
        self.first_offset + i64::from(self.records)
    }

    /// When the broker wrote it; `None` where that is no time that a clock would say.
    pub fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.timestamp
    }

    /// How often the stream's leader had changed when it was written.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it holds messages, not the broker's own records.
    pub fn is_user(&self) -> bool {
        self.kind == USER
    }

    /// Its records from an offset on, which may lie within the chunk: exactly those that the header counts, whose offsets follow
    /// each other. A chunk of the broker's own records has none.
    pub fn records_from(&self, offset: i64) -> Records {
        let mut records = self.records();
        records.skip_to(offset);
        records
    }

    /// All its records.
    pub fn records(&self) -> Records {
        let data = if self.is_user() { self.data.clone() } else { Bytes::new() };
        Records::new(data, self.first_offset)
    }
}

/// The bytes of an integer of the header.
fn at<const N: usize>(header: &[u8; HEADER], position: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[position..position + N]);
    bytes
}

#[cfg(test)]
pub(super) use self::tests::encoder;
#[cfg(test)]
mod tests;

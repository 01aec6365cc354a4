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

/// Magic number 5 and version 0, four bits each.
const MAGIC_VERSION: u8 = 0x50;
/// Messages of producers. Other types are the broker's own records.
const USER: u8 = 0;

/// Why a chunk cannot be used. Its bytes were damaged, on their way or where they are stored: reading it again may help, once
/// or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk of {0} bytes is shorter than its header of {header}", header = Header::BYTES)]
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

/// What a chunk says of itself, before its data.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Offset of its first record, by which the broker names the chunk.
    pub first_offset: i64,
    records: u32,
    /// When the broker wrote it; `None` where that is no time that a clock would say.
    pub timestamp: Option<DateTime<Utc>>,
    epoch: u64,
    kind: u8,
    entries: u16,
    crc: u32,
    length: u32,
    trailer: u32,
}

impl Header {
    /// The data follow it: the broker does not deliver the Bloom filter that lies between them in its files.
    pub const BYTES: usize = 48;

    /// Reads what a chunk begins with.
    ///
    /// # Errors
    /// It is cut short, of a format that is not known, or names offsets that there cannot be.
    pub fn read(bytes: &[u8]) -> Result<Self, ChunkError> {
        let header = bytes.first_chunk::<{ Self::BYTES }>().ok_or(ChunkError::Short(bytes.len()))?;
        if header[0] != MAGIC_VERSION {
            return Err(ChunkError::Format(header[0]));
        }
        let records = u32::from_be_bytes(at(header, 4));
        let offset = u64::from_be_bytes(at(header, 24));
        let first_offset = i64::try_from(offset).ok().filter(|first| first.checked_add(i64::from(records)).is_some());
        Ok(Self {
            first_offset: first_offset.ok_or(ChunkError::Offset(offset))?,
            records,
            timestamp: publish_time(i64::from_be_bytes(at(header, 8))),
            epoch: u64::from_be_bytes(at(header, 16)),
            kind: header[1],
            entries: u16::from_be_bytes(at(header, 2)),
            crc: u32::from_be_bytes(at(header, 32)),
            length: u32::from_be_bytes(at(header, 36)),
            trailer: u32::from_be_bytes(at(header, 40)),
        })
    }

    /// One behind its last record.
    pub fn next_offset(&self) -> i64 {
        self.first_offset + i64::from(self.records)
    }
}

/// A chunk whose lengths, checksum and counts are right.
#[derive(Clone, Debug)]
pub struct Chunk {
    header: Header,
    data: Bytes,
}

impl Chunk {
    /// Checks a chunk as a `Deliver` frame carries it, from its header to the end of the frame.
    ///
    /// # Errors
    /// It is damaged, or of a format that is not known.
    pub fn parse(mut bytes: Bytes) -> Result<Self, ChunkError> {
        let header = Header::read(&bytes)?;
        let mut data = bytes.split_off(Header::BYTES);
        let offset = header.first_offset.unsigned_abs();
        // What the broker appends for itself comes with its own records only.
        let (stated, with_trailer) = (u64::from(header.length), u64::from(header.length) + u64::from(header.trailer));
        let found = data.len();
        if ![stated, with_trailer].contains(&(found as u64)) {
            return Err(ChunkError::Length { offset, found, stated });
        }
        data.truncate(usize::try_from(header.length).unwrap_or(usize::MAX));
        let computed = crc32fast::hash(&data);
        if computed != header.crc {
            return Err(ChunkError::Crc { offset, found: computed, stated: header.crc });
        }
        let chunk = Self { header, data };
        if chunk.is_user() {
            let counted = records::count(&chunk.data, header.entries);
            let counted = counted.ok_or(ChunkError::Entries { offset, data: chunk.data.len() })?;
            if counted != u64::from(header.records) {
                return Err(ChunkError::Count { offset, found: counted, stated: header.records });
            }
        }
        Ok(chunk)
    }

    /// Offset of its first record, by which the broker names the chunk.
    pub fn first_offset(&self) -> i64 {
        self.header.first_offset
    }

    /// One behind its last record.
    pub fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// When the broker wrote it; `None` where that is no time that a clock would say.
    pub fn timestamp(&self) -> Option<DateTime<Utc>> {
        self.header.timestamp
    }

    /// How often the stream's leader had changed when it was written.
    pub fn epoch(&self) -> u64 {
        self.header.epoch
    }

    /// Whether it holds messages, not the broker's own records.
    pub fn is_user(&self) -> bool {
        self.header.kind == USER
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
        Records::new(data, self.first_offset())
    }
}

/// The bytes of an integer of the header.
fn at<const N: usize>(header: &[u8; Header::BYTES], position: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[position..position + N]);
    bytes
}

#[cfg(test)]
pub(super) use self::tests::encoder;
#[cfg(test)]
mod tests;

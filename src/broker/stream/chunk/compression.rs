//! What is in a sub-entry: records that a producer may have compressed.
//!
//! Each compression is its framed format, as the Java, Go and Python clients write it: gzip (RFC 1952), snappy's framing
//! format, LZ4's frame format, Zstandard frames (RFC 8878).

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Larger content is not decompressed. A producer's frame has 1 MiB unless the broker's operator raises that, and events
/// compress to a twentieth at best.
pub const MAX_UNCOMPRESSED: usize = 32 << 20;
/// The same for each record that the header counts, so that few bytes which state few records are little work.
const MAX_RECORD: usize = 1 << 20;
/// What is allocated before any of it is there.
const RESERVED: usize = 1 << 20;
/// Blocks that Zstandard decodes at once, in bytes.
const STEP: usize = 128 << 10;

/// Why the records of a sub-entry cannot be read. Permanent: they are so in the stream.
#[derive(Debug, thiserror::Error)]
pub enum SubEntryError {
    #[error("compression {0} is not known")]
    Unknown(u8),
    #[error("{stated} bytes uncompressed, of which at most {most} are read")]
    TooLarge { stated: u32, most: usize },
    #[error("more than the {0} bytes uncompressed that are stated")]
    MoreThanStated(u32),
    #[error("{name} cannot be decompressed: {error}")]
    Corrupt { name: &'static str, error: io::Error },
    #[error("{counted} records are counted, only {whole} are there")]
    Short { counted: u16, whole: u16 },
    #[error("{counted} records are counted, {left} bytes more are there")]
    Long { counted: u16, left: usize },
}

/// The content of a sub-entry of so many records and bytes uncompressed, as its header states.
pub fn decompress(compression: u8, body: &Bytes, records: u16, stated: u32) -> Result<Bytes, SubEntryError> {
    if compression == 0 {
        return Ok(body.clone());
    }
    let most = MAX_UNCOMPRESSED.min(usize::from(records) * MAX_RECORD);
    let limit = usize::try_from(stated).ok().filter(|stated| *stated <= most);
    let limit = limit.ok_or(SubEntryError::TooLarge { stated, most })?;
    let mut content = Vec::with_capacity(limit.min(RESERVED));
    let (name, result) = match compression {
        1 => ("gzip", read_to(MultiGzDecoder::new(&body[..]), &mut content, limit)),
        2 => ("snappy", read_to(snap::read::FrameDecoder::new(&body[..]), &mut content, limit)),
        3 => ("lz4", lz4(body, &mut content, limit)),
        4 => ("zstd", zstd(body, &mut content, limit)),
        other => return Err(SubEntryError::Unknown(other)),
    };
    if content.len() > limit {
        return Err(SubEntryError::MoreThanStated(stated));
    }
    result.map_err(|error| SubEntryError::Corrupt { name, error })?;
    Ok(content.into())
}

fn lz4(mut body: &[u8], content: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    // A decoder ends with its frame.
    while !body.is_empty() && content.len() <= limit {
        read_to(lz4_flex::frame::FrameDecoder::new(&mut body), content, limit)?;
    }
    Ok(())
}

fn zstd(mut body: &[u8], content: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_UNCOMPRESSED as u64);
    while !body.is_empty() {
        match decoder.reset(&mut body) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let rest = usize::try_from(length).ok().and_then(|length| body.get(length..));
                body = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
                continue;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        loop {
            let step = BlockDecodingStrategy::UptoBytes(STEP);
            let ended = decoder.decode_blocks(&mut body, step).map_err(io::Error::other)?;
            decoder.collect_to_writer(&mut *content)?;
            if content.len() > limit {
                return Ok(());
            }
            if ended {
                break;
            }
        }
        // The decoder computes both and leaves the comparison to us.
        let stated = decoder.get_checksum_from_data();
        if stated.is_some() && stated != decoder.get_calculated_checksum() {
            return Err(io::Error::other("its checksum is wrong"));
        }
    }
    Ok(())
}

/// Reads to the end, or to one byte beyond the limit.
fn read_to(decoder: impl Read, content: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    let room = limit.saturating_sub(content.len()) as u64;
    decoder.take(room + 1).read_to_end(content).map(drop)
}

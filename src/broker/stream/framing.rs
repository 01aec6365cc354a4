//! Frames as they come from the socket. What is larger than its kind may be ends the connection, before it is read.

use std::{io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::{
    chunk::ChunkError,
    frames::{FrameError, HEAD, code, key},
    transport::Source,
};
use crate::broker::BrokerError;

/// What is read at once, unless it is a chunk.
const READ: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum End {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(String),
    #[error("nothing was heard for {} s, not even a heartbeat", .0.as_secs())]
    Silent(Duration),
    #[error("the broker closed the connection: {} ({code:#04x}), {reason}", code::words(*code))]
    ClosedByBroker { code: u16, reason: String },
    #[error("the stream was deleted, or the node that it is read from has stopped serving it: {} ({code:#04x})", code::words(*code))]
    StreamMoved { code: u16 },
    #[error("the broker refused credit: {} ({code:#04x})", code::words(*code))]
    CreditRefused { code: u16 },
    #[error("the broker delivered a chunk that there was no credit for")]
    Unrequested,
    #[error("a frame of key {key:#06x} has {length} bytes, and at most {most} are read")]
    TooLarge { key: u16, length: usize, most: usize },
    #[error("the chunk at offset {offset} has {length} bytes, and at most {most} are read")]
    ChunkTooLarge { offset: u64, length: usize, most: usize },
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<End> for BrokerError {
    fn from(end: End) -> Self {
        match end {
            // What is in the stream: another connection gets the same, unless it was damaged on its way.
            End::ChunkTooLarge { .. } | End::Chunk(_) => Self::Damaged(end.to_string()),
            other => Self::Interrupted(other.to_string()),
        }
    }
}

/// A frame's beginning.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Of what follows the length itself.
    length: usize,
    pub key: u16,
    version: u16,
}

/// Whose a chunk is, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub subscription: u8,
    pub length: usize,
}

pub struct FrameReader {
    source: Source,
    buffer: BytesMut,
    /// The broker is given up when nothing comes for so long.
    silence: Duration,
}

impl FrameReader {
    pub fn new(source: Source, silence: Duration) -> Self {
        Self { source, buffer: BytesMut::with_capacity(READ), silence }
    }

    pub fn set_silence(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// The next frame's beginning, which is still to be taken.
    pub async fn head(&mut self) -> Result<Head, End> {
        self.fill(HEAD).await?;
        let mut head = &self.buffer[..HEAD];
        let (length, key, version) = (head.get_u32(), head.get_u16(), head.get_u16());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < HEAD - 4 { Err(FrameError { key }.into()) } else { Ok(Head { length, key, version }) }
    }

    /// Takes a frame that is no delivery, without its length.
    pub async fn frame(&mut self, head: Head, most: usize) -> Result<Bytes, End> {
        let Head { length, key, .. } = head;
        if length > most {
            return Err(End::TooLarge { key, length, most });
        }
        self.fill(4 + length).await?;
        self.buffer.advance(4);
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Takes what is before the chunk of a delivery.
    pub async fn delivery(&mut self, head: Head) -> Result<Delivery, End> {
        // Version 2 states the committed chunk too.
        let before = HEAD + if head.version >= 2 { 1 + 8 } else { 1 };
        let length = (head.length + 4).checked_sub(before).ok_or(FrameError { key: key::DELIVER })?;
        self.fill(before).await?;
        let subscription = self.buffer[HEAD];
        self.buffer.advance(before);
        Ok(Delivery { subscription, length })
    }

    /// The first bytes of what comes, which stay there.
    pub async fn peek(&mut self, bytes: usize) -> Result<Bytes, End> {
        self.fill(bytes).await?;
        Ok(Bytes::copy_from_slice(&self.buffer[..bytes]))
    }

    /// Takes a chunk, which there must be memory for.
    pub async fn chunk(&mut self, length: usize) -> Result<Vec<u8>, End> {
        let mut chunk = Vec::with_capacity(length);
        let buffered = self.buffer.split_to(length.min(self.buffer.len()));
        chunk.extend_from_slice(&buffered);
        while chunk.len() < length {
            let left = u64::try_from(length - chunk.len()).unwrap_or(u64::MAX);
            receive((&mut self.source).take(left), &mut chunk, self.silence).await?;
        }
        Ok(chunk)
    }

    /// Passes over what nobody waits for.
    pub async fn discard(&mut self, mut bytes: usize) -> Result<(), End> {
        while bytes > 0 {
            self.fill(1).await?;
            let here = bytes.min(self.buffer.len());
            self.buffer.advance(here);
            bytes -= here;
        }
        Ok(())
    }

    /// Reads until the buffer has so many bytes. May be dropped at any time.
    async fn fill(&mut self, bytes: usize) -> Result<(), End> {
        while self.buffer.len() < bytes {
            self.buffer.reserve(READ.max(bytes) - self.buffer.len());
            receive(&mut self.source, &mut self.buffer, self.silence).await?;
        }
        Ok(())
    }
}

/// Reads what is there, once something is. May be dropped at any time.
async fn receive(mut source: impl AsyncRead + Unpin, into: &mut impl BufMut, silence: Duration) -> Result<(), End> {
    match timeout(silence, source.read_buf(into)).await {
        Ok(Ok(0)) => Err(End::Closed),
        Ok(received) => Ok(received.map(drop)?),
        Err(_) => Err(End::Silent(silence)),
    }
}

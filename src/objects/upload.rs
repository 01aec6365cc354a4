//! An object on its way into the store. Content is gathered into parts, of which two are in memory at most: one that is being
//! sent, and one that is being filled.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{ObjectError, local::LocalUpload, s3::S3Upload};

/// What is in the store now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sha256: [u8; 32],
    pub bytes: u64,
}

/// Nothing is visible before [`Upload::finish`], and nothing is left behind when it is aborted or dropped instead.
pub struct Upload {
    sink: Sink,
    filling: Vec<u8>,
    part_bytes: usize,
    sha256: Sha256,
    bytes: u64,
    /// Not after a write that failed or was cancelled: content would be missing.
    complete: bool,
}

pub(super) enum Sink {
    Local(LocalUpload),
    S3(S3Upload),
}

impl Upload {
    pub(super) fn new(sink: Sink, part_bytes: usize) -> Self {
        Self { sink, filling: Vec::new(), part_bytes, sha256: Sha256::new(), bytes: 0, complete: true }
    }

    /// What [`Objects::abort_upload`](super::Objects::abort_upload) needs to end it from elsewhere, after a crash of this
    /// process. It is there, with S3, after the first write that made a part full.
    pub fn id(&self) -> Option<&str> {
        match &self.sink {
            Sink::Local(_) => None,
            Sink::S3(upload) => upload.id(),
        }
    }

    /// Bytes that were written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of what was written so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }

    /// Takes more content; waits where the store is slower than the writer. After an error the upload can only be
    /// aborted.
    pub async fn write(&mut self, mut content: &[u8]) -> Result<(), ObjectError> {
        self.usable()?;
        self.complete = false;
        while !content.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(self.part_bytes);
            }
            let (now, later) = content.split_at(content.len().min(self.part_bytes - self.filling.len()));
            self.filling.extend_from_slice(now);
            self.sha256.update(now);
            self.bytes += now.len() as u64;
            content = later;
            if self.filling.len() == self.part_bytes {
                let part = std::mem::take(&mut self.filling).into();
                match &mut self.sink {
                    Sink::Local(upload) => upload.part(part).await?,
                    Sink::S3(upload) => upload.part(part).await?,
                }
            }
        }
        self.complete = true;
        Ok(())
    }

    /// Makes the object appear, whole. After an error it is not there, or, where the store's response was lost, whole.
    pub async fn finish(self) -> Result<Stored, ObjectError> {
        self.usable()?;
        let rest: Bytes = self.filling.into();
        match self.sink {
            Sink::Local(upload) => upload.finish(rest).await?,
            Sink::S3(upload) => upload.finish(rest).await?,
        }
        Ok(Stored { sha256: self.sha256.finalize().into(), bytes: self.bytes })
    }

    /// Takes everything back. Dropping does the same later.
    pub async fn abort(self) -> Result<(), ObjectError> {
        match self.sink {
            Sink::Local(upload) => upload.abort().await,
            Sink::S3(upload) => upload.abort().await,
        }
    }

    fn usable(&self) -> Result<(), ObjectError> {
        if self.complete { Ok(()) } else { Err(ObjectError::permanent("an upload that failed cannot go on")) }
    }
}

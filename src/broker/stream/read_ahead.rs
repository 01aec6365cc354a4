//! The memory for what is read ahead of the pipeline, which all partitions of a process share.
//!
//! A chunk takes its share before its bytes are read, and gives it back when the last of its messages is dropped. Shares are given
//! in the order in which they were requested, and who waits for one holds none that others wait for: messages at hand are handed
//! on and stored whether or not another chunk comes. So a partition whose chunk is larger than what is free gets it when others
//! have given theirs back, and one that is larger than all of it gets all of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What shares are counted in, bytes.
const UNIT: usize = 1024;

#[derive(Clone)]
pub struct ReadAhead {
    units: u32,
    free: Arc<Semaphore>,
}

/// Given back when it is dropped.
pub struct Share {
    /// None where the semaphore is closed, as it never is.
    _units: Option<OwnedSemaphorePermit>,
}

impl ReadAhead {
    pub fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = units.min(most);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits for room for so many bytes.
    pub async fn take(&self, bytes: usize) -> Share {
        Share { _units: Arc::clone(&self.free).acquire_many_owned(self.units_of(bytes)).await.ok() }
    }

    /// Whether there is room for so many bytes now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.free.available_permits() >= self.units_of(bytes) as usize
    }

    /// All of it, bytes.
    pub fn bytes(&self) -> usize {
        self.units as usize * UNIT
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

impl Share {
    /// The bytes that it was taken for. It is given back when the last slice of them is dropped.
    pub fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_share_lasts_as_long_as_a_slice() {
        let memory = ReadAhead::new(4 * UNIT);
        let bytes = memory.take(3 * UNIT).await.hold(vec![7; 3 * UNIT]);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert!(!memory.has_room(2 * UNIT) && memory.take(2 * UNIT).now_or_never().is_none());
        assert_eq!(slice, [7; 10][..]);
        drop(slice);
        assert!(memory.has_room(4 * UNIT) && memory.take(4 * UNIT).now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_exceeds_everything_takes_everything() {
        let memory = ReadAhead::new(4 * UNIT);
        let small = memory.take(1).await;
        let mut all = Box::pin(memory.take(100 * UNIT));
        assert!(all.as_mut().now_or_never().is_none());
        assert!(memory.take(1).now_or_never().is_none(), "who came first is served first");
        drop(small);
        let all = all.await;
        assert!(memory.take(1).now_or_never().is_none());
        drop(all);
        assert!(memory.take(1).now_or_never().is_some());
    }
}

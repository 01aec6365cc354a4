//! How many chunks are requested ahead. The protocol counts chunks and not bytes, and a chunk has as many bytes as were published
//! together: so it is judged by those that came.

/// Bytes that are to be on their way, or wait to be taken, for each partition.
const AHEAD: usize = 4 * 1024 * 1024;
/// However small chunks are.
const MOST: usize = 128;
/// How much of the mean the last chunk is.
const WEIGHT: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Chunks that there is credit for and that were not taken yet.
    outstanding: usize,
    /// Bytes of a chunk.
    mean: usize,
    ahead: usize,
}

impl Window {
    /// With credit for one chunk, and so much memory for all partitions.
    pub fn new(memory: usize) -> Self {
        Self { outstanding: 1, mean: 0, ahead: AHEAD.min(memory / 4) }
    }

    /// A chunk of so many bytes was taken.
    pub fn took(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(1);
        // A large one counts at once, small ones in time.
        self.mean = bytes.max(self.mean - self.mean / WEIGHT + bytes / WEIGHT);
    }

    /// Credit to give now: none until half of it is used, so that each frame carries more.
    pub fn due(&self) -> u16 {
        let wanted = (self.ahead / self.mean.max(1)).clamp(1, MOST);
        let due = if self.outstanding <= wanted / 2 { wanted - self.outstanding } else { 0 };
        u16::try_from(due).unwrap_or(u16::MAX)
    }

    pub fn gave(&mut self, credit: u16) {
        self.outstanding += usize::from(credit);
    }

    /// Nothing will come before credit is given.
    pub fn is_empty(&self) -> bool {
        self.outstanding == 0
    }

    /// Bytes that the next chunk is expected to have.
    pub fn expected(&self) -> usize {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// There is always credit for a chunk, and never for much more than the bytes that are meant to be on their way.
        #[test]
        fn credit_follows_the_size_of_chunks(sizes in prop::collection::vec(1usize..50_000_000, 1..100), memory in 1usize..1 << 30) {
            let mut window = Window::new(memory);
            for bytes in sizes {
                prop_assert!(!window.is_empty());
                window.took(bytes);
                let due = window.due();
                prop_assert!(due <= 1 || usize::from(due) * window.expected() <= window.ahead);
                window.gave(due);
                prop_assert!(window.due() == 0);
                prop_assert!(window.outstanding <= MOST);
            }
        }
    }

    #[test]
    fn large_chunks_come_one_by_one() {
        let mut window = Window::new(64 << 20);
        window.took(10_000);
        assert_eq!(window.due(), 128);
        window.gave(128);
        for _ in 0..64 {
            assert_eq!(window.due(), 0, "half of it is there");
            window.took(10_000);
        }
        assert_eq!(window.due(), 64);
        window.took(20_000_000);
        assert_eq!(window.due(), 0);
        for _ in 0..63 {
            window.took(20_000_000);
        }
        assert_eq!(window.due(), 1);
    }
}

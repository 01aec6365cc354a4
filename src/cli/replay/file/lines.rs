//! The lines of a file, plain or gzip.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

/// Longest line that is read: many times the longest message that the service reads, and little enough to be held.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BUFFER_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("line {0} is longer than {MAX_LINE_BYTES} bytes: the file is not one event a line")]
    TooLong(u64),
    #[error("line {line} cannot be read: {source}")]
    Unreadable { line: u64, source: io::Error },
}

/// A line with something in it, without its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts from 1, empty lines too.
    pub number: u64,
    pub body: Vec<u8>,
}

pub struct Lines<R> {
    reader: R,
    number: u64,
    empty: u64,
    bytes_read: Arc<AtomicU64>,
    file_bytes: u64,
}

pub type FileLines = Lines<Box<dyn BufRead + Send>>;

impl FileLines {
    /// Gzip is recognised by its first bytes, whatever the name is.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let (file_bytes, bytes_read) = (file.metadata()?.len(), Arc::new(AtomicU64::new(0)));
        let counted = Counted { file, bytes: Arc::clone(&bytes_read) };
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, counted);
        let reader: Box<dyn BufRead + Send> = if plain.fill_buf()?.starts_with(GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { bytes_read, file_bytes, ..Lines::new(reader) })
    }
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, number: 0, empty: 0, bytes_read: Arc::default(), file_bytes: 0 }
    }

    /// The next line with something in it.
    ///
    /// # Errors
    /// It is too long, or the file cannot be read on; nothing after it can be read.
    pub fn next(&mut self) -> Result<Option<Line>, LineError> {
        loop {
            let mut body = Vec::new();
            // Room for the line's end, which does not count.
            let most = MAX_LINE_BYTES as u64 + 2;
            let read = self.reader.by_ref().take(most).read_until(b'\n', &mut body);
            let read = read.map_err(|source| LineError::Unreadable { line: self.number + 1, source })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if body.ends_with(b"\n") {
                body.pop();
            }
            if body.ends_with(b"\r") {
                body.pop();
            }
            if self.number == 1 && body.starts_with(BYTE_ORDER_MARK) {
                body.drain(..BYTE_ORDER_MARK.len());
            }
            if body.len() > MAX_LINE_BYTES {
                return Err(LineError::TooLong(self.number));
            }
            if !body.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.number, body }));
            }
            self.empty += 1;
        }
    }

    /// Of the last line read.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Lines without anything in them, so far.
    pub fn empty(&self) -> u64 {
        self.empty
    }

    /// As they lie in the file.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn all<R: BufRead>(mut lines: Lines<R>) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while let Some(Line { number, body }) = lines.next().unwrap() {
            found.push((number, String::from_utf8(body).unwrap()));
        }
        found
    }

    fn of(text: &str) -> Vec<(u64, String)> {
        all(Lines::new(text.as_bytes()))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn opened(bytes: &[u8]) -> FileLines {
        let path = std::env::temp_dir().join(format!("replay-lines-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, bytes).unwrap();
        let lines = Lines::open(&path);
        std::fs::remove_file(path).unwrap();
        lines.unwrap()
    }

    #[test]
    fn line_ends_and_empty_lines_are_skipped() {
        let expected = [(1, "a".to_owned()), (4, " b ".to_owned()), (5, "c".to_owned())];
        assert_eq!(of("a\n\n \t\n b \nc"), expected);
        assert_eq!(of("\u{feff}a\r\n\r\n\r\n b \r\nc\r\n"), expected);
        assert_eq!(of(""), []);
    }

    #[test]
    fn the_length_of_lines_is_bounded() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        assert_eq!(of(&format!("{longest}\r\n{longest}")).len(), 2);
        let mut lines = Lines::new(std::io::Cursor::new(format!("a\n{longest}x\nb")));
        lines.next().unwrap();
        assert!(lines.next().unwrap_err().to_string().starts_with("line 2 is longer than 1048576 bytes"));
    }

    #[test]
    fn gzip_is_detected_and_may_have_members() {
        let expected = [(1, "one".to_owned()), (2, "two".to_owned())];
        assert_eq!(all(opened(b"one\ntwo\n")), expected);
        assert_eq!(all(opened(&[gzip("one\nt"), gzip("wo\n")].concat())), expected);
    }

    #[test]
    fn truncated_gzip_fails_after_its_whole_lines() {
        let whole = gzip(&"one\n".repeat(1000));
        let mut lines = opened(&whole[..whole.len() - 4]);
        let error = loop {
            match lines.next() {
                Ok(line) => assert_eq!(line.unwrap().body, b"one"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().starts_with("line 1001 cannot be read"), "{error}");
    }
}

//! The files of `console/`, as they are served: known by a hash of all of them together, and compressed once.
//!
//! They are embedded in the program. A build for development reads them from the disk instead, so pages change without compiling.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use actix_web::web::Bytes;
use flate2::{Compression, write::GzEncoder};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

/// The page that all of the console is.
const INDEX: &str = "index.html";
/// Hexadecimal digits of the hash: 80 bits.
const HASH_DIGITS: usize = 20;

#[derive(RustEmbed)]
#[folder = "console/"]
#[cfg_attr(not(debug_assertions), exclude = "tests/*")]
struct Files;

/// What is served, by the ends of names. Other files are no assets.
const TYPES: [(&str, &str); 3] = [
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
];

pub struct Asset {
    pub content_type: &'static str,
    pub plain: Bytes,
    /// None where it would be no smaller.
    pub gzip: Option<Bytes>,
}

/// All files of one build.
pub struct Assets {
    pub hash: String,
    files: BTreeMap<String, Asset>,
}

impl Assets {
    pub fn current() -> Arc<Self> {
        static LAST: LazyLock<RwLock<Arc<Assets>>> = LazyLock::new(|| RwLock::new(Arc::new(Assets::read())));
        let last = LAST.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !cfg!(debug_assertions) || last.hash == hash() {
            return last;
        }
        let read = Arc::new(Self::read());
        *LAST.write().unwrap_or_else(PoisonError::into_inner) = read.clone();
        read
    }

    fn read() -> Self {
        let files = Files::iter().filter_map(|name| {
            let (_, end) = name.rsplit_once('.')?;
            let (_, content_type) = TYPES.iter().find(|(of, _)| *of == end)?;
            let plain = Bytes::from(Files::get(&name)?.data.into_owned());
            let gzip = compressed(&plain).filter(|gzip| gzip.len() < plain.len());
            Some((name.into_owned(), Asset { content_type, plain, gzip }))
        });
        Self { hash: hash(), files: files.collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Asset> {
        self.files.get(name).filter(|_| name != INDEX)
    }

    /// The page, before its placeholders are replaced.
    pub fn index(&self) -> Option<&str> {
        std::str::from_utf8(&self.files.get(INDEX)?.plain).ok()
    }
}

/// Of all files, in the order of their names.
fn hash() -> String {
    let mut names: Vec<_> = Files::iter().collect();
    names.sort();
    let mut sha256 = Sha256::new();
    for name in names {
        let Some(file) = Files::get(&name) else { continue };
        for part in [name.as_bytes(), &file.data] {
            sha256.update(part.len().to_le_bytes());
            sha256.update(part);
        }
    }
    let digits: String = sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..HASH_DIGITS].to_owned()
}

fn compressed(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    Some(encoder.finish().ok()?.into())
}

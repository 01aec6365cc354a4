//! The files of `console/` stay small together.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use crate::harness::files::below;

/// Bytes of everything that the program embeds of it.
const MOST: u64 = 500_000;
/// Bytes of all scripts as they are sent; the first page needs some of them.
const MOST_SCRIPT: usize = 110_000;

#[test]
fn the_console_is_small() {
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let embedded = |path: &PathBuf| !path.starts_with(console.join("tests"));
    let all: Vec<PathBuf> = below(&console).into_iter().filter(embedded).collect();
    let bytes: u64 = all.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= MOST, "{bytes} bytes");
    let scripts = all.iter().filter(|path| path.extension().is_some_and(|end| end == "js"));
    let compressed = |path: &PathBuf| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(path).unwrap()).unwrap();
        encoder.finish().unwrap().len()
    };
    let sent: usize = scripts.map(compressed).sum();
    assert!(sent <= MOST_SCRIPT, "{sent} bytes of script, compressed");
}

//! Files of the project, for tests that read them.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// All files below a folder, in the order of their names.
pub fn below(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| !entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect()
}

/// The same, those with this extension.
pub fn with_extension(folder: impl AsRef<Path>, extension: &str) -> impl Iterator<Item = PathBuf> {
    below(folder).into_iter().filter(move |file| file.extension().is_some_and(|of| of == extension))
}

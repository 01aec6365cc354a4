//! A folder of this machine. An object is written to a staging file beside its place, flushed to the disk and then renamed,
//! so it appears whole or not at all. Names of staging files have `#` or `+`, which no key has, so they are never listed or read.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path as FilePath, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutPayload, RenameOptions,
    RenameTargetMode, local::LocalFileSystem, path::Path,
};
use uuid::Uuid;
use walkdir::WalkDir;

use super::{
    Listed, Mode, ObjectError, key,
    link::Links,
    sending::{InFlight, joined},
};
use crate::config;

pub(super) struct Local {
    pub(super) files: LocalFileSystem,
    root: PathBuf,
    pub(super) links: Links,
}

impl Local {
    /// Creates the folder where it does not exist, readable by this process's user alone.
    pub(super) fn new(settings: &config::Objects) -> Result<Self, ObjectError> {
        if settings.link_secret.is_empty() {
            return Err(ObjectError::permanent("objects.link_secret must be set where objects.store is local"));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&settings.directory);
        made.map_err(|error| ObjectError::of_io(&error))?;
        let root = fs::canonicalize(&settings.directory).map_err(|error| ObjectError::of_io(&error))?;
        let files = LocalFileSystem::new_with_prefix(&root).map_err(|error| failed(&error))?;
        let links =
            Links::new(settings.link_secret.clone(), settings.link_previous_secret.clone(), &settings.public_url);
        // Folders of organisations that have no objects any more go with the last of them.
        Ok(Self { files: files.with_fsync(true).with_automatic_cleanup(true), root, links })
    }

    /// Refuses what leads through a symbolic link: the library would follow it, out of the folder.
    pub(super) async fn guard(&self, key: &str) -> Result<(), ObjectError> {
        let (root, key) = (self.root.clone(), key.to_owned());
        blocking(move || {
            let mut place = root;
            for segment in key.split('/') {
                place.push(segment);
                match fs::symlink_metadata(&place) {
                    Ok(found) if found.file_type().is_symlink() => {
                        return Err(ObjectError::permanent("the object's place is a symbolic link"));
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) => return Err(ObjectError::of_io(&error)),
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn begin(&self, target: Path, mode: Mode) -> Result<LocalUpload, ObjectError> {
        // Renaming overwrites and linking does not; the library finishes uploads by renaming. So one that must not
        // overwrite becomes a file of another name first.
        let written = match mode {
            Mode::Overwrite => target.clone(),
            Mode::Create => Path::parse(format!("{target}+{}", Uuid::new_v4().simple()))
                .map_err(|_| ObjectError::permanent("a key that cannot be a path"))?,
        };
        let upload = self.files.put_multipart_opts(&written, PutMultipartOptions::default()).await;
        let upload = upload.map_err(|error| failed(&error))?;
        Ok(LocalUpload { files: self.files.clone(), upload, written, target, sending: InFlight::default() })
    }

    /// Objects whose keys begin with these segments.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError> {
        self.guard(prefix).await?;
        let (root, from) = (self.root.clone(), self.root.join(prefix));
        blocking(move || {
            let mut listed = Vec::new();
            for (path, found) in files_under(&from)? {
                let key = path.strip_prefix(&root).ok().and_then(FilePath::to_str).filter(|key| key::is_key(key));
                if let Some(key) = key {
                    let modified = modified(&found)?.into();
                    listed.push(Listed { key: key.to_owned(), bytes: found.len(), modified });
                }
            }
            Ok(listed)
        })
        .await
    }

    /// Removes the staging files of an object: an upload that still writes to one cannot finish any more.
    pub(super) async fn unstage(&self, key: &str) -> Result<(), ObjectError> {
        self.guard(key).await?;
        let place = self.root.join(key);
        blocking(move || {
            let (Some(folder), Some(name)) = (place.parent(), place.file_name().and_then(|name| name.to_str())) else {
                return Ok(());
            };
            for (path, _) in files_under(folder)? {
                if path.parent() == Some(folder) && staged_for(&path) == Some(name) {
                    remove(&path)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes staging files without a write for so long; returns their number.
    pub(super) async fn sweep(&self, older_than: Duration) -> Result<u64, ObjectError> {
        let root = self.root.clone();
        blocking(move || {
            let mut swept = 0;
            for (path, found) in files_under(&root)? {
                let age = SystemTime::now().duration_since(modified(&found)?).unwrap_or_default();
                if staged_for(&path).is_some() && age >= older_than {
                    remove(&path)?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }
}

/// An object on its way. Dropped before its end, its staging file is removed.
pub(super) struct LocalUpload {
    files: LocalFileSystem,
    upload: Box<dyn MultipartUpload>,
    /// Where the library puts it; the target itself where that may be overwritten.
    written: Path,
    target: Path,
    sending: InFlight<()>,
}

impl LocalUpload {
    pub(super) async fn part(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.sending.settle().await?.transpose().map_err(|error| failed(&error))?;
        self.sending.start(self.upload.put_part(PutPayload::from_bytes(bytes)));
        Ok(())
    }

    pub(super) async fn finish(mut self, rest: Bytes) -> Result<(), ObjectError> {
        self.part(rest).await?;
        self.sending.settle().await?.transpose().map_err(|error| failed(&error))?;
        let Self { files, mut upload, written, target, .. } = self;
        // A task of its own, so that a caller that gives up waiting does not stop it between its two steps.
        joined(tokio::spawn(async move {
            upload.complete().await.map_err(|error| match failed(&error) {
                ObjectError::NotFound => ObjectError::permanent("the upload was ended by another process"),
                error => error,
            })?;
            if written == target {
                return Ok(());
            }
            let create = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
            let renamed = files.rename_opts(&written, &target, create).await.map_err(|error| failed(&error));
            if renamed.is_err() {
                // What stays is swept later.
                let _ = files.delete(&written).await;
            }
            renamed
        }))
        .await?
    }

    pub(super) async fn abort(mut self) -> Result<(), ObjectError> {
        self.sending.cancel().await;
        match self.upload.abort().await.map_err(|error| failed(&error)) {
            Err(ObjectError::NotFound) => Ok(()),
            ended => ended,
        }
    }
}

/// No request is waited for, so there is no timeout to give.
fn failed(error: &Error) -> ObjectError {
    ObjectError::of(error, Duration::ZERO)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    joined(tokio::task::spawn_blocking(work)).await?
}

/// Plain files, without following symbolic links. A folder that is not there has none, nor has a file that goes meanwhile.
fn files_under(folder: &FilePath) -> Result<Vec<(PathBuf, fs::Metadata)>, ObjectError> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).follow_links(false).follow_root_links(false) {
        match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
            Ok((found, entry)) if found.is_file() => files.push((entry.into_path(), found)),
            Ok(_) => {}
            Err(error) => match error.io_error() {
                Some(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                Some(error) => return Err(ObjectError::of_io(error)),
                None => return Err(ObjectError::transient("the folder cannot be read")),
            },
        }
    }
    Ok(files)
}

/// The file that a staging file is for. Its number comes behind `#`, that of an upload that must not overwrite behind `+`.
fn staged_for(path: &FilePath) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let (object, number) = name.split_once(['#', '+'])?;
    let plain = number.bytes().all(|b| b.is_ascii_hexdigit() || b == b'#');
    (plain && key::is_segment(object)).then_some(object)
}

fn modified(found: &fs::Metadata) -> Result<SystemTime, ObjectError> {
    found.modified().map_err(|error| ObjectError::of_io(&error))
}

fn remove(path: &FilePath) -> Result<(), ObjectError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ObjectError::of_io(&error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_staging_names_are_staging_files() {
        for (name, object) in [
            ("job.csv#1", Some("job.csv")),
            ("job.csv+0badcafe", Some("job.csv")),
            ("job.csv+0badcafe#12", Some("job.csv")),
            ("job.csv", None),
            ("notes #1.txt", None),
            ("#1", None),
            ("job.csv+my copy", None),
        ] {
            assert_eq!(staged_for(FilePath::new(name)), object, "{name}");
        }
    }
}

//! Journal: how far a file was published to a stream, kept in a state file.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::beside;

/// Lines after whose confirms the state is written again.
const SAVE_EVERY: u64 = 5000;
const SAMPLE_BYTES: u64 = 64 * 1024;

/// What a file is recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    bytes: u64,
    /// Of its first 64 KiB.
    sha256: String,
}

impl Identity {
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut sample = Vec::new();
        file.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        Ok(Self { bytes, sha256: format!("{:x}", Sha256::digest(&sample)) })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    file: Identity,
    /// The stream and its broker.
    published_to: String,
    /// Lines with something in them, from the first on, that the broker has confirmed.
    confirmed: u64,
    finished: bool,
}

pub struct Journal {
    path: PathBuf,
    state: State,
    saved: u64,
}

impl Journal {
    /// How far the file is, or nothing yet when it is to be published `again`.
    ///
    /// # Errors
    /// The state is of another file or stream, or it cannot be read or written.
    pub fn open(path: PathBuf, file: Identity, place: String, again: bool) -> anyhow::Result<Self> {
        let before = read(&path)?;
        if let Some(before) = &before {
            let way_out = "remove it to publish from the first line on, or name another by --state";
            if before.file != file {
                bail!("{} is the state of another file: {way_out}", path.display());
            }
            if before.published_to != place {
                let theirs = &before.published_to;
                bail!("{} is the state of publishing to {theirs}, not to {place}: {way_out}", path.display());
            }
        }
        let before = before.filter(|_| !again);
        let (confirmed, finished) = before.map_or((0, false), |state| (state.confirmed, state.finished));
        let mut journal = Self { path, state: State { file, published_to: place, confirmed, finished }, saved: 0 };
        // Now, not after thousands of lines, it shows whether it can be written.
        journal.save()?;
        Ok(journal)
    }

    /// Nothing of the file is left to publish.
    pub fn is_finished(&self) -> bool {
        self.state.finished
    }

    pub fn confirmed(&self) -> u64 {
        self.state.confirmed
    }

    /// So many lines are confirmed; kept from time to time.
    pub fn note(&mut self, confirmed: u64) -> anyhow::Result<()> {
        self.state.confirmed = confirmed;
        if confirmed < self.saved + SAVE_EVERY { Ok(()) } else { self.save() }
    }

    pub fn end(mut self, confirmed: u64, finished: bool) -> anyhow::Result<()> {
        (self.state.confirmed, self.state.finished) = (confirmed, finished);
        self.save()
    }

    /// Whole or not at all: the old state is there until the new one is complete.
    fn save(&mut self) -> anyhow::Result<()> {
        self.saved = self.state.confirmed;
        let text = serde_json::to_vec_pretty(&self.state)?;
        let new = beside(&self.path, ".new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().with_context(|| self.path.display().to_string())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<State>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let state = serde_json::from_slice(&text);
    state.map(Some).with_context(|| format!("{} is no state of a replay: remove it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("replay-journal-{}", uuid::Uuid::new_v4()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn open(&self, bytes: u64, place: &str, again: bool) -> anyhow::Result<Journal> {
            let file = Identity { bytes, sha256: "ab".to_owned() };
            Journal::open(self.0.join("state"), file, place.to_owned(), again)
        }

        /// Confirmed lines, and whether these are all.
        fn kept(&self, again: bool) -> (u64, bool) {
            let journal = self.open(7, "s", again).unwrap();
            (journal.confirmed(), journal.is_finished())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_interrupted_file_resumes_where_it_was_saved() {
        let folder = Folder::new();
        let mut journal = folder.open(7, "s", false).unwrap();
        for confirmed in [1, 5000, 5001, 9999] {
            journal.note(confirmed).unwrap();
        }
        drop(journal);
        assert_eq!(folder.kept(false), (5000, false), "a crash loses what was not kept");
        folder.open(7, "s", false).unwrap().end(6000, false).unwrap();
        assert_eq!(folder.kept(false), (6000, false));
        assert_eq!(folder.kept(true), (0, false));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_finished_file_is_republished_only_on_demand() {
        let folder = Folder::new();
        folder.open(7, "s", false).unwrap().end(9, true).unwrap();
        assert_eq!(folder.kept(false), (9, true));
        assert_eq!(folder.kept(true), (0, false));
    }

    #[test]
    fn a_foreign_state_file_says_what_to_do() {
        let folder = Folder::new();
        folder.open(7, "s", false).unwrap();
        for (bytes, place) in [(8, "s"), (7, "t")] {
            for again in [false, true] {
                let error = folder.open(bytes, place, again).map(|_| ()).unwrap_err().to_string();
                assert!(error.contains("--state") && error.contains("remove it"), "{error}");
            }
        }
        fs::write(folder.0.join("state"), "{").unwrap();
        assert!(format!("{:#}", folder.open(7, "s", false).map(|_| ()).unwrap_err()).contains("remove it"));
    }

    #[test]
    fn a_file_is_identified_by_length_and_beginning() {
        let folder = Folder::new();
        let path = folder.0.join("file");
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            Identity::of(&path).unwrap()
        };
        let long = vec![b'x'; 100_000];
        let identity = of(&long);
        assert_eq!(identity, of(&long));
        assert_ne!(identity, of(&long[1..]));
        assert_ne!(identity, of(&[b"y", &long[1..]].concat()));
    }
}

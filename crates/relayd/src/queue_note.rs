//! Texts that the relay keeps in the queue, so that they survive what the queue survives.
//!
//! Earlier versions had a file for each of them. The first start takes it over.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use relay_message::StoreError;
use relay_queue::{Note, SledStore};

/// The largest file of an earlier version, in octets.
const LONGEST_FILE: u64 = 4 << 20;

/// Why a text cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The queue cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of an earlier version cannot be read or removed.
    #[error("{}: {source}", file.display())]
    Earlier {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Where a text is kept. Reading and writing may wait for the disk.
pub(crate) trait Keep: fmt::Debug + Send + Sync {
    /// Returns the text, or `None` if it was never written.
    fn read(&self) -> Result<Option<Bytes>, NoteError>;

    /// Replaces the text. Once this returns, the new one survives power loss.
    fn write(&self, text: Vec<u8>) -> Result<(), NoteError>;

    /// Returns how an error names the text.
    fn name(&self) -> String;
}

/// A text in the queue.
#[derive(Debug)]
pub(crate) struct QueueNote {
    pub(crate) store: Arc<SledStore>,
    pub(crate) note: Note,
    /// The file of earlier versions.
    pub(crate) earlier: PathBuf,
}

impl Keep for QueueNote {
    fn read(&self) -> Result<Option<Bytes>, NoteError> {
        if let Some(text) = self.store.note(self.note) {
            return Ok(Some(text));
        }
        let failed = |source| NoteError::Earlier {
            file: self.earlier.clone(),
            source,
        };
        match fs::metadata(&self.earlier) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
            Ok(found) if found.len() > LONGEST_FILE => {
                Err(failed(io::Error::other("the file is too large")))
            }
            Ok(_) => {
                let text = fs::read(&self.earlier).map_err(failed)?;
                Ok(Some(text.into()))
            }
        }
    }

    fn write(&self, text: Vec<u8>) -> Result<(), NoteError> {
        self.store.set_note(self.note, text.into())?;
        match fs::remove_file(&self.earlier) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NoteError::Earlier {
                file: self.earlier.clone(),
                source: e,
            }),
            _ => Ok(()),
        }
    }

    fn name(&self) -> String {
        match self.note {
            _ if self.earlier.exists() => self.earlier.display().to_string(),
            Note::StandingRules => "the standing rules in the queue".to_owned(),
            Note::TemporaryRelay => "the temporary permissions in the queue".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Mutex, PoisonError};

    use relay_queue::StoreConfig;

    use super::*;

    /// A text in memory. Clones share it.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct InMemory {
        pub(crate) text: Arc<Mutex<Option<Bytes>>>,
        pub(crate) fails: bool,
    }

    impl InMemory {
        pub(crate) fn of(text: impl Into<Vec<u8>>) -> Self {
            Self {
                text: Arc::new(Mutex::new(Some(text.into().into()))),
                fails: false,
            }
        }

        pub(crate) fn text(&self) -> Option<Bytes> {
            let text = self.text.lock();
            text.unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl Keep for InMemory {
        fn read(&self) -> Result<Option<Bytes>, NoteError> {
            Ok(self.text())
        }

        fn write(&self, text: Vec<u8>) -> Result<(), NoteError> {
            if self.fails {
                let reason = "the test says so".to_owned();
                return Err(StoreError::Closed { reason }.into());
            }
            *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
            Ok(())
        }

        fn name(&self) -> String {
            "the test".to_owned()
        }
    }

    fn note(store: &Arc<SledStore>, dir: &std::path::Path) -> QueueNote {
        QueueNote {
            store: Arc::clone(store),
            note: Note::StandingRules,
            earlier: dir.join("orders"),
        }
    }

    #[test]
    fn the_file_of_an_earlier_version_is_taken_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = StoreConfig {
            state_dir: dir.path().to_owned(),
            min_free: 0,
            inline_body: 1000,
        };
        fs::write(dir.path().join("orders"), "earlier").expect("written");
        let store = Arc::new(SledStore::open(&config).expect("opens"));
        let kept = note(&store, dir.path());
        assert_eq!(kept.read().expect("read").as_deref(), Some(&b"earlier"[..]));
        kept.write(b"now".to_vec()).expect("written");
        assert!(!dir.path().join("orders").exists());
        drop((kept, store));
        let store = Arc::new(SledStore::open(&config).expect("opens"));
        let kept = note(&store, dir.path());
        assert_eq!(kept.read().expect("read").as_deref(), Some(&b"now"[..]));
    }
}

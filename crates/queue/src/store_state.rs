//! What the committer and the readers of a store share: the index, the claims, the contents of new
//! messages, and whether the store is open.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use relay_message::{QueueId, StoreError};

use crate::claims::Claims;
use crate::fresh_contents::FreshContents;
use crate::index::{Entry, Index};
use crate::journal::{Round, Segment};
use crate::remover::Remover;
use crate::round_state::RoundState;

/// The state of an open store.
#[derive(Debug)]
pub(crate) struct StoreState {
    pub(crate) state_dir: PathBuf,
    pub(crate) claims: Claims,
    pub(crate) remover: Remover,
    pub(crate) fresh_contents: FreshContents,
    pub(crate) damaged: AtomicU64,
    access: RwLock<Access>,
    index: RwLock<Index>,
    pub(crate) checkpoints: Mutex<Checkpoints>,
}

/// Whether the store takes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    /// The journal cannot be written. This is tried again.
    Failed,
    Closed,
}

/// What is known of the index on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checkpoints {
    /// The generation of the latest checkpoint.
    pub(crate) written: u64,
    /// An index of an earlier generation than this cannot be used any more.
    pub(crate) required: u64,
    /// The segment in which the latest checkpoint is; `None` if there is no usable index.
    pub(crate) segment: Option<u32>,
}

/// An entry, and the open segments that it needs. A segment is missing if its file is.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) entry: Entry,
    pub(crate) record: Option<Arc<Segment>>,
    pub(crate) content: Option<Arc<Segment>>,
}

impl StoreState {
    pub(crate) fn new(state_dir: PathBuf, remover: Remover, index: Index) -> Self {
        Self {
            state_dir,
            claims: Claims::default(),
            remover,
            fresh_contents: FreshContents::default(),
            damaged: AtomicU64::new(0),
            access: RwLock::new(Access::Open),
            index: RwLock::new(index),
            checkpoints: Mutex::default(),
        }
    }

    /// Fails if the store takes no changes.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        let reason = match self.access() {
            Access::Open => return Ok(()),
            Access::Failed => "the journal cannot be written; it will be tried again every second",
            Access::Closed => "it was shut down",
        };
        Err(StoreError::Closed {
            reason: reason.into(),
        })
    }

    /// Fails if the store is shut down.
    pub(crate) fn check_readable(&self) -> Result<(), StoreError> {
        match self.access() {
            Access::Open | Access::Failed => Ok(()),
            Access::Closed => self.check_open(),
        }
    }

    fn access(&self) -> Access {
        *self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first round of a new segment: the notes, so that they stay when older segments
    /// are given up, and the books.
    pub(crate) fn opening_round(&self) -> Round {
        let mut round = Round::default();
        let index = self.index();
        for (&number, value) in &index.notes {
            round.note(number, value);
        }
        let state = RoundState {
            generation: self.checkpoints().required,
            ledger: index.ledger,
        };
        round.end(&state.encode());
        round
    }

    /// Returns where the message is, or `None` if it is not in the queue.
    pub(crate) fn locate(&self, id: QueueId) -> Option<Located> {
        let index = self.index();
        let entry = index.get(id)?;
        Some(Located {
            entry,
            record: index.segment(entry.record.segment),
            content: index.segment(entry.content.segment),
        })
    }

    pub(crate) fn checkpoints(&self) -> Checkpoints {
        *self
            .checkpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update_checkpoints(&self, update: impl FnOnce(&mut Checkpoints)) {
        update(
            &mut self
                .checkpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Returns the number of damaged messages that were set aside.
    pub(crate) fn count_damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn mess(&self) -> PathBuf {
        self.state_dir.join("mess")
    }

    /// Returns the path of the body file of a message, which need not exist.
    pub(crate) fn body(&self, id: QueueId) -> PathBuf {
        self.mess().join(id.to_string())
    }

    pub(crate) fn corrupt(&self) -> PathBuf {
        self.state_dir.join("corrupt")
    }
}

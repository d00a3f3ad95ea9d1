//! What the committer and the readers of a store share: whether there is a database, the claims,
//! the counts and the books.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError, RwLock};

use relay_message::{QueueId, StoreError};

use crate::claims::Claims;
use crate::database::Table;
use crate::record::Ledger;
use crate::remover::Remover;

/// The state of an open store.
#[derive(Debug)]
pub(crate) struct StoreState {
    pub(crate) state_dir: PathBuf,
    pub(crate) claims: Claims,
    pub(crate) remover: Remover,
    access: RwLock<Access>,
    pub(crate) count: AtomicU64,
    pub(crate) fresh: AtomicU64,
    pub(crate) damaged: AtomicU64,
    ledger: Mutex<Ledger>,
}

/// Whether the database can be read.
#[derive(Debug)]
pub(crate) enum Access {
    Open(Table),
    /// An error closed the database. It will be opened again.
    Failed,
    Closed,
}

impl StoreState {
    pub(crate) fn new(state_dir: PathBuf, remover: Remover) -> Self {
        Self {
            state_dir,
            claims: Claims::default(),
            remover,
            access: RwLock::new(Access::Closed),
            count: AtomicU64::new(0),
            fresh: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            ledger: Mutex::default(),
        }
    }

    pub(crate) fn table(&self) -> Result<Table, StoreError> {
        let reason = match &*self.access.read().unwrap_or_else(PoisonError::into_inner) {
            Access::Open(table) => return Ok(table.clone()),
            Access::Failed => "an error closed it; it will be opened again when that is possible",
            Access::Closed => "it was shut down",
        };
        Err(StoreError::Closed {
            reason: reason.into(),
        })
    }

    pub(crate) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    /// Returns the books as last made durable.
    pub(crate) fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_ledger(&self, ledger: Ledger) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
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

//! The signing table in use, for the reports of `send`.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use relay_dkim::{Decision, Signer};
use relay_send::{Sign, SigningError};

/// The signing table. A reload replaces it as a whole.
#[derive(Debug, Default)]
pub(crate) struct SigningTable(RwLock<Arc<Signer>>);

impl SigningTable {
    pub(crate) fn new(signer: Arc<Signer>) -> Self {
        Self(RwLock::new(signer))
    }

    /// Returns the current table.
    pub(crate) fn signer(&self) -> Arc<Signer> {
        // The table is replaced as a whole, so it is consistent even after a panic.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, signer: Signer) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(signer);
    }
}

/// Signs our own reports if the domain of the hostname is in the table.
impl Sign for SigningTable {
    fn sign(&self, message: &[u8], now: SystemTime) -> Result<Vec<u8>, SigningError> {
        let (header, body) = match memchr::memmem::find(message, b"\r\n\r\n") {
            Some(end) => (&message[..end + 2], &message[end + 4..]),
            None => (message, &b""[..]),
        };
        match self.signer().decide(header) {
            Decision::Sign(mut signing) => {
                signing.write(body);
                signing.finish(now).map_err(SigningError::new)
            }
            Decision::NotOurs(_) | Decision::Unclear(_) => Ok(Vec::new()),
        }
    }
}

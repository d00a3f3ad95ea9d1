//! The interface to the signer of reports.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use relay_message::NewMessage;
use tokio::task;

use crate::events;

/// Signs reports. This crate has no keys; its caller may have.
pub trait Sign: fmt::Debug + Send + Sync + 'static {
    /// Returns the header fields to put before this message, or none if it is not to be signed.
    /// This is called on a thread that may block.
    fn sign(&self, message: &[u8], now: SystemTime) -> Result<Vec<u8>, SigningError>;
}

/// Why a report cannot be signed. The text is that of the signer's own error.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SigningError(Box<dyn Error + Send + Sync>);

impl SigningError {
    /// Wraps the error of a signer.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// Puts signatures before a report. A report that cannot be signed is sent unsigned, because it would
/// never be made again.
pub(crate) async fn signed(
    signer: Option<Arc<dyn Sign>>,
    mut report: NewMessage,
    now: SystemTime,
) -> NewMessage {
    let Some(signer) = signer else {
        return report;
    };
    let (head, body) = (report.head.clone(), report.body.clone());
    let signing = task::spawn_blocking(move || signer.sign(&[head, body].concat(), now));
    let signatures = match signing.await {
        Ok(signatures) => signatures,
        Err(interrupted) => Err(SigningError::new(interrupted)),
    };
    match signatures {
        Ok(signatures) => report.head = [&signatures[..], &report.head].concat().into(),
        Err(reason) => events::unsigned(report.id, &reason.to_string()),
    }
    report
}

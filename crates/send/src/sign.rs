//! The seam to whatever signs our reports.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use relay_message::NewMessage;
use tokio::task;

use crate::events;

/// Signs reports. This crate knows no keys; whoever starts it may.
pub trait Sign: fmt::Debug + Send + Sync + 'static {
    /// The fields to put before this message, none if it is not to be signed; else why it could not
    /// be. It is called on a thread that may compute.
    fn sign(&self, message: &[u8], now: SystemTime) -> Result<Vec<u8>, String>;
}

/// Puts signatures before a report. One that cannot be signed goes out without: that is better than
/// none, and a report is nobody's to send again.
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
        Err(broken_off) => Err(broken_off.to_string()),
    };
    match signatures {
        Ok(signatures) => report.head = [&signatures[..], &report.head].concat().into(),
        Err(reason) => events::unsigned(report.id, &reason),
    }
    report
}
